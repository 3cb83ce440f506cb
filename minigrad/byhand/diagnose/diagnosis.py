"""What ``diagnose`` says: a verdict on each claimed gradient, in a table with a sentence for each mistake."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..report import Report

UNKNOWN = "not recognised"


@dataclass
class Verdict:
    """What is said of one claimed gradient; ``mistake`` is None when it is right, and "not recognised" when no pattern
    fits."""

    name: str
    shape: tuple[int, ...]
    mistake: str | None
    words: str
    evidence: str
    others: list[str] = field(default_factory=list)
    max_abs: float = 0.0  # not a number where the shapes differ
    worst: str = ""

    def __bool__(self) -> bool:
        return self.mistake is None


@dataclass(repr=False)
class Diagnosis(Report):
    """What ``diagnose`` found: true when every claimed gradient is right; prints as a table with a sentence for each
    mistake."""

    rows: list[Verdict]
    remarks: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return all(self.rows)

    def __getitem__(self, name: str) -> Verdict:
        found = [row for row in self.rows if row.name == name]
        if not found:
            raise KeyError(
                f"diagnose: no claimed gradient of {name!r}; there are {', '.join(row.name for row in self.rows)}"
            )
        return found[0]

    @property
    def mistake(self) -> str | None:
        """The first mistake's name, None when all is right."""
        return next((row.mistake for row in self.rows if row.mistake), None)

    @property
    def mistakes(self) -> dict[str, str | None]:
        """The mistake in each input's gradient, None where it is right."""
        return {row.name: row.mistake for row in self.rows}

    def table(self) -> list[list[str]]:
        """One row for each claimed gradient."""
        head = ["gradient of", "shape", "max difference", "worst entry: yours, chain rule, differences", "verdict"]
        verdicts = ["right" if row else f"WRONG: {row.mistake}" for row in self.rows]
        return [head] + [
            [r.name, str(r.shape), "-" if np.isnan(r.max_abs) else f"{r.max_abs:.1e}", r.worst, v]
            for r, v in zip(self.rows, verdicts, strict=True)
        ]

    def notes(self) -> list[str]:
        """What is wrong with each that is wrong, with the evidence; what is wrong with several in the same way is said
        once."""
        said = []
        for words in dict.fromkeys(row.words for row in self.rows if row.mistake or row.words != "right"):
            rows = [row for row in self.rows if row.words == words]
            said.append(
                f"{', '.join(row.name for row in rows)}: {words}"
                + (f" ({rows[0].evidence})" if rows[0].evidence else "")
                + "."
            )
            said += [f"    The same numbers would come of this: {other}." for other in rows[0].others]
        return [*said, *(f"Note: {remark}." for remark in self.remarks)]
