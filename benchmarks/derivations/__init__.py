"""Derivations from public courses and texts, each with five wrong gradients that people really write.

``ALL`` holds every derivation; ``half("seen")`` and ``half("untouched")`` split them by a hash of their names, so that hints
can be developed on one half and measured on the other.
"""

from __future__ import annotations

import hashlib

from . import library_layers, library_losses, plain_layers, plain_losses, plain_matrices, plain_recurrent, second_look, textbook, two_edits
from .derivation import Derivation, Mistake

ALL: list[Derivation] = [
    *plain_losses.DERIVATIONS, *plain_matrices.DERIVATIONS, *plain_layers.DERIVATIONS, *plain_recurrent.DERIVATIONS,
    *library_losses.DERIVATIONS, *library_layers.DERIVATIONS,
]  # fmt: skip
TWO: list[Derivation] = two_edits.DERIVATIONS
LATER: list[Derivation] = textbook.DERIVATIONS
AGAIN: list[Derivation] = second_look.DERIVATIONS


def half(which: str, derivations: list[Derivation] = ALL) -> list[Derivation]:
    """The half named "seen" or "untouched"."""
    return [d for d in derivations if _side(d.name) == which]


def _side(name: str) -> str:
    return "seen" if hashlib.sha256(name.encode()).digest()[0] % 2 else "untouched"


__all__ = ["AGAIN", "ALL", "LATER", "TWO", "Derivation", "Mistake", "half"]
