"""The mistakes that people make in the gradient of an op; one room per family, as in ``minigrad.ops``."""

from . import attention, elementwise, norms, products, softmax  # isort: skip
from . import linear_gelu  # isort: skip (it is made of the mistakes of its parts)
from .registry import MISTAKES, Mistake, mistake

__all__ = ["MISTAKES", "Mistake", "attention", "elementwise", "linear_gelu", "mistake", "norms", "products", "softmax"]
