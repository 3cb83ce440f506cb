"""What a check says, and how it asks an answer: with copies of the inputs, and without a traceback when it fails.

An answer may come in float32 or float16, as nested lists, as a Tensor or as another library's tensor: it is judged by its own precision.
It is asked with arrays that lie in memory one way and the other, and while it runs, the library's own functions refuse to work for it.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg

Check = Callable[..., "Verdict"]
NEAR = 1e-6
NEARLY = " That is nearly right, as when a mask lets a little through, or when a slope was taken from differences: compute it from its formula."
PRECISION = {2: 1e-2, 4: 3e-5, 8: 0.0}  # what round-off may do to an answer whose floats have so many bytes


@dataclass(repr=False)
class Verdict:
    """True when the answer is right; prints as a sentence, with a hint and the numbers that show it when it is wrong."""

    right: bool
    words: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        first = "✓ Right. " if self.right else "✗ Not yet. "
        paragraphs = (first + self.words).strip().split("\n")
        return "\n".join(p if p.startswith(" ") else textwrap.fill(p, 110, break_on_hyphens=False) for p in paragraphs)

    def require(self) -> Verdict:
        """The verdict itself, or AssertionError with its words."""
        if not self.right:
            raise AssertionError(repr(self))
        return self


class Wrong(Exception):
    """Raised inside a check, with the words for the student."""


_asked = itertools.count()


def check(function: Callable[..., str]) -> Check:
    """Decorator: ``function`` returns praise or raises Wrong; whatever the answer itself raises becomes a hint too."""

    @functools.wraps(function)
    def judged(*answers: Any) -> Verdict:
        global _asked
        _asked = itertools.count()
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Verdict(True, function(*answers))
        except Wrong as wrong:
            return Verdict(False, str(wrong))
        except NotImplementedError:
            return Verdict(False, "The stub is still in place: write your lines where it says so, and run the cell again.")
        except Exception as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "checks" not in f.filename.replace("\\", "/").split("/")]
            at = f", at the line `{frames[0].line}`" if frames and frames[0].line else ""
            return Verdict(False, f"Your code stopped with {type(error).__name__}: {error}{at}.")

    return judged


# Asking ------------------------------------------------------------------------------------------------------------------


def ask(answer: Any, *inputs: Any) -> Any:
    """``answer(*inputs)`` on copies; Wrong when it changes them, returns nothing, or lets the library do the work."""
    apart = next(_asked) % 2 == 1
    given = [_laid_out(x, apart) if isinstance(x, np.ndarray) else x for x in inputs]
    with by_hand():
        result = answer(*given)
    for mine, theirs in zip(inputs, given, strict=True):
        if isinstance(mine, np.ndarray) and not np.array_equal(mine, theirs, equal_nan=mine.dtype.kind in "fc"):
            raise Wrong("Your function changes its input. Work on a new array: the caller still needs the old one.")
    if result is None:
        raise Wrong("Your function returns None: is the `return` missing?")
    return result


def _laid_out(x: np.ndarray, apart: bool) -> np.ndarray:
    """A copy; with its entries ``apart`` in memory, a view of an array twice as large."""
    if x.dtype == np.int64:  # NumPy's index type, so that a right answer may count and pick with them in a browser too
        x = x.astype(np.intp)
    if not apart or x.ndim == 0:
        return np.array(x)
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan if x.dtype.kind == "f" else 0, x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def _refused() -> tuple[str, ...]:
    """Where the functions live that would do the reader's work."""
    found = [os.path.dirname(mg.__file__)]
    for package in ("transformer", "autograd", "jax"):
        spec = importlib.util.find_spec(package)
        found += list(spec.submodule_search_locations or []) if spec else []
    if spec := importlib.util.find_spec("torch"):
        (torch,) = list(spec.submodule_search_locations or [])[:1]
        found += [os.path.join(torch, "autograd"), os.path.join(torch, "_tensor.py"), os.path.join(torch, "func")]
    return tuple(folder if folder.endswith(".py") else folder + os.sep for folder in found)


REFUSED = _refused()


@contextmanager
def by_hand() -> Iterator[None]:
    """Inside, a call of the library's functions, or of another library's derivatives, raises Wrong."""
    before = sys.getprofile()

    def watch(frame: Any, event: str, argument: Any) -> None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if event == "call" and file.startswith(REFUSED) and not name.startswith("__") and name != "<module>":
            sys.setprofile(None)
            package = os.path.basename(os.path.dirname(next(p for p in REFUSED if file.startswith(p)) + "x"))
            raise Wrong(
                f"Your function lets the library do the work: it calls `{name}` of {package}. "
                "Write it with NumPy alone; the check compares it with the library afterwards."
            )

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(before)


def several(got: Any, names: str) -> Any:
    """The parts of an answer that should be as many things as there are ``names``, written "a, b and c"."""
    expected = names.replace(" and ", ", ").split(", ")
    if not isinstance(got, tuple | list) or len(got) != len(expected):
        yours = f"{len(got)} things" if isinstance(got, tuple | list) else f"one {type(got).__name__}"
        raise Wrong(f"Return {NUMBERS[len(expected)]} things: {names}; yours is {yours}.")
    return got


NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}


def pair(got: Any) -> Any:
    """Both parts of an answer that should be two things."""
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"Return two things, as a pair; yours is {f'{len(got)} things' if isinstance(got, tuple | list) else type(got).__name__}.")
    return got


# Judging -----------------------------------------------------------------------------------------------------------------


def numbers(got: Any, what: str = "the answer") -> np.ndarray:
    """An answer as an array of its own dtype: of a Tensor, of another library's tensor, of nested lists."""
    if isinstance(got, mg.Tensor):
        got = got.data
    elif not isinstance(got, np.ndarray) and hasattr(got, "detach"):
        got = got.detach().cpu().numpy()
    try:
        array = np.asarray(got)
    except ValueError as error:
        raise Wrong(f"{what} should be an array; the parts of yours have different shapes ({error}).") from None
    if array.dtype.kind not in "biuf":
        raise Wrong(f"{what} should be real numbers; yours has dtype {array.dtype}.")
    return array


def tolerance(got: np.ndarray, rtol: float, expected: np.ndarray | None = None) -> float:
    """``rtol``, or what the precision of ``got`` allows.

    Numbers of float32 in an array of float64 count as float32, unless those of ``expected`` are such themselves.
    """
    if got.dtype.kind != "f":
        return rtol
    size = min(got.dtype.itemsize, 8)
    if size == 8 and _fits(got, np.float32) and not _fits(got, np.float16) and (expected is None or not _fits(expected, np.float32)):
        size = 4
    return max(rtol, PRECISION[size])


def _fits(x: np.ndarray, dtype: Any) -> bool:
    """Whether the finite numbers of ``x`` are those of a smaller ``dtype``."""
    finite = x[np.isfinite(x)]
    with np.errstate(all="ignore"):
        return np.array_equal(finite.astype(dtype), finite)


def diagnosed(f: Any, inputs: dict[str, Any], claimed: dict[str, Any], upstream: Any = None, at: str = "", rtol: float = 1e-11) -> None:
    """Wrong, in the words of ``mg.diagnose`` where it has some, unless the claimed gradients of ``f`` are right.

    The engine has the last word; what is less precise is judged by its own precision.
    """
    claimed = {name: numbers(g, f"the gradient of {name}") for name, g in claimed.items()}
    output, pull = mg.vjp(lambda *values: f(**dict(zip(inputs, values, strict=True))), *inputs.values())
    right = {name: g.data for name, g in zip(inputs, pull(np.ones(output.shape) if upstream is None else upstream), strict=True)}
    wrong = [name for name, g in claimed.items() if g.shape != right[name].shape or not close(g, right[name], tolerance(g, rtol, right[name]))]
    if not wrong:
        return
    diagnosis = mg.diagnose(f, inputs, {name: g.astype(float) for name, g in claimed.items()}, upstream=upstream)
    if not diagnosis:
        raise Wrong("\n".join(diagnosis.notes()) + (f" (Found at {at}.)" if at else ""))
    for name in wrong:
        same(claimed[name], right[name], f"the gradient of {name}", rtol=rtol, at=at)


def softmax(x: np.ndarray) -> np.ndarray:
    """Shares along the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def same(
    got: Any, expected: Any, what: str, hints: dict[str, Any] | None = None, rtol: float = 1e-11, at: str = "", scale: float = 0.0
) -> None:
    """Wrong unless ``got`` has the shape and the numbers of ``expected``; a hint whose own wrong numbers are met is told.

    Numbers are compared relative to the largest of ``expected``, or to ``scale`` if that is larger: what cancels was once of that size.
    The words show the worst entry, and by how much it is off.
    """
    expected = np.asarray(expected, float)
    got = numbers(got, what)
    rtol = tolerance(got, rtol, expected)
    got = got.astype(float)
    where = f" for {at}" if at else ""
    for hint, wrong in (hints or {}).items():
        wrong = np.asarray(wrong, float)
        right = wrong.shape == expected.shape and close(wrong, expected, rtol, scale)
        if got.shape == wrong.shape and close(got, wrong, rtol, scale) and not right:
            apart = f"{what}{where}{worst(got, expected)}" if got.shape == expected.shape else f"yours has shape {got.shape}, {what} {expected.shape}"
            raise Wrong(f"{hint} ({apart[:1].upper()}{apart[1:]}.)")
    if got.shape != expected.shape:
        raise Wrong(f"{what} should have shape {expected.shape}{where}; yours has {got.shape}.")
    if not close(got, expected, rtol, scale):
        near = NEARLY if close(got, expected, NEAR, scale) and rtol < NEAR else ""
        raise Wrong(f"{what}{where}{worst(got, expected)}.{near}")


def zeros_at(got: Any, places: np.ndarray, words: str) -> None:
    """Wrong, with these words and the largest of them, unless the entries at ``places`` are exactly zero."""
    entries = np.where(places, numbers(got), 0)
    if entries.any():
        raise Wrong(f"{words} The largest should be 0; yours is {entries.flat[np.abs(entries).argmax()]:.3g}.")


def close(a: np.ndarray, b: np.ndarray, rtol: float, scale: float = 0.0) -> bool:
    """Equal, relative to the largest entry of ``b`` or to ``scale``; what is infinite or no number in one must be so in the other."""
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=scale))
    return bool(np.allclose(a, b, rtol=0, atol=rtol * scale if scale else 1e-15, equal_nan=True))


def worst(got: np.ndarray, expected: np.ndarray) -> str:
    """The entry that is furthest off, with as many digits as tell the two apart, by how much, and how many are off."""
    with np.errstate(all="ignore"):
        gap = np.abs(got - expected)
    gap = np.where((got == expected) | (np.isnan(got) & np.isnan(expected)), 0, np.where(np.isnan(gap), np.inf, gap))
    place = np.unravel_index(int(gap.argmax()), gap.shape) if gap.ndim else ()
    right, yours, off = float(expected[place]), float(got[place]), float(gap[place])
    digits = next((d for d in (6, 9, 12) if f"{right:.{d}g}" != f"{yours:.{d}g}"), 17)
    entry = f": entry [{', '.join(map(str, place))}] " if place else " "
    by = f", off by {off:.2g}" if np.isfinite(off) else ""
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=0)
    many = int((gap > 1e-9 * scale).sum()) if gap.ndim else 1
    count = f" ({many} of {gap.size} entries are off)" if gap.size > 1 and many > 1 else ""
    return f"{entry}should be {right:.{digits}g}; yours is {yours:.{digits}g}{by}{count}"


# Inputs that tell --------------------------------------------------------------------------------------------------------


def extreme(rng: np.random.Generator, t: int, s: int, hidden: Any = ()) -> tuple[np.ndarray, np.ndarray]:
    """Q (t, 4) and K (s, 4) with scores Q Kᵀ/√4 from −10 000 to 10 000, multiples of 50: exact in float32, and far apart or tied.

    Where keys are ``hidden``, theirs are 10 000 and all others are below −7000: no finite mask of an ordinary size hides them.
    """
    hidden = np.asarray(hidden, bool)
    Q = 100.0 * np.eye(4)[np.arange(t) % 4]
    K = rng.integers(-200, -150 if hidden.any() else 201, (s, 4)).astype(float)
    K[s - 1] = K[0]  # a tie
    if hidden.any():
        K[hidden] = 200.0
    elif s > 2:
        K[1, :2] = 200.0, -200.0
    return Q, K


def finite(got: Any, what: str) -> None:
    """Wrong where scores of 10 000 led to something that is no number."""
    if not np.isfinite(numbers(got)).all():
        raise Wrong(f"Scores of ±10 000 make {what} NaN: e^10000 overflows. Subtract the largest score of each row first; the shares stay the same.")


WEAK_MASK = "The mask is too weak: the scores here go down to −10 000, so a hidden one must become −∞, and its weight exactly 0."
