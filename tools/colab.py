"""Make copies of the notebooks that carry the whole course in them: `make colab`.

Colab opens one uploaded notebook at a time, on a fresh machine each, and unpacks no archive. So each copy is one file
that needs nothing beside it: its first cell, folded, holds the course's code and data and unpacks them.
`python -m tools.colab NOTEBOOK ...` does it for other notebooks, such as build/editions/student/*.ipynb.
"""

import argparse
import base64
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

from tools.editions.files import ROOT, SHARED, not_written, shown
from tools.run_notebooks import read
from tools.stamp import without_badge

CARRIED = (*SHARED, "LICENSE")
WIDTH = 1000  # characters a line of the packed course: an editor shows many short lines, or one very long, slowly
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # for Colab, for JupyterLab
UNPACK = '''\
# @title The course itself, packed: run this cell first {{"display-mode": "form"}}
import base64
import io
import os
import zipfile

PACKED = """
{packed}
"""
try:
    if not os.path.isdir("../study"):
        zipfile.ZipFile(io.BytesIO(base64.b64decode(PACKED))).extractall("{folder}")
        os.makedirs("{folder}/notebooks", exist_ok=True)
        os.chdir("{folder}/notebooks")
except OSError as error:
    raise SystemExit(f"Cannot unpack the course here ({{error}}): mend that, run this cell again.") from None
'''


def main(arguments=None):
    """Write the copies. Exits with one sentence when that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m tools.colab", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: all of notebooks/")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "for_colab", help="default: build/for_colab")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb"))
    if any(path.resolve().parent == options.to.resolve() for path in paths):
        sys.exit(f"The copies would replace the notebooks in {options.to}: choose another folder with --to.")
    cell = unpacking_cell(packed(ROOT))
    try:
        options.to.mkdir(parents=True, exist_ok=True)
        for path in paths:
            target = options.to / path.name
            nbformat.write(carrying(read(path), cell), target)
            print(f"{shown(target)}: {target.stat().st_size / 1e6:.1f} MB")
    except OSError as error:
        sys.exit(not_written(error, options.to))


def packed(root):
    """The course's code and data as a zip archive, the same bytes from the same files. Returns bytes."""
    files = [path for name in CARRIED for path in [root / name, *(root / name).rglob("*")] if path.is_file()]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(path for path in files if "__pycache__" not in path.parts):
            target.writestr(zipfile.ZipInfo(path.relative_to(root).as_posix()), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def unpacking_cell(archive):
    """The cell that unpacks an archive beside the notebook, and goes there as the set-up cell does.

    Its folder is named after the archive, so that two releases never mix and a second run only writes the same again:
    the learner's progress in it stays.
    """
    folder = f"freezing-course-{hashlib.sha256(archive).hexdigest()[:8]}"
    text = base64.b64encode(archive).decode()
    lines = "\n".join(text[i : i + WIDTH] for i in range(0, len(text), WIDTH))
    return new_code_cell(UNPACK.format(packed=lines, folder=folder).rstrip(), id="course", metadata=FOLDED)


def carrying(notebook, cell):
    """A notebook with the unpacking cell before its first code cell, and without the badge: it is on Colab already."""
    code = [i for i, other in enumerate(notebook.cells) if other.cell_type == "code"]
    first = code[0] if code else len(notebook.cells)
    for other in notebook.cells[:first]:
        other.source = without_badge(other.source)
    notebook.cells.insert(first, cell)
    return notebook


if __name__ == "__main__":
    main()
