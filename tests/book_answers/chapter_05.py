"""What students answer to chapter 05: the name of the check, the wrong answer, and what the hint must say."""

import numpy as np


def _softmax(s, axis=-1):
    e = np.exp(s - s.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _overflowing(Q, K):
    e = np.exp(Q @ K.T / np.sqrt(Q.shape[-1]))
    return e / e.sum(axis=-1, keepdims=True)


def _scores(Q, K):
    return Q @ K.T / np.sqrt(Q.shape[-1])


def _backward(O_bar, Q, K, V, tau_k=True, whole_softmax=True, v_from="P"):
    tau = 1 / np.sqrt(Q.shape[-1])
    P = _softmax(_scores(Q, K))
    P_bar = O_bar @ V.T
    S_bar = P * (P_bar - (P_bar * P).sum(axis=-1, keepdims=True)) if whole_softmax else P_bar
    return tau * S_bar @ K, (tau if tau_k else 1) * S_bar.T @ Q, (P if v_from == "P" else _scores(Q, K)).T @ O_bar


WRONG = [
    ("check_05_attention_weights", lambda Q, K: _softmax(Q @ K.T), "missing"),
    ("check_05_attention_weights", lambda Q, K: _softmax(Q @ K.T / Q.shape[-1]), "not by d"),
    ("check_05_attention_weights", lambda Q, K: _softmax(_scores(Q, K), axis=0), "wrong axis"),
    ("check_05_attention_weights", lambda Q, K: _softmax(Q @ K.T / np.sqrt(len(K))), "another size"),
    ("check_05_attention_weights", _overflowing, "overflows"),
    ("check_05_late_causal_mask", lambda T, S: np.tri(T, S, dtype=bool), "shift"),
    ("check_05_late_causal_mask", lambda T, S: np.triu(np.ones((T, S), bool), S - T + 1), "upside down"),
    ("check_05_late_causal_mask", lambda T, S: np.tri(T, S, S - T - 1, dtype=bool), "itself"),
    ("check_05_late_causal_mask", lambda T, S: np.tri(T, S, S - T), "boolean"),
    ("check_05_masked_attention", lambda Q, K, V, a: (_softmax(_scores(Q, K)) * a) @ V, "after softmax"),
    ("check_05_masked_attention", lambda Q, K, V, a: _softmax(_scores(Q, K) + np.where(a.T, 0, -np.inf)) @ V, "Rows and columns"),
    ("check_05_masked_attention", lambda Q, K, V, a: _softmax(np.where(a, _scores(Q, K), -np.inf)) @ V, "NumPy warns"),
    ("check_05_masked_attention", lambda Q, K, V, a: _softmax(np.where(a, _scores(Q, K), -1e9)) @ V, "mean of all values"),
    ("check_05_attention_backward", lambda *a: _backward(*a, tau_k=False), "k"),
    ("check_05_attention_backward", lambda *a: _backward(*a, whole_softmax=False), "softmax's own gradient"),
    ("check_05_attention_backward", lambda *a: _backward(*a, v_from="scores"), "before the activation softmax"),
    ("check_05_attention_backward", lambda *a: _backward(*a)[0], "three arrays"),
]
