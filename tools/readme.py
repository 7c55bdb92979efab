"""What README.md shows of the notebooks: one figure, how many claims each has, and for each row a link to its proof.

`python -m tools.readme` in the course's folder, after the notebooks were executed (`make refresh` does both). The links
end in #cell-id=...: JupyterLab and the pages of `make html` go to the cell, GitHub shows the notebook from its top.
"""

import base64
import re
import sys
from pathlib import Path

import nbformat

from tools.run_notebooks import count_claims

README = Path("README.md")
PICTURE = Path("tools/site/truth_table.png")
SHOWN = "02_recompile_pitfall", "keras-table"  # the notebook and its cell
ROW = re.compile(r"^\| (C\d\d) \|.*$", re.MULTILINE)
MAP = re.compile(r"^(\| \[.*\]\(notebooks/(\w+)\.ipynb\) \|.*\|) \d+ \|$", re.MULTILINE)  # the last column: claims
LINK = re.compile(r"\(notebooks/(\w+)\.ipynb(?:#cell-id=([\w-]+))?\)")


def read(stem):
    """The notebook of that name."""
    return nbformat.read(Path("notebooks") / f"{stem}.ipynb", as_version=4)


def proof(notebook, row):
    """The id of the first cell whose stored output asserts a row; None when there is none."""
    for cell in notebook.cells:
        printed = "".join(output.get("text", "") for output in cell.get("outputs", ()))
        if re.search(rf"^✔ \[{row}\]", printed, re.MULTILINE):
            return cell.id
    return None


def linked(text):
    """The README's text, each row's links set to the cells that assert it. Exits with one sentence when none does."""
    notebooks = {stem: read(stem) for stem in {match[1] for match in LINK.finditer(text)}}

    def to_cell(row, match):
        cell = proof(notebooks[match[1]], row)
        if cell is None:
            sys.exit(f"README.md says that {match[1]} asserts {row}, but no cell of it does: correct one of the two.")
        return f"(notebooks/{match[1]}.ipynb#cell-id={cell})"

    return ROW.sub(lambda line: LINK.sub(lambda match: to_cell(line[1], match), line[0]), text)


def counted(text):
    """The README's text, the last column of its map set to how many claims each notebook's stored outputs show."""
    return MAP.sub(lambda line: f"{line[1]} {count_claims(read(line[2]))} |", text)


def picture():
    """The figure of the README as a notebook stores it: PNG, bytes."""
    stem, name = SHOWN
    outputs = next(cell for cell in read(stem).cells if cell.id == name).outputs
    images = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", ())]
    return base64.b64decode(images[0])


if __name__ == "__main__":
    README.write_text(counted(linked(README.read_text(encoding="utf-8"))), encoding="utf-8")
    PICTURE.write_bytes(picture())
