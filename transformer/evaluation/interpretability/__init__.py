"""What goes on inside: activations read and replaced, the circuits of heads, what each part adds to the logits."""

from .circuits import (
    composition,
    contributions,
    copying,
    direct_logits,
    head_weights,
    logit_lens,
    ov_circuit,
    prefix_matching,
    previous_token,
    qk_circuit,
)  # fmt: skip
from .hooks import Captured, captured, entries, head_entries, patched

__all__ = [
    "Captured", "captured", "composition", "contributions", "copying", "direct_logits", "entries", "head_entries", "head_weights", "logit_lens",
    "ov_circuit", "patched", "prefix_matching", "previous_token", "qk_circuit",
]  # fmt: skip
