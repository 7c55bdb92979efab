"""utils/runs.py: the same table however it is computed, a frozen prefix computed once, what a base knows."""

import functools
import os
import sys
import threading
import types

import joblib
import matplotlib
import numpy as np
import pytest
import torch

from utils import data, plots, runs, torch_lab

matplotlib.use("agg")
ROOT = data.FOLDER.parent
GRID = {"a": [1, 2, 3], "b": ["x", "y"]}


def quick(a, b, seed):
    runs.calls.append((a, b, seed))  # there, since what this function itself names is a part of the recipe
    return {"value": a + 0.1 * seed, "label": b}


def freeze(model, blocks):
    for name in data.BLOCKS[:blocks]:
        model.base.get_submodule(name).requires_grad_(False).eval()


def tiny(per_class, frozen, seed, reuse=True, base="base", rate=1e-2, steps=3, test="target_validation"):
    """The naive recipe of notebook 05, short."""
    x, y = data.images("target_pool", per_class=per_class, seed=seed)
    model = torch_lab.build(5, seed, base)
    freeze(model, frozen)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate)
    runs.fit(model, x, y, optimizer, steps, seed=seed, reuse=reuse)
    return {"test": torch_lab.accuracy(model, *data.images(test))}


def surroundings(seed):
    return {"tensorflow": "tensorflow" in sys.modules, "threads": torch.get_num_threads(), "process": os.getpid()}


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """The arguments of all calls of `quick`."""
    monkeypatch.setattr(runs, "calls", [], raising=False)
    return runs.calls


# --- the grid -------------------------------------------------------------------------------------------------------


def test_the_rows_come_in_the_grids_order_with_seeds_outermost():
    rows = runs.run(quick, GRID, seeds=2)
    assert [(row["seed"], row["a"], row["b"]) for row in rows] == [
        (seed, a, b) for seed in (0, 1) for a in (1, 2, 3) for b in "xy"
    ]
    assert rows[-1] == {"a": 3, "b": "y", "seed": 1, "value": 3.1, "label": "y"}


def test_over_seeds_gives_each_cells_values_in_the_seeds_order():
    rows = runs.run(quick, GRID, seeds=[4, 2])
    cells = runs.over_seeds(rows, "value", "b", "a")
    assert list(cells) == [(b, a) for a in (1, 2, 3) for b in "xy"]
    assert np.allclose(cells["x", 2], [2.2, 2.4])
    assert list(runs.over_seeds(rows, "value", "a")) == [1, 2, 3]
    with pytest.raises(KeyError, match="nothing"):
        runs.over_seeds(rows, "nothing", "a")


def test_numpy_values_in_grid_and_results_become_plain():
    rows = runs.run(lambda a, seed: {"value": np.float32(a)}, {"a": np.arange(2)}, seeds=np.arange(1))
    assert [type(row["a"]) for row in rows] == [int, int] and type(rows[0]["value"]) is float


def test_two_processes_give_the_table_of_one():
    grid = {"per_class": [2], "frozen": [0, 3, 4]}
    one = runs.run(tiny, grid, seeds=2, n_jobs=1)
    assert runs.run(tiny, grid, seeds=2, n_jobs=2) == one
    assert len({row["test"] for row in one}) > 3


def test_workers_run_one_thread_each_and_import_no_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))  # the real one takes seconds
    rows = runs.run(surroundings, {}, seeds=4, n_jobs=2)
    assert os.getpid() not in [row["process"] for row in rows] and surroundings(0)["tensorflow"]
    assert [(row["tensorflow"], row["threads"]) for row in rows] == [(False, 1)] * 4


@pytest.mark.slow
def test_a_cluster_of_two_worker_processes_gives_the_table_of_one():
    distributed = pytest.importorskip("distributed", reason="the development dependency distributed is not installed")
    grid = {"per_class": [2], "frozen": [3, 4]}
    one = runs.run(tiny, grid, seeds=2)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        assert runs.run(tiny, grid, seeds=2) == one
        where = runs.run(surroundings, {}, seeds=8)
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
        runs.run(quick, grid, seeds)
    assert not calls


@pytest.mark.parametrize("result", [None, 3, [1], {"value": [1, 2]}, {"a": 1}])
def test_a_wrong_result_is_named_with_its_run(result):
    with pytest.raises(TypeError) as caught:
        runs.run(lambda a, seed: result, {"a": [7]}, seeds=1)
    assert caught.value.__notes__ == ["in the run a=7, seed=0"]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_in_a_recipe_names_the_run(n_jobs, capfd):
    def fails(a, seed):
        return {"value": 1 / a}

    with pytest.raises(ZeroDivisionError) as caught:
        runs.run(fails, {"a": [1, 0]}, seeds=1, n_jobs=n_jobs, progress=False)
    assert "in the run a=0, seed=0" in caught.value.__notes__
    assert capfd.readouterr().err == ""


def test_the_bar_can_be_hidden(monkeypatch, capsys):
    monkeypatch.setattr(runs, "tqdm", __import__("tqdm").tqdm)
    runs.run(quick, GRID, seeds=1)
    assert "0/6" in capsys.readouterr().err
    runs.run(quick, GRID, seeds=1, progress=False)
    monkeypatch.setenv("FREEZING_WIDGETS", "off")
    runs.run(quick, GRID, seeds=1)
    assert capsys.readouterr().err == ""


# --- computing once -------------------------------------------------------------------------------------------------


def test_a_block_counts_as_frozen_only_if_its_output_cannot_change():
    model = torch_lab.build(5)
    assert runs.frozen_blocks(model) == 0
    freeze(model, 3)
    assert runs.frozen_blocks(model) == 3
    model.base.block2.bn.train()  # its statistics would move
    assert runs.frozen_blocks(model) == 1
    model.base.block1.conv.weight.grad = torch.ones_like(model.base.block1.conv.weight)  # an optimizer would use it
    assert runs.frozen_blocks(model) == 0
    freeze(model, 4)
    model.base.block1.conv.weight.grad = None
    assert runs.frozen_blocks(model) == 4
    model.base.block3.bn.weight.requires_grad_(True)
    assert runs.frozen_blocks(model) == 2


@pytest.mark.parametrize("frozen", range(5))
def test_computing_once_changes_nothing(frozen):
    x, y = data.images("target_pool", per_class=20, seed=1)
    trained = []
    for reuse in (True, False):
        model = torch_lab.build(5, seed=1)
        freeze(model, frozen)
        before = torch_lab.get_weights(model)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
        runs.fit(model, x, y, optimizer, 6, seed=1, reuse=reuse)
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
    one, other = (runs.run(functools.partial(tiny, reuse=reuse), grid, seeds=2) for reuse in (True, False))
    assert np.allclose([row["test"] for row in one], [row["test"] for row in other], atol=0.003)


def test_images_are_those_of_data_and_may_be_written_to():
    for _ in range(2):
        x, y = data.images("target_pool", per_class=3, seed=2)
        theirs, labels = data.images("target_pool", per_class=3, seed=2)
        assert np.array_equal(x, theirs) and np.array_equal(y, labels)
        x[:], y[:] = 0, 0


@pytest.mark.parametrize(("n", "size"), [(25, 25), (100, 32), (1000, 32)])
def test_batches_are_whole_and_no_picture_comes_twice_in_an_epoch(n, size):
    order = runs.batches(n, 50, seed=3)
    assert order.shape == (50, size) and order.dtype == np.int64
    epoch = order[: n // size].ravel()
    assert len(set(epoch)) == len(epoch) and order.min() >= 0 and order.max() < n
    assert np.array_equal(order, runs.batches(n, 50, seed=3)) and not np.array_equal(order, runs.batches(n, 50))


# --- looking at the results -----------------------------------------------------------------------------------------


TRAINABLE = {0: 61_013, 1: 60_549, 4: 325}


def test_the_map_frames_the_best_depth_and_its_ties(monkeypatch):
    monkeypatch.setattr(plots, "show", lambda alt: None)  # it would close the figure
    same = np.array([0.01, -0.01, 0.0])
    cells = {(5, 0): 0.5 + same, (5, 1): 0.7 + same, (5, 4): 0.7 - same / 2, (200, 0): 0.9 + same}
    cells |= {(200, 1): 0.8 + same * 0.9, (200, 4): 0.6 + same}
    plots.depth_maps({"naive": cells, "two phases": cells}, TRAINABLE, "examples a class", "a map")
    axis = plots.plt.gcf().axes[0]
    frames = {(round(p.get_x()), round(p.get_y())): p.get_linewidth() for p in axis.patches}
    assert frames == {(1, 0): 2.5, (2, 0): 1.2, (0, 1): 2.5}
    assert [text.get_text() for text in axis.texts] == ["50.0", "70.0\n± 2.5", "70.0", "90.0\n± 2.5", "80.0", "60.0"]
    plots.plt.close("all")


# --- two at a time, and what a base knows ---------------------------------------------------------------------------


def test_two_at_a_time_keeps_the_order_runs_two_and_raises_what_a_job_raises():
    both = threading.Barrier(2, timeout=10)  # passes only if two are inside at once
    assert runs.two_at_a_time(lambda job: (both.wait(), job)[1], range(4)) == [0, 1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        runs.two_at_a_time(lambda job: 1 / job, [1, 0])


def test_two_threads_train_to_the_same_bits_as_one():
    def trained(seed):
        model = torch_lab.build(5, seed)
        torch_lab.fit(model, *data.images("target_pool", per_class=4, seed=seed), torch.optim.Adam(model.parameters()))
        return torch_lab.get_weights(model)

    for one, other in zip(map(trained, range(3)), runs.two_at_a_time(trained, range(3)), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_base_knows_its_source_and_noise_does_not():
    base = torch_lab.build().base
    scores = runs.source_accuracy(lambda x: torch_lab.logits(base, x))
    assert scores["old head"] > 0.82 and scores["refitted"] > 0.8
    rng = np.random.default_rng(0)
    noise = runs.source_accuracy(lambda x: rng.standard_normal((len(x), 64)))
    assert noise["old head"] < 0.35 and noise["refitted"] < 0.35
