"""Schedules: cut where something changes, and costed by the rule that a training step was counted to follow."""

import pytest

from utils import schedules

PARTS = ["a", "b", "c"]


def test_a_run_is_cut_where_something_freezes_or_opens():
    spans = {"a": (0, 0.5), "b": (0.25, 1), "c": (0, 1)}
    assert schedules.stages(spans, PARTS) == [
        (0, 0.25, (True, False, True)),
        (0.25, 0.5, (True, True, True)),
        (0.5, 1, (False, True, True)),
    ]


def test_a_part_that_is_not_named_never_trains():
    assert schedules.stages({"c": (0, 1)}, PARTS) == [(0, 1, (False, False, True))]


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"d": (0, 1)}, "'d'; the parts are a, b, c"),
        ({"a": (0.5, 0.5)}, "'a' trains from 0.5 to 0.5"),
        ({"a": (0, 1.2)}, "'a' trains from 0 to 1.2"),
        ({"a": (0.5, 1)}, "nothing trains from 0 to 0.5"),
        ({}, "nothing trains from 0 to 1"),
    ],
)
def test_a_schedule_that_is_none_is_told_about(schedule, words):
    with pytest.raises(ValueError, match=words):
        schedules.stages(schedule, PARTS)


@pytest.mark.parametrize(
    ("trains", "cached", "forward", "inputs", "weights"),
    [
        ((True, True, True), False, 7, 6, 7),  # the first layer needs no input gradient
        ((False, True, True), False, 7, 4, 6),
        ((False, True, True), True, 6, 4, 6),
        ((False, False, True), True, 4, 0, 4),
        ((True, False, False), False, 7, 6, 1),  # the gradient passes through frozen layers
        ((True, False, False), True, 7, 6, 1),  # behind a trainable layer nothing can be kept
    ],
)
def test_passes_of_a_step(trains, cached, forward, inputs, weights):
    found = schedules.passes(trains, work=[1, 2, 4], cached=cached)
    assert found == {"forward": forward, "input gradients": inputs, "weight gradients": weights}


def test_equal_layers_need_no_work():
    assert sum(schedules.passes([True] * 6).values()) == 17
    assert sum(schedules.passes([False] * 5 + [True]).values()) == 7


def test_nothing_that_trains_is_no_step():
    with pytest.raises(ValueError, match="nothing trains"):
        schedules.passes([False, False])


def total(schedule, **options):
    return sum(schedules.cost(schedule, PARTS, **options).values())


def test_the_cost_of_a_run_is_a_share_of_the_full_one():
    everything = dict.fromkeys(PARTS, (0, 1))
    assert total(everything) == pytest.approx(1)
    assert total(everything, cached_epochs=10) == pytest.approx(1)
    assert total({"c": (0, 1)}) == pytest.approx(4 / 8)
    assert total({"a": (0.5, 1), "b": (0.5, 1), "c": (0, 1)}) == pytest.approx((4 + 8) / 2 / 8)


def test_the_order_of_stages_does_not_matter_without_a_cache():
    there = {"a": (0, 0.2), "b": (0, 0.7), "c": (0, 1)}
    back = {"a": (0.8, 1), "b": (0.3, 1), "c": (0, 1)}
    assert total(there) == pytest.approx(total(back))


def test_filling_the_store_costs_a_forward_pass_of_what_is_new():
    growing = schedules.cost({"a": (0, 0.5), "b": (0, 0.75), "c": (0, 1)}, PARTS, cached_epochs=10)
    assert growing["filling the store"] == pytest.approx(2 / 10 / 8)  # a, then b behind the stored a
    shrinking = schedules.cost({"a": (0.5, 1), "b": (0.25, 1), "c": (0, 1)}, PARTS, cached_epochs=10)
    assert shrinking["filling the store"] == pytest.approx(3 / 10 / 8)  # a and b, then a anew
    assert schedules.cost({"c": (0, 1)}, PARTS)["filling the store"] == 0
