"""The derivative as a program: what a function computes, and its backward pass, as straight-line NumPy."""

from .program import Program, program
from .watched import Refused

__all__ = ["Program", "Refused", "program"]
