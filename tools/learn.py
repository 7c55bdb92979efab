"""Give the learner copies of the notebooks, in learn/: `make lab` does it, before JupyterLab opens there.

A copy has no outputs. It is made once and never written again: from then on it is the learner's. When its original has
changed, one sentence says so, with the command that takes the new one and keeps the old one.
"""

import hashlib
import json
import sys

from tools import ROOT, notebooks, read, without_outputs, write

LEARN = ROOT / "learn"  # beside utils, study and data, as notebooks/ is; not under version control


def main(arguments=()):
    """Make the copies that are missing; or, given a notebook's number such as 03, a new copy of that one."""
    if arguments:
        return renew(arguments[0])
    for path in notebooks():
        original, copy = learners(path), LEARN / path.name
        if not copy.exists():
            write(original, copy)
        elif fault := outdated(original, copy):
            print(f"{copy.name} {fault}: `make fresh NOTEBOOK={copy.name[:2]}` gives you a new one and keeps yours.")


def learners(path):
    """The learner's copy of a notebook: without outputs, marked with a digest of the cells that it was made from."""
    notebook = without_outputs(read(path))
    cells = [(cell.cell_type, cell.source) for cell in notebook.cells]
    notebook.metadata.made_from = hashlib.sha256(repr(cells).encode()).hexdigest()[:12]
    return notebook


def outdated(original, copy):
    """What is wrong with a copy, in words; "" when nothing is, or when an editor has dropped the mark."""
    try:
        made_from = json.loads(copy.read_text(encoding="utf-8"))["metadata"].get("made_from", "")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "cannot be read"
    return "has changed since your copy was made" if made_from not in ("", original.metadata.made_from) else ""


def renew(number):
    """Make a new copy of one notebook; the one that was there gets another name. Exits with a sentence if it cannot."""
    found = [path for path in notebooks() if number and path.name.startswith(number)]
    if len(found) != 1:
        sys.exit(f"There is no notebook {number or 'without a number'}: write for example `make fresh NOTEBOOK=03`.")
    copy = LEARN / found[0].name
    yours = next(path for i in range(1, 10**6) if not (path := copy.with_stem(f"{copy.stem}_yours{i}")).exists())
    try:
        if copy.exists():
            print(f"Your copy is now {copy.rename(yours).name}.")
    except OSError as error:
        sys.exit(f"Cannot rename {copy} ({error.strerror}): nothing is lost, mend that and run the same again.")
    write(learners(found[0]), copy)


if __name__ == "__main__":
    main(sys.argv[1:])
