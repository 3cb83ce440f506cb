"""All public functions of NumPy and methods of its arrays, called with Tensors that require grad: nothing is lost in silence.

Each is called with whatever small arguments it takes, a Tensor in the place of each array in turn.  Then either the
result carries a gradient, which finite differences confirm; or a TypeError says what was called and what to write; or the
result does not depend on the argument, as that of ``argmax``, or it is no number.
"""

import itertools
import re
import warnings

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

SQUARE = np.array([[4.13, 0.94, 0.38], [0.94, 3.21, 0.57], [0.38, 0.57, 2.29]])  # positive definite
VECTOR, NUMBER = np.array([0.31, 0.52, 0.87]), np.array(0.63)
POOL = {
    "matrix": SQUARE,
    "vector": VECTOR,
    "number": NUMBER,
    "list": [VECTOR, VECTOR[::-1] * 0.9],
    "numbers": [NUMBER, np.array(0.82)],
    "1": 1,
}
DIFFERENT = [1.0, 1.037, 0.971, 1.013]  # factors, so that no two arguments are equal
CURE = re.compile(
    r"\.data|\.item\(\)|\.detach\(\)|minigrad\.\w+|t\[\.\.\.\]|result = np|expected|convert with|must be an array"
)

NO_NUMBERS = {  # settings, files, text, other kinds of numbers; and comparisons, which a small step may tip
    "test", "info", "show_config", "show_runtime", "seterr", "seterrcall", "setbufsize", "set_printoptions",
    "get_printoptions", "printoptions", "geterr", "geterrcall", "getbufsize", "load", "loadtxt", "genfromtxt",
    "fromfile", "fromregex", "fromstring", "frombuffer", "from_dlpack", "save", "savez", "savez_compressed",
    "savetxt", "get_include", "typename", "array2string", "array_repr", "array_str", "base_repr", "binary_repr",
    "format_float_positional", "format_float_scientific", "datetime_as_string", "datetime_data", "busday_count",
    "busday_offset", "is_busday", "isnat", "empty", "empty_like", "dump", "dumps", "tofile", "tobytes", "tostring",
    "setflags", "getfield", "view", "byteswap", "bmat", "isclose", "allclose", "array_equal", "array_equiv", "equal",
    "not_equal", "iterable", "isscalar", "may_share_memory", "shares_memory", "nextafter", "spacing",
}  # fmt: skip


def public(home):
    return [
        n
        for n in sorted(dir(home))
        if not n.startswith("_") and callable(getattr(home, n)) and not isinstance(getattr(home, n), type)
    ]


FUNCTIONS = {f"np.{n}": getattr(np, n) for n in public(np) if n not in NO_NUMBERS}
FUNCTIONS |= {f"np.linalg.{n}": getattr(np.linalg, n) for n in public(np.linalg) if n not in NO_NUMBERS}
UFUNCS = {
    f"np.{n}": f
    for n, f in vars(np).items()
    if isinstance(f, np.ufunc) and f.nin == 2 and f.nout == 1 and not f.signature
}
FUNCTIONS |= {f"{n}.{m}": getattr(f, m) for n, f in UFUNCS.items() for m in ("reduce", "accumulate", "outer")}
FUNCTIONS |= {
    "np.float64": np.float64,
    "np.r_": lambda *a: np.r_[a],
    "np.c_": lambda *a: np.c_[a],
    "np.vectorize": np.vectorize(lambda *a: sum(a)),
}
METHODS = {f"array.{n}": n for n in public(np.ndarray) if n not in NO_NUMBERS and n != "resize"}
METHODS |= {f"array.{n}": n for n in ("__matmul__", "__rpow__", "__iadd__", "__setitem__", "__divmod__")}


def tensors_in(x):
    """The Tensors anywhere in a result."""
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, np.ndarray):
        return tensors_in(x.tolist()) if x.dtype == object else []
    if isinstance(x, dict):
        return tensors_in(list(x.values()))
    return [t for item in x for t in tensors_in(item)] if isinstance(x, tuple | list) else []


def with_tensors(argument, requires_grad=True):
    if isinstance(argument, list):
        return [with_tensors(x, requires_grad) for x in argument]
    return Tensor(argument, requires_grad=requires_grad) if isinstance(argument, np.ndarray) else argument


def moved(argument, step=1e-4):
    """The argument a little aside, in a direction that treats all its entries differently."""
    if isinstance(argument, list):
        return [moved(x, step * (i + 1)) for i, x in enumerate(argument)]
    return np.array(argument + step * np.cos(np.arange(argument.size)).reshape(argument.shape))


def scaled(argument, factor):
    if isinstance(argument, list):
        return [scaled(x, factor) for x in argument]
    return np.array(argument * factor) if isinstance(argument, np.ndarray) else argument


def fresh(arguments):
    return [
        [x.copy() for x in a] if isinstance(a, list) else a.copy() if isinstance(a, np.ndarray) else a
        for a in arguments
    ]


def run(call, arguments):
    """(the result, also what the call left in its arguments; None) or (None, the error)."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return (call(*arguments), [a for a in arguments if isinstance(a, np.ndarray)]), None
        except Exception as error:
            return None, error


def same(a, b):
    if isinstance(a, tuple | list | dict):
        a, b = (list(x.values()) if isinstance(x, dict) else x for x in (a, b))
        return len(a) == len(b) and all(map(same, a, b))
    if type(a).__module__.split(".")[0] not in ("numpy", "builtins"):
        return True
    return (
        np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)
        if isinstance(a, np.ndarray | np.number | float)
        else a == b
    )


def faults(name, call, first=()):
    """What is wrong with ``call``, in words, for all arguments that NumPy takes."""
    found, checked = [], 0
    for n in range(0 if first else 1, 4):
        for kinds in itertools.product(POOL, repeat=n):
            arguments = [*first, *(scaled(POOL[kind], f) for kind, f in zip(kinds, DIFFERENT))]
            plain, error = run(call, fresh(arguments))
            if error is not None:
                continue
            for at in range(len(first), len(arguments)):
                if not isinstance(arguments[at], np.ndarray | list):
                    continue
                given = fresh(arguments)
                given[at] = with_tensors(given[at])
                result, error = run(call, given)
                what = f"{name}({', '.join(f'Tensor {k}' if i == at - len(first) else k for i, k in enumerate(kinds))})"
                if error is not None:
                    told = f"{error} {error.__cause__}"
                    if not isinstance(error.__cause__ or error, TypeError | AttributeError) or not CURE.search(told):
                        found.append(f"{what}: {type(error).__name__}: {error}")
                    continue
                if any(t.requires_grad for t in tensors_in(result)):
                    if checked < 4:
                        checked += 1
                        found += [f"{what}: {r}" for r in wrong_gradient(call, arguments, at)]
                    continue
                aside = fresh(arguments)
                aside[at] = moved(aside[at])
                other, error = run(call, aside)
                if error is None and not same(plain[0], other[0]):
                    found.append(f"{what}: the gradient is lost: {str(result[0])[:60]}")
    return found


def wrong_gradient(call, arguments, at):
    """The report of finite differences, unless they agree."""
    single = not isinstance(arguments[at], list)

    def f(*given):
        changed = fresh(arguments)
        changed[at] = given[0] if single else list(given)
        outputs = [t for t in tensors_in(call(*changed)) if t.dtype.kind == "f"]
        return mg.concatenate([np.reshape(t, -1) for t in outputs])

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if np.isnan(f(*with_tensors([arguments[at]] if single else arguments[at])).data).any():
            return []
        report = mg.gradcheck(f, *([arguments[at]] if single else arguments[at]))
    return (
        []
        if report or all("UNDECIDED" in row.verdict for row in report.rows if not row.verdict.startswith("ok"))
        else [str(report)]
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.slow
def test_no_function_of_numpy_loses_a_gradient_in_silence(name):
    found = faults(name, FUNCTIONS[name])
    assert not found, "\n".join(found[:10])


@pytest.mark.parametrize("name", METHODS)
def test_no_method_of_an_array_loses_the_gradient_of_its_argument_in_silence(name):
    for array in (SQUARE, VECTOR):
        found = faults(name, lambda x, *rest: getattr(x, METHODS[name])(*rest), [array])
        assert not found, "\n".join(found[:10])
