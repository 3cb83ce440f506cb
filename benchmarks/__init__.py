"""How fast, and how large: side by side with PyTorch, HIPS autograd and MyGrad, in one process, alternating.

    python -m benchmarks [--threads N] [--only SECTION ...] [--save]

Peers that are not installed are left out, with a line that says so.
"""
