"""The examples of docs/pretrained.md, run in order as they stand there."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from transformer.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "pretrained.md").read_text(encoding="utf-8")


@pytest.mark.weights
@pytest.mark.slow
def test_every_example_runs_and_prints_what_it_says(library, minilm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text("the cat sat on the mat and the dog sat by the cat. " * 80, encoding="utf-8")
    command = re.search(r"python -m transformer (train .*)", PAGE)[1]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert not main(shlex.split(command))
    names, printed = {}, io.StringIO()
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        with contextlib.redirect_stdout(printed):
            exec(block, names)
    promised = re.findall(r"print\(.*\) +# ([^:\n]+)", PAGE)
    assert len(promised) == 3 and printed.getvalue().splitlines() == promised
