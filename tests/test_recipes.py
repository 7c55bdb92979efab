"""Comparing recipes: paired differences, source scores, and threads that change no result."""

import threading

import numpy as np
import pytest

from utils import data, recipes, torch_lab

RUNS = [
    {"a": {"wild": 0.5, "x": 1}, "b": {"wild": 0.4, "x": 3}},
    {"a": {"wild": 0.7, "x": 2}, "b": {"wild": 0.5, "x": 0}},
]


def test_numbers_come_by_seed():
    assert recipes.of(RUNS, "a").tolist() == [0.5, 0.7]
    assert recipes.of(RUNS, "b", "x").tolist() == [3, 0]


def test_gains_are_paired_and_tell_whether_the_seeds_agree():
    mean, each = recipes.gain(RUNS, "a", "b")
    assert mean == pytest.approx(0.15) and each is True
    mean, each = recipes.gain(RUNS, "a", "b", "x")
    assert mean == 0 and each is False
    assert recipes.gain(RUNS, "a", "a") == (0, False)  # no difference is no agreement


def test_the_table_shows_mean_and_interval_but_not_of_the_recipe_itself():
    assert recipes.against(RUNS, "b") == {"a": "+0.150 ± 0.635", "b": "–"}


def test_two_at_a_time_keeps_the_order_and_runs_two():
    both = threading.Barrier(2, timeout=10)  # passes only if two are inside at once
    assert recipes.two_at_a_time(lambda job: (both.wait(), job)[1], range(4)) == [0, 1, 2, 3]


def test_two_at_a_time_raises_what_a_job_raises():
    with pytest.raises(ZeroDivisionError):
        recipes.two_at_a_time(lambda job: 1 / job, [1, 0])


def test_two_threads_train_to_the_same_bits_as_one():
    import torch

    def trained(seed):
        model = torch_lab.build(5, seed)
        torch_lab.fit(model, *data.images("target_pool", per_class=4, seed=seed), torch.optim.Adam(model.parameters()))
        return torch_lab.get_weights(model)

    for one, other in zip(map(trained, range(3)), recipes.two_at_a_time(trained, range(3)), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_base_knows_its_source_and_noise_does_not():
    base = torch_lab.build().base
    scores = recipes.source_scores(lambda x: torch_lab.logits(base, x))
    assert scores["old head"] > 0.82 and scores["refitted"] > 0.8
    rng = np.random.default_rng(0)
    noise = recipes.source_scores(lambda x: rng.standard_normal((len(x), 64)))
    assert noise["old head"] < 0.35 and noise["refitted"] < 0.35
