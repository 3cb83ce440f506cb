r"""Normalisation along the last axis, where :math:`\langle \cdot \rangle` is the mean:
:math:`\hat x = (x - \langle x \rangle) / \sqrt{\sigma^2 + \varepsilon}`, or without the shift
:math:`\hat x = x / \sqrt{\langle x^2 \rangle + \varepsilon}`.
"""

from __future__ import annotations

from ..arguments import check_norm
from .arithmetic import sqrt
from .declare import composed
from .reductions import mean

KEPT = 1 << 15  # a layer norm's kernel keeps up to this many numbers x̂ for the backward pass, and computes more of them again


@composed(
    r"y = \gamma \odot \hat x + \beta, \quad \hat x = (x - \mu) / \sqrt{\sigma^2 + \varepsilon}",
    inputs=["x", "weight", "bias"],
    x=r"s \odot (u - m - \hat x \odot c), \quad s = 1 / \sqrt{\sigma^2 + \varepsilon}, \quad u = \gamma \odot \bar y,"
    r" \quad m = \langle u \rangle, \quad c = \langle u \odot \hat x \rangle",
    weight=r"\sum_n \bar y_n \odot \hat x_n",
    bias=r"\sum_n \bar y_n",
)
def layer_norm(x, weight, bias=None, eps=1e-5):
    """Each vector along the last axis shifted to mean 0 and scaled to variance 1, then scaled by ``weight`` and shifted
    by ``bias``, both (C,).  Source: Ba, Kiros & Hinton (2016), eq. 4."""
    centred = x - mean(x, axis=-1, keepdims=True)
    y = centred / sqrt(mean(centred * centred, axis=-1, keepdims=True) + eps) * weight
    return y if bias is None else y + bias


layer_norm.check = lambda x, weight, bias=None, eps=0.0: check_norm("layer_norm", x, weight, bias)


@composed(
    r"y = \gamma \odot \hat x, \quad \hat x = s \odot x, \quad s = 1 / \sqrt{\langle x^2 \rangle + \varepsilon}",
    inputs=["x", "weight"],
    x=r"s \odot (u - \hat x \odot c), \quad u = \gamma \odot \bar y, \quad c = \langle u \odot \hat x \rangle",
    weight=r"\sum_n \bar y_n \odot \hat x_n",
)
def rms_norm(x, weight, eps=1e-6):
    """Each vector along the last axis divided by its root mean square, then scaled by ``weight`` (C,).
    Source: Zhang & Sennrich (2019), eq. 4."""
    return x / sqrt(mean(x * x, axis=-1, keepdims=True) + eps) * weight


rms_norm.check = lambda x, weight, eps=0.0: check_norm("rms_norm", x, weight)
