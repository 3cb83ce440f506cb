"""Doing more with less: what a model costs, and the remedies, each in a room of its own.

``counting`` (``costs``, ``families``, ``watching``): parameters, FLOPs and bytes, by formula and by watching.
"""

from .counting import Row, Table, count
from .watching import Work, kept_bytes, watch

__all__ = ["Row", "Table", "Work", "count", "kept_bytes", "watch"]
