r"""Reading and replacing what flows between the modules of a model.

A **site** is the dotted name of a module, which stands for what the module returns, or such a name and ``.input``, for
its first argument: in a GPT ``"layers.0"`` is the residual stream after block 0, and
``"layers.0.self_attention.out_proj.input"`` holds the outputs of its heads side by side, before they are mixed.

Activation patching runs a model on one input with an activation from a run on another:
:math:`f(x'; h \leftarrow h(x))`.  Sources: Vig et al. (2020), section 3; Meng et al. (2022), section 2.

The modules are shadowed for as long as the block lasts, in every thread; otherwise calling a module costs nothing more.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad import Tensor, nn, where
from minigrad.modes import mode
from minigrad.ops import declare

INPUT = ".input"


class Captured(Mapping[str, Tensor]):
    """What was seen: ``seen[site]`` is the Tensor of the only call, ``seen.calls[site]`` lists those of all calls."""

    def __init__(self, sites: Iterable[str]) -> None:
        self.calls: dict[str, list[Tensor]] = {site: [] for site in sites}

    def __getitem__(self, site: str) -> Tensor:
        calls = self.calls[site]
        if len(calls) != 1:
            raise LookupError(f"captured: {site!r} ran {len(calls)} times; run the model once within the block, or look at .calls[{site!r}]")
        return calls[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.calls)

    def __len__(self) -> int:
        return len(self.calls)


@contextmanager
def captured(model: nn.Module, *sites: str) -> Iterator[Captured]:
    """Within it every Tensor that passes one of the ``sites`` is kept, with its graph: ``seen["layers.0"]``.

    A block that is entered later sees what earlier ones have made of an activation.
    Raises ValueError for an unknown site, TypeError where no Tensor passes, RuntimeError inside of a program.
    """
    seen = Captured(sites)

    def keep(site: str, x: Tensor) -> Tensor:
        seen.calls[site].append(x)
        return x

    with _standing_at("captured", model, sites, keep):
        yield seen


@contextmanager
def patched(model: nn.Module, patches: Mapping[str, Any]) -> Iterator[None]:
    """Within it the activation at each site is replaced: by a Tensor or array of its shape, or by a function of it.

    Gradients flow into a Tensor, and through a function.  ``entries`` replaces a part only.
    Raises ValueError for an unknown site or another shape, RuntimeError inside of a program and for a site that nothing passed.
    """
    passed = set()

    def replace(site: str, x: Tensor) -> Tensor:
        passed.add(site)
        new = patches[site](x) if callable(patches[site]) else patches[site]
        new = new if isinstance(new, Tensor) else Tensor(np.asarray(new, x.dtype))
        if new.shape != x.shape or new.dtype != x.dtype:
            raise ValueError(
                f"patched: {site!r} holds {x.shape} {x.dtype}, the patch {new.shape} {new.dtype}; "
                "both runs need inputs of the same shape, and a part is replaced by entries(value, index)"
            )
        return new

    with _standing_at("patched", model, patches, replace):
        yield
    if idle := [site for site in patches if site not in passed]:
        raise RuntimeError(f"patched: nothing passed {idle[0]!r}, so that nothing was replaced; does the model call that module?")


def entries(value: Any, index: Any) -> Callable[[Tensor], Tensor]:
    """A patch that takes ``value[index]`` for the entries at a NumPy ``index``, and leaves the others alone.

    ``value`` has the activation's shape, or is a number: ``entries(seen[site], np.s_[:, 5])`` replaces position 5.
    """

    def patch(x: Tensor) -> Tensor:
        chosen = np.zeros(x.shape, bool)
        chosen[index] = True
        return where(chosen, value if isinstance(value, Tensor) else np.asarray(value, x.dtype), x)

    return patch


def head_entries(attention: Any, head: int) -> tuple[Any, ...]:
    """The index of one head in what goes into the ``out_proj`` of a MultiHeadAttention, (B, T, H·D)."""
    if not 0 <= head < attention.num_heads:
        raise IndexError(f"head_entries: head {head} of {attention.num_heads}")
    return np.s_[..., head * attention.head_dim : (head + 1) * attention.head_dim]


def module_at(what: str, model: nn.Module, site: str) -> tuple[nn.Module, bool]:
    """The module of a site, and whether its input is meant; ValueError with the nearest names for an unknown one."""
    modules = dict(model.named_modules())
    if site in modules:
        return modules[site], False
    if site.endswith(INPUT) and site.removesuffix(INPUT) in modules:
        return modules[site.removesuffix(INPUT)], True
    near = difflib.get_close_matches(site, [name for known in modules for name in (known, known + INPUT) if known], 3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {', '.join(list(modules)[1:6])} …"
    raise ValueError(f"{what}: {type(model).__name__} has no site {site!r}; {hint}")


class _Shadow:
    """A module's forward, with what stands before and behind it, in the order in which it came."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.forward = forward
        self.before: list[Callable[[Any], Tensor]] = []
        self.behind: list[Callable[[Any], Tensor]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for action in self.before:
            args = (action(args[0] if args else None), *args[1:])
        out = self.forward(*args, **kwargs)
        for action in self.behind:
            out = action(out)
        return out


@contextmanager
def _standing_at(what: str, model: nn.Module, sites: Iterable[str], act: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """Within it ``act(site, x)`` stands at each site, and programs run as usual, so that none passes it by."""
    _refuse_program(what)
    places = [(*module_at(what, model, site), _checked(what, site, act)) for site in dict.fromkeys(sites)]
    declare.intercepted += 1
    try:
        for module, of_input, action in places:
            if not isinstance(module.__dict__.get("forward"), _Shadow):
                module.forward = _Shadow(module.forward)  # type: ignore[method-assign]
            _rows(module, of_input).append(action)
        yield
    finally:
        declare.intercepted -= 1
        for module, of_input, action in places:
            _rows(module, of_input).remove(action)
            shadow: Any = module.forward
            if not shadow.before and not shadow.behind:
                module.forward = shadow.forward  # type: ignore[method-assign]
                if getattr(shadow.forward, "__self__", None) is module:  # the class's own
                    del module.__dict__["forward"]


def _rows(module: Any, of_input: bool) -> list[Callable[[Any], Tensor]]:
    return module.forward.before if of_input else module.forward.behind


def _checked(what: str, site: str, act: Callable[[str, Tensor], Tensor]) -> Callable[[Any], Tensor]:
    def action(x: Any) -> Tensor:
        _refuse_program(what)
        if not isinstance(x, Tensor):
            raise TypeError(f"{what}: what passes {site!r} is of type {type(x).__name__}; only Tensors can be read and replaced")
        return act(site, x)

    return action


def _refuse_program(what: str) -> None:
    if mode.get().tape is not None:
        raise RuntimeError(f"{what}: it would be recorded into a program, and replayed after the block has ended; call the function itself")
