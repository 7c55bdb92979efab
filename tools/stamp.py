"""Write into the course where it is published: `make stamp REPO=owner/name TAG=v1`, and `make unstamp`.

On GitHub at that tag are then: the badge under each notebook's title (opens it on Colab), what each set-up cell fetches
when its notebook stands alone, and the README's paragraph between its two marks. All of it is written here and nowhere
else. A badge is a link of text: a picture would be fetched from another host by everyone who opens the notebook.
"""

import argparse
import contextlib
import re
import sys
from typing import NamedTuple

import nbformat

from tools.editions import EditionError
from tools.editions.files import ROOT, read

COMMAND = "make stamp REPO=owner/name TAG=v1"
COLAB = "https://colab.research.google.com/github/"
# What GitHub allows; and of the tags that git allows those that stand in an address as they are.
OWNER_NAME = re.compile(r"[A-Za-z0-9]([-_]?[A-Za-z0-9]){0,38}/(?!\.+$)[A-Za-z0-9._-]{1,100}(?<!\.git)")
GIT_TAG = re.compile(r"(?!HEAD$)(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(?<!\.)(?<!\.lock)")
BADGE = re.compile(rf"^\[.*\]\({re.escape(COLAB)}\S*\)\n*", re.MULTILINE)
LINK = re.compile(rf"{re.escape(COLAB)}([^\s/]+/[^\s/]+)/blob/([^\s/]+)/")
MARKED = re.compile(r"(?<=<!-- stamp -->\n).*?(?=<!-- /stamp -->)", re.DOTALL)

SET_UP = """\
import os  # set-up: finds the course's folder, or fetches it; run it, and read on below
import subprocess
import sys

COURSE = "@COURSE@"
COURSE = os.environ.get("FREEZING_COURSE", COURSE)  # address#tag, if this notebook stands alone
if not os.path.isdir("../study"):
    address, _, tag = COURSE.partition("#")
    if not address:
        sys.exit("The folder utils is missing: open this notebook in the course's own folder.")
    folder, branch = (f"freezing-course-{tag}", ["-b", tag]) if tag else ("freezing-course", [])
    try:
        if not os.path.isdir(f"{folder}/study"):
            os.environ["GIT_TERMINAL_PROMPT"] = "0"  # it asks for no password
            clone = ["git", "clone", "--depth=1", *branch, address, folder]
            subprocess.run(clone, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        sys.exit(f"Cannot fetch {COURSE} ({why}): mend that, run this cell again.")
    os.chdir(f"{folder}/notebooks")
sys.path.insert(0, os.path.abspath(".."))"""

UNSTAMPED = "No badge opens this copy on Colab: it does not know yet where it is published.\n"
STAMPED = """\
The link under each notebook's title opens it there, or choose here: {links}. The first cell fetches the course, release
{tag}, from [{repo}](https://github.com/{repo}/tree/{tag}).
"""


class StampError(Exception):
    """The course cannot be stamped; the message is one sentence that says what to do."""


class Stamp(NamedTuple):
    """Where the course is published: GitHub's owner/name, and a tag there."""

    repo: str
    tag: str


def main(arguments=None):
    """Stamp as the command line says. Exits with one sentence, and changes nothing, when that makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m tools.stamp", description=__doc__.split("\n")[0])
    parser.add_argument("--repo", default="", metavar="OWNER/NAME", help="on GitHub")
    parser.add_argument("--tag", default="", help="the tag of this release there")
    parser.add_argument("--unstamp", action="store_true", help="take repository and tag out again")
    options = parser.parse_args(arguments)
    try:
        stamp = None if options.unstamp else checked(options.repo, options.tag)
        changed = write(ROOT, stamp)
    except (StampError, EditionError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"Cannot write {error.filename} ({error.strerror}): mend that, then run the same command again.")
    files = f"{changed} file{'' if changed == 1 else 's'} changed"
    print(f"Stamped {stamp.repo} at {stamp.tag}: {files}." if stamp else f"No stamp now: {files}.")
    if stamp:
        print(f"Now run the tests, commit, `git tag {stamp.tag}`, and push both to {stamp.repo}.")


def checked(repo, tag):
    """The stamp of a repository and a tag, both texts. Raises StampError when either cannot be one."""
    if not repo or not tag:
        missing = " and ".join(name for name, value in (("REPO", repo), ("TAG", tag)) if not value)
        raise StampError(f"{missing} missing: write {COMMAND}.")
    if not OWNER_NAME.fullmatch(repo):
        raise StampError(f"REPO={repo!r} is no repository on GitHub: write owner/name, as in {COMMAND}.")
    if not GIT_TAG.fullmatch(tag):
        raise StampError(
            f"TAG={tag!r} cannot be the tag: take letters, digits, single dots, - and _, "
            f"with a letter or digit at both ends, as in {COMMAND}."
        )
    return Stamp(repo, tag)


def write(root, stamp):
    """Stamp all places of the course in `root`, all or none; `stamp` None takes the stamp out. Returns how many files
    changed. Raises StampError when a place to be stamped is missing, before anything is written."""
    parts = []
    try:
        for path, text in texts(root, stamp).items():
            if text != path.read_text(encoding="utf-8"):
                parts.append((path.with_name(path.name + ".part"), path))
                parts[-1][0].write_text(text, encoding="utf-8")
        for part, path in parts:
            part.replace(path)
    finally:
        for part, _ in parts:
            with contextlib.suppress(OSError):
                part.unlink()
    return len(parts)


def texts(root, stamp):
    """What the files of the course in `root` say with this stamp: {path: text}. Raises StampError."""
    paths = notebooks(root)
    return {root / "README.md": readme(root, stamp)} | {path: stamped(path, stamp) for path in paths}


def notebooks(root):
    """The paths of the course's notebooks. Raises StampError if there are none."""
    paths = sorted((root / "notebooks").glob("*.ipynb"))
    if not paths:
        raise StampError(f"There are no notebooks in {root}: run this in the course's own folder.")
    return paths


def readme(root, stamp):
    """The README with this stamp. Raises StampError when it lacks the marks."""
    text = (root / "README.md").read_text(encoding="utf-8")
    if len(MARKED.findall(text)) != 1:
        raise StampError("README.md needs the lines <!-- stamp --> and <!-- /stamp --> once: restore them.")
    paragraph = UNSTAMPED
    if stamp:
        links = ", ".join(f"[{path.stem[:2]}]({address(path.stem, stamp)})" for path in notebooks(root))
        paragraph = STAMPED.format(links=links, repo=stamp.repo, tag=stamp.tag)
    return MARKED.sub(lambda _: paragraph, text)


def stamped(path, stamp):
    """The text of a notebook's file with this stamp. Raises StampError when it lacks its title or its set-up cell."""
    notebook = read(path)
    title, set_up = (next((cell for cell in notebook.cells if cell.get("id") == id), None) for id in ("title", "setup"))
    if title is None or set_up is None or not title.source.startswith("# ") or set_up.cell_type != "code":
        raise StampError(
            f"{path} needs a cell title that begins with # and a code cell setup (their ids): restore them."
        )
    title.source = without_badge(title.source)
    if stamp:
        heading, _, rest = title.source.partition("\n")
        title.source = f"{heading}\n\n{badge(path.stem, stamp)}\n\n{rest.lstrip()}"
    set_up.source = set_up_cell(stamp)
    return nbformat.writes(notebook) + "\n"


def badge(name, stamp):
    """The link that opens a notebook on Colab, in Markdown. name: such as "01_freeze_basics"."""
    return f"[▶ Open in Colab]({address(name, stamp)})"


def address(name, stamp):
    """Where Colab shows a notebook of the published course."""
    return f"{COLAB}{stamp.repo}/blob/{stamp.tag}/notebooks/{name}.ipynb"


def without_badge(text):
    """A Markdown text without lines that are a link, or a picture with a link, to Colab."""
    return BADGE.sub("", text)


def set_up_cell(stamp):
    """The code of the set-up cell, the same in all notebooks."""
    course = f"https://github.com/{stamp.repo}#{stamp.tag}" if stamp else ""
    return SET_UP.replace("@COURSE@", course)


def current(root):
    """The stamp that the README of the course in `root` has; None when it has none."""
    links = LINK.search((root / "README.md").read_text(encoding="utf-8"))
    return Stamp(*links.groups()) if links else None


def differing(root):
    """The places of the course in `root` that do not have the README's stamp (or none, as the README): a sentence each.

    Also finds links to Colab that were written by hand, in any notebook cell and on any page.
    """
    stamp = current(root)
    wanted = f"the stamp {' at '.join(stamp)}" if stamp else "no stamp"
    faults = [
        f"{path.name} is not as `make stamp` or `make unstamp` leaves it with {wanted}"
        for path, text in texts(root, stamp).items()
        if text != path.read_text(encoding="utf-8")
    ]
    pages = [*root.glob("*.md"), *root.glob("data/**/*.md"), *notebooks(root)]
    for page in pages:
        strange = {Stamp(*found) for found in LINK.findall(page.read_text(encoding="utf-8"))} - {stamp}
        faults += [f"{page.name} links to {' at '.join(other)}, with {wanted} elsewhere" for other in sorted(strange)]
    return faults


if __name__ == "__main__":
    main()
