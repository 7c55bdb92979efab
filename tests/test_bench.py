"""The runner of the benchmarks: its rows, its table, its file and the README. No time is measured here."""

import json
import math
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent / "benchmarks"
sys.path.insert(0, str(FOLDER))

import runner  # noqa: E402
import table  # noqa: E402


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder of three benchmarks, one of which fails, with a README of its own."""
    (tmp_path / "bench_good.py").write_text(
        "from table import row\n\n\n"
        "def rows():\n"
        "    print('chatter')\n"
        "    note = 'Why it is so.'\n"
        "    return [row('a / b', [4, 1, 2], theory=2, goal=['within', 0.1], note=note)]\n"
    )
    (tmp_path / "bench_also.py").write_text(
        "from table import row\n\n\ndef rows():\n    return [row('only for the terminal', [9], 's', shown=False)]\n"
    )
    (tmp_path / "bench_bad.py").write_text("def rows():\n    raise OSError('the disk is full')\n")
    for name in ("__main__.py", "runner.py", "table.py"):
        (tmp_path / name).write_text((FOLDER / name).read_text())
    (tmp_path / "README.md").write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    for name, value in {"FOLDER": tmp_path, "ROOT": tmp_path, "README": tmp_path / "README.md"}.items():
        monkeypatch.setattr(runner, name, value)
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "build/bench.json")
    return tmp_path


# --- a row ------------------------------------------------------------------------------------------------------------


def test_a_row_shows_its_median_and_its_middle_half():
    row = table.row("a / b", [1, 2, 3, 4, 100])
    assert table.median(row) == 3 and table.middle_half(row) == (2, 4)
    assert table.lines([row]) == [["a / b", "3.00", "2.00 to 4.00", 5, "–", "–"]]


def test_two_values_have_no_middle_half():
    assert table.lines([table.row("a", [1, 2], "s")])[0][1:3] == ["1.50 s", "–"]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00"), (0.0123, "0.0123"), (0.412, "0.41"), (12.34, "12.3"), (1234, "1234")]
)
def test_numbers_keep_the_figures_that_count(value, text):
    assert table.lines([table.row("a", value)])[0][1] == text


@pytest.mark.parametrize(
    ("value", "theory", "goal", "met"),
    [
        (3, None, ["at least", 3], True),
        (2.9, None, ["at least", 3], False),
        (1.2, None, ["at most", 1.2], True),
        (1.3, None, ["at most", 1.2], False),
        (0.44, 0.41, ["within", 0.1], True),
        (0.46, 0.41, ["within", 0.1], False),
        (0.36, 0.41, ["within", 0.1], False),
        (math.inf, None, ["at least", 3], True),
        (7, None, None, None),
    ],
)
def test_a_goal_is_met_or_not(value, theory, goal, met):
    row = table.row("a", value, theory=theory, goal=goal)
    assert table.met(row) is met
    assert table.lines([row])[0][-1].endswith({True: ": yes", False: ": NO", None: "–"}[met])


@pytest.mark.parametrize(("values", "goal"), [([], None), ([1], ["about", 3]), ([1], ["within", 0.1])])
def test_a_row_that_says_nothing_is_refused(values, goal):
    with pytest.raises(ValueError, match="'a / b'"):
        table.row("a / b", values, goal=goal)


# --- a run ------------------------------------------------------------------------------------------------------------


def test_the_benchmarks_that_there_are():
    assert set(runner.ORDER) == set(runner.files())


def test_a_run_prints_every_row_and_keeps_them(course, capsys):
    assert runner.main([]) == 1  # one file failed; the rows of the other are kept
    out, err = capsys.readouterr()
    assert "a / b" in out and "only for the terminal" in out and "- Why it is so." in out and "chatter" not in out
    assert "bench_bad.py" in err and "OSError: the disk is full" in err
    kept = json.loads(runner.RESULTS.read_text())
    assert kept.keys() == {"date", "machine", "versions", "seconds", "rows", "failed"}
    assert [row["what"] for row in kept["rows"]] == ["only for the terminal", "a / b"]
    assert kept["rows"][1]["values"] == [4, 1, 2] and kept["rows"][1]["file"] == "good"
    assert "cores" in kept["machine"] and {"python", "numpy"} <= kept["versions"].keys()


def test_a_part_of_it_is_shown_and_not_kept(course, capsys):
    assert runner.main(["good"]) == 0
    assert "a / b" in capsys.readouterr().out and not runner.RESULTS.exists()


def test_a_benchmark_that_hangs_is_stopped(course, monkeypatch):
    (course / "bench_bad.py").write_text("import time\n\n\ndef rows():\n    time.sleep(60)\n")
    monkeypatch.setattr(runner, "TIMEOUT", 0.5)
    assert runner.run(["bad"])["failed"] == {"bad": "it ran longer than 0.5 s"}


# --- the README -------------------------------------------------------------------------------------------------------


def test_the_readme_gets_the_rows_meant_for_it(course):
    (course / "bench_bad.py").unlink()
    runner.main([])
    runner.main(["--readme"])
    text = runner.README.read_text()
    assert text.startswith("before\n<!-- bench -->\n") and text.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in text and "only for the terminal" not in text
    assert "| a / b | 2.00" in " ".join(text.split()) and "within 10%: yes" in text and "- Why it is so." in text
    kept = json.loads(runner.RESULTS.read_text())
    assert f"Measured {kept['date']} on {kept['machine']}" in text
    runner.main(["--readme"])
    assert runner.README.read_text() == text  # again: the same


def test_a_readme_is_left_alone_when_there_is_nothing_to_put_in(course):
    before = runner.README.read_text()
    with pytest.raises(SystemExit, match="run `make bench` first"):
        runner.main(["--readme"])
    runner.main([])
    with pytest.raises(SystemExit, match="bad failed"):
        runner.main(["--readme"])
    assert runner.README.read_text() == before


def test_a_readme_without_its_marks_is_left_alone(course):
    (course / "bench_bad.py").unlink()
    runner.main([])
    runner.README.write_text("no marks\n")
    with pytest.raises(SystemExit, match="put them back"):
        runner.main(["--readme"])
    assert runner.README.read_text() == "no marks\n"


def test_the_readme_of_the_course_has_the_marks():
    text = runner.README.read_text()
    assert 0 < text.find(runner.MARKS[0]) < text.find(runner.MARKS[1])
