"""Copies of the notebooks for one audience or one framework, made from the one set in notebooks/.

`python -m tools.editions` writes them to build/editions/. An edition is a function `convert(notebook, name)` that
returns a notebook: it gets one (as nbformat reads it, a copy that it may change) and its name, "01_freeze_basics". A
combined edition such as student+torch applies one after the other. What a teacher may edit are data files: how a text
reads when a part is cut (`sentences/`, see `prose`), and the notes for teachers (`data/teaching/`, see `notes`).
"""

import copy

from . import audience, framework, nbgrader, notes
from .errors import EditionError

__all__ = ["EDITIONS", "USUAL", "EditionError", "make", "names"]

AUDIENCES = {"student": audience.student, "instructor": audience.instructor, "nbgrader": nbgrader.convert}
FRAMEWORKS = {"keras": framework.keras_only, "torch": framework.torch_only}
EDITIONS = AUDIENCES | FRAMEWORKS
USUAL = [*EDITIONS, "student+keras", "student+torch"]  # what is made when none is named


def names(edition):
    """The parts of an edition, in the order in which its folder names them: the audience, then the framework.

    edition: text such as "torch+student". Returns a list such as ["student", "torch"]. Raises EditionError for an
    unknown part, or for two audiences or two frameworks.
    """
    parts = dict.fromkeys(part.strip() for part in edition.split("+"))
    for part in parts:
        if part not in EDITIONS:
            raise EditionError(f'There is no edition "{part}": name {", ".join(EDITIONS)}, or several joined by +.')
    for group in (AUDIENCES, FRAMEWORKS):
        chosen = [part for part in parts if part in group]
        if len(chosen) > 1:
            raise EditionError(f"{' and '.join(chosen)} exclude each other: make two editions.")
    return [part for part in EDITIONS if part in parts]


def make(notebook, name, edition):
    """The notebook of one edition.

    notebook: as nbformat reads it; it is not changed. name: such as "01_freeze_basics". edition: such as
    "student+torch". Returns a new notebook. Raises EditionError for an unknown edition, or when a data file does not
    fit the notebook.
    """
    made = copy.deepcopy(notebook)
    notes.remember_headings(made)
    for part in reversed(names(edition)):  # the framework first: then the audience sees what is left
        made = EDITIONS[part](made, name)
    notes.forget_headings(made)
    return made
