"""The whole thing, made to run."""

import numpy as np

from .verdict import WEAK_MASK, Wrong, ask, check, extreme, finite, numbers, pair, same, softmax, zeros_at


@check
def check_00_pad_and_mask(answer):
    for rows, fill in [([[5, 6, 7], [8]], 0), ([[3], [4, 0, 4], [0, 2]], 0), ([[1, 2], [3, 4]], 9)]:
        longest = max(map(len, rows))
        ids = np.array([row + [fill] * (longest - len(row)) for row in rows])
        mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        got_ids, got_mask = pair(ask(answer, rows, fill))
        left = np.array([[fill] * (longest - len(row)) + row for row in rows])
        zeros = {"Fill up with `pad_id`, whatever it is, not with 0.": np.where(mask, ids, 0)}
        at = f"rows {rows}, pad_id {fill}"
        same(got_ids, ids, "ids", {"You filled up on the left; here padding goes on the right.": left, **zeros}, at=at)
        hints = {
            "Your mask is upside down: 1 is for tokens, 0 for padding.": 1 - mask,
            "Your mask comes from the ids, so a real token whose id equals pad_id is hidden. Take it from the lengths.": ids != fill,
        }
        same(got_mask, mask, "the mask", hints, at=at)
    return "The third batch needs no padding, and its mask is all ones."


@check
def check_00_split(answer):
    for b, t, h, d in [(1, 3, 2, 2), (2, 4, 3, 2), (2, 2, 2, 2), (1, 5, 1, 4)]:
        x = np.arange(b * t * h * d, dtype=float).reshape(b, t, h * d)
        pieces = x.reshape(b, t, h, d)
        hints = {
            "The shape is right, the numbers are not: a single reshape cuts the sentence. Cut each word first, (B, T, H, D).": x.reshape(b, h, t, d),
            "The heads are there, but not in front: (B, T, H, D) should become (B, H, T, D).": pieces,
            "Each head got every H-th number; head h is the slice hD … (h+1)D − 1.": x.reshape(b, t, d, h).transpose(0, 3, 1, 2),
            "Words and the numbers within a head are swapped: (B, H, T, D), not (B, H, D, T).": pieces.transpose(0, 2, 3, 1),
        }
        same(ask(answer, x, h), pieces.swapaxes(1, 2), "the heads", hints, at=f"x of shape {x.shape}, H = {h}")
    return "Every word is in every head, with its own part of the numbers."


@check
def check_00_masked_attention(answer):
    rng = np.random.default_rng(3)
    for t, s, d, mask in [(2, 3, 4, [1, 1, 0]), (3, 3, 2, [1, 0, 1]), (3, 5, 9, [0, 1, 1, 1, 0]), (1, 2, 2, [1, 1])]:
        q, k, v, keep = rng.normal(size=(t, d)), rng.normal(size=(s, d)), rng.normal(size=(s, 3)), np.array(mask)
        plain = q @ k.T
        scores = plain / np.sqrt(d)
        right = softmax(np.where(keep, scores, -np.inf))
        hints = {
            "The scores are not divided by √D.": softmax(np.where(keep, plain, -np.inf)),
            "The scores should be divided by √D, not by D.": softmax(np.where(keep, plain / d, -np.inf)),
            "The mask has no effect.": softmax(scores),
            "The mask acts after the softmax: the shares of a row no longer add up to 1.": softmax(scores) * keep,
            "The scores of padding became 0, and e⁰ = 1 is a share too: they should become −∞.": softmax(scores * keep),
            "The mask is upside down: 1 is for tokens.": softmax(np.where(keep == 0, scores, -1e30)),
        }
        if t == s:
            with np.errstate(all="ignore"):
                hints["The mask acts on rows (who asks); it belongs on columns (who is asked)."] = softmax(np.where(keep[:, None], scores, -np.inf))
        got, weights = pair(ask(answer, q, k, v, keep))
        at = f"T = {t}, S = {s}, mask {mask}"
        same(weights, right, "the weights", hints, at=at)
        zeros_at(weights, np.broadcast_to(keep == 0, (t, s)), "Padding still gets a share, if a small one: its scores should become −∞.")
        same(got, right @ v, "the output", at=at)
    for hidden in ([0, 0, 0, 0, 0], [0, 1, 0, 1, 0]):
        keep = 1 - np.array(hidden)
        (q, k), v = extreme(rng, 4, 5, hidden), rng.normal(size=(5, 2))
        got, weights = pair(ask(answer, q, k, v, keep))
        finite(weights, "the weights")
        if not np.allclose(numbers(weights)[:, keep == 0], 0):
            raise Wrong(WEAK_MASK)
        right = softmax(np.where(keep, q @ k.T / 2, -np.inf))
        same(weights, right, "the weights", at="scores of ±10 000")
        same(got, right @ v, "the output", at="scores of ±10 000")
    return "Each row adds up to 1, and the columns of padding are exactly 0."


def _boxes():
    """(what it does, whether it sees the future, f)."""
    rng = np.random.default_rng(5)
    table, size = rng.normal(size=(6, 6)), 6

    def causal(ids):
        return np.cumsum(table[ids], axis=0)

    def last_to_first(ids):
        out = causal(ids)
        out[:1] += table[ids[-1]]
        return out

    def next_word(ids):
        out = causal(ids)
        if len(ids) > 2:
            out[1] += 1e-3 * table[ids[2]]
        return out

    def one_word(ids):
        out = causal(ids)
        if len(ids) > 3:  # a probe may also ask of a part of the text
            out[0] += ids[3] == 5
        return out

    return size, [
        ("one that sees all places", True, lambda ids: table[ids] + table[ids].mean(axis=0)),
        ("a causal one", False, causal),
        ("one that looks only at its own word", False, lambda ids: table[ids]),
        ("one that lets only the first place see the last", True, last_to_first),
        ("one that lets only the second place see the third, a little", True, next_word),
        ("one that adds the number of the place", False, lambda ids: table[ids] + np.arange(len(ids))[:, None]),
        ("one whose first place notices a single word, id 5, at the fourth place", True, one_word),
    ]


@check
def check_00_sees_the_future(answer):
    size, boxes = _boxes()
    for what, sees, f in boxes:
        got = ask(answer, f, np.array([1, 4, 2, 0, 3]), size)
        if bool(got) != sees:
            wrong = "finds it innocent" if sees else "accuses it: its output at t depends on the ids up to t, which is allowed"
            raise Wrong(f"One of the boxes is {what}; your probe {wrong}.")
    return "Seven boxes, four of them guilty, and all found."
