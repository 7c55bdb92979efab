"""The README says what is so: its rows are asserted in notebooks, its links lead somewhere, its map is whole."""

import re

import guards
import pytest

from tools import ROOT, refresh

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "TEACHING.md", "data/README.md", "data/questions/README.md"]


def asserted(path):
    """The rows whose claims a notebook printed."""
    return set(re.findall(r"^✔ \[(C\d\d)\]", guards.shown(guards.read(path)), re.MULTILINE))


def test_rows_map_and_figure_are_as_the_notebooks_have_them():
    """Each row links to a cell that asserts it, the map counts the claims. Else: `make refresh`, or correct the row."""
    text, picture = refresh.readme(README)
    assert text == README and refresh.PICTURE.read_bytes() == picture
    assert all(refresh.LINK.search(row[0]) for row in refresh.ROW.finditer(README))
    assert {line[1] for line in refresh.MAP.findall(README)} == {path.stem for path in guards.PATHS}


def test_every_row_that_a_notebook_asserts_stands_in_the_table_once():
    rows = [row[1] for row in refresh.ROW.finditer(README)]
    assert len(rows) >= 10 and len(rows) == len(set(rows))
    assert set.union(*map(asserted, guards.PATHS)) <= set(rows)


def test_a_row_that_no_cell_asserts_is_told():
    with pytest.raises(SystemExit, match="no cell of it does"):
        refresh.readme("| C99 | a | b | [01](notebooks/01_freeze_basics.ipynb) |")


def test_links_within_the_project_lead_somewhere_and_commands_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
        assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == [], page
        commands = re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)
        assert [command for command in commands if command not in targets] == [], page
