"""Between a run and the terminal: the bar that shows how far it is, and the signals that ask it to stop."""

from __future__ import annotations

import contextlib
import signal
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
