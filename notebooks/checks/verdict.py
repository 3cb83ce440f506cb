"""What a check says, and how it asks an answer: with copies of the inputs, and without a traceback when it fails."""

from __future__ import annotations

import functools
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg

Check = Callable[..., "Verdict"]


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


def check(function: Callable[..., str]) -> Check:
    """Decorator: ``function`` returns praise or raises Wrong; whatever the answer itself raises becomes a hint too."""

    @functools.wraps(function)
    def judged(*answers: Any) -> Verdict:
        try:
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


def ask(answer: Any, *inputs: Any) -> Any:
    """``answer(*inputs)`` on copies; Wrong when it changes them or returns nothing."""
    given = [np.array(x) if isinstance(x, np.ndarray) else x for x in inputs]
    result = answer(*given)
    for mine, theirs in zip(inputs, given, strict=True):
        if isinstance(mine, np.ndarray) and not np.array_equal(mine, theirs, equal_nan=mine.dtype.kind in "fc"):
            raise Wrong("Your function changes its input. Work on a new array: the caller still needs the old one.")
    if result is None:
        raise Wrong("Your function returns None: is the `return` missing?")
    return result


def pair(got: Any) -> Any:
    """Both parts of an answer that should be two things."""
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"Return two things, as a pair; yours is {f'{len(got)} things' if isinstance(got, tuple | list) else type(got).__name__}.")
    return got


def diagnosed(f: Any, inputs: dict[str, Any], claimed: dict[str, Any], upstream: Any = None, at: str = "") -> None:
    """Wrong, in the words of ``mg.diagnose``, unless the claimed gradients of ``f`` are right."""
    diagnosis = mg.diagnose(f, inputs, claimed, upstream=upstream)
    if not diagnosis:
        raise Wrong("\n".join(diagnosis.notes()) + (f" (Found at {at}.)" if at else ""))


def softmax(x: np.ndarray) -> np.ndarray:
    """Shares along the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def same(got: Any, expected: Any, what: str, hints: dict[str, Any] | None = None, rtol: float = 1e-9, at: str = "") -> None:
    """Wrong unless ``got`` has the shape and the numbers of ``expected``; a hint whose own wrong numbers are met is told."""
    expected = np.asarray(expected, float)
    got = np.asarray(getattr(got, "data", got) if not isinstance(got, np.ndarray) else got, float)
    where = f" for {at}" if at else ""
    for hint, wrong in (hints or {}).items():
        wrong = np.asarray(wrong, float)
        if got.shape == wrong.shape and close(got, wrong, rtol) and not (wrong.shape == expected.shape and close(wrong, expected, rtol)):
            raise Wrong(f"{hint} ({what}{where} is {show(expected)}; yours is {show(got)}.)")
    if got.shape != expected.shape:
        raise Wrong(f"{what} should have shape {expected.shape}{where}; yours has {got.shape}.")
    if not close(got, expected, rtol):
        raise Wrong(f"{what} should be {show(expected)}{where}; yours is {show(got)}.")


def close(a: np.ndarray, b: np.ndarray, rtol: float) -> bool:
    """Equal, relative to the largest entry."""
    return bool(np.allclose(a, b, rtol=0, atol=rtol * max(1e-300, float(np.abs(b[np.isfinite(b)]).max(initial=0))), equal_nan=True))


def show(x: np.ndarray) -> str:
    """A number to eight digits, a small array whole, a large one by its beginning."""
    if x.ndim == 0:
        return f"{float(x):.8g}"
    if x.size <= 12:
        return np.array2string(x, precision=5, suppress_small=True, separator=", ").replace("\n", "")
    return f"an array that begins {np.array2string(x.ravel()[:4], precision=5, separator=', ')[:-1]}, …"
