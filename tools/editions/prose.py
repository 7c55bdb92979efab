"""How the text of a notebook reads in an edition: `tools/editions/sentences/NN_name.yaml`.

    torch:                       # the edition: keras, torch, student or instructor
      title:                     # the id of a cell
        - cut: Keras and PyTorch stand side by side.
        - {from: "in Keras and in PyTorch", to: in PyTorch}
        - keep: on Keras' own PyTorch backend     # here the other framework may be named
      gradient: cut              # the whole cell

The notebooks themselves hold no marks. Each text must stand in its cell exactly once, so an edit of a notebook that
touches it is told and not lost. Line ends count as blanks, and … stands for whatever is between two texts.
"""

import re
from pathlib import Path

import yaml

from .errors import EditionError

FOLDER = Path(__file__).parent / "sentences"
ACTIONS = ({"cut"}, {"from", "to"}, {"keep"})


def changes(name, edition):
    """What an edition changes in a notebook.

    name: such as "01_freeze_basics". Returns {cell id: "cut" or a list of changes}, empty without a file. Raises
    EditionError for a file that is not in the format.
    """
    content = read_yaml(FOLDER / f"{name}.yaml").get(edition) or {}
    for cell, entries in content.items():
        good = isinstance(entries, list) and all(isinstance(e, dict) and set(e) in ACTIONS for e in entries)
        if not good and entries != "cut":
            raise EditionError(f"{name}.yaml: {edition}: {cell} must be cut, or a list of cut, from and to, or keep.")
    return content


def apply(notebook, name, edition):
    """Change the notebook in place as its file says. Raises EditionError when a cell or a text is not there."""
    cells = {cell.id: cell for cell in notebook.cells}
    for id, entries in changes(name, edition).items():
        if id not in cells:
            raise EditionError(f"{name}.yaml: {edition}: the notebook has no cell {id}.")
        if entries == "cut":
            notebook.cells.remove(cells[id])
            continue
        for entry in entries:
            cells[id].source = changed(cells[id].source, entry, f"{name}.yaml: {edition}: {id}").strip("\n")


def changed(source, entry, where=""):
    """The text of a cell after one change: `cut`, `from` and `to`, or `keep`. Raises EditionError."""
    old = entry.get("cut") or entry.get("from") or entry.get("keep")
    found = list(pattern(old).finditer(source))
    if len(found) != 1:
        raise EditionError(f"{where}: this must stand there once, not {len(found)} times: {' '.join(old.split())[:90]}")
    if "keep" in entry:
        return source
    before, after = source[: found[0].start()], source[found[0].end() :]
    if "to" in entry:
        return before + entry["to"].strip("\n") + after
    if not before.strip() or before.endswith("\n\n"):  # the beginning of a paragraph
        return (before + after.lstrip()).strip("\n")
    return before.rstrip() + after


def pattern(text):
    """The pattern that finds a text whatever its line ends."""
    pieces = (r"\s+".join(map(re.escape, piece.split())) for piece in text.split("…"))
    return re.compile(".*?".join(pieces), re.DOTALL)


def read_yaml(path):
    """The mapping in a YAML file, empty if there is no file. Raises EditionError if it is not one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        raise EditionError(f"{path.name} cannot be read{f', line {mark.line + 1}' if mark else ''}.") from None
    if not isinstance(content, dict):
        raise EditionError(f"{path.name} must begin with a name and a colon.")
    return content
