"""Write into the course where it is published: `make publish REPO=owner/name TAG=v1`; `make unpublish` takes it out.

On GitHub at that tag are then: the link under each notebook's title (opens it on Colab), what each set-up cell fetches
when its notebook stands alone, and the README's paragraph between its two marks. All of it is written here and nowhere
else. A badge is a link of text: a picture would be fetched from another host by everyone who opens the notebook.
"""

import re
import sys

import nbformat

from tools import ROOT, notebooks, read, write

USE = "write `make publish REPO=owner/name TAG=v1`"
COLAB = "https://colab.research.google.com/github/"
REPOSITORY = re.compile(r"[A-Za-z0-9-]{1,39}/(?!\.+$)[A-Za-z0-9._-]{1,100}(?<!\.git)")
TAG = re.compile(
    r"(?!HEAD$)[A-Za-z0-9_](\.?[A-Za-z0-9_-]){0,50}(?<!\.lock)"
)  # of the tags that git takes, the plain ones
BADGE = re.compile(rf"^\[.*\]\({re.escape(COLAB)}\S*\)\n*", re.MULTILINE)
README = re.compile(r"\]\((?:\.\./|https://github\.com/[\w.-]+/[\w.-]+/blob/[\w.-]+/)README\.md")
MARKED = re.compile(r"(?<=<!-- published -->\n).*?(?=<!-- /published -->)", re.DOTALL)
NOWHERE = "No link opens this copy on Colab: it does not know yet where it is published.\n"
PARAGRAPH = """\
The link under each notebook's title opens it on Colab, and its first cell fetches the course, release {tag}, from
[{repo}](https://github.com/{repo}/tree/{tag}).
"""

SET_UP = """\
# @title Set-up
import os, sys

if not os.path.isdir("../study"):
    sys.exit("Open this notebook in the course's own folder: it needs utils and study beside it.")
sys.path.insert(0, os.path.abspath(".."))"""
FETCHING = """\
# @title Set-up
import os, subprocess, sys

course = "../" if os.path.isdir("../study") else "freezing-course-TAG/"
clone = f"git clone -q --depth=1 -b TAG https://github.com/REPO {course}"  # noqa: E501
told = os.path.isdir(course + "study") or subprocess.getoutput(clone)
sys.path.insert(0, os.path.abspath(course)) if os.path.isdir(course + "study") else sys.exit(told)"""
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}, "tags": ["plumbing", "hide-input"]}


def main(arguments):
    """Publish as the command line says, REPO TAG or --undo. Exits with one sentence, having changed nothing."""
    place = None if arguments == ["--undo"] else (*arguments, "", "")[:2]
    if place and not REPOSITORY.fullmatch(place[0]):
        sys.exit(f"REPO={place[0]!r} is no repository on GitHub: {USE}.")
    if place and not TAG.fullmatch(place[1]):
        sys.exit(f"TAG={place[1]!r} cannot be the tag (letters, digits, and single dots, - or _ between them): {USE}.")
    changed = {path: text for path, text in texts(ROOT, place).items() if text != path.read_text(encoding="utf-8")}
    for path, text in changed.items():
        write(text, path)
    print(f"{'Published at ' + ' '.join(place) if place else 'Published nowhere'}: {len(changed)} files changed.")
    if place:
        print(f"Now run the tests, commit, `git tag {place[1]}`, and push both to {place[0]}.")


def texts(root, place):
    """What the files of the course in `root` say when it is published there: {path: text}. Exits with one sentence."""
    text = (root / "README.md").read_text(encoding="utf-8")
    if len(MARKED.findall(text)) != 1:
        sys.exit("README.md needs the lines <!-- published --> and <!-- /published --> once: restore them.")
    paragraph = PARAGRAPH.format(repo=place[0], tag=place[1]) if place else NOWHERE
    readme = {root / "README.md": MARKED.sub(lambda _: paragraph, text)}
    return readme | {path: published(path, place) for path in notebooks(root / "notebooks")}


def published(path, place):
    """The text of a notebook's file."""
    notebook = read(path)
    cells = {cell.id: cell for cell in notebook.cells}
    if not cells.keys() >= {"title", "setup"} or not cells["title"].source.startswith("# "):
        sys.exit(f"{path} needs a cell title that begins with # and a code cell setup (their ids): restore them.")
    heading, _, rest = BADGE.sub("", cells["title"].source).partition("\n")
    address = f"{COLAB}{place[0]}/blob/{place[1]}/notebooks/{path.name}" if place else ""
    badge = f"\n\n[▶ Open in Colab]({address})" if place else ""
    cells["title"].source = f"{heading}{badge}\n\n{rest.lstrip()}"
    readme = f"https://github.com/{place[0]}/blob/{place[1]}/README.md" if place else "../README.md"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = README.sub(f"]({readme}", cell.source)
    cells["setup"].update(source=set_up(place), metadata=nbformat.from_dict(FOLDED))
    return nbformat.writes(notebook) + "\n"


def set_up(place):
    """The code of the set-up cell, the same in all notebooks."""
    return FETCHING.replace("REPO", place[0]).replace("TAG", place[1]) if place else SET_UP


if __name__ == "__main__":
    main(sys.argv[1:])
