"""The command ``page``: a run as one HTML file, its weights in half precision, and the model once more in JavaScript that one can read.

``model.js`` computes, ``tokenizer.js`` cuts the text, ``sampling.js`` chooses; ``maps.js``, ``byhand.js``, ``next.js``, ``view.js`` show.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...training.checkpoints import RunFolder
from .build import write_page


def add_commands(commands: Any) -> None:
    page = commands.add_parser("page", help="a run's model as one HTML file that runs in any browser, without a network")
    page.set_defaults(run=page_command, works=True)
    page.add_argument("dir", metavar="DIR", help="the run folder of a GPT, or of an encoder–decoder")
    page.add_argument("--out", metavar="FILE", help="default: page.html in the run folder")
    page.add_argument("--text", metavar="S", help="what the page opens with (default: the model's own words, or an example of the task)")
    page.add_argument("--book", metavar="URL", help="where its links to the chapters lead, such as ../book/{chapter}.html (default: no links)")


def page_command(args: argparse.Namespace) -> int:
    """The file, and its size."""
    out = Path(args.out) if args.out else Path(args.dir) / "page.html"
    size = write_page(RunFolder(args.dir), out, args.text, args.book)
    print(f"{out}: {size / 1e6:.2f} MB; open it in a browser, no server is needed")
    return 0
