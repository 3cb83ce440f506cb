r"""Eight bits for a weight: integers from −127 to 127 and a scale that many of them share.

.. math:: s = \max_{i \in \text{block}} |w_i| / 127, \qquad q_i = \operatorname{round}(w_i / s), \qquad |w_i - s\,q_i| \le s/2

A block is the whole matrix, or one output channel (a column of a weight (in, out), a row of an embedding), or a group of
``group`` entries along such a channel.  One large weight, an outlier, makes s large for its whole block: the smaller the blocks, the fewer
weights suffer.

Source: Dettmers et al. (2022), "LLM.int8()", section 2.1 and 3; Dettmers & Zettlemoyer (2023), section 4, for groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .mixed_precision import from_bfloat16, to_bfloat16

BLOCKS = ("tensor", "channel", "group")


@dataclass(frozen=True)
class Quantized:
    """int8 ``values`` (R, C), ``scales`` of one entry for each block, and the size of a block."""

    values: np.ndarray
    scales: np.ndarray
    block: tuple[int, int]

    def array(self) -> np.ndarray:
        """s q, in float32."""
        return self.values * spread(self.scales, self.values.shape, self.block)

    @property
    def bytes(self) -> int:
        """One for each value, two for each scale."""
        return self.values.size + 2 * self.scales.size


def spread(scales: np.ndarray, shape: tuple[int, ...], block: tuple[int, int]) -> np.ndarray:
    """For each entry of a matrix of this shape the scale of its block."""
    rows, columns = (np.arange(n) // b for n, b in zip(shape, block, strict=True))
    return scales[rows][:, columns]


def block_of(shape: tuple[int, ...], by: str = "channel", axis: int = 0, group: int = 64) -> tuple[int, int]:
    """The size of a block of a matrix whose products sum over ``axis``; ValueError for what makes none."""
    if len(shape) != 2 or by not in BLOCKS or axis not in (0, 1) or group < 1:
        raise ValueError(f"quantize: shape {shape}, by={by!r}, axis={axis}, group={group}; expected a matrix, one of {BLOCKS}, 0 or 1, ≥ 1")
    if by == "tensor":
        return max(1, shape[0]), max(1, shape[1])
    along = max(1, shape[axis] if by == "channel" else min(group, shape[axis]))
    return (along, 1) if axis == 0 else (1, along)


def quantize(w: Any, by: str = "channel", axis: int = 0, group: int = 64) -> Quantized:
    """The matrix ``w`` (R, C) in 8 bits; its products sum over ``axis`` (0 for ``x @ w``), along which channels and groups lie.

    Scales are bfloat16 numbers; by that the largest weight of a block is off by a quarter of a step at most.  Raises ValueError for weights that
    are not finite, or sizes that do not fit.
    """
    w = np.asarray(w, np.float32)
    block = block_of(w.shape, by, axis, group)
    if not np.isfinite(w).all():
        raise ValueError("quantize: the weights hold NaN or infinity, so there is no scale for them")
    top = np.abs(w)
    for i, step in enumerate(block):
        if w.shape[i]:
            top = np.maximum.reduceat(top, np.arange(0, w.shape[i], step), axis=i)
    scales = from_bfloat16(to_bfloat16(top / np.float32(127)))
    scales = np.where(scales > 0, scales, np.float32(1))
    values = np.rint(w / spread(scales, w.shape, block))
    return Quantized(np.clip(values, -127, 127).astype(np.int8), scales, block)
