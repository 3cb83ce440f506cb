"""The log of a run, log.csv: a row for each step."""

from __future__ import annotations

import csv
import io
import os
import re
from pathlib import Path

from ..data.files import read_bytes

LOG_COLUMNS = ["step", "loss", "learning_rate", "gradient_norm", "validation_loss"]


def read_rows(path: Path) -> list[list[str]]:
    """The rows of the log, as text; a line cut short by a crash is left out."""
    try:
        rows = list(csv.reader(io.StringIO(read_bytes(path).decode("utf-8"), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: not readable: {error}") from error
    if not rows or rows[0] != LOG_COLUMNS:
        raise ValueError(f"{path}: not the log of a run; expected the columns {', '.join(LOG_COLUMNS)}")
    return [row for row in rows[1:] if len(row) == len(LOG_COLUMNS) and re.fullmatch(r"[0-9]{1,15}", row[0])]


def log_bytes(rows: list[list[str]]) -> bytes:
    """Rows as they stand in the file."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8")


def append(path: Path, data: bytes) -> None:
    """Add to a file and see it on the disk; OSError names the file."""
    try:
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, f"not written: {error.strerror}", str(path)) from error
