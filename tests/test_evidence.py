"""utils/evidence.py: claims that can fail, intervals that are right, ratios of time."""

import numpy as np
import pytest

from utils.evidence import claim, mean_interval, time_ratios


def test_a_claim_that_holds_prints_one_stable_line(capsys):
    claim("a is larger", np.bool_(True), row="C01", a=0.123456)
    assert capsys.readouterr().out == "✔ [C01] a is larger\n"


def test_a_claim_that_fails_raises_with_what_was_measured(capsys):
    with pytest.raises(AssertionError, match=r"does not hold: \[C01\] a is larger. Measured: a = 0.5, b = 0.7"):
        claim("a is larger", False, row="C01", a=0.5, b=0.7)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("holds", ["no", None, 1, np.array([True]), [True]])
def test_a_claim_needs_a_truth_value(holds):
    with pytest.raises(TypeError, match="needs True or False"):
        claim("a is larger", holds)


def test_mean_interval_is_students():
    # t(0.975, 4) = 2.776; standard error of 1..5 is sqrt(2.5 / 5)
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3, 2.776 * 0.5**0.5), rel=1e-3)
    with pytest.raises(ValueError, match="at least two values"):
        mean_interval([1])


def test_time_ratios_are_shares_of_the_first():
    ratios = time_ratios({"none": lambda: sum(range(20000)), "half": lambda: sum(range(10000))}, rounds=5)
    assert ratios["none"].tolist() == [1] * 5 and ratios["half"].shape == (5,)
