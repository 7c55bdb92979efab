"""utils/sweep.py: the same table however it is computed, nothing stale, nothing lost, frozen parts computed once."""

import errno
import functools
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import types

import joblib
import matplotlib
import numpy as np
import pytest
import torch

from utils import data, evidence, explorer, plots, sweep, torch_lab

matplotlib.use("agg")
ROOT = data.FOLDER.parent
GRID = {"a": [1, 2, 3], "b": ["x", "y"]}


def quick(a, b, seed):
    sweep.calls.append((a, b, seed))  # there, since what this function itself names is a part of the recipe
    return {"value": a + 0.1 * seed, "label": b}


def freeze(model, blocks):
    for name in data.BLOCKS[:blocks]:
        model.base.get_submodule(name).requires_grad_(False).eval()


def tiny(per_class, frozen, seed, reuse=True, base="base", rate=1e-2, steps=3, test="target_validation"):
    """The naive recipe of notebook 05, short."""
    x, y = sweep.images("target_pool", per_class=per_class, seed=seed)
    model = torch_lab.build(5, seed, base)
    freeze(model, frozen)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate)
    sweep.fit(model, x, y, optimizer, steps, seed=seed, reuse=reuse)
    return {"test": sweep.accuracy(model, *sweep.images(test), reuse=reuse)}


def surroundings(seed):
    return {"tensorflow": "tensorflow" in sys.modules, "threads": torch.get_num_threads(), "process": os.getpid()}


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """The arguments of all calls of `quick`."""
    monkeypatch.setattr(sweep, "calls", [], raising=False)
    sweep._memory.clear()
    return sweep.calls


# --- the grid -------------------------------------------------------------------------------------------------------


def test_the_rows_come_in_the_grids_order_with_seeds_outermost():
    rows = sweep.run(quick, GRID, seeds=2)
    assert [(row["seed"], row["a"], row["b"]) for row in rows] == [
        (seed, a, b) for seed in (0, 1) for a in (1, 2, 3) for b in "xy"
    ]
    assert rows[-1] == {"a": 3, "b": "y", "seed": 1, "value": 3.1, "label": "y"}


def test_over_seeds_gives_each_cells_values_in_the_seeds_order():
    rows = sweep.run(quick, GRID, seeds=[4, 2])
    cells = sweep.over_seeds(rows, "value", "b", "a")
    assert list(cells) == [(b, a) for a in (1, 2, 3) for b in "xy"]
    assert np.allclose(cells["x", 2], [2.2, 2.4])
    assert list(sweep.over_seeds(rows, "value", "a")) == [1, 2, 3]
    with pytest.raises(KeyError, match="nothing"):
        sweep.over_seeds(rows, "nothing", "a")


def test_numpy_values_in_grid_and_results_become_plain():
    rows = sweep.run(lambda a, seed: {"value": np.float32(a)}, {"a": np.arange(2)}, seeds=np.arange(1))
    assert [type(row["a"]) for row in rows] == [int, int] and type(rows[0]["value"]) is float


def test_two_processes_give_the_table_of_one():
    grid = {"per_class": [2], "frozen": [0, 3, 4]}
    one = sweep.run(tiny, grid, seeds=2, n_jobs=1)
    assert sweep.run(tiny, grid, seeds=2, n_jobs=2) == one
    assert len({row["test"] for row in one}) > 3


def test_workers_run_one_thread_each_and_import_no_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))  # the real one takes seconds
    rows = sweep.run(surroundings, {}, seeds=4, n_jobs=2)
    assert os.getpid() not in [row["process"] for row in rows] and surroundings(0)["tensorflow"]
    assert [(row["tensorflow"], row["threads"]) for row in rows] == [(False, 1)] * 4


@pytest.mark.slow
def test_a_cluster_of_two_worker_processes_gives_the_table_of_one():
    distributed = pytest.importorskip("distributed", reason="the development dependency distributed is not installed")
    grid = {"per_class": [2], "frozen": [3, 4]}
    one = sweep.run(tiny, grid, seeds=2)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        assert sweep.run(tiny, grid, seeds=2) == one
        where = sweep.run(surroundings, {}, seeds=8)
    assert os.getpid() not in [row["process"] for row in where]
    assert {(row["tensorflow"], row["threads"]) for row in where} == {(False, 1)}


@pytest.mark.parametrize(
    ("grid", "seeds", "error", "said"),
    [
        ({"a": [], "b": [1]}, 1, ValueError, "no values for a"),
        ({"a": [1], "b": [1]}, 0, ValueError, "no values for seeds"),
        ({"a": [1], "b": [1], "seed": [1]}, 1, ValueError, "name the seeds in seeds"),
        ({"a": [1], "b": [(1, 2)]}, 1, TypeError, "b takes numbers, texts, True, False and None, not tuple"),
        ({"a": [1]}, 1, TypeError, "does not take the grid's names and seed: missing a required argument: 'b'"),
        ({"a": [1], "b": [1], "c": [1]}, 1, TypeError, "got an unexpected keyword argument 'c'"),
    ],
)
def test_a_wrong_grid_is_named_before_anything_runs(grid, seeds, error, said, calls):
    with pytest.raises(error, match=said):
        sweep.run(quick, grid, seeds)
    assert not calls


@pytest.mark.parametrize("result", [None, 3, [1], {"value": [1, 2]}, {"a": 1}])
def test_a_wrong_result_is_named_with_its_run(result):
    with pytest.raises(TypeError) as caught:
        sweep.run(lambda a, seed: result, {"a": [7]}, seeds=1)
    assert caught.value.__notes__ == ["in the sweep's run a=7, seed=0"]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_in_a_recipe_names_the_run(n_jobs, capfd):
    def fails(a, seed):
        return {"value": 1 / a}

    with pytest.raises(ZeroDivisionError) as caught:
        sweep.run(fails, {"a": [1, 0]}, seeds=1, n_jobs=n_jobs, progress=False)
    assert "in the sweep's run a=0, seed=0" in caught.value.__notes__
    assert capfd.readouterr().err == ""


def test_the_bar_can_be_hidden(monkeypatch, capsys):
    monkeypatch.setattr(sweep, "tqdm", __import__("tqdm").tqdm)
    sweep.run(quick, GRID, seeds=1)
    assert "0/6" in capsys.readouterr().err
    sweep.run(quick, GRID, seeds=1, progress=False)
    monkeypatch.setenv("FREEZING_WIDGETS", "off")
    sweep.run(quick, GRID, seeds=1)
    assert capsys.readouterr().err == ""


# --- what is kept on disk -------------------------------------------------------------------------------------------


def test_a_second_sweep_computes_only_what_is_new(tmp_path, calls):
    rows = sweep.run(quick, GRID, seeds=2, cache=tmp_path)
    assert sweep.run(quick, GRID, seeds=2, cache=tmp_path) == rows
    assert len(calls) == 12
    assert sweep.run(quick, GRID, seeds=3, cache=tmp_path) == sweep.run(quick, GRID, seeds=3)
    assert calls[12:18] == [(a, b, 2) for a in (1, 2, 3) for b in "xy"]


def test_without_a_folder_nothing_is_kept(calls):
    for _ in range(2):
        sweep.run(quick, GRID, seeds=1)
    assert len(calls) == 12


KILLED = """
import os, sys, time
sys.path.insert(0, {root!r})
from utils import sweep
log = os.environ["LOG"]
def slow(a, b, seed):
    time.sleep(0.05)
    with open(log, "a") as file:
        print(a, b, seed, file=file)
    return {{"value": (a + 0.1) / (seed + 3), "label": b}}
rows = sweep.run(slow, {{"a": list(range(10)), "b": ["x", "y"]}}, seeds=2, n_jobs={jobs}, cache={cache!r})
import json; print(json.dumps(rows))
"""


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_sweep_goes_on_and_gives_the_identical_table(tmp_path, jobs):
    log, path = tmp_path / "log", tmp_path / "sweep.py_"
    command = [sys.executable, path]

    path.write_text(KILLED.format(root=str(ROOT), jobs=jobs, cache=str(tmp_path / "one")))

    def lines():
        return log.read_text().splitlines() if log.exists() else []

    environment = {**os.environ, "LOG": str(log), "FREEZING_WIDGETS": "off"}
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "one").glob("*.json"))) < 7 and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "it was to be killed, but had ended before"
    time.sleep(0.5)  # its workers end, too
    kept, before = len(list((tmp_path / "one").glob("*.json"))), len(lines())
    assert 7 <= kept < 40
    resumed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert len(lines()) - before == 40 - kept
    runs = [(a, b, seed) for seed in (0, 1) for a in range(10) for b in "xy"]
    whole = [{"a": a, "b": b, "seed": seed, "value": (a + 0.1) / (seed + 3), "label": b} for a, b, seed in runs]
    assert json.loads(resumed) == whole


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign", "of another run", "folder"])
def test_a_damaged_file_is_computed_anew(tmp_path, damage, calls):
    rows = sweep.run(quick, GRID, seeds=1, cache=tmp_path)
    first, second, *_ = sorted(tmp_path.glob("*.json"))
    raw = bytearray(first.read_bytes())
    raw[-4] ^= 1
    new = {"cut": raw[:90], "empty": b"", "flipped": raw, "foreign": b"\n{}", "of another run": second.read_bytes()}
    if damage == "folder":
        first.unlink()
        first.mkdir()
    else:
        first.write_bytes(new[damage])
    assert sweep.run(quick, GRID, seeds=1, cache=tmp_path) == rows
    assert len(calls) == 7


def test_a_changed_recipe_is_not_served_old_results(tmp_path):
    def recipe(a, seed):
        return {"value": a}

    def changed(a, seed):
        return {"value": -a}

    changed.__name__ = changed.__qualname__ = recipe.__name__
    assert sweep.run(recipe, {"a": [1]}, seeds=1, cache=tmp_path)[0]["value"] == 1
    assert sweep.run(changed, {"a": [1]}, seeds=1, cache=tmp_path)[0]["value"] == -1


def test_a_changed_library_or_data_set_is_not_served_old_results(tmp_path, monkeypatch, calls):
    sweep.run(quick, GRID, seeds=1, cache=tmp_path)
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  images.npz\n")
    with monkeypatch.context() as patch:
        patch.setattr(data, "FOLDER", tmp_path)
        sweep.run(quick, GRID, seeds=1, cache=tmp_path)
    assert len(calls) == 12
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1" if name == "torch" else version(name))
    sweep.run(quick, GRID, seeds=1, cache=tmp_path)
    assert len(calls) == 18


def test_a_recipe_that_cannot_be_compared_is_run_without_cache(tmp_path, capsys):
    handle = open(os.devnull)  # noqa: SIM115  (a value that no process can pass on)

    def recipe(a, seed):
        return {"value": a if handle else 0}

    assert sweep.run(recipe, {"a": [1]}, seeds=1, cache=tmp_path, progress=False)[0]["value"] == 1
    said = capsys.readouterr().out
    assert said.startswith("The sweep goes on, but finished runs are not kept: a TextIOWrapper that the recipe uses")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_gets_a_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    rows = sweep.run(quick, GRID, seeds=1, cache=tmp_path / "file" / "cache")
    assert len(rows) == 6
    said = capsys.readouterr().out
    assert said.count("finished runs are not kept") == 1 and "cannot be used (Not a directory)" in said


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_or_a_read_only_folder_gets_one_sentence(tmp_path, monkeypatch, capsys, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert len(sweep.run(quick, GRID, seeds=1, cache=tmp_path)) == 6
    said = capsys.readouterr().out
    assert said.count("finished runs are not kept") == 1 and os.strerror(number) in said


def test_a_disk_that_is_full_in_the_middle_leaves_no_half_file(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", refuse)
    assert len(sweep.run(quick, GRID, seeds=1, cache=tmp_path)) == 6
    assert not list(tmp_path.iterdir())


# --- computing once -------------------------------------------------------------------------------------------------


def test_a_block_counts_as_frozen_only_if_its_output_cannot_change():
    model = torch_lab.build(5)
    assert sweep.frozen_blocks(model) == 0
    freeze(model, 3)
    assert sweep.frozen_blocks(model) == 3
    model.base.block2.bn.train()  # its statistics would move
    assert sweep.frozen_blocks(model) == 1
    model.base.block1.conv.weight.grad = torch.ones_like(model.base.block1.conv.weight)  # an optimizer would use it
    assert sweep.frozen_blocks(model) == 0
    freeze(model, 4)
    model.base.block1.conv.weight.grad = None
    assert sweep.frozen_blocks(model) == 4
    model.base.block3.bn.weight.requires_grad_(True)
    assert sweep.frozen_blocks(model) == 2


@pytest.mark.parametrize("frozen", range(5))
def test_computing_once_changes_nothing(frozen):
    x, y = data.images("target_pool", per_class=20, seed=1)
    trained = []
    for reuse in (True, False):
        model = torch_lab.build(5, seed=1)
        freeze(model, frozen)
        before = torch_lab.get_weights(model)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
        sweep.fit(model, x, y, optimizer, 6, seed=1, reuse=reuse)
        trained.append(torch_lab.get_weights(model))
        still = [
            name for name in data.BLOCKS if np.array_equal(trained[-1][f"{name}.bn.mean"], before[f"{name}.bn.mean"])
        ]
        assert still == list(data.BLOCKS[:frozen])
    one, other = trained
    assert all(np.allclose(one[name], other[name], atol=1e-5) for name in one)
    assert not np.array_equal(one["head.kernel"], before["head.kernel"])


def test_the_accuracies_are_those_of_computing_everything():
    grid = {"per_class": [5], "frozen": list(range(5))}
    one, other = (sweep.run(functools.partial(tiny, reuse=reuse), grid, seeds=2) for reuse in (True, False))
    assert np.allclose([row["test"] for row in one], [row["test"] for row in other], atol=0.003)


def test_accuracy_is_that_of_torch_lab_and_leaves_the_modes():
    x, y = data.images("target_validation", per_class=120)
    model = torch_lab.build(5)
    freeze(model, 2)
    modes = [module.training for module in model.modules()]
    assert sweep.accuracy(model, x, y) == torch_lab.accuracy(model, x, y)
    assert [module.training for module in model.modules()] == modes


def test_frozen_blocks_are_computed_once_and_shared_between_depths(monkeypatch):
    passes = []
    forward = torch_lab.Block.forward
    monkeypatch.setattr(
        torch_lab.Block, "forward", lambda block, x: (passes.append(len(x)), forward(block, x))[1], raising=False
    )
    x, y = data.images("target_pool", per_class=10)
    for frozen in (2, 4, 3):
        model = torch_lab.build(5, seed=frozen)
        freeze(model, frozen)
        sweep.accuracy(model, x, y)
    # two blocks and the two behind; the two behind; nothing and the one behind
    assert passes == [50] * (4 + 2 + 1)


def test_other_pictures_or_weights_are_never_taken_for_the_same():
    x, y = data.images("target_pool", per_class=4)
    model = torch_lab.build(5)
    freeze(model, 4)
    assert sweep.accuracy(model, x, y) == torch_lab.accuracy(model, x, y)
    x[:] = x[::-1].copy()
    assert sweep.accuracy(model, x, y) == torch_lab.accuracy(model, x, y)
    with torch.no_grad():
        model.base.block2.bn.running_mean += 1
    features, _ = sweep._split(model, x, True)
    fresh, rest = sweep._split(model, x, False)
    assert torch.allclose(features, torch.nn.Sequential(*list(rest)[:-1]).eval()(fresh), atol=1e-5)


def test_what_is_kept_in_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(sweep, "MEMORY", 1e6)
    model = torch_lab.build(5)
    freeze(model, 3)
    for seed in range(4):
        sweep.accuracy(model, *data.images("target_pool", per_class=4, seed=seed))
        assert sum(tensor.nbytes for tensor in sweep._memory.values()) <= 1e6


def test_images_are_those_of_data_and_may_be_written_to():
    for _ in range(2):
        x, y = sweep.images("target_pool", per_class=3, seed=2)
        theirs, labels = data.images("target_pool", per_class=3, seed=2)
        assert np.array_equal(x, theirs) and np.array_equal(y, labels)
        x[:], y[:] = 0, 0


@pytest.mark.parametrize(("n", "size"), [(25, 25), (100, 32), (1000, 32)])
def test_batches_are_whole_and_no_picture_comes_twice_in_an_epoch(n, size):
    order = sweep.batches(n, 50, seed=3)
    assert order.shape == (50, size) and order.dtype == np.int64
    epoch = order[: n // size].ravel()
    assert len(set(epoch)) == len(epoch) and order.min() >= 0 and order.max() < n
    assert np.array_equal(order, sweep.batches(n, 50, seed=3)) and not np.array_equal(order, sweep.batches(n, 50))


# --- looking at the results -----------------------------------------------------------------------------------------


@pytest.fixture
def stored():
    """Two recipes' rows, as sweeps of notebook 05 return them: three seeds, test accuracy 0.1 x depth + size / 1000."""
    rows = [
        {"per_class": n, "frozen": k, "seed": s, "test": 0.1 * k + n / 1000 + 0.01 * s, "train": 0.9}
        for s in range(3)
        for n in (5, 200)
        for k in (0, 1, 4)
    ]
    return {"naive": rows, "a <b>": rows}


TRAINABLE = {0: 61_013, 1: 60_549, 4: 325}


def test_the_explorers_table_says_what_the_sliders_say(stored):
    shown = explorer.static(stored)["text/html"]
    assert shown.count("<tr>") == 1 + 4 and "a &lt;b&gt;" in shown and "<b> " not in shown
    assert shown.count("★") == 1 + 4 and "<b>★ 0.415 (+0.48)</b>" in shown  # the caption, and a row each
    said = explorer.sentence(stored["naive"], 200, 1, TRAINABLE)
    assert said.startswith("200 examples a class, 1 frozen block, 60,549 trainable parameters: test 0.310 ± 0.025")


def test_the_explorers_sliders_change_what_is_shown(stored):
    recipe, size, depth, shown = explorer._live(stored, TRAINABLE).children
    assert "5 examples a class, 0 frozen blocks" in shown.value and "role='status'" in shown.value
    size.value, depth.value, recipe.value = 200, 4, "a <b>"
    assert "200 examples a class, 4 frozen blocks, 325 trainable" in shown.value and "▶ 4 frozen" in shown.value


def test_the_map_frames_the_best_depth_and_its_ties():
    same = np.array([0.01, -0.01, 0.0])
    cells = {(5, 0): 0.5 + same, (5, 1): 0.7 + same, (5, 4): 0.7 - same / 2, (200, 0): 0.9 + same}
    cells |= {(200, 1): 0.8 + same * 0.9, (200, 4): 0.6 + same}
    plots.depth_maps({"naive": cells}, TRAINABLE, evidence.mean_interval)
    axis = plots.plt.gcf().axes[0]
    frames = {(round(p.get_x()), round(p.get_y())): p.get_linewidth() for p in axis.patches}
    assert frames == {(1, 0): 3, (2, 0): 1.2, (0, 1): 3}
    assert [text.get_text() for text in axis.texts] == [".50", ".70", ".70", ".90", ".80", ".60"]
    plots.plt.close("all")


# --- the second base ------------------------------------------------------------------------------------------------


def test_the_directions_of_the_map_hold_on_the_second_base_too():
    """Five a class: freeze all. 200 a class: three blocks beat nothing frozen, and beat a random base."""
    run = functools.partial(tiny, steps=60, base="base_seed1", test="target_validation")
    few = sweep.over_seeds(sweep.run(run, {"per_class": [5], "frozen": [0, 4]}, seeds=3), "test", "frozen")
    assert (few[4] - few[0]).mean() > 0.1
    many = sweep.over_seeds(sweep.run(run, {"per_class": [200], "frozen": [0, 3]}, seeds=2), "test", "frozen")
    assert (many[3] - many[0]).mean() > 0.01
    scratch = sweep.run(functools.partial(run, base=None), {"per_class": [200], "frozen": [4]}, seeds=2)
    assert many[3].mean() - np.mean([row["test"] for row in scratch]) > 0.3
