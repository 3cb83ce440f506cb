"""The page "Verify my gradient" does what it says: its code runs from top to bottom, and what it shows is what comes out."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "verify.md"


def words(text):
    """Without the numbers: the last digits are the machine's."""
    return re.sub(r"-?\d+\.[\de.+-]+|\[\d, \d\]", "#", text).split()


def test_the_code_of_the_page_runs_and_shows_what_the_page_shows():
    blocks = re.findall(r"```(python|text)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    namespace, said, shown = {}, "", 0
    for kind, code in blocks:
        if kind == "text":
            assert words(said) == words(code)
            shown += 1
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(PAGE), "exec"), namespace)
        said = out.getvalue()
        if "(P - T) @ W.T" in code:
            assert "WRONG: missing mean" in said
            assert "every entry is 4 times the right one: the mean over the batch of 4 is missing: cross_entropy divides by 4" in said
    assert shown == 1 and len(blocks) > 6
