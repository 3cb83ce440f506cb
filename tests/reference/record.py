"""Ask PyTorch for the numbers that tests/test_against_pytorch.py holds us to.

    python tests/reference/record.py        writes one <family>.npz beside this file

How a case is asked and answered is told in asking.py; the cases are in cases_*.py. The recorded answers serve machines
without PyTorch. Where it is there, the tests import this file and ask it live, with other numbers.
"""

import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parents[1]):  # the second for benchmarks/, where the twin of our GPT lives
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import cases_attention  # noqa: E402, F401
import cases_circuits  # noqa: E402, F401
import cases_functions  # noqa: E402, F401
import cases_modules  # noqa: E402, F401
import cases_optimizers  # noqa: E402, F401
import cases_second_order  # noqa: E402, F401
from asking import FAMILIES, answer  # noqa: E402


def main() -> None:
    torch.set_num_threads(1)
    total = 0
    for family, cases in FAMILIES.items():
        path = HERE / f"{family}.npz"
        answers = {f"{name}/{key}": value for name in cases for key, value in answer(name).items()}
        np.savez_compressed(path, allow_pickle=False, **answers)
        total += path.stat().st_size
        print(f"{path.name:16} {len(cases):3} cases {path.stat().st_size / 1024:7.0f} kB")
    print(f"PyTorch {torch.__version__}, NumPy {np.__version__}; {total / 1024:.0f} kB in all")


if __name__ == "__main__":
    main()
