"""The notebooks as files: reading them, what they need beside them, and how paths and failures are told."""

import shutil
from pathlib import Path

import nbformat

from utils import data

from .errors import EditionError

ROOT = data.FOLDER.parent
SHARED = ("utils", "study", "data")  # what the notebooks need beside their folder
# What nbformat raises for a file that holds no notebook, or one of a newer format.
NO_NOTEBOOK = (ValueError, TypeError, AttributeError, LookupError, RecursionError, nbformat.ValidationError)


def read(path):
    """The notebook of a file. Raises EditionError when it is none."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except OSError as error:
        raise EditionError(f"Cannot read {path} ({error.strerror}).") from None
    except NO_NOTEBOOK:
        raise EditionError(f"{path} is not a notebook: restore it, or take it out of the folder.") from None
    return notebook


def not_written(error, folder):
    """One sentence for an OSError met while copies were written into a folder that `--to` names."""
    path, why = error.filename or folder, error.strerror
    if isinstance(error, shutil.Error):  # copytree's list of what it could not copy
        _, path, why = error.args[0][0]
    return f"Cannot write {path} ({why}): choose another folder with --to."


def shown(path):
    """A path as short as it can be told."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
