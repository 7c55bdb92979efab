"""What `make` runs. Here: the course's notebooks as files, read and written in the same way by every tool."""

import os
import re
import sys
import warnings
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def notebooks(folder=ROOT / "notebooks"):
    """The paths of a folder's notebooks in their order. Exits with one sentence when there are none."""
    return sorted(folder.glob("*.ipynb")) or sys.exit(f"There are no notebooks in {folder}: look at the folder's name.")


def read(path):
    """The notebook of a file, in nbformat's newest format. Exits with one sentence when it is none."""
    try:
        with warnings.catch_warnings(action="ignore"):  # what an older format lacks is mended here
            notebook = nbformat.read(path, as_version=4)
            notebook.nbformat_minor = nbformat.v4.nbformat_minor
            _, notebook = nbformat.validator.normalize(notebook)  # gives an id to cells that have none
            nbformat.validate(notebook)
        return notebook
    except OSError as error:
        sys.exit(f"Cannot read {path} ({error.strerror}): look at its name and its rights.")
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, nbformat.ValidationError):
        sys.exit(f"{path} is not a notebook of format 1 to 4: restore it, or leave it out.")


def code_cells(notebook):
    """The code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def without_outputs(notebook):
    """The notebook as if nobody had run it; it is changed and returned."""
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    return notebook


def without_links(notebook, also_notebooks=False):
    """The notebook without links to the README, or to its neighbours, which do not travel with it; it is changed."""
    target = r"\.\./README\.md|\d\d_\w+\.ipynb" if also_notebooks else r"\.\./README\.md"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(rf"\[([^]]*)\]\((?:{target})[^)]*\)", r"\1", cell.source)
    return notebook


def write(content, path):
    """Write a notebook or a text whole or, when that fails, not at all; then exit with one sentence."""
    text = content if isinstance(content, str) else nbformat.writes(content) + "\n"
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # another process may write the same file now
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        sys.exit(f"Cannot write {path} ({error.strerror}): nothing is lost, mend that and run the same again.")
