"""minigrad: reverse-mode automatic differentiation on NumPy arrays, small enough to read in one sitting."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .custom import custom_op
from .derivatives import checkpoint, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .modes import detect_anomaly, enable_grad, no_grad, plain
from .ops.arithmetic import (
    abs, add, astype, divide, erf, exp, log, log1p, maximum, minimum, multiply, negative, power, relu, sigmoid, sqrt, subtract, tanh, where,
)  # fmt: skip
from .ops.attention import scaled_dot_product_attention
from .ops.activations import gelu, linear_gelu, silu
from .ops.declare import recorded
from .ops.dropout import dropout
from .ops.norms import layer_norm, rms_norm
from .ops.softmax import cross_entropy, log_softmax, softmax
from .ops.grouped import grouped_linear
from .ops.indexing import embedding, getitem, take
from .ops.linear import linear, matmul
from .ops.reductions import logsumexp, max, mean, min, sum
from .ops.shapes import broadcast_to, concatenate, join_heads, reshape, split_heads, stack, swapaxes, transpose
from .numpy_api.contractions import dot, einsum, outer, tensordot
from .numpy_api.ops import (
    arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, cbrt, clip, cos, cosh, cumprod, cumsum, exp2, expm1, flip, hypot,
    log2, log10, logaddexp, mod, norm, pad, prod, reciprocal, sin, sinh, square, std, tan, tril, triu, var,
)  # fmt: skip
from .numpy_api.functions import (
    append, array_split, atleast_1d, atleast_2d, atleast_3d, average, block, broadcast_arrays, column_stack, compress,
    conj, convolve, cross, cumulative_prod, cumulative_sum, diag, diagflat, diagonal, diff, dsplit, dstack,
    expand_dims, fliplr, flipud, hsplit, hstack, inner, interp, kron, matrix_transpose, matvec, median, meshgrid,
    moveaxis, nan_to_num, percentile, polyval, ptp, quantile, ravel, real, repeat, roll, rot90, select, sinc, sort, split,
    squeeze, take_along_axis, tile, trace, trapezoid, unstack, vdot, vecdot, vecmat, vsplit, vstack,
)  # fmt: skip
from .programs import program
from .random import manual_seed
from .storage import load, save
from .tensor import Tensor

from . import linalg, nn, optim  # isort: skip

amax, amin = max, min

if find_spec("minigrad.fast"):  # the folder may be deleted: the definitions do it all
    from . import fast as fast  # isort: skip

if TYPE_CHECKING:
    from .byhand.compare import compare
    from .byhand.diagnose import diagnose
    from .byhand.draw import draw
    from .byhand.explain import explain
    from .byhand.gradcheck import gradcheck, gradgradcheck

BY_HAND = {  # tools that are loaded when they are asked for
    "gradcheck": "gradcheck",
    "gradgradcheck": "gradcheck",
    "draw": "draw",
    "explain": "explain",
    "compare": "compare",
    "diagnose": "diagnose",
}


def __getattr__(name: str) -> Any:
    if name in BY_HAND:
        globals()[name] = tool = getattr(import_module(f".byhand.{BY_HAND[name]}", __name__), name)
        return tool
    raise AttributeError(f"module 'minigrad' has no attribute {name!r}")


__version__ = "0.1.0"
__all__ = [
    "Tensor", "abs", "add", "amax", "amin", "append", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "array_split", "astype", "atleast_1d", "atleast_2d", "atleast_3d", "average", "block",
    "broadcast_arrays", "broadcast_to", "cbrt", "checkpoint", "clip", "column_stack", "compare", "compress",
    "concatenate", "conj", "convolve", "cos", "cosh", "cross", "cross_entropy", "cumprod", "cumsum",
    "cumulative_prod", "cumulative_sum", "custom_op", "detect_anomaly", "diag", "diagflat", "diagnose", "diagonal",
    "diff", "divide", "dot", "draw", "dropout", "dsplit", "dstack", "einsum", "embedding", "enable_grad", "erf",
    "exp", "exp2", "expand_dims", "explain", "expm1", "flip", "fliplr", "flipud", "gelu", "getitem", "grad",
    "gradcheck", "gradgradcheck", "grouped_linear", "hessian", "hsplit", "hstack", "hvp", "hypot", "inner", "interp", "jacobian",
    "join_heads", "jvp", "kron", "layer_norm", "linalg", "linear", "linear_gelu", "load", "log", "log1p", "log2",
    "log10", "log_softmax", "logaddexp", "logsumexp", "manual_seed", "matmul", "matrix_transpose", "matvec", "max",
    "maximum", "mean", "median", "meshgrid", "min", "minimum", "mod", "moveaxis", "multiply", "nan_to_num",
    "negative", "nn", "no_grad", "norm", "optim", "outer", "pad", "percentile", "plain", "polyval", "power", "prod",
    "program", "ptp", "quantile", "ravel", "real", "reciprocal", "recorded", "relu", "repeat", "reshape", "rms_norm",
    "roll", "rot90", "save", "scaled_dot_product_attention", "select", "sigmoid", "silu", "sin", "sinc", "sinh",
    "softmax", "sort", "split", "split_heads", "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum",
    "swapaxes", "take", "take_along_axis", "tan", "tanh", "tensordot", "tile", "trace", "transpose", "trapezoid",
    "tril", "triu", "unstack", "value_and_grad", "var", "vdot", "vecdot", "vecmat", "vjp", "vsplit", "vstack",
    "where",
]  # fmt: skip
