"""What grading leaves: two tables for the lecturer, and a page for each student."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigrad.storage import write_atomically

from .chapters import Chapter
from .grading import Result
from .tables import table

RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))}  # by Windows
RESULTS = ("student", "chapter", "exercise", "points", "of", "seconds", "remark")

STYLE = """body { font: 17px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; background: #fff }
h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc } h2, h3 { display: flex; justify-content: space-between; gap: 1.5rem }
.points { flex: none; font-weight: normal; color: #444 }
pre { white-space: pre-wrap; background: #f4f4f2; padding: .7rem .9rem; border-left: 4px solid #999; font-size: 14px }
pre.right { border-color: #2a7a3f } pre.wrong { border-color: #b3541e } blockquote { border-left: 4px solid #ccc; margin-left: 0; padding-left: 1rem }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } pre { background: #262626 } .points { color: #aaa } }"""


def file_name(student: str, taken: set[str]) -> str:
    """A name for the student's files that every system can have, and nobody else has."""
    base = re.sub(r"[^\w.@+-]", "_", student).strip("._")[:80] or "student"
    if base.split(".")[0].upper() in RESERVED:
        base = f"student_{base}"
    name, count = base, 1
    while name.casefold() in taken:
        count += 1
        name = f"{base}_{count}"
    taken.add(name.casefold())
    return name


def save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(content))


def earlier(folder: Path) -> list[Result]:
    """What was graded into this folder before; nothing where there is none, or what is there is of another version."""
    try:
        return [Result(**one) for one in json.loads((folder / "results.json").read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def together(new: Sequence[Result], old: Sequence[Result]) -> list[Result]:
    """The new results, and the old ones of whatever was not graded now, by student and chapter."""
    now = {(r.student, r.chapter) for r in new}
    return sorted([*new, *(r for r in old if (r.student, r.chapter) not in now)], key=lambda r: (r.student, r.chapter))


def number(text: str) -> float:
    return float(text.replace(",", ".")) if text else 0.0


def totals(results: Sequence[Result], marks: Sequence[dict[str, str]], chapters: Sequence[Chapter]) -> bytes:
    """points.csv: a line for each student, a column for each chapter, and what is still to be marked."""
    columns = ("student", *(one.stem for one in chapters), "total", "of", "not yet marked")
    lines = []
    for student in dict.fromkeys(one.student for one in results):
        mine, said = [r for r in results if r.student == student], [m for m in marks if m["student"] == student]
        line: dict[str, Any] = {"student": student}
        for one in chapters:
            line[one.stem] = sum(r.points for r in mine if r.chapter == one.stem) + sum(
                number(m["points"]) for m in said if m["chapter"] == one.stem
            )
        line["total"], line["of"] = (
            sum(line[one.stem] for one in chapters),
            sum(r.of for r in mine) + sum(int(m["of"]) for m in said),
        )
        line["not yet marked"] = sum(not m["points"] for m in said if m["answer"])
        lines.append({key: f"{value:g}" if isinstance(value, float) else value for key, value in line.items()})
    return table(columns, lines)


def feedback(
    student: str, results: Sequence[Result], marks: Sequence[dict[str, str]], chapters: Sequence[Chapter]
) -> tuple[bytes, bytes]:
    """The page of a student as HTML and as Markdown; whatever the student wrote is text in both."""
    page, text = [f"<h1>{html.escape(student)}</h1>"], [f"# {_escaped(student)}", ""]
    for chapter in chapters:
        mine, said = (
            [r for r in results if r.chapter == chapter.stem],
            [m for m in marks if m["chapter"] == chapter.stem],
        )
        if not mine and not said:
            continue
        got = sum(r.points for r in mine) + sum(number(m["points"]) for m in said)
        of = sum(r.of for r in mine) + sum(int(m["of"]) for m in said)
        points = f"{got:g} of {of} points" + (" so far" if any(m["answer"] and not m["points"] for m in said) else "")
        page.append(f'<h2>{html.escape(chapter.title)} <span class="points">{points}</span></h2>')
        text += [f"## {chapter.title}: {points}", ""]
        for r in mine:
            words = (
                "\n".join(
                    filter(None, [r.words, "" if r.remark and r.remark in " ".join(r.words.split()) else r.remark])
                )
                or "Not handed in."
            )
            kind = "right" if r.points else "wrong"
            page.append(
                f'<h3>{html.escape(r.title)} <span class="points">{r.points} of {r.of}</span></h3><pre class="{kind}">{html.escape(words)}</pre>'
            )
            text += [f"### {r.title}: {r.points} of {r.of}", "", *(f"    {line}" for line in words.splitlines()), ""]
        for m in said:
            points = f"of {m['of']}, not yet marked" if m["answer"] and not m["points"] else f"{number(m['points']):g} of {m['of']}"
            answer, remark = m["answer"] or "Not handed in.", m["points"] and m["remark"] and f"Remark: {m['remark']}"
            page.append(
                f'<h3>{html.escape(m["title"])} <span class="points">{points}</span></h3><blockquote>{html.escape(answer)}</blockquote>'
            )
            page.append(f"<p>{html.escape(remark)}</p>" if remark else "")
            text += [
                f"### {m['title']}: {points}",
                "",
                *(f"    {line}" for line in answer.splitlines()),
                "",
                _escaped(remark),
                "",
            ]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    whole = f"{head}<title>{html.escape(student)}</title><style>{STYLE}</style>" + "\n".join(page)
    return whole.encode("utf-8", "replace"), ("\n".join(text).rstrip() + "\n").encode("utf-8", "replace")


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def write(
    folder: Path, results: Sequence[Result], marks: Sequence[dict[str, str]], chapters: Sequence[Chapter]
) -> None:
    """results.csv, results.json (the same with all words), points.csv and feedback/STUDENT.html and .md."""
    save(folder / "results.json", json.dumps([vars(r) for r in results], indent=0).encode("ascii"))
    save(folder / "results.csv", table(RESULTS, [vars(r) for r in results]))
    save(folder / "points.csv", totals(results, marks, chapters))
    taken: set[str] = set()
    for student in dict.fromkeys(r.student for r in results):
        mine = [r for r in results if r.student == student], [m for m in marks if m["student"] == student]
        page, text = feedback(student, *mine, chapters)
        name = file_name(student, taken)
        save(folder / "feedback" / f"{name}.html", page)
        save(folder / "feedback" / f"{name}.md", text)
