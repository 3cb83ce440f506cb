"""What the heads do."""

from itertools import permutations

import numpy as np

from .verdict import Wrong, ask, check, same, softmax


def _followers(ids, shift=1, own=False):
    """(T, T): whether key j stands ``shift`` places behind an earlier copy of query i's token."""
    T = len(ids)
    copies = (ids[:, None] == ids[None, :]) & np.tri(T, k=0 if own else -1, dtype=bool)
    return np.pad(copies, ((0, 0), (shift, 0)))[:, :T]


@check
def check_12b_prefix_score(answer):
    rng = np.random.default_rng(1)
    for ids in ([3, 1, 4, 3, 1, 3], [2, 2, 5, 2, 6, 7, 5], [0, 1, 2, 3, 0]):
        ids = np.array(ids)
        T = len(ids)
        P = softmax(np.where(np.tri(T, dtype=bool), rng.normal(size=(T, T)), -np.inf))
        follows = _followers(ids)
        seen = follows.any(axis=-1)
        weight = (P * follows).sum(axis=-1)
        places = [np.flatnonzero(row) for row in follows]  # where each query should look, by copy
        at_copies, swapped = (P * _followers(ids, 0)).sum(axis=-1), (P.T * follows).sum(axis=-1)
        first, latest = (np.mean([P[i, at[k]] for i, at in enumerate(places) if len(at)]) for k in (0, -1))
        averaged = weight[seen] / follows.sum(axis=-1)[seen]
        hints = {
            "This is the weight at the copies themselves; look at what followed them.": at_copies[seen].mean(),
            "The mean is over the positions whose token has occurred before; the others do not count.": weight.mean(),
            "Of several copies all count, not only the latest one.": latest,
            "Of several copies all count, not only the first one.": first,
            "The weights of several copies are added up, not averaged.": averaged.mean(),
            "Rows of P are queries, columns are keys; you read it the other way round.": swapped[seen].mean(),
            "Return the mean over the positions, not the sum.": weight.sum(),
        }
        same(ask(answer, P, ids), weight[seen].mean(), "the score", hints, at=f"ids {ids.tolist()}")
    return "A score of 1 would be a head that never looks anywhere else."


@check
def check_12b_token_circuit(answer):
    rng = np.random.default_rng(2)
    for V, C, H, h in [(5, 6, 3, 1), (4, 8, 2, 0), (7, 12, 4, 3)]:
        D = C // H
        w_e, w_v, w_o, w_u = (rng.normal(size=size) for size in [(V, C), (C, C), (C, C), (C, V)])
        own, strided, before = slice(h * D, (h + 1) * D), slice(h, None, H), slice((h - 1) * D, h * D)
        right = w_e @ w_v[:, own] @ w_o[own] @ w_u
        every_other = w_e @ w_v[:, strided] @ w_o[strided] @ w_u
        rows_for_columns = w_e[:, own] @ w_v[own] @ w_o[:, own] @ w_u[own]
        neighbour = w_e @ w_v[:, before] @ w_o[before] @ w_u
        hints = {
            "This is the whole layer, all heads together; take the part that belongs to head h.": w_e @ w_v @ w_o @ w_u,
            "The heads stand side by side in W_V; you took every H-th column, not D neighbours.": every_other,
            "A head owns columns of W_V and rows of W_O; you took rows of W_V.": rows_for_columns,
            "Rows should be the token looked at, columns the token made likely; yours is transposed.": right.T,
            "You have counted the heads from 1; h = 0 is the first.": neighbour,
        }
        same(ask(answer, w_e, w_v, w_o, w_u, H, h), right, "the matrix", hints, at=f"vocab = {V}, C = {C}, H = {H}, h = {h}")
    return "A row whose largest entry is on the diagonal is a token that this head copies."


@check
def check_12b_parts_of_logits(answer):
    rng = np.random.default_rng(3)
    for K, C, V, eps in [(3, 4, 5, 0.1), (5, 6, 3, 1e-6)]:
        parts, gamma, w_u = rng.normal(size=(K, C)), rng.uniform(0.5, 2, C), rng.normal(size=(C, V))
        x = parts.sum(axis=0)
        r, mean = np.sqrt((x * x).mean() + eps), parts.mean(axis=-1, keepdims=True)
        own = np.sqrt((parts * parts).mean(axis=-1, keepdims=True) + eps)
        summed, without = np.sqrt((x * x).sum() + eps), np.sqrt((x * x).mean())
        right = parts / r * gamma @ w_u
        hints = {
            "Each part got a scale of its own; there is one r, from the sum of all parts.": parts / own * gamma @ w_u,
            "The norm is missing: divide by r.": parts * gamma @ w_u,
            "γ is missing.": parts / r @ w_u,
            "r has the mean of the squares, not their sum.": parts / summed * gamma @ w_u,
            "ε is missing under the root.": parts / without * gamma @ w_u,
            "The mean is subtracted in a layer norm, not in an RMS norm.": (parts - mean) / r * gamma @ w_u,
            "These are the logits of the whole; give those of each part.": x / r * gamma @ w_u,
        }
        at = f"K = {K}, C = {C}, vocab = {V}, ε = {eps}"
        same(ask(answer, parts, gamma, w_u, eps), right, "the parts' logits", hints, at=at)
    return "They add up to the model's logits, whatever the parts are."


@check
def check_12b_patching_map(answer):
    rng = np.random.default_rng(4)
    for T, C in [(4, 3), (6, 2)]:
        clean, corrupted, a, b = (
            rng.normal(size=(T, C)),
            rng.normal(size=(T, C)),
            rng.normal(size=(T, C)),
            rng.normal(size=C),
        )

        def rest(x, a=a, b=b):
            x = np.asarray(x)
            if x.shape != a.shape:
                raise Wrong(
                    f"rest takes a whole stream {a.shape}, of which one row is replaced; yours has shape {x.shape}."
                )
            return float(np.tanh((x * a).sum()) + ((x @ b) ** 2).sum())

        low, high = rest(corrupted), rest(clean)
        one = np.array([[t == s for t in range(T)] for s in range(T)])[..., None]
        patched = np.array([rest(np.where(one[t], clean, corrupted)) for t in range(T)])
        needed = np.array([rest(np.where(one[t], corrupted, clean)) for t in range(T)])
        until = np.array([rest(np.where(np.arange(T)[:, None] <= t, clean, corrupted)) for t in range(T)])
        gap, other_way = high - low, "clean vectors into the corrupted run"
        against = (needed - low) / gap
        hints = {
            "These are the numbers m themselves; say what share of the difference comes back.": patched,
            "Divide by m(clean) − m(corrupted), so that 1 means everything.": patched - low,
            f"You put corrupted vectors into the clean run; the question is the other, {other_way}.": against,
            f"Corrupted vectors in the clean run tell what is needed; put {other_way}.": (high - needed) / gap,
            "The patches pile up: begin with a fresh copy of the corrupted stream for each t.": (until - low) / gap,
            "The sign is wrong, or the ends are exchanged: corrupted is 0, clean is 1.": (high - patched) / gap,
            "The share is of the difference: subtract m(corrupted) above as well as below.": patched / gap,
            "The share is of the difference m(clean) − m(corrupted), not of m(clean).": (patched - low) / high,
        }
        same(ask(answer, rest, clean, corrupted), (patched - low) / (high - low), "the map", hints, at=f"T = {T}")
    return "They need not add up to 1: the rest of a model is not linear."


def _runs(matrices, texts, V):
    """The logits at the last position of each text (N, T), by two causal heads that read and write the compartments."""
    T = texts.shape[1]
    x = np.zeros((*texts.shape, 3 * V + T))
    np.put_along_axis(x, texts[..., None], 1, axis=-1)
    x[:, np.arange(T), V + np.arange(T)] = 1
    weights = []
    for qk, ov in (matrices[:2], matrices[2:]):
        weights.append(softmax(np.where(np.tri(T, dtype=bool), x @ qk @ x.mT, -np.inf)))
        x = x + weights[-1] @ x @ ov
    return x[:, -1, 2 * V + T :], weights


@check
def check_12b_skip_circuits(answer):
    for V in (5, 6):
        T = V + 1
        got = ask(answer, V, T)
        if (
            not isinstance(got, tuple | list | np.ndarray)
            or len(got) != 4
            or any(np.shape(m) != (3 * V + T, 3 * V + T) for m in got)
        ):
            raise Wrong(f"Return four matrices {3 * V + T, 3 * V + T} for vocab = {V}, T = {T}: qk0, ov0, qk1, ov1.")
        matrices = [np.asarray(m, float) for m in got]
        if not all(np.isfinite(m).all() for m in matrices):
            raise Wrong("There is an entry that is not finite; a large score such as 30 is enough.")
        orders = [(order, k) for order in permutations(range(1, V)) for k in range(V - 3)]
        texts = np.array([(0, *order, order[k]) for order, k in orders])
        logits, weights = _runs(matrices, texts, V)
        truth = {shift: np.array([order[k + shift] for order, k in orders]) for shift in (0, 1, 2)}
        top = logits.argmax(axis=-1)
        gap = np.sort(logits, axis=-1)
        sure = gap[:, -1] > gap[:, -2] + 1e-6 * np.abs(logits).max(initial=1e-300)
        right = (top == truth[2]) & sure
        if right.all():
            continue
        spread = weights[0][0, 2:].max(axis=-1).min()
        if spread < 0.9:
            raise Wrong(
                f"The first head is not decided: at some position its largest weight is only {spread:.2f}. "
                "Scores of 20 or more make it sure."
            )
        if (top == truth[1])[sure].all() and sure.any():
            raise Wrong(
                "This says what stood one place after the copy, as in section 1. "
                "What must the first head note, so that the second finds a later place?"
            )
        if (top == truth[0])[sure].all() and sure.any():
            raise Wrong("This says the present token itself: the second head finds the copy, not what stood behind it.")
        if not sure.any():
            raise Wrong(
                "Two tokens or more have the same logit for every text: "
                "is something missing between the notes, the second head and the answer?"
            )
        text = texts[np.flatnonzero(~right)[0]]
        raise Wrong(
            f"Right for {right.sum()} of {len(right)} texts with vocab = {V}; "
            f"the first that is wrong is {text.tolist()}, where 0 is ⟨s⟩."
        )
    return "Only the note has changed; the induction head is the same."


def _qk_gradient(y_bar, x, qk, ov, hidden=-np.inf, axis=-1, reads=None):
    """Of one causal head; the future has the score ``hidden``, or its own where that is None."""
    scores = x @ qk @ x.T
    P = softmax(scores if hidden is None else np.where(np.tri(len(x), dtype=bool), scores, hidden))
    P_bar = y_bar @ (x @ (ov if reads is None else reads)).T
    return x.T @ (P * (P_bar - (P_bar * P).sum(axis=axis, keepdims=True))) @ x


@check
def check_12b_qk_gradient(answer):
    rng = np.random.default_rng(6)
    for T, C in [(4, 3), (5, 4)]:
        y_bar, x, qk, ov = (rng.normal(size=size) for size in [(T, C), (T, C), (C, C), (C, C)])
        right, P_bar = _qk_gradient(y_bar, x, qk, ov), y_bar @ (x @ ov).T
        P = softmax(np.where(np.tri(T, dtype=bool), x @ qk @ x.T, -np.inf))
        hints = {
            "This is the transpose: queries are rows of x on the left, keys on the right.": right.T,
            "The future is not masked.": _qk_gradient(y_bar, x, qk, ov, hidden=None),
            "Softmax's own gradient is missing: S̄ is not P̄.": x.T @ np.tril(P_bar) @ x,
            "Of softmax's gradient only P ⊙ P̄ is there; subtract each row's mean.": x.T @ (P * P_bar) @ x,
            "Softmax runs along the rows; subtract the sum of a row.": _qk_gradient(y_bar, x, qk, ov, axis=0),
            "P̄ = ȳ (x W_OV)ᵀ, with W_OV and not its transpose.": _qk_gradient(y_bar, x, qk, ov, reads=ov.T),
            "There is no division by √D here: it is inside of W_QK.": right / np.sqrt(C),
            "This is the gradient of W_OV.": (P @ x).T @ y_bar,
            "The sign is wrong.": -right,
        }
        same(ask(answer, y_bar, x, qk, ov), right, "the gradient", hints, at=f"T = {T}, C = {C}")
    for sign in (1000.0, -1000.0):  # scores far from 0, in ties: half of the weight here, half there
        y_bar, x, qk, ov = (rng.normal(size=size) for size in [(4, 3), (4, 3), (3, 3), (3, 3)])
        x[:, 0], qk = [1, 1, -1, -1], sign * np.outer([1, 0, 0], [1, 0, 0])
        right, weak = (_qk_gradient(y_bar, x, qk, ov, hidden) for hidden in (-np.inf, -30.0))
        with np.errstate(all="ignore"):
            got = ask(answer, y_bar, x, qk, ov)
        if not np.isfinite(np.asarray(got, float)).all():
            raise Wrong("Scores of ±1000 give NaN: e^1000 overflows, and e^−1000 is 0. Subtract the row's largest.")
        hints = {"The mask is too weak: a hidden score must become −∞, since the others may be −1000.": weak}
        same(got, right, "the gradient", hints, at=f"scores of {sign:+.0f}")
    return "Where no query learns to look elsewhere, S̄ is 0, and so is the gradient."
