"""Standard streams that are closed, whose reader has gone, or that lead to a full disk."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

STREAMS = {"stdin": "standard input", "stdout": "standard output", "stderr": "standard error"}


def open_closed() -> list[str]:
    """Open what is closed of the three streams on the null device, so that no file of ours takes its number; returns their names."""
    closed = [name for name in STREAMS if getattr(sys, name) is None]
    for number in range(3 if closed else 0):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    for name in closed:
        setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115 (for good)
    return closed


def reader_gone(error: OSError) -> bool:
    """Whether a write failed because nobody reads any more; Windows calls it an invalid argument."""
    return isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL and error.filename is None)


def discard(stream: Any) -> None:
    """Let what is still to be written to a stream go nowhere, also what Python writes at its end."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class Lasting:
    """A stream that outlives its reader: what nobody reads is dropped, and the work goes on."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.gone = stream, False

    def write(self, text: str) -> int:
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, action: Any) -> None:
        if self.gone:
            return
        try:
            action()
        except OSError as error:
            if not reader_gone(error):
                raise
            self.gone = True
            discard(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """Within it, a reader of the output that goes away ends the printing alone."""
    out, err = Lasting(sys.stdout), Lasting(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()
