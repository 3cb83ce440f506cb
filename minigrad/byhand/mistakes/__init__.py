"""The mistakes that people make in the gradient of an op; one room per family, as in ``minigrad.ops``."""

from . import attention, elementwise, norms, products, softmax
from .registry import MISTAKES, Mistake, mistake

__all__ = ["MISTAKES", "Mistake", "attention", "elementwise", "mistake", "norms", "products", "softmax"]
