"""utils/evidence.py and utils/anatomy.py: claims that can fail, bits that moved, intervals that are right."""

import numpy as np
import pytest
import torch

from utils import keras_lab  # isort: skip  (before keras: it keeps TensorFlow from logging)
import keras

from utils import anatomy
from utils.evidence import claim, distance, mean_interval, moved, snapshot, time_ratios


def small_keras():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, name="one"), keras.layers.BatchNormalization(name="bn")]
    )


def small_torch():
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


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


def test_moved_names_weights_and_statistics_by_their_bits():
    model = small_torch()
    before = snapshot(model)
    assert moved(before, model) == []
    with torch.no_grad():
        model[0].weight[0, 0] = np.nextafter(model[0].weight[0, 0].item(), 9, dtype=np.float32).item()
    assert moved(before, model) == ["0.weight"]
    model(torch.ones(4, 3))
    assert moved(before, model) == ["0.weight", "1.running_mean", "1.running_var", "1.num_batches_tracked"]


def test_moved_in_keras():
    model = small_keras()
    before = snapshot(model)
    model.get_layer("bn").moving_mean.assign([1, 1])
    assert moved(before, model) == ["bn.moving_mean"]


def test_a_weight_that_is_not_a_number_has_not_moved():
    model = small_torch()
    with torch.no_grad():
        model[0].bias[:] = float("nan")
    assert moved(snapshot(model), model) == []


def test_a_snapshot_is_a_copy():
    model = small_torch()
    before = snapshot(model)
    with torch.no_grad():
        model[0].weight.zero_()
    assert before["0.weight"].any()


def test_a_snapshot_of_another_model_is_refused():
    with pytest.raises(ValueError, match="snapshot is of another model: 0.bias"):
        moved(snapshot(small_torch()), torch.nn.Linear(3, 2))


def test_distance_is_relative_and_leaves_statistics_out():
    model = small_torch()
    before = snapshot(model)
    model(torch.ones(4, 3) * 100)
    assert distance(before, model) == 0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1.5
    assert distance(before, model) == pytest.approx(0.5)


def test_mean_interval_is_students():
    # t(0.975, 4) = 2.776; standard error of 1..5 is sqrt(2.5 / 5)
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3, 2.776 * 0.5**0.5), rel=1e-3)
    with pytest.raises(ValueError, match="at least two values"):
        mean_interval([1])


def test_time_ratios_are_shares_of_the_first():
    ratios = time_ratios({"none": lambda: sum(range(20000)), "half": lambda: sum(range(10000))}, rounds=5)
    assert ratios["none"].tolist() == [1] * 5 and ratios["half"].shape == (5,)


def test_anatomy_lists_shared_and_equally_named_weights_once_each():
    tied = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert [weight.name for weight in anatomy.weights(tied)] == ["0.weight", "0.bias", "1.bias"]

    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = keras.layers.Dense(2, name="d"), keras.layers.Dense(2, name="d")

        def call(self, x):
            return self.two(self.one(x))

    model = Twice()
    model(np.ones((1, 2)))
    assert [weight.name for weight in anatomy.weights(model)] == ["d.kernel", "d.bias", "d.kernel#2", "d.bias#2"]


def test_anatomy_follows_what_fit_would_train_in_keras():
    model = keras_lab.build(5)
    model.get_layer("base").trainable = False
    model.get_layer("base").get_layer("block4").trainable = True
    trained = {weight.name for weight in anatomy.weights(model) if weight.trainable}
    assert trained == {
        "base.block4.conv.kernel",
        "base.block4.bn.gamma",
        "base.block4.bn.beta",
        "head.kernel",
        "head.bias",
    }


@pytest.mark.parametrize("model", [None, 3, "model", object()])
def test_anything_but_a_model_is_refused(model):
    with pytest.raises(TypeError, match="expected a Keras model or a torch nn.Module"):
        snapshot(model)
