"""From 2017 to today's block."""

import numpy as np

from .verdict import Wrong, ask, check, pair, same, softmax


@check
def check_08b_cache_bytes(answer):
    sizes = ((100, 32, 8, 128, 2, None, 0), (100, 2, 4, 8, 4, 16, 2), (10, 2, 4, 8, 4, 16, 2), (17, 3, 1, 6, 1, 16, 4), (40, 1, 2, 2, 2, 16, 0))
    for T, layers, heads, D, size, window, sinks in sizes:
        held = T if window is None else min(T, window + sinks)
        one = layers * heads * D * size
        hints = {
            "Keys and values: two numbers for each of these.": one * held,
            "The window bounds the cache, however long the text.": 2 * one * T,
            "The sinks are kept beside the window.": 2 * one * min(T, window or T),
            "A short text has not filled the window yet.": 2 * one * ((window or T) + sinks),
            "A short text holds T tokens; the sinks are among them.": 2 * one * (min(T, window or T) + sinks),
            "Each layer has a cache of its own.": 2 * heads * D * size * held,
            "A number has several bytes.": 2 * layers * heads * D * held,
        }
        at = f"T = {T}, {layers} layers, {heads} heads of {D}, {size} bytes, window {window}, {sinks} sinks"
        same(ask(answer, T, layers, heads, D, size, window, sinks), 2 * one * held, "the number of bytes", hints, at=at)
    return "The first case, 32 layers with 8 heads of 128 in half precision, takes an eighth of a megabyte for each token."


def _late(T, S, size, sinks):
    query, key = np.arange(S - T, S)[:, None], np.arange(S)[None, :]
    return query, key, (key <= query) & ((query - key < size) | (key < sinks))


@check
def check_08b_late_window(answer):
    for T, S, size, sinks in [(6, 6, 3, 1), (2, 9, 3, 2), (1, 5, 2, 0), (4, 7, 1, 0), (3, 3, 9, 1), (5, 8, 2, 6)]:
        query, key, right = _late(T, S, size, sinks)
        early = np.arange(T)[:, None]
        hints = {
            "Rows are queries, columns are keys.": right.T,
            "The last query belongs to the last key: query 0 stands at place S − T.": (key <= early) & ((early - key < size) | (key < sinks)),
            "A window of w places has the query's own place in it: w − 1 back.": (key <= query) & ((query - key <= size) | (key < sinks)),
            "The query sees itself.": (key < query) & ((query - key < size) | (key < sinks)),
            "The sinks are missing: the first keys stay visible.": (key <= query) & (query - key < size),
            "The future is visible; a sink, too, may lie in it.": (query - key < size) | (key < sinks),
            "A sink may lie in the future of an early query.": ((key <= query) & (query - key < size)) | (key < sinks),
            "Near or a sink: one of the two is enough.": (key <= query) & (query - key < size) & (key < sinks),
        }
        got = ask(answer, T, S, size, sinks)
        same(got, right, "the mask", hints, at=f"T = {T}, S = {S}, size = {size}, sinks = {sinks}")
    return "Whatever S is, a row has at most size + sinks trues: that is all that a cache must keep."


@check
def check_08b_rms_norm_backward(answer):
    rng = np.random.default_rng(8)
    for n, c, eps in [(4, 3, 1e-6), (3, 3, 0.5), (1, 5, 0.1), (2, 1, 0.3)]:
        x, y_bar, gamma = rng.normal(size=(n, c)), rng.normal(size=(n, c)), rng.uniform(0.5, 2, c)
        r = np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
        unit, inner = x / r, y_bar * gamma

        def back(inner, unit=unit, r=r):
            return (inner - unit * (inner * unit).mean(axis=-1, keepdims=True)) / r

        x_bar, gamma_bar = back(inner), (y_bar * unit).sum(axis=0)
        mean = inner.mean(axis=-1, keepdims=True)
        first = {
            "r depends on x too: the second term is missing.": inner / r,
            "γ is missing: it multiplies ȳ first.": back(y_bar),
            "No mean was subtracted, so none comes back: that term is layer norm's.": back(inner) - mean / r,
            "The mean over the C entries, not their sum.": (inner - unit * (inner * unit).sum(axis=-1, keepdims=True)) / r,
            "The division by r is missing.": back(inner) * r,
            "The second term has the normed x/r twice, not x.": (inner - x * (inner * x).mean(axis=-1, keepdims=True)) / r,
            "The second term is subtracted.": (inner + unit * (inner * unit).mean(axis=-1, keepdims=True)) / r,
        }
        second = {
            "γ̄ needs the normed x/r, not x.": (y_bar * x).sum(axis=0),
            "γ is shared by all rows: sum over them.": y_bar * unit,
            "Sum over the rows, do not average.": (y_bar * unit).mean(axis=0),
            "γ does not appear in its own gradient.": (inner * unit).sum(axis=0),
        }
        at = f"N = {n}, C = {c}, ε = {eps}"
        got = pair(ask(answer, y_bar, x, gamma, eps))
        same(got[0], x_bar, "x_bar", first, at=at)
        same(got[1], gamma_bar, "gamma_bar", second, at=at)
    return "With ε = 0, x_bar is orthogonal to x: making x longer changes nothing."


@check
def check_08b_raised_base(answer):
    for D, b, s in [(8, 10_000.0, 4.0), (4, 100.0, 2.5), (16, 500_000.0, 8.0), (6, 10_000.0, 1.0)]:
        i = np.arange(D // 2)
        theta = b ** (-2 * i / D)
        hints = {
            "All pairs are slower now, the fastest too: that is interpolation.": theta / s,
            "With the base b·s the slowest pair is not yet s times slower: look at its exponent, (D − 2)/D.": (b * s) ** (-2 * i / D),
            "These pairs became faster.": (b * s ** (-D / (D - 2))) ** (-2 * i / D),
            "This is the scheme without any change.": theta,
            "The exponent is upside down: D/(D − 2).": (b * s ** ((D - 2) / D)) ** (-2 * i / D),
            "i runs over the D/2 pairs: −2i/D.": (b * s ** (D / (D - 2))) ** (-i / D),
        }
        same(ask(answer, D, b, s), theta * s ** (-2 * i / (D - 2)), "the angles", hints, at=f"D = {D}, b = {b:g}, s = {s:g}")
    return "No new length enters: the fast pairs tell neighbours apart as before, the slow ones reach s times as far."


class _Watched(np.ndarray):
    """An array that remembers the sizes of all that is computed from it."""

    sizes: set = set()

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        kwargs = {key: tuple(map(_bare, value)) if key == "out" else value for key, value in kwargs.items()}
        return _seen(getattr(ufunc, method)(*map(_bare, inputs), **kwargs))

    def __array_function__(self, function, types, args, kwargs):
        return _seen(function(*map(_bare, args), **{key: _bare(value) for key, value in kwargs.items()}))

    def dot(self, other, out=None):
        return _seen(_bare(self).dot(_bare(other)))


def _bare(x):
    if isinstance(x, tuple | list):
        return type(x)(map(_bare, x))
    return x.view(np.ndarray) if isinstance(x, _Watched) else x


def _seen(x):
    if not isinstance(x, np.ndarray):
        return x
    _Watched.sizes.add(x.size)
    return x.view(_Watched)


@check
def check_08b_decode_latent(answer):
    rng = np.random.default_rng(5)
    for H, S, M, D, Dv, size in [(3, 11, 4, 5, 7, 1), (2, 4, 6, 3, 2, 1), (1, 1, 2, 4, 3, 1), (2, 5, 3, 4, 2, 3000)]:
        q, c, WUK, WUV = (rng.normal(size=shape) for shape in ((H, D), (S, M), (H, M, D), (H, M, Dv)))
        q *= size
        scores = np.einsum("hd,sm,hmd->hs", q, c, WUK)

        def mixed(scores, c=c, WUV=WUV):
            return np.einsum("hs,sm,hmv->hv", softmax(scores), c, WUV)

        hints = {
            "The scores are not divided by √D.": mixed(scores),
            "The scale is 1/√D, that of the keys, though they are never made; C_c is only where the product is taken.": mixed(scores / np.sqrt(M)),
            "The softmax goes over the tokens.": np.einsum("hs,sm,hmv->hv", softmax(scores.T / np.sqrt(D)).T, c, WUV),
            "Each head has its own weights: these are the mean of all heads.": mixed(np.tile(scores.mean(axis=0) / np.sqrt(D), (H, 1))),
            "Every token counts the same here: are the scores used?": mixed(0 * scores),
        }
        right, got = mixed(scores / np.sqrt(D)), ask(answer, q, c, WUK, WUV)
        if size > 1 and not np.isfinite(np.asarray(got, float)).all():
            raise Wrong("With large scores the exponentials overflow: subtract the largest score of each head first.")
        same(got, right, "the result", hints, at=f"H = {H}, S = {S}, C_c = {M}, D = {D}, Dv = {Dv}, q of size {size}")
    H, S, M, D, Dv = 3, 11, 4, 5, 7
    q, c, WUK, WUV = (rng.normal(size=shape) for shape in ((H, D), (S, M), (H, M, D), (H, M, Dv)))
    _Watched.sizes = set()
    answer(q, c.view(_Watched), WUK, WUV)
    for n, what in ((D, "keys"), (Dv, "values")):
        if {S * n, S * H * n} & _Watched.sizes:
            raise Wrong(f"The numbers are right, but you make the {what} of all {S} tokens: an array of {S} · {n} numbers, or of {H} times as many.")
    return "For each token of the past, C_c products for its score and C_c for its value: the up-projections are paid once."


@check
def check_08b_balance(answer):
    rng = np.random.default_rng(6)
    for n, e, k in [(2, 3, 2), (6, 4, 1), (5, 5, 2), (7, 3, 3)]:
        P = rng.dirichlet(np.ones(e), n)
        chosen = np.argsort(-P, axis=-1)[:, :k]
        f = np.bincount(chosen.ravel(), minlength=e) / n
        loss, P_bar = e * (f * P.mean(axis=0)).sum(), np.tile(e * f / n, (n, 1))
        first = {
            "The factor N_e is missing.": loss / e,
            "f counts choices per token: it adds up to k.": loss / k,
            "f and mean P are means over tokens; one of them is a sum here.": loss * n,
            "Only the probabilities of those who chose it are in this mean; mean P takes all tokens.": e
            * (f * np.bincount(chosen.ravel(), np.take_along_axis(P, chosen, 1).ravel(), e) / n).sum(),
        }
        one_hot = np.zeros((n, e))
        np.put_along_axis(one_hot, chosen, 1, axis=1)
        second = {
            "Every token's P is in the mean, whether it chose the expert or not.": P_bar * one_hot,
            "mean P is a mean over N tokens: the gradient of each is divided by N.": P_bar * n,
            "No gradient goes through f.": P_bar + e * one_hot * P.mean(axis=0) / n,
            "The gradient has a row for each token.": P_bar[0],
            "The factor N_e is missing in the gradient.": P_bar / e,
        }
        got, at = pair(ask(answer, P, k)), f"N = {n}, N_e = {e}, k = {k}"
        same(got[0], loss, "the loss", first, at=at)
        same(got[1], P_bar, "P_bar", second, at=at)
    return "Through the softmax, the logit of a crowded expert is pushed down for every token."
