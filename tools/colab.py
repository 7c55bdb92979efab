"""Make copies of the notebooks that carry the whole course in them, to be uploaded to Colab: `make colab`.

Colab opens one uploaded notebook at a time, on a fresh machine each, and unpacks no archive. So each copy is one file
that needs nothing beside it: its set-up cell, folded, holds the course's code and data and unpacks them.
`python -m tools.colab NOTEBOOK ...` does it for other notebooks, such as build/editions/student/*.ipynb.
"""

import argparse
import base64
import hashlib
import io
import os
import re
import zipfile
from pathlib import Path

from tools import ROOT, notebooks, read, without_links, write
from tools.publish import BADGE

CARRIED = ("utils/**/*", "study/**/*", "data/**/*", "LICENSE")
LEFT_OUT = ("__pycache__", "teaching", "minilm")
# Large files, and the module of utils that reads them: they travel with notebooks that use it.
LARGE = {"photos": ("lite0.npz", "photos.zip"), "texts": ("texts.zip", "writer.npz", "writer_seed1.npz")}
WIDTH = 1000  # characters a line of the packed course: an editor shows many short lines, or one very long, slowly
SET_UP = '''\
# @title Set-up: it holds the course itself
import base64, io, os, sys, zipfile

PACKED = """
{packed}
"""
try:
    zipfile.ZipFile(io.BytesIO(base64.b64decode(PACKED))).extractall("{folder}")
except OSError as error:
    sys.exit(f"Cannot unpack the course here ({{error}}): mend that, run this cell again.")
sys.path.insert(0, os.path.abspath("{folder}"))'''


def main(arguments=None):
    """Write the copies. Exits with one sentence when that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m tools.colab", description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: all of notebooks/")
    parser.add_argument("--to", type=Path, default=ROOT / "build/for_colab", help="default: build/for_colab")
    options = parser.parse_args(arguments)
    paths = options.notebooks or notebooks()
    if any(path.resolve().parent == options.to.resolve() for path in paths):
        parser.error(f"the copies would replace the notebooks in {options.to}: choose another folder")
    for path in paths:
        notebook, copy = without_links(read(path), also_notebooks=True), options.to / path.name
        code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        unused = [names for module, names in LARGE.items() if not re.search(rf"\b{module}\.", code)]
        source = set_up(packed(ROOT, sum(unused, ())))
        for cell in notebook.cells:  # without a badge: it is on Colab already
            cell.source = source if cell.id == "setup" else BADGE.sub("", cell.source)
        write(notebook, copy)
        print(f"{os.path.relpath(copy)}: {copy.stat().st_size / 1e6:.1f} MB")


def packed(root, left_out=()):
    """The course's code and data as a zip archive, bytes; the same from the same files. left_out: names of files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(path for name in CARRIED for path in root.glob(name) if path.is_file()):
            if not {*LEFT_OUT, *left_out} & set(path.parts):
                name = zipfile.ZipInfo(path.relative_to(root).as_posix())
                target.writestr(name, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def set_up(archive):
    """The code of the set-up cell: unpack into a folder named after the archive, so that two releases never mix."""
    folder = f"freezing-course-{hashlib.sha256(archive).hexdigest()[:8]}"
    text = base64.b64encode(archive).decode()
    lines = "\n".join(text[i : i + WIDTH] for i in range(0, len(text), WIDTH))
    return SET_UP.format(packed=lines, folder=folder)


if __name__ == "__main__":
    main()
