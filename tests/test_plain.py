"""Without kernels: the definitions do it all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

ROOT = Path(__file__).parent.parent
OF_THE_ENGINE = ["test_ops.py", "test_engine.py", "test_derivatives.py", "test_nn.py", "test_optim.py", "test_explain.py", "test_gradcheck.py"]
OF_THE_MODELS = ["test_transformer.py", "test_generation.py", "test_recurrent.py", "test_training.py"]


ONLY_HERE = """import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]  # which would find the deleted folder elsewhere
import pytest
sys.exit(pytest.main(sys.argv[1:]))"""


def pytest_in(folder, files, **environment):
    """What pytest says of these test files in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", ONLY_HERE, "-q", "--no-header", "-p", "no:cacheprovider", *(f"tests/{name}" for name in files)],
        cwd=folder, env=os.environ | environment, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    return done.returncode, done.stdout[-3000:]


@pytest.mark.slow
def test_the_tests_of_the_engine_and_of_the_models_pass_without_kernels():
    code, said = pytest_in(ROOT, [*OF_THE_ENGINE[:3], OF_THE_MODELS[0]], MINIGRAD_PLAIN="1")
    assert code == 0, said


@pytest.mark.slow
def test_they_pass_with_the_folder_of_kernels_deleted_programs_and_all(tmp_path):
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "fast", "*.egg-info", "runs", "_build")
    shutil.copytree(ROOT, tmp_path / "copy", ignore=ignored)
    assert not (tmp_path / "copy" / "minigrad" / "fast").exists()
    code, said = pytest_in(tmp_path / "copy", ["test_programs.py", *OF_THE_ENGINE, *OF_THE_MODELS])
    assert code == 0, said


def test_in_plain_mode_every_step_of_an_op_is_seen():
    def steps():
        program = mg.program(lambda x: mg.softmax(x))
        program(np.ones(3))
        return program.source()

    assert "softmax(x, save" in steps()
    with mg.plain():
        assert "softmax(x, save" not in steps()


def test_plain_nests_and_decorates_and_gives_the_same_numbers():
    x = Tensor(np.random.default_rng(0).normal(size=(3, 4)), requires_grad=True)

    def loss():
        return (mg.softmax(x) * mg.gelu(x)).sum()

    wanted = loss()
    with mg.plain():
        found = loss()
        assert mg.plain()(loss)().item() == found.item()
        hessian = mg.hessian(lambda x: (mg.softmax(x) * mg.gelu(x)).sum())(x.data)
    np.testing.assert_allclose(found.item(), wanted.item(), rtol=1e-12)
    np.testing.assert_allclose(hessian.data, mg.hessian(lambda x: (mg.softmax(x) * mg.gelu(x)).sum())(x.data).data, rtol=1e-9, atol=1e-12)
