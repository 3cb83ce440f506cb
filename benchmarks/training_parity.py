"""Do we train as well as PyTorch? The same GPT from the same weights on the same batches, trained by both.

    python -m benchmarks.training_parity [--seeds 0 1 2] [--steps 1000]

4 layers, 4 heads, width 128, context 64, batch 12, characters of the default text; AdamW (0.9, 0.99) with weight decay
0.1 on matrices, 100 steps of warm-up to 1e-3, cosine to 1e-4, gradients clipped to norm 1, no dropout. One thread each.
Prints the validation losses as a table; exit status 1 when they differ by more than 1 % for any seed.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # read when NumPy is imported

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

import minigrad as mg
import transformer
from benchmarks import pytorch_gpt
from minigrad import optim
from transformer.data import corpora
from transformer.data.tokenizers import CharTokenizer

LAYERS, HEADS, WIDTH, CONTEXT, BATCH = 4, 4, 128, 64, 12
MAX_LR, MIN_LR, WARMUP, BETAS, WEIGHT_DECAY, MAX_NORM = 1e-3, 1e-4, 100, (0.9, 0.99), 0.1, 1.0
TOLERANCE = 0.01  # of PyTorch's validation loss

Batches = Iterator[tuple[np.ndarray, np.ndarray]]
Loss = Callable[[np.ndarray, np.ndarray], float]


class Corpus(NamedTuple):
    train: np.ndarray
    validation: np.ndarray
    vocab_size: int

    def batches(self, seed: int, steps: int) -> Batches:
        rng = np.random.default_rng(seed)
        return (corpora.batch(self.train, BATCH, CONTEXT, rng) for _ in range(steps))


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the same GPT with minigrad and with PyTorch; compare.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--steps", type=int, default=1000, metavar="N")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = corpora.default_text()
    tokenizer = CharTokenizer.train(text)
    train, validation = corpora.train_validation_split(tokenizer.encode(text), CONTEXT)
    corpus = Corpus(train, validation, tokenizer.vocab_size)
    print(f"{arguments.steps} steps; {train.size} characters to train on, {validation.size} to validate")
    print("seed   ours     PyTorch   difference   seconds: ours  PyTorch", flush=True)
    worst = 0.0
    for seed in arguments.seeds:
        ours, theirs, seconds = run(seed, arguments.steps, corpus)
        difference = ours / theirs - 1
        worst = max(worst, abs(difference))
        times = f"{seconds[0]:13.0f} {seconds[1]:8.0f}"
        print(f"{seed:4}   {ours:.4f}   {theirs:.4f}   {difference:+10.3%}   {times}", flush=True)
    verdict = "within" if worst <= TOLERANCE else "beyond"
    print(f"largest difference {worst:.3%}, {verdict} {TOLERANCE:.0%}")
    return 0 if worst <= TOLERANCE else 1


def run(seed: int, steps: int, corpus: Corpus) -> tuple[float, float, tuple[float, float]]:
    """The validation losses of both after training from our initial weights, and the seconds that training took."""
    mg.manual_seed(seed)
    ours = transformer.GPT(corpus.vocab_size, WIDTH, HEADS, LAYERS, CONTEXT)
    theirs = pytorch_gpt.GPT(corpus.vocab_size, WIDTH, HEADS, LAYERS, CONTEXT)
    theirs.load_ours({name: np.asarray(value) for name, value in ours.state_dict().items()})
    before = [validation_loss(loss, corpus) for loss in (our_loss(ours), their_loss(theirs))]
    if not math.isclose(*before, rel_tol=1e-5):
        raise RuntimeError(f"the two models differ before the first step: losses {before[0]} and {before[1]}")
    seconds = []
    for train, model in ((train_ours, ours), (train_theirs, theirs)):
        start = time.perf_counter()
        train(model, corpus.batches(seed, steps), steps)
        seconds.append(time.perf_counter() - start)
    return (validation_loss(our_loss(ours), corpus), validation_loss(their_loss(theirs), corpus),
            (seconds[0], seconds[1]))  # fmt: skip


def train_ours(model: transformer.GPT, batches: Batches, steps: int) -> None:
    model.train()
    parameters = list(model.parameters())
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    optimizers = [optim.AdamW(matrices, MAX_LR, betas=BETAS, weight_decay=WEIGHT_DECAY),
                  optim.AdamW(vectors, MAX_LR, betas=BETAS, weight_decay=0.0)]  # fmt: skip
    schedule = optim.warmup_cosine(MAX_LR, WARMUP, steps, MIN_LR)
    for step, (inputs, targets) in enumerate(batches):
        for parameter in parameters:
            parameter.zero_grad()
        mg.cross_entropy(model(inputs), targets).backward()
        optim.clip_grad_norm(parameters, MAX_NORM)
        for optimizer in optimizers:
            optimizer.lr = schedule(step)
            optimizer.step()


def train_theirs(model: pytorch_gpt.GPT, batches: Batches, steps: int) -> None:
    model.train()
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": WEIGHT_DECAY},
              {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, MAX_LR, betas=BETAS)
    for step, (inputs, targets) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        optimizer.zero_grad()
        model(torch.from_numpy(inputs), torch.from_numpy(targets)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()


def learning_rate(step: int, steps: int) -> float:
    """The schedule once more, for PyTorch's side: nothing of ours is in its training."""
    if step < WARMUP:
        return MAX_LR * (step + 1) / WARMUP
    return MIN_LR + (MAX_LR - MIN_LR) * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP))) / 2


def our_loss(model: transformer.GPT) -> Loss:
    def loss(inputs: np.ndarray, targets: np.ndarray) -> float:
        model.eval()
        with mg.no_grad():
            return mg.cross_entropy(model(inputs), targets, ignore_index=corpora.IGNORE_INDEX).item()

    return loss


def their_loss(model: pytorch_gpt.GPT) -> Loss:
    def loss(inputs: np.ndarray, targets: np.ndarray) -> float:
        model.eval()
        with torch.no_grad():
            return model(torch.from_numpy(inputs), torch.from_numpy(targets)).item()

    return loss


def validation_loss(loss: Loss, corpus: Corpus) -> float:
    """Nats per character over the whole validation text; a padded last batch counts by its real targets."""
    total = count = 0.0
    for inputs, targets in corpora.sequential_batches(corpus.validation, BATCH, CONTEXT):
        real = np.count_nonzero(targets != corpora.IGNORE_INDEX)
        total += real * loss(inputs, targets)
        count += real
    return float(total / count)


if __name__ == "__main__":
    sys.exit(main())
