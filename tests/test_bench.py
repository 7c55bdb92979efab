"""The runner of the benchmarks: its rows, its table, its file and the page. No time is measured here."""

import json
import math
import os
import re
import types

import pytest

from tools import notebooks, read
from tools.bench import bench_notebooks, gpu, runner, table

GOOD = [table.row("a / b", [4, 1, 2], theory=2, goal=["within", 0.1], note="Why it is so.")]
ALSO = [table.row("only for the terminal", [9], "s", shown=False)]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Two benchmarks whose rows are given, and a page of their own; add to the dict what another one fails with."""
    found = {"good": GOOD, "also": ALSO}

    def run_one(name):
        if isinstance(found[name], str):
            raise RuntimeError(found[name])
        return found[name]

    monkeypatch.setattr(runner, "files", lambda: list(found))
    monkeypatch.setattr(runner, "run_one", run_one)
    monkeypatch.setattr(runner, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "build/bench.json")
    (tmp_path / "benchmarks.md").write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    return found


def test_a_row_shows_its_median_and_its_middle_half_and_numbers_keep_what_counts():
    assert table.lines([table.row("a / b", [1, 2, 3, 4, 100])]) == [["a / b", "3.00", "2.00 to 4.00", 5, "–", "–"]]
    assert table.lines([table.row("a", [1, 2], "s")])[0][1:3] == ["1.50 s", "–"]  # two values have no middle half
    shown = [table.lines([table.row("a", value)])[0][1] for value in (0, 0.0123, 0.412, 12.34, 1234)]
    assert shown == ["0.00", "0.0123", "0.41", "12.3", "1234"]


@pytest.mark.parametrize(
    ("goal", "met", "missed"),
    [(["at least", 3], (3, math.inf), 2.9), (["at most", 1.2], (1.2,), 1.3), (["within", 0.1], (0.44, 0.38), 0.46)],
)
def test_a_goal_is_met_or_not(goal, met, missed):
    theory = 0.41 if goal[0] == "within" else None
    told = [table.lines([table.row("a", value, theory=theory, goal=goal)])[0][-1] for value in (*met, missed)]
    assert [text.split(": ")[1] for text in told] == [*["yes"] * len(met), "NO"]


@pytest.mark.parametrize(("values", "goal"), [([], None), ([1], ["about", 3]), ([1], ["within", 0.1])])
def test_a_row_that_says_nothing_is_refused(values, goal):
    with pytest.raises(ValueError, match="'a / b'"):
        table.row("a / b", values, goal=goal)


def test_the_benchmarks_that_there_are_have_an_order_and_one_runs_in_a_process_of_its_own(monkeypatch):
    assert set(runner.ORDER) == set(runner.files())
    monkeypatch.setattr(runner, "TIMEOUT", 0.1)
    with pytest.raises(RuntimeError, match="it ran longer than 0.1 s"):
        runner.run_one("start")


def test_a_child_hands_back_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(runner.importlib, "import_module", lambda name: types.SimpleNamespace(rows=lambda: GOOD))
    assert runner.main(["start", "--child", str(tmp_path / "rows.json")]) == 0
    assert json.loads((tmp_path / "rows.json").read_text()) == GOOD


def test_a_run_prints_every_row_and_keeps_them_and_a_part_of_it_is_only_shown(bench, capsys):
    assert runner.main(["good"]) == 0 and not runner.RESULTS.exists()
    bench["bad"] = "OSError: the disk is full"
    assert runner.main([]) == 1  # one failed; the rows of the others are kept
    out, err = capsys.readouterr()
    assert "a / b" in out and "only for the terminal" in out and "- Why it is so." in out
    assert "bench_bad.py\nOSError: the disk is full" in err
    kept = json.loads(runner.RESULTS.read_text())
    assert [(row["what"], row["file"]) for row in kept["rows"]] == [("a / b", "good"), (ALSO[0]["what"], "also")]
    assert "cores" in kept["machine"] and {"python", "numpy"} <= kept["versions"].keys()


def test_the_page_gets_the_rows_meant_for_it(bench):
    runner.main([])
    runner.main(["--show"])
    text = runner.PAGE.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- bench -->\n") and text.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in text and "only for the terminal" not in text
    assert "| a / b | 2.00" in " ".join(text.split()) and "within 10%: yes" in text and "- Why it is so." in text
    assert "Measured 20" in text
    runner.main(["--show"])
    assert runner.PAGE.read_text(encoding="utf-8") == text  # again: the same


def test_a_page_is_left_alone_when_there_is_nothing_whole_or_no_place_for_it(bench):
    before = runner.PAGE.read_text()
    with pytest.raises(SystemExit, match="run `make bench` first"):
        runner.main(["--show"])
    bench["bad"] = "it failed"
    runner.main([])
    with pytest.raises(SystemExit, match="bad failed"):
        runner.main(["--show"])
    assert runner.PAGE.read_text() == before
    del bench["bad"]
    runner.main([])
    runner.PAGE.write_text("no marks\n")
    with pytest.raises(SystemExit, match="put them back"):
        runner.main(["--show"])
    assert runner.PAGE.read_text() == "no marks\n"


def test_what_make_run_took_counts_while_it_is_newer_than_the_notebooks(tmp_path, monkeypatch):
    names = [path.stem for path in bench_notebooks.notebooks()]
    results = [bench_notebooks.Result(name, 1, 1, 5.0, 100, "")._asdict() for name in names]
    monkeypatch.setattr(bench_notebooks, "RUN", tmp_path / "took.json")
    monkeypatch.setattr(bench_notebooks, "execute", lambda path, _: bench_notebooks.Result(path.stem, 1, 1, 7.0, 1, ""))
    for content, age, seconds in ((results, 0, 5), (results[1:], 0, 7), (results, 1e9, 7)):
        bench_notebooks.RUN.write_text(json.dumps(content))
        os.utime(bench_notebooks.RUN, (bench_notebooks.RUN.stat().st_mtime - age + 1,) * 2)
        assert table.median(bench_notebooks.rows()[-1]) == seconds * len(names)


# --- on a GPU ---------------------------------------------------------------------------------------------------------

KEYS = {"model", "setting", "everything", "rows"}, {"way", "trainable", "time", "work", "memory"}


@pytest.fixture(scope="module")
def tiny():
    """The decoder's table at small sizes, on this machine's processor: way -> row."""
    made = gpu.run(gpu.decoder(True), steps=1, warm=0)
    assert made.keys() == KEYS[0] and "LoRA" in gpu.shown(made)
    return {row["way"]: row for row in made["rows"]}


def test_the_work_of_each_way_is_counted(tiny):
    work = {way: row["work"] for way, row in tiny.items()}
    assert work["everything"] == 1 > work["blocks 2 to 4"] > work["blocks 3 to 4"] > work["blocks 4 to 4"]
    assert work["everything, checkpointing"] > 1.2 and work["LoRA in the last quarter of the blocks"] < 0.7
    block = 4 * 32**2 + 3 * 32 * 128 + 2 * 32
    assert tiny["everything"]["trainable"] == 100 * 32 + 4 * block + 32
    assert tiny["blocks 4 to 4"]["trainable"] == block + 32 and tiny["the norms"]["trainable"] == 9 * 32
    assert tiny["LoRA, queries and values"]["trainable"] == 4 * 2 * 2 * 16 * 32


def test_without_a_gpu_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "CUDA", False)
    with pytest.raises(SystemExit, match="PyTorch sees no CUDA GPU here: run this on a machine that has one"):
        gpu.main([f"--out={tmp_path}/gpu.json"])
    assert list(tmp_path.iterdir()) == []


def test_what_it_writes_has_the_form_of_the_figures_that_were_given(monkeypatch, tmp_path):
    few = lambda table: table | {"ways": dict([*table["ways"].items()][:2])}  # noqa: E731
    monkeypatch.setattr(gpu, "run", lambda table, *steps, run=gpu.run: run(few(table), *steps))
    gpu.main(["--tiny", f"--out={tmp_path}/gpu.json"])
    given, made = (json.loads(path.read_text()) for path in (gpu.GIVEN, tmp_path / "gpu.json"))
    for content in (given, made):
        assert content.keys() == {"card", "date", "torch", "by", "tables"}
        for one in content["tables"]:
            assert one.keys() == KEYS[0] and all(row.keys() == KEYS[1] for row in one["rows"])
            assert one["rows"][0]["way"] == "everything" and one["rows"][0]["time"] == 1
    assert given["by"].startswith("given: ") and made["by"] == "make bench-gpu"


EAGER = "4 x 1024 tokens, bf16 autocast, eager"
SHOWN = [  # notebook, how its row begins, model, setting, the row in data/gpu.json
    ("01", "| the first layers", "ResNet-50", "", "layer2 to head"),
    ("01", "| stem to layer2", "ResNet-50", "", "layer3 to head"),
    ("01", "| all but the head", "ResNet-50", "", "the head"),
    ("01", "| **the last layers**", "ResNet-50", "", "stem to layer2 (the last layers frozen)"),
    ("08", "| the last 4 of 16 blocks", "decoder", EAGER, "blocks 13 to 16"),
    ("08", "| **LoRA in every linear", "decoder", EAGER, "LoRA, all linear layers"),
    ("08", "| the same, both steps", "decoder", "compiled", "LoRA, all linear layers"),
    ("08", "| LoRA in the last 4", "decoder", EAGER, "LoRA in the last quarter of the blocks"),
]


@pytest.mark.parametrize(("number", "begins", "model", "setting", "way"), SHOWN)
def test_a_notebook_shows_the_given_figures_of_a_gpu(number, begins, model, setting, way):
    given = json.loads(gpu.GIVEN.read_text())
    tables = [table for table in given["tables"] if table["model"] == model and setting in table["setting"]]
    (row,) = [row for row in tables[0]["rows"] if row["way"] == way]
    (path,) = [path for path in notebooks() if path.name.startswith(number)]
    prose = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    (line,) = [line for line in prose.splitlines() if line.startswith(begins)]
    work = [row["work"]] if number == "08" and row["work"] else []
    assert [float(figure) for figure in re.findall(r"\b\d\.\d\d\b", line)] == [*work, row["time"], row["memory"]]
    assert given["card"] in " ".join(prose.split()) and given["date"] in prose
