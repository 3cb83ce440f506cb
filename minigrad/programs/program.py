"""A function, or a loss and its gradients, as a straight line of NumPy calls that is recorded once and replayed.

It has more than 300 lines because recording, replaying and comparing the two are one life of one object.
"""

from __future__ import annotations

import operator
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import graph, guards
from ..derivatives import leaves as leaves_of
from ..derivatives import rebuild
from ..graph import Value
from ..modes import enable_grad, mode, no_grad, recording
from ..modes import plain as plain_mode
from ..nn import Module, changes
from ..ops import declare
from ..random import drawing_again, noting_draws
from ..tensor import Tensor
from .refusals import Digest, attributes_of, close, digest, refuse_differences, refuse_other_attributes, refuse_other_draws
from .straight import Straight, needed
from .tape import Line, Name, Tape
from .watched import Refused, array_of, unwatched, watched

_data, _wants = operator.attrgetter("data"), operator.attrgetter("requires_grad")
RECORDINGS = 32  # sets of shapes that a program remembers


@dataclass
class Recording:
    """What was noted for one set of shapes."""

    lines: list[Line]
    arguments: list[Name]  # the arrays among the arguments, in order; the upstream gradient last, if there is one
    leaves: list[tuple[Tensor, Name]]
    outputs: Any  # the tree that the function returned, with names in the place of Tensors
    gradients: list[tuple[Any, Name, bool]]  # of a leaf, or of an argument by its number; and whether its memory is shared
    positions: list[int] = field(default_factory=list)  # of the arrays among all arguments
    dtype: Any = None  # of the loss
    straight: Any = None
    tensors: list[Tensor] = field(default_factory=list)  # the leaves
    calls: int = 0
    seen: list[np.ndarray] = field(default_factory=list)  # the leaves' arrays that fitted last
    wants: list[bool] = field(default_factory=list)  # which leaves wanted a gradient
    modules: list[Module] = field(default_factory=list)  # those that were called
    attributes: Any = None  # of these modules
    checked: int = -1  # when they were compared last, in changes of modules
    pool: list[Any] = field(default_factory=list)  # buffers that no call is using

    def results(self) -> list[Name]:
        """What is computed for the caller: outputs, then gradients."""
        return [*leaves_of(self.outputs), *(name for _, name, _ in self.gradients)]

    def fits(self, data: list[np.ndarray]) -> bool:
        """Whether the leaves still have the shapes and dtypes of the recording."""
        if len(self.seen) != len(data) or not all(map(operator.is_, data, self.seen)):
            if not all(a.shape == n.what.shape and a.dtype == n.what.dtype for a, (_, n) in zip(data, self.leaves)):
                return False
            self.seen = data
        if list(map(_wants, self.tensors)) != self.wants:
            return False
        if self.checked != changes():
            self.checked = changes()
            return attributes_of(self.modules) == self.attributes
        return True


class Program:
    """``program(function, model)``: called like the function; see :func:`program`."""

    def __init__(
        self, function: Callable[..., Any], model: Any = None, fluid: bool = False, rewind: Callable[[], None] | None = None, modules: Any = None
    ) -> None:
        if not callable(function):
            raise TypeError(f"program: expected a function, got {type(function).__name__}; write program(loss, model), the function first")
        self.function, self.model = function, model
        self.differentiates = model is not None
        self.recordings: dict[Any, Recording] = {}
        self._example: tuple[Any, ...] | None = None  # the arguments of the last recording
        self._modules = [m for x in (function, model, modules) if isinstance(x, Module) for m in x.modules()]
        self._fluid, self._rewind = fluid, rewind or (lambda: None)  # no buffers of a fixed size; undo what effects there are
        self.calls = 0  # of all recordings
        self._flags: tuple[Any, ...] = (-1,)  # when the modules were looked at last, and which of them train
        self._lock = threading.RLock()

    def __call__(self, *args: Any, gradient: Any = None, **others: Any) -> Any:
        """What the function returns; with a model, a scalar whose gradients, times ``gradient``, are added to ``.grad`` of all leaves.

        Raises RuntimeError for what cannot be recorded, with the reason and the place; TypeError for arguments by name.
        """
        if others or (gradient is not None and not self.differentiates):
            name = next(iter(others), "gradient")
            raise TypeError(f"program: got {name!r} by name; a program takes its arguments by position, as in program(x, {name})")
        if mode.get().tape is not None or mode.get().anomaly or declare.intercepted:  # inside of another program, or watched: as usual
            return self._as_usual(args, gradient)
        given = leaves_of(args)
        for x in given:
            if isinstance(x, Tensor) and x.history is not None and x.requires_grad:
                raise TypeError(
                    f"program: an argument is the result of {x.history[0].name} and requires grad, but a program walks back to its arguments "
                    "only; compute it inside the function, or pass x.detach()"
                )
        key = self._key(args, given)
        found = self.recordings.get(key)
        data = list(map(_data, found.tensors)) if found is not None else []
        if found is None or not found.fits(data):
            with self._lock:
                found = self._remember(args, given)
            if found is None:
                return self._as_usual(args, gradient)
            data = list(map(_data, found.tensors))
        if not self.differentiates:
            self._refuse_lost_gradients(found, given)
        arrays = [x.data if isinstance(x, Value) else x for x in given if isinstance(x, Value | np.ndarray)]
        if self.differentiates:
            arrays.append(np.asarray(1 if gradient is None else gradient, found.dtype))
        found.calls += 1
        self.calls += 1
        if found.calls <= 2 or self.calls & (self.calls - 1) == 0:
            results = self._verified(found, args, given, arrays, data)
        else:
            results = self._run(found, arrays, data)
        return self._hand_out(found, given, results)

    @staticmethod
    def _run(found: Recording, arrays: list[Any], data: list[np.ndarray]) -> tuple[Any, ...]:
        try:
            buffers = found.pool.pop()
        except IndexError:
            buffers = [np.empty(*shape) for shape in found.straight.buffers]
        results = found.straight.run(arrays, data, buffers)
        found.pool.append(buffers)
        return results

    def _verified(self, found: Recording, args: tuple[Any, ...], given: list[Any], arrays: list[Any], data: list[np.ndarray]) -> tuple[Any, ...]:
        """The results of a call, compared with those of the function itself: at the first two of each recording, and of all calls at 1, 2, 4, 8, …,
        so that it costs nothing in the end."""
        found.pool.clear()  # so that the buffers of the one and the graph of the other are never held at once
        with noting_draws() as draws, enable_grad() if self.differentiates else no_grad():
            wanted = self._by_function(found, args, given, arrays)
        self._rewind()
        with drawing_again(draws):
            try:
                results = self._run(found, arrays, data)
            except (ValueError, TypeError) as error:
                raise Refused(f"program: the recording does not fit call {found.calls}: {error}") from error
        for n, (a, b) in enumerate(zip(results, wanted, strict=True)):
            if not close(np.asarray(a), b):
                self.recordings.clear()
                for rng, state in draws.values():
                    rng.bit_generator.state = state  # as if it had not been called
                first = len(results) - len(found.gradients)
                what = "its result" if n < first else f"the gradient of {getattr(found.gradients[n - first][1].of, 'label', None) or 'a leaf'}"
                raise Refused(
                    f"program: call {found.calls} of the recording and the function itself differ in {what}: the function keeps something from "
                    "call to call, or computes with NumPy from what changes. Call the function itself, or pass what changes as an argument"
                )
        return results

    def _by_function(self, found: Recording, args: tuple[Any, ...], given: list[Any], arrays: list[Any]) -> list[Digest]:
        """What the function itself returns, and its gradients: enough of them to compare others with."""
        fresh = [graph.wrap(x.data).requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in given]
        out = self.function(*rebuild(args, fresh))
        wanted = [t.data if isinstance(t, Value) else np.asarray(t) for t in leaves_of(out)]
        if self.differentiates:
            targets = [fresh[t] if isinstance(t, int) else t for t, _, _ in found.gradients]
            pulled = graph.pullback([out], [np.broadcast_to(arrays[-1], out.shape)], targets)
            wanted += [np.zeros(t.shape, t.dtype) if g is None else g for t, g in zip(targets, pulled)]
        return list(map(digest, wanted))

    def source(self, plain: bool = False) -> str:
        """The last recording as Python text that runs with NumPy alone: the forward pass, then the backward pass, a line for each op.

        Kernels are called by name and stand below; with ``plain`` every op is written out.  The function that the text defines takes
        the arguments and, by their names, ``arrays(plain)``; it returns the loss and a dict of gradients (or what the function returns).
        Raises RuntimeError before the first call, and for what has no text.
        """
        return self._text(plain).text

    def arrays(self, plain: bool = False) -> dict[str, np.ndarray]:
        """What the function that ``source(plain)`` defines takes besides the arguments: parameters and large constants, by name."""
        return self._text(plain).arrays

    def _text(self, plain: bool) -> Any:
        from .source import text

        if self._example is None:
            raise RuntimeError("program.source: nothing has been recorded yet; call the program once, with arguments of the shapes that are meant")
        with plain_mode() if plain else nullcontext(), self._undisturbed():
            return text(self.record(self._example), self)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Within it, draws are taken back afterwards."""
        with noting_draws() as draws:
            try:
                yield
            finally:
                for rng, state in draws.values():
                    rng.bit_generator.state = state

    def _as_usual(self, args: tuple[Any, ...], gradient: Any) -> Any:
        if not self.differentiates:
            return self.function(*args)
        with enable_grad():
            out = self.function(*args)
            out.backward(None if gradient is None else np.asarray(gradient, out.dtype))
        return out.detach()

    def _key(self, args: tuple[Any, ...], given: list[Any]) -> Any:
        """Equal for calls that one recording serves."""
        shapes = [
            (x.shape, x.dtype, isinstance(x, Tensor) and x.requires_grad) if isinstance(x, np.ndarray | Tensor) else (type(x), repr(x))
            for x in given
        ]
        flat = len(given) == len(args) and all([isinstance(x, np.ndarray | Tensor) for x in args])
        structure = None if flat else repr(rebuild(args, range(len(given))))
        if self._flags[0] != changes():
            self._flags = (changes(), *[m.training for m in self._modules])
        return (*shapes, structure, mode.get().plain, self._flags[1:])

    def _remember(self, args: tuple[Any, ...], given: list[Any]) -> Recording | None:
        """A new recording, unless there are too many."""
        if len(self.recordings) == RECORDINGS and self._key(args, given) not in self.recordings:
            warnings.warn(
                f"program: {RECORDINGS} sets of shapes are recorded; other shapes are computed as usual, without a program. "
                "Pad the arguments to fewer shapes",
                stacklevel=3,
            )
            return None
        with self._undisturbed():
            found = self.record(args)
        found.straight = Straight(found.lines, found.arguments, [name for _, name in found.leaves], found.results(), not self._fluid)
        found.lines = []  # they have served; texts are made from new ones
        found.straight.forget()
        found.tensors = [t for t, _ in found.leaves]
        for _, name in found.leaves:
            name.value = None
        for name in found.arguments:
            name.value = None
        found.wants = list(map(_wants, found.tensors))
        self._modules += [m for m in found.modules if not any(m is known for known in self._modules)]
        self._flags = (-1,)
        self._rewind()
        self.recordings[self._key(args, given)], self._example = found, args
        return found

    def _refuse_lost_gradients(self, found: Recording, given: list[Any]) -> None:
        if mode.get().grad and any(t.requires_grad for t in (*(t for t, _ in found.leaves), *(x for x in given if isinstance(x, Value)))):
            raise TypeError(
                "program: something that requires grad goes in, but what comes out has no history. For gradients write "
                "program(loss, model) or program(value_and_grad(f)); for values alone, call it under `with no_grad():`"
            )

    def _hand_out(self, found: Recording, given: list[Any], results: tuple[Any, ...]) -> Any:
        n = len(results) - len(found.gradients)
        if n < len(results):
            gradients = [g if type(g) is np.ndarray else np.asarray(g) for g in results[n:]]
            targets = [given[t] if type(t) is int else t for t, _, _ in found.gradients]
            graph.deposit(zip(targets, gradients), {id(g) for (_, _, shared), g in zip(found.gradients, gradients) if shared})
        if isinstance(found.outputs, Name):
            return graph.wrap(results[0])
        return rebuild(found.outputs, [graph.wrap(r) for r in results[:n]])

    # Recording ----------------------------------------------------------------------------------------------------------

    def record(self, args: tuple[Any, ...]) -> Recording:
        """Run the function twice on a tape, with other draws, and keep what both agree on."""
        with noting_draws() as draws:
            first, _ = self._tape(args, [])
        self._rewind()
        refuse_other_draws(first, draws)
        before = attributes_of(list(first.modules.values()))
        again, found = self._tape(args, [t for t, _ in first.leaves.values()])
        refuse_differences(first, again)
        found.modules = list(again.modules.values())
        found.attributes, found.checked = attributes_of(found.modules), changes()
        refuse_other_attributes(before, found.attributes, found.modules)
        return found

    def _tape(self, args: tuple[Any, ...], known: list[Any]) -> tuple[Tape, Recording]:
        tape, given = Tape(), leaves_of(args)
        new, arguments, numbers = list(given), [], {}
        for i, x in enumerate(given):
            if isinstance(x, np.ndarray | Value):
                t = watched(graph.wrap((x.data if isinstance(x, Value) else x)[...]))  # a view: two arguments may be one array
                t.requires_grad = isinstance(x, Value) and x.requires_grad
                arguments.append(tape.give("argument", t.data))
                new[i], numbers[id(t)] = t, i
        own = [p for x in (self.function, self.model) if isinstance(x, Module) for p in x.parameters()]
        for t in (*own, *known):
            tape.leaf(t)
        before = [(t, t.data) for t, _ in tape.leaves.values()]
        written = guards.last_write
        try:
            with recording(tape), enable_grad() if self.differentiates else nullcontext():
                with naming(tape):
                    out = self.function(*rebuild(args, new))
                outputs = self._outputs(tape, out)
                if self.differentiates:
                    gradients = self._gradients(tape, out, arguments, numbers)
                else:
                    gradients = []
        finally:
            for t, _ in tape.leaves.values():
                unwatched(t)
        if guards.last_write != written or any(t.data is not a for t, a in before):
            raise Refused("program: the function writes into a Tensor in place, or gives it another array; a program computes new ones only")
        name_parameters(self.function, self.model, tape)
        stable = {id(t) for t in (*own, *known)}
        gradients = [(t, name, s) for t, name, s in gradients if isinstance(t, int) or id(t) in stable]
        found = Recording([], arguments, list(tape.leaves.values()), outputs, gradients, list(numbers.values()), getattr(out, "dtype", None))
        found.lines = needed(tape.lines, found.results())
        used = {name for line in found.lines for name in line.reads()} | set(found.results())
        found.leaves = [(t, name) for t, name in found.leaves if name in used]
        return tape, found

    def _outputs(self, tape: Tape, out: Any) -> Any:
        names = []
        for t in leaves_of(out):
            if not isinstance(t, Tensor):
                raise Refused(f"program: the function returns a {type(t).__name__}, {t!r:.60}; expected Tensors, which a program computes anew")
            tape.leaf(t)
            names.append(tape.known[id(t.data)])
        if self.differentiates and not (isinstance(out, Tensor) and out.size == 1 and out.requires_grad):
            got = f"one of shape {out.shape}" if isinstance(out, Tensor) else type(out).__name__  # its numbers may not be read here
            raise Refused(f"program: the loss must be a Tensor that holds one number and depends on something that requires grad, got {got}")
        return names[0] if isinstance(out, Tensor) else rebuild(out, names)

    def _gradients(self, tape: Tape, out: Any, arguments: list[Name], numbers: dict[int, int]) -> list[Any]:
        tape.backward = True
        one = np.ones(out.shape, out.dtype)
        arguments.append(tape.give("argument", one))
        arguments[-1].label = "gradient"
        _, leaves, _ = graph.reachable([out])
        found = graph.pullback([out], [watched(graph.wrap(one))], leaves)
        gradients: list[Any] = []
        seen: set[int] = set()
        for t, g in zip(leaves, found, strict=True):
            if g is None:
                continue
            tape.leaf(g)
            name = tape.known[id(g.data)]
            if name.kind == "made" and name.of is None:
                name.of = tape.known.get(id(t.data))
            gradients.append((numbers.get(id(t), t), name, name.kind != "made" or name.what.owner in seen))
            seen.add(name.what.owner)
        return gradients


@contextmanager
def naming(tape: Tape) -> Iterator[None]:
    """Within it, arrays get the names that the function's own variables have, outermost functions last."""

    def note(frame: Any, event: str, arg: Any) -> None:
        if event == "return" and frame.f_globals.get("__name__", "").partition(".")[0] != "minigrad":
            for label, value in frame.f_locals.items():
                if isinstance(value, Value) and (name := tape.known.get(id(array_of(value)))) and name.kind == "made":
                    name.label = label

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def name_parameters(function: Any, model: Any, tape: Tape) -> None:
    """Leaves get the names that they have in the module, or their own."""
    paths = {id(p): path for x in (model, function) if isinstance(x, Module) for path, p in x.named_parameters()}
    for t, name in tape.leaves.values():
        name.label = paths.get(id(t), t.name)


def program(function: Callable[..., Any], model: Any = None) -> Program:
    """The function as a straight line of NumPy calls: recorded at the first call with new shapes, replayed from then on.

    ``program(loss, model)`` returns the scalar loss and adds the gradients to ``.grad`` of the parameters and of everything else that
    requires grad, as ``loss(...).backward()`` does; ``program(f)`` computes ``f``, and ``program(value_and_grad(f))`` its gradient.
    The arguments are arrays or Tensors, in trees of dicts, lists and tuples; numbers and strings among them are recorded as they are.
    The numbers are those of the engine; parameters are read anew at each call, and dropout draws anew; what hangs at a module, trains or is
    frozen is looked at.  What cannot be recorded is refused, with the reason: control flow on values, numbers drawn elsewhere, writing in
    place, state kept from call to call.  Of variables of the function's surroundings that are no Tensors and in no module, a change is
    noticed at the next of the calls 1, 2, 4, 8, …, at which program and function are compared (and at the first two with new shapes): pass
    what changes as an argument.
    """
    return Program(function, model)
