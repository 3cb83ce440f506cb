r"""Derivatives as functions of functions: of a scalar or of many outputs, of any order.

``f`` takes Tensors, or dicts, lists and tuples of them; arrays among its arguments are made Tensors.  ``argnums`` says which
arguments to differentiate (an integer, or a tuple of integers).  Everything nests: ``grad(grad(f))`` is the second derivative.
The file has more than 300 lines because every way of differentiating shares its first page, the trees of arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import graph
from .modes import enable_grad, mode
from .ops.declare import Example, arrays_of, op
from .random import drawing_again, noting_draws
from .tensor import Tensor, upstream_gradient

Argnums = int | tuple[int, ...]


# Trees of tensors --------------------------------------------------------------------------------------------------------


def leaves(tree: Any) -> list[Any]:
    """The arrays and numbers in a tree of dicts (in key order), lists and tuples."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, list | tuple):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [] if tree is None else [tree]


def rebuild(tree: Any, new: Sequence[Any]) -> Any:
    """The same tree with other leaves."""
    return _build(tree, iter(new))


def _build(node: Any, remaining: Iterator[Any]) -> Any:
    if isinstance(node, dict):
        built = {key: _build(node[key], remaining) for key in sorted(node)}
        return {key: built[key] for key in node}
    if isinstance(node, list | tuple):
        branches = [_build(branch, remaining) for branch in node]
        return type(node)(*branches) if hasattr(node, "_fields") else type(node)(branches)
    return None if node is None else next(remaining)


def _fresh(x: Any) -> Tensor:
    """A view of ``x`` to differentiate by: connected to ``x`` when ``x`` itself is being differentiated."""
    if isinstance(x, Tensor) and x.requires_grad:
        from .ops.arithmetic import add

        with enable_grad():
            return add(x, 0)
    t = Tensor(x) if mode.get().tape is None else graph.wrap(arrays_of(x))  # a tape knows an array by its identity
    if t.dtype.kind in "iub" and not isinstance(x, Tensor | np.ndarray):
        t = Tensor(x, dtype=np.float64)
    return t.requires_grad_()


def _prepare(args: tuple[Any, ...], argnums: Argnums) -> tuple[list[Any], list[Any], list[Tensor]]:
    if isinstance(argnums, str) or not (isinstance(argnums, int) or all(isinstance(i, int) for i in argnums)):
        raise TypeError(f"argnums={argnums!r}: expected the position of an argument, such as 0, or a tuple of positions; names are not understood")
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in chosen:
        if not -len(args) <= i < len(args):
            raise ValueError(f"argnums={argnums}: the function was called with {len(args)} positional arguments")
    new_args = list(args)
    trees = []
    variables: list[Tensor] = []
    fresh = {i % len(args): [_fresh(x) for x in leaves(args[i])] for i in chosen}  # once, even if named twice
    for i in chosen:
        variables += fresh[i % len(args)]
        new_args[i] = rebuild(args[i], fresh[i % len(args)])
        trees.append(args[i])
    return new_args, trees, variables


def _arrange(values: Sequence[Any], trees: Sequence[Any], argnums: Argnums) -> Any:
    grouped, start = [], 0
    for tree in trees:
        n = len(leaves(tree))
        grouped.append(rebuild(tree, values[start : start + n]))
        start += n
    return grouped[0] if isinstance(argnums, int) else tuple(grouped)


def _with_aux(name: str, value: Any, has_aux: bool) -> tuple[Any, Any]:
    """What is differentiated, and what is handed through beside it."""
    if not has_aux:
        return value, None
    if not isinstance(value, tuple) or len(value) != 2:
        raise TypeError(f"{name}: with has_aux the function must return a pair (output, aux), got {type(value).__name__}")
    return value


def _tensors(name: str, output: Any) -> list[Tensor]:
    """The outputs in a tree of them; TypeError when one is no Tensor."""
    outputs = leaves(output)
    for t in outputs:
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}: the function must return Tensors (or a tree of them), got {type(t).__name__}")
    return outputs


def _detached(tree: Any) -> Any:
    """The same with its Tensors cut from the graph; whatever is no dict, list, tuple or Tensor is left as it is."""
    if isinstance(tree, Tensor):
        return tree.detach()
    if isinstance(tree, dict):
        return {key: _detached(branch) for key, branch in tree.items()}
    if isinstance(tree, list | tuple):
        branches = [_detached(branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return tree


_inside: ContextVar[bool] = ContextVar("minigrad_inside_a_derivative", default=False)


def _fitting(what: str, t: Tensor, direction: Any) -> Tensor:
    """A direction, or an upstream gradient, that belongs to ``t``, in its dtype; ValueError for another shape."""
    if np.shape(direction) != t.shape:
        raise ValueError(f"{what} has shape {np.shape(direction)}; expected {t.shape}")
    return upstream_gradient(t, direction)


def _call(f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """``f(...)`` where the derivatives that ``f`` takes are recorded: it may use the outer variables without being given them."""
    token = _inside.set(True)
    try:
        return f(*args, **kwargs)
    finally:
        _inside.reset(token)


def _outer_needs_graph(args: Any) -> bool:
    """Whether an enclosing derivative is recording: we are in its function, or one of the arguments wants a gradient."""
    return _inside.get() or any(isinstance(x, Tensor) and x.requires_grad for x in leaves(list(args)))


def _pull(
    outputs: Sequence[Tensor], upstream: Sequence[Tensor], variables: Sequence[Tensor], keep: bool, graph_too: bool, since: int = 0
) -> list[Tensor]:
    live = [(t, g) for t, g in zip(outputs, upstream, strict=True) if t.requires_grad]
    found = graph.pullback(
        [t for t, _ in live], [g if graph_too else g.data for _, g in live], variables, retain_graph=keep, create_graph=graph_too, since=since
    )
    return [
        graph.wrap(np.zeros(v.shape, v.dtype)) if d is None else d if isinstance(d, Tensor) else graph.wrap(np.array(d))
        for v, d in zip(variables, found, strict=True)
    ]


# First order ---------------------------------------------------------------------------------------------------------------


def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns ``f(...)`` and its gradient, in the structure of the chosen arguments.

    ``f`` returns a scalar, or with ``has_aux`` a pair ``(scalar, anything)``.  Raises ValueError when it is no scalar.
    """

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            recording = _outer_needs_graph((args, kwargs))
            new_args, trees, variables = _prepare(args, argnums)
            output, aux = _with_aux("grad", _call(f, *new_args, **kwargs), has_aux)
            if not isinstance(output, Tensor) or output.size != 1:
                got = f"shape {output.shape}" if isinstance(output, Tensor) else type(output).__name__
                cure = "use jacobian or vjp for many outputs"
                if not isinstance(output, Tensor):
                    cure = "a plain number is a constant, whose derivative is 0; .data, .item() and float() make one"
                raise ValueError(f"grad: the function must return a scalar Tensor, got {got}; {cure}")
            result = _pull([output], [graph.wrap(np.ones(output.shape, output.dtype))], variables, recording, recording)
        gradient = _arrange(result, trees, argnums)
        value = (output, aux) if has_aux else output
        return (value if recording else _detached(value)), gradient

    return differentiated


def grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the gradient of the scalar function ``f``; with ``has_aux`` ``(gradient, aux)``."""
    both = value_and_grad(f, argnums, has_aux)

    def gradient_of(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return gradient_of


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """``(outputs, pull)``: ``pull(upstream)`` is the tuple of gradients of the primals, ``upstreamᵀ J``.

    ``upstream`` has the structure and shapes of the outputs; ``pull`` may be called again.
    """
    with enable_grad():
        new_args, trees, variables = _prepare(primals, tuple(range(len(primals))))
        output, aux = _with_aux("vjp", _call(f, *new_args), has_aux)
    outputs = _tensors("vjp", output)

    def pull(upstream: Any) -> Any:
        given = leaves(upstream)
        if len(given) != len(outputs):
            raise ValueError(f"vjp: the function has {len(outputs)} outputs, got {len(given)} upstream gradients")
        gs = [_fitting("vjp: the upstream gradient", t, g) for t, g in zip(outputs, given, strict=True)]
        recording = _outer_needs_graph((primals, gs))
        with enable_grad():
            return _arrange(_pull(outputs, gs, variables, True, recording), trees, tuple(range(len(primals))))

    return (output, pull, aux) if has_aux else (output, pull)


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """``(outputs, J·tangents)``: the derivative in one direction, by pulling back twice.

    The VJP is linear in its upstream gradient ``u``; the derivative of ``uᵀJ·tangents`` with respect to ``u`` is ``J·tangents``.
    """
    if not isinstance(primals, tuple | list):  # one argument, as for hvp
        primals, tangents = (primals,), (tangents,)
    primals, tangents = tuple(primals), tuple(tangents)
    if len(leaves(primals)) != len(leaves(tangents)):
        raise ValueError(f"jvp: {len(leaves(primals))} primals but {len(leaves(tangents))} tangents")
    with enable_grad():
        outer = _outer_needs_graph((primals, tangents))
        new_args, _, variables = _prepare(primals, tuple(range(len(primals))))
        directions = [_fitting("jvp: the tangent", v, t) for v, t in zip(variables, leaves(tangents), strict=True)]
        output = _call(f, *new_args)
        outputs = _tensors("jvp", output)
        dummies = [Tensor(np.zeros(t.shape), requires_grad=True, dtype=t.dtype) for t in outputs]
        gradients = _pull(outputs, dummies, variables, True, True)
        total: Any = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
        if isinstance(total, Tensor) and total.requires_grad:
            pushed = _pull([total], [graph.wrap(np.ones((), total.dtype))], dummies, outer, outer)
        else:
            pushed = [graph.wrap(np.zeros(t.shape, t.dtype)) for t in outputs]
    return (output if outer else rebuild(output, [t.detach() for t in outputs])), rebuild(output, pushed)


def jacobian(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns ∂f/∂x, of shape ``f.shape + x.shape``, for each output and each chosen argument.

    For a tree of outputs and a tree of arguments it is a tree of trees: outputs outside, arguments inside.  With ``has_aux``, ``f``
    returns ``(outputs, aux)`` and the function gives ``(jacobian, aux)``.
    """

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        with enable_grad():
            recording = _outer_needs_graph((args, kwargs))
            new_args, trees, variables = _prepare(args, argnums)
            output, aux = _with_aux("jacobian", _call(f, *new_args, **kwargs), has_aux)
            found = [_arrange(_rows(t, variables, recording), trees, argnums) for t in _tensors("jacobian", output)]
        result = rebuild(output, found)
        return (result, aux if recording else _detached(aux)) if has_aux else result

    return differentiated


def _rows(output: Tensor, variables: Sequence[Tensor], recording: bool) -> list[Tensor]:
    """The Jacobian of one output by each variable: one pull for each entry of the output."""
    from .ops.shapes import reshape, stack

    rows = []
    for i in range(output.size):
        unit = np.zeros(output.size, output.dtype)
        unit[i] = 1
        rows.append(_pull([output], [graph.wrap(unit.reshape(output.shape))], variables, True, recording))
    if not rows:
        return [graph.wrap(np.zeros(output.shape + v.shape, v.dtype)) for v in variables]
    return [reshape(stack(column), output.shape + v.shape) for column, v in zip(zip(*rows, strict=True), variables, strict=True)]


# Second order --------------------------------------------------------------------------------------------------------------


def hessian(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns the second derivative of a scalar function: shape ``x.shape + x.shape`` for one array ``x``.

    For a tree of arrays, or several arguments, it has a block for each pair: ``hessian(f)(p)["w"]["b"]`` is ∂²f / ∂w ∂b, of shape
    ``w.shape + b.shape``.  With ``has_aux`` it gives ``(hessian, aux)``.
    """
    return jacobian(grad(f, argnums, has_aux), argnums, has_aux)


def hvp(f: Callable[..., Any], primals: Any, vectors: Any) -> Any:
    """The Hessian of the scalar function ``f`` times ``vectors``, without forming the Hessian: ∇(∇f · v).

    ``primals`` is one argument or a tuple of them, and ``vectors`` has the same structure; so has the result.
    """
    one = not isinstance(primals, tuple)
    args: tuple[Any, ...] = (primals,) if one else primals
    given = leaves((vectors,) if one else vectors)
    everything = tuple(range(len(args)))

    def slope(*xs: Any) -> Any:
        gradients = leaves(grad(f, everything)(*xs))
        if len(gradients) != len(given):
            raise ValueError(f"hvp: {len(gradients)} primals but {len(given)} vectors")
        terms = [(g * _fitting("hvp: the vector", g, v)).sum() for g, v in zip(gradients, given, strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    result = grad(slope, everything)(*args)
    return result[0] if one else result


# Memory for time -------------------------------------------------------------------------------------------------------------


def checkpoint(f: Callable[..., Any], *args: Any) -> Tensor:
    """``f(*args)`` without keeping its interior: the backward pass computes it again, with the same dropout masks.

    Gradients reach the Tensors among ``args`` and those that ``f`` uses besides, such as the parameters of a Module.
    ``f`` returns one Tensor.  Source: Chen et al. (2016), "Training deep nets with sublinear memory cost".
    """
    if not mode.get().grad:
        return f(*args)
    positions = [i for i, x in enumerate(args) if isinstance(x, Tensor)]

    def run(values: Sequence[Any]) -> Any:
        new = list(args)
        for i, value in zip(positions, values, strict=True):
            new[i] = value
        return f(*new)

    given = [args[i] for i in positions]
    stand_ins = [graph.wrap(x.data).requires_grad_(x.requires_grad) for x in given]
    start = graph.now()
    with noting_draws() as draws:
        output = run(stand_ins)
    if not isinstance(output, Tensor):
        raise TypeError(f"checkpoint: the function must return one Tensor, got {type(output).__name__}")
    captured = [x for x in graph.reachable([output], start)[1] if not any(x is s for s in stand_ins)]
    return _recomputed(*given, *captured, run=run, captured=captured, draws=draws, outputs=output.data)


@op(r"y = f(x_1, x_2, \dots)")
def _recomputed(*inputs, run, captured, draws, outputs):
    return outputs


@_recomputed.joint_vjp(x=r"\text{the gradient of } f \text{, computed again}")
def _recomputed_vjp(g: Any, y: Any, *inputs: Any, run: Any, captured: list[Tensor], draws: Any, outputs: Any) -> list[Any]:
    recording = isinstance(g, Tensor) and mode.get().grad  # the backward pass itself
    own = inputs[: len(inputs) - len(captured)]
    with enable_grad(), drawing_again(draws):
        variables = [_fresh(x) if recording and x.dtype.kind == "f" else _variable(x) for x in own]
        start = graph.now()
        again = run(variables)
        wanted = [x for x in (*variables, *captured) if x.requires_grad]
        found = iter(_pull([again], [g if isinstance(g, Tensor) else graph.wrap(g)], wanted, recording, recording, start))
    got = [next(found) if x.requires_grad else None for x in (*variables, *captured)]
    return got if isinstance(g, Tensor) else [d if d is None else d.data for d in got]


_recomputed.examples = lambda rng: [
    Example((rng.normal(size=(2, 3)), rng.normal(size=3)), {}, lambda a, b: checkpoint(lambda x, y: np.exp(np.sin(x * y) + y), a, b))
]


def _variable(x: Any) -> Tensor:
    return graph.wrap(getattr(x, "data", x) if isinstance(x, Tensor) else x).requires_grad_(x.dtype.kind == "f")
