"""The pages say what is so: rows are asserted in notebooks, links lead somewhere, symptoms have cells and findings."""

import re
import subprocess
import sys

import guards
import pytest

from tools import ROOT, refresh
from utils.freeze_report import KINDS

README, CLAIMS, SYMPTOMS = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/claims.md", "docs/symptoms.md")
)
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data/*.md"), *ROOT.glob("data/questions/*.md")]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def rows(text):
    """The rows of claims on a page, by their ids; the links to notebooks as they are in the README."""
    return {row[1]: row[0].replace("(../notebooks/", "(notebooks/") for row in refresh.ROW.finditer(text)}


def asserted(path):
    """The rows whose claims a notebook printed."""
    return set(re.findall(r"^✔ \[(C\d\d)\]", guards.shown(guards.read(path)), re.MULTILINE))


def test_rows_map_and_figure_are_as_the_notebooks_have_them():
    """Each row links to a cell that asserts it, the map counts the claims. Else: `make refresh`, or correct the row."""
    for path in refresh.PAGES:
        text, picture = refresh.readme(path.read_text(encoding="utf-8"))
        assert text == path.read_text(encoding="utf-8") and refresh.PICTURE.read_bytes() == picture
    assert all(refresh.LINK.search(row) for row in rows(CLAIMS).values())
    assert {line[1] for line in refresh.MAP.findall(README)} == {path.stem for path in guards.PATHS}
    for label, number in re.findall(r"\[(\d\d)\]\([./]*notebooks/(\d\d)_", README + CLAIMS + SYMPTOMS):
        assert label == number


def test_every_row_that_a_notebook_asserts_stands_in_the_table_once_and_ten_of_them_in_the_readme():
    assert len(rows(CLAIMS)) == len(refresh.ROW.findall(CLAIMS)) >= 30
    assert set.union(*map(asserted, guards.PATHS)) <= rows(CLAIMS).keys()
    assert len(rows(README)) == 10 and rows(README).items() <= rows(CLAIMS).items()  # word for word


def test_a_row_that_no_cell_asserts_is_told():
    with pytest.raises(SystemExit, match="no cell of it does"):
        refresh.readme("| C99 | a | b | [01](notebooks/01_freeze_basics.ipynb) |")


# --- links ------------------------------------------------------------------------------------------------------------


def anchors(path):
    """What a link into a file may name behind its #: the ids of a notebook's cells, or a page's headings as GitHub
    writes them."""
    if path.suffix == ".ipynb":
        return {f"cell-id={cell.id}" for cell in guards.read(path).cells}
    found = re.findall(r"^#+ (.+)$", BLOCK.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


def dead_links(path, text):
    """The links of a page's text that lead to no file, or to no cell or heading in it."""
    dead = []
    for target, anchor in LINK.findall(BLOCK.sub("", text)):
        to = path.parent / target if target else path
        if not to.exists() or (anchor and anchor not in anchors(to)):
            dead.append(f"{target}#{anchor}")
    return dead


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_within_the_project_lead_somewhere_and_commands_exist(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = path.read_text(encoding="utf-8")
    assert dead_links(path, text) == []
    commands = re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)
    assert [command for command in commands if command not in targets] == []


def test_dead_links_are_found():
    text = "[a](nowhere.md) [b](README.md#no-such) [c](notebooks/01_freeze_basics.ipynb#cell-id=none) [d](#e)\n# E\n"
    assert len(dead_links(ROOT / "README.md", text)) == 4
    fine = "[a](README.md#start) [c](notebooks/01_freeze_basics.ipynb#cell-id=setup) [d](#start) [e](https://e.org#x)"
    assert dead_links(ROOT / "README.md", fine) == []


# --- symptoms ---------------------------------------------------------------------------------------------------------

MARKS = ("Seen in", "Keras", "PyTorch", "`freeze_report`")  # what each symptom tells, in this order


def symptoms(text):
    """Each symptom's heading and its lines by their marks: {heading: {mark: line}}."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    line = re.compile(r"^- \*\*(.+?):\*\* (.+(?:\n  .+)*)", re.MULTILINE)
    return {heading: dict(line.findall(body)) for heading, body in zip(parts[::2], parts[1::2], strict=True)}


def faults(text):
    """What a page of symptoms lacks: a line, a link to a cell, or a kind of finding that exists."""
    found = []
    for heading, lines in symptoms(text).items():
        found += [f"{heading}: its lines are {list(lines)}"] * (tuple(lines) != MARKS)
        seen, named = lines.get("Seen in", ""), lines.get("`freeze_report`", "")
        # a notebook that is not there yet may be named without a link
        found += [f"{heading}: leads to no cell"] * ("#cell-id=" not in seen and "notebook 08" not in seen)
        kinds = set(re.findall(r"`([a-z-]+)`", named))
        found += [f"{heading}: {kind} is no kind" for kind in sorted(kinds - KINDS.keys())]
        found += [f"{heading}: no kind"] * (not kinds and not named.startswith("nothing"))
    return found


def test_every_symptom_has_a_cell_a_line_in_each_framework_and_a_finding():
    assert 15 <= len(symptoms(SYMPTOMS)) <= 20
    assert faults(SYMPTOMS) == []


def test_a_symptom_without_its_parts_is_found():
    whole = "## S\n\nText.\n\n" + "".join(f"- **{mark}:** `typo` [01](x.ipynb#cell-id=a)\n" for mark in MARKS)
    assert faults(whole) == []
    for old, new in (("- **Keras:**", "- **keras:**"), ("#cell-id=a", ""), ("`typo`", "`no-such`"), ("`typo`", "x")):
        assert len(faults(whole.replace(old, new))) == 1, new


def test_the_citation_follows_the_published_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format"]
    done = subprocess.run([*command, ROOT / "CITATION.cff"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
