"""Ask PyTorch for the perplexity of a small GPT on a text, as tests/test_metrics.py holds us to.

    python tests/reference/ask_perplexity.py        writes perplexity/gpt.npz beside this file

The definition, one token after the other and without batches: token i is predicted from ids[s:i], where s is the first multiple of the stride
with i − s ≤ context.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
if str(HERE.parents[1]) not in sys.path:
    sys.path.insert(0, str(HERE.parents[1]))

from benchmarks import pytorch_gpt  # noqa: E402
from transformer import GPT  # noqa: E402

SIZES = {"vocab_size": 11, "embedding_dim": 12, "num_heads": 3, "num_layers": 2, "context_length": 8}
STRIDES = (1, 3, 4, 8)


def answer(seed: int) -> dict[str, np.ndarray]:
    """Weights, ids, and the perplexity for each stride, in float64."""
    rng = np.random.default_rng(seed)
    shapes = {name: value.shape for name, value in GPT(**SIZES).state_dict().items()}
    gains = {name for name in shapes if "norm" in name and name.endswith("weight")}
    weights = {name: ((name in gains) + 0.4 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    twin = pytorch_gpt.GPT(**SIZES).double().load_ours({name: value.astype(np.float64) for name, value in weights.items()})
    ids = rng.integers(0, SIZES["vocab_size"], 45)
    perplexities = [perplexity(twin, torch.from_numpy(ids), SIZES["context_length"], stride) for stride in STRIDES]
    return {f"param.{name}": value for name, value in weights.items()} | {"ids": ids, "perplexities": np.array(perplexities)}


def perplexity(twin: torch.nn.Module, ids: torch.Tensor, context: int, stride: int) -> float:
    total = 0.0
    for i in range(1, len(ids)):
        start = max(0, math.ceil((i - context) / stride) * stride)
        with torch.no_grad():
            logits = twin(ids[None, start:i])[0, -1]
        total -= torch.log_softmax(logits, -1)[ids[i]].item()
    return math.exp(total / (len(ids) - 1))


if __name__ == "__main__":
    np.savez_compressed(HERE / "perplexity" / "gpt.npz", allow_pickle=False, **answer(1))
