"""The notebooks as files: reading them, what they need beside them, and how a path is told."""

from pathlib import Path

import nbformat

from .errors import EditionError

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = ("utils", "data")  # what the notebooks need beside their folder


def read(path):
    """The notebook of a file. Raises EditionError when it is none."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except OSError as error:
        raise EditionError(f"Cannot read {path} ({error.strerror}).") from None
    except (ValueError, TypeError, AttributeError, LookupError, nbformat.ValidationError):  # nbformat raises them all
        raise EditionError(f"{path} is not a notebook: restore it, or take it out of the folder.") from None
    return notebook


def shown(path):
    """A path as short as it can be told."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
