"""For whom: the student's copy without solutions, the instructor's with open ones and notes."""

from . import notes, prose
from .framework import tags


def student(notebook, name):
    """Without the solutions, and with exercises as if nobody had run them."""
    prose.apply(notebook, name, "student")
    notebook.cells = [cell for cell in notebook.cells if "solution" not in tags(cell)]
    for cell in notebook.cells:
        if "exercise" in tags(cell):
            cell.outputs, cell.execution_count = [], None
    return notebook


def instructor(notebook, name):
    """With the solutions open, and behind the beginning of each section its minutes and notes."""
    prose.apply(notebook, name, "instructor")
    for cell in notebook.cells:
        if "solution" in tags(cell):
            cell.metadata.pop("jupyter", None)
    return notes.insert(notebook, name)
