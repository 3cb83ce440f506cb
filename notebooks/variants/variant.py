"""What a variant is made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Inputs = Callable[[np.random.Generator], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Variant:
    """``exercise`` as in its check, ``03_rms_norm_backward``; ``numbers`` the choices for each name; ``answer`` with nbgrader's marks."""

    exercise: str
    numbers: dict[str, tuple[Any, ...]]
    task: str
    answer: str
    inputs: Inputs

    def fill(self, text: str, numbers: dict[str, Any]) -> str:
        """The text with the numbers in place of their names.  Raises KeyError for a name that has none."""
        return re.sub(r"«(\w+)»", lambda found: str(numbers[found[1]]), text)

    def solution(self, numbers: dict[str, Any]) -> Callable[..., Any]:
        """The function that answers the task with these numbers."""
        namespace: dict[str, Any] = {"np": np}
        exec(self.fill(self.answer, numbers), namespace)
        return namespace[re.findall(r"(?m)^def (\w+)", self.answer)[-1]]  # type: ignore[no-any-return]
