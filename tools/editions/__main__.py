"""Write editions of the notebooks: `python -m tools.editions [EDITION ...]`, see `python -m tools.editions --help`."""

import argparse
import shutil
import sys
from pathlib import Path

import nbformat

from tools import editions
from tools.editions.files import ROOT, SHARED, not_written, read, shown


def main(arguments=None):
    """Write the editions that the command line names. Exits with one sentence when something is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.editions",
        description="Write copies of the notebooks for one audience or one framework.",
        epilog="The notebooks of an edition need utils/ and data/, which are copied beside its folder.",
    )
    known = ", ".join(editions.EDITIONS)
    parser.add_argument(
        "editions", nargs="*", metavar="EDITION", help=f"{known}, or several joined by +: student+torch"
    )
    parser.add_argument("--notebooks", type=Path, default=ROOT / "notebooks", help="their folder (default: notebooks)")
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "editions", help="default: build/editions")
    options = parser.parse_args(arguments)
    try:
        for line in write(options.notebooks, options.editions or editions.USUAL, options.to):
            print(line)
    except editions.EditionError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(not_written(error, options.to))


def write(folder, wanted, target):
    """Write editions of all notebooks of a folder into a folder each, and what they need beside them.

    folder, target: paths. wanted: editions such as "student+torch". Yields a line for each edition. Raises EditionError
    before anything is written when an edition is unknown or a notebook cannot be made.
    """
    notebooks = {path.stem: read(path) for path in sorted(Path(folder).glob("*.ipynb"))}
    if not notebooks:
        raise editions.EditionError(f"There are no notebooks in {folder}: name their folder with --notebooks.")
    made = {}
    for edition in wanted:
        parts = "+".join(editions.names(edition))
        made[parts] = {name: editions.make(notebook, name, parts) for name, notebook in notebooks.items()}
    for name in SHARED:
        shutil.copytree(ROOT / name, target / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for edition, copies in made.items():
        (target / edition).mkdir(parents=True, exist_ok=True)
        for name, notebook in copies.items():
            nbformat.validate(notebook)
            nbformat.write(notebook, target / edition / f"{name}.ipynb")
        yield f"{shown(target / edition)}: {len(copies)} notebooks"


if __name__ == "__main__":
    main()
