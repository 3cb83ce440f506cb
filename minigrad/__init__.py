"""minigrad: reverse-mode automatic differentiation on NumPy arrays, small enough to read in one sitting."""

from .byhand.gradcheck import gradcheck, gradgradcheck
from .byhand.draw import draw
from .byhand.explain import explain
from .byhand.compare import compare
from .byhand.diagnose import diagnose
from .custom import custom_op
from .derivatives import checkpoint, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .modes import detect_anomaly, enable_grad, no_grad
from .ops.arithmetic import (
    abs, add, astype, clip, cos, divide, erf, exp, expm1, log, log1p, maximum, minimum, multiply, negative, power, reciprocal, relu,
    sigmoid, sin, sqrt, square, subtract, tanh, where,
)  # fmt: skip
from .ops.attention import scaled_dot_product_attention
from .ops.activations import gelu, linear_gelu, silu
from .ops.dropout import dropout
from .ops.fused import cross_entropy, layer_norm, log_softmax, rms_norm, softmax
from .ops.indexing import embedding, getitem, take
from .ops.linear import dot, einsum, linear, matmul, norm, outer, tensordot
from .ops.reductions import cumsum, logsumexp, max, mean, min, prod, sum, var
from .ops.shapes import broadcast_to, concatenate, flip, join_heads, pad, reshape, split, split_heads, stack, swapaxes, transpose, tril, triu
from .random import manual_seed
from .storage import load, save
from .tensor import Tensor

from . import nn, optim  # isort: skip

__version__ = "0.1.0"
__all__ = [
    "Tensor", "abs", "add", "astype", "broadcast_to", "checkpoint", "clip", "compare", "concatenate", "cos", "cross_entropy",
    "cumsum", "custom_op", "detect_anomaly", "diagnose", "divide", "dot", "draw", "dropout", "einsum", "embedding",
    "enable_grad", "erf", "exp", "explain", "expm1", "flip", "gelu", "getitem", "grad", "gradcheck", "gradgradcheck", "hessian",
    "hvp", "jacobian", "join_heads", "jvp", "layer_norm", "linear", "linear_gelu", "load", "log", "log1p", "log_softmax",
    "logsumexp", "manual_seed", "matmul", "max", "maximum", "mean", "min", "minimum", "multiply", "negative", "nn", "no_grad",
    "norm", "optim", "outer", "pad", "power", "prod", "reciprocal", "relu", "reshape", "rms_norm", "save",
    "scaled_dot_product_attention", "sigmoid", "silu", "sin", "softmax", "split", "split_heads", "sqrt", "square", "stack",
    "subtract", "sum", "swapaxes", "take", "tanh", "tensordot", "transpose", "tril", "triu", "value_and_grad", "var", "vjp",
    "where",
]  # fmt: skip
