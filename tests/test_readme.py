"""The README says what is so: its rows are asserted in notebooks, its links lead somewhere, its map is whole."""

import re
from pathlib import Path

import guards
import pytest

from tools import readme

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PATHS = {path.stem: path for path in guards.PATHS}
ROWS = re.findall(r"^\| (C\d\d) \|.*\|$", README, re.MULTILINE)


def asserted(stem):
    """The rows whose claims a notebook printed."""
    return set(re.findall(r"^✔ \[(C\d\d)\]", guards.shown(guards.read(PATHS[stem])), re.MULTILINE))


def test_the_table_has_rows():
    assert len(ROWS) >= 10 and len(ROWS) == len(set(ROWS))


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_asserted_in_the_notebook_that_it_names(row):
    line = re.search(rf"^\| {row} \|.*$", README, re.MULTILINE).group()
    named = re.findall(r"\(notebooks/(\w+)\.ipynb[#)]", line)
    assert named, f"{row} names no notebook"
    for stem in named:
        assert row in asserted(stem), f"no claim of {stem} asserts {row}"


def test_the_map_tells_how_many_claims_each_notebook_asserts(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert len(readme.MAP.findall(README)) == len(PATHS)
    assert readme.counted(README) == README


def test_the_rows_link_to_the_cells_that_assert_them(monkeypatch):
    """And the figure is the notebook's. Else: `python -m tools.readme`."""
    monkeypatch.chdir(ROOT)
    assert readme.linked(README) == README
    assert readme.PICTURE.read_bytes() == readme.picture()


def test_a_row_that_no_cell_asserts_is_told(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="no cell of it does"):
        readme.linked("| C99 | a | b | [01](notebooks/01_freeze_basics.ipynb) |")


def test_every_row_that_a_notebook_asserts_stands_in_the_table():
    assert set.union(*(asserted(stem) for stem in PATHS)) <= set(ROWS)


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "TEACHING.md", "data/README.md", "data/questions/README.md"]
)
def test_links_within_the_project_lead_somewhere(page):
    path = ROOT / page
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / link).exists(), link


def test_the_map_names_every_notebook():
    for stem in PATHS:
        assert f"(notebooks/{stem}.ipynb)" in README, stem


def test_the_commands_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        assert (
            set(
                re.findall(
                    r"\bmake (colab|stamp|lab|test|run|refresh|clean|bench|editions|html|grade)\b",
                    (ROOT / page).read_text(),
                )
            )
            <= targets
        )
