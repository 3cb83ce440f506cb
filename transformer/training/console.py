"""Between a run and the terminal: the bar that shows how far it is, and the signals that ask it to stop."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any, TextIO

from ..data.files import brief


@contextlib.contextmanager
def clean_stop(trainer: Any) -> Iterator[None]:
    """Within it, the first Ctrl-C, SIGTERM or hang-up asks the loop of ``trainer`` to stop after the step; the second one interrupts."""

    def stop(number: int, frame: Any) -> None:
        trainer.stopping, trainer.signal = True, number
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    before: dict[int, Any] = {}
    try:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if (number := getattr(signal, name, None)) is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, stop)
    except ValueError:  # not the main thread, or a browser: leave it as it is
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sample_lines(text: str) -> str:
    """What a model writes while it learns, for the terminal: three lines that are not long; of a task's, the answer is kept whole."""
    shown = ""
    for line in text.splitlines()[:3]:
        read, arrow, said = line.rpartition(" → ")
        shown += f"\n    {brief(read, max(50, 140 - len(said)))}{arrow}{brief(said, 150)}"
    return shown


def progress_bar(steps: int, done: int, output: TextIO, hidden: bool, unit: str = "step") -> Any:
    """tqdm's, without the thread that it starts to watch slow bars: there are none in a browser, and each step shows itself."""
    from tqdm import tqdm

    class Bar(tqdm):
        monitor_interval = 0

    return Bar(total=steps, initial=done, file=output, unit=unit, dynamic_ncols=True, mininterval=0.5, miniters=1, disable=hidden)


class Pace:
    """How long a run will take, told once, after its first steps; the very first are left out, since a program is recorded in them."""

    FIRST, LAST = 5, 25

    def __init__(self, steps: int) -> None:
        self.steps, self.done, self.start = steps, 0, 0.0

    def step(self) -> str:
        """Count a step; "" unless there is something to tell: after 25 steps of 100 or more."""
        self.done += 1
        if self.done == self.FIRST:
            self.start = time.perf_counter()
        if self.done != self.LAST or self.steps < 4 * self.LAST:
            return ""
        each = (time.perf_counter() - self.start) / (self.LAST - self.FIRST)
        return f"{1 / max(each, 1e-9):,.1f} steps a second: about {duration(each * (self.steps - self.done))} to go"


def duration(seconds: float) -> str:
    """Of a length that one can picture: seconds, 2 at least, up to two minutes, minutes up to two hours, hours."""
    for unit, size in (("seconds", 1), ("minutes", 60)):
        if seconds < 120 * size:
            return f"{max(2, round(seconds / size))} {unit}"
    return f"{seconds / 3600:.1f} hours"
