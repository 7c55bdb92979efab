"""utils.freeze_report: freeze_report finds each fault by its name, on any model, and nothing on healthy ones."""

import doctest
import importlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from utils import keras_lab, torch_lab  # before keras: it keeps TensorFlow from logging
from utils.freeze_report import WIDTH, distance, freeze_report, moved, snapshot, weights_of

import keras  # isort: skip

freeze_report_module = importlib.import_module("utils.freeze_report")
layers = keras.layers
X = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")


def kinds(model, optimizer=None, before=None):
    return {finding.kind for finding in freeze_report(model, optimizer, before).findings}


def notes(model):
    return {note.kind: note.where for note in freeze_report(model).notes}


# --- Keras ----------------------------------------------------------------------------------------------------------


def keras_model(norm=False):
    """base (a, b, and a BatchNorm if wanted) and head."""
    inside = [layers.Dense(4, name="a"), layers.Dense(4, name="b")]
    inside += [layers.BatchNormalization(name="bn")] if norm else []
    base = keras.Sequential([keras.Input((4,)), *inside], name="base")
    return keras.Sequential([keras.Input((4,)), base, layers.Dense(4, name="head")])


def fit(model, batch_size=8):
    model.fit(X, X, batch_size=batch_size, verbose=0)


def compiled(model, optimizer=None, fitted=True, **options):
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", **options)
    if fitted:
        fit(model)
    return model


def base_of(model, trainable):
    model.get_layer("base").trainable = trainable
    return model


def test_keras_healthy_states_have_no_finding():
    assert kinds(keras_model()) == set()
    assert kinds(compiled(keras_model(), fitted=False)) == set()
    model = compiled(base_of(keras_model(norm=True), False), keras.optimizers.Adam(0.01))
    before = snapshot(model)
    fit(model)
    fit(model, batch_size=4)
    assert kinds(model, before=before) == set() and notes(model) == {}
    compiled(base_of(model, True), keras.optimizers.Adam(0.001))  # the second phase
    assert kinds(model) == set()
    before = snapshot(model)
    fit(model)
    assert kinds(model, before=before) == set()
    assert notes(model) == {}


def test_keras_toggled_before_the_first_fit_is_healthy():
    assert kinds(base_of(compiled(keras_model(), fitted=False), False)) == set()


@pytest.mark.parametrize("options", [{}, {"jit_compile": True}, {"steps_per_execution": 2}])
def test_keras_stale_step_is_seen_in_every_kind_of_graph(options):
    frozen_late = base_of(compiled(keras_model(), **options), False)
    assert kinds(frozen_late) == {"trace-trains-frozen"}
    opened_late = base_of(compiled(base_of(keras_model(), False), **options), True)
    assert kinds(opened_late) == {"trace-skips-trainable", "unknown-to-optimizer"}
    opened_late.compile(keras.optimizers.SGD(0.1), "mse")
    assert kinds(opened_late) == set()


def test_keras_stale_step_for_one_batch_size_only():
    model = base_of(compiled(keras_model()), False)
    fit(model, batch_size=4)  # this one is traced anew and obeys; the step for 8 is still there
    assert kinds(model) == {"trace-trains-frozen"}


def test_keras_eager_freeze_is_healthy_and_unfreeze_is_not():
    assert kinds(base_of(compiled(keras_model(), run_eagerly=True), False)) == set()
    model = base_of(compiled(base_of(keras_model(), False), run_eagerly=True), True)
    assert kinds(model) == {"unknown-to-optimizer"}


def test_keras_same_optimizer_and_loaded_model(tmp_path):
    model = base_of(compiled(base_of(keras_model(), False)), True)
    model.compile(model.optimizer, "mse")
    assert kinds(model) == {"unknown-to-optimizer"}
    compiled(base_of(keras_model(), False)).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert kinds(loaded) == set()
    base = loaded.get_layer("base")
    assert base.trainable and not base.trainable_weights  # Keras 3.13 and 3.15 lose the flag of a Sequential
    assert notes(loaded) == {"frozen-one-by-one": ("base",)}
    for layer in base.layers:
        layer.trainable = True
    assert kinds(loaded) == {"unknown-to-optimizer"}


def test_keras_optimizer_built_on_all_weights_serves_both_ways():
    model = compiled(base_of(keras_model(), False), fitted=False)
    model.optimizer.build(model.weights)
    fit(model)
    model.compile(model.optimizer, "mse")
    assert kinds(base_of(model, True)) == set()


def test_keras_optimizer_of_another_model():
    stranger = compiled(keras_model()).optimizer
    assert kinds(keras_model(), stranger) == {"unknown-to-optimizer", "not-of-this-model"}


def test_keras_snapshot_shows_what_the_flags_do_not_say():
    model = base_of(compiled(keras_model(norm=True)), False)
    before = snapshot(model)
    fit(model)
    assert kinds(model, before=before) == {"trace-trains-frozen", "frozen-moved", "statistics-moved"}
    model = base_of(compiled(base_of(keras_model(), False)), True)
    before = snapshot(model)
    fit(model)
    assert "trainable-unmoved" in kinds(model, before=before)


@pytest.mark.parametrize("name", ["trainble", "trainabe", "requires_grad", "is_trainable", "Trainable"])
def test_keras_typo(name):
    model = keras_model()
    setattr(model.get_layer("base"), name, False)
    assert kinds(model) == {"typo"}


def test_keras_containers():
    model = base_of(keras_model(), False)
    model.get_layer("base").get_layer("b").trainable = True
    assert kinds(model) == set() and notes(model) == {"container-says-frozen": ("base",)}
    model.get_layer("base").get_layer("a").trainable = True
    assert kinds(model) == {"container-not-obeyed"}
    model = base_of(keras_model(), True)
    for layer in model.get_layer("base").layers:
        layer.trainable = False
    model.get_layer("base").trainable = True  # changes nothing: it was True
    assert kinds(model) == set() and notes(model) == {"frozen-one-by-one": ("base",)}
    model.trainable = False
    assert kinds(base_of(model, True)) == {"nothing-trains"}


def test_keras_batchnorm_frozen_by_itself_is_no_news():
    model = keras_model(norm=True)
    model.get_layer("base").get_layer("bn").trainable = False
    assert kinds(model) == set() and notes(model) == {}


def test_keras_batchnorm_frozen_weight_by_weight_drifts():
    model = keras_model(norm=True)
    for variable in model.get_layer("base").get_layer("bn").trainable_variables:
        variable.trainable = False
    assert kinds(model) == {"statistics-will-drift"}
    before = snapshot(compiled(model))
    fit(model)
    assert "statistics-moved" in kinds(model, before=before), "and it is true"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.rest = layers.Dense(4), [layers.TimeDistributed(layers.Dense(4)), layers.Dense(4)]

    def call(self, x):
        x = self.first(x)
        return self.rest[1](self.rest[0](x[:, None])[:, 0])


def test_keras_subclassed_shared_and_wrapped_layers():
    model = compiled(Subclassed())
    assert kinds(model) == set()
    model.rest[0].trainable = False
    assert kinds(model) == {"trace-trains-frozen"}

    inputs, shared = keras.Input((4,)), layers.Dense(4, name="shared")
    twice = keras.Model(inputs, layers.Dense(4, name="head")(shared(shared(inputs))))
    shared.trainable = False
    assert kinds(compiled(twice)) == set()
    assert [row[:3] for row in freeze_report(twice).rows] == [["shared", 20, "no"], ["head", 20, "yes"]]


def test_keras_the_course_network():
    report = freeze_report(keras_lab.build(5), depth=2)
    assert [row[0] for row in report.rows] == ["base.block1", "base.block2", "base.block3", "base.block4", "head"]
    assert "Nothing suspicious found." in str(report)


# --- PyTorch --------------------------------------------------------------------------------------------------------


def torch_model(norm=False):
    model = nn.Sequential()
    model.add_module("base", nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4) if norm else nn.Tanh(), nn.Linear(4, 4)))
    model.add_module("head", nn.Linear(4, 4))
    return model


def optimizer_over(model, kind=torch.optim.SGD, filtered=False, **options):
    parameters = [p for p in model.parameters() if p.requires_grad or not filtered]
    return kind(parameters, **{"lr": 0.1} | options)


def train(model, optimizer, steps=2, set_to_none=True):
    for _ in range(steps):
        optimizer.zero_grad(set_to_none)
        (model(torch.from_numpy(X)) - torch.from_numpy(X)).square().mean().backward()
        optimizer.step()


def test_torch_healthy_states_have_no_finding():
    model = torch_model(norm=True)
    assert kinds(model) == kinds(model, optimizer_over(model)) == set()
    train(model, optimizer_over(model))
    assert kinds(model, optimizer_over(model)) == set()

    model = torch_model(norm=True)
    model.base.requires_grad_(False).eval()
    optimizer = optimizer_over(model)
    before = snapshot(model)
    train(model, optimizer)
    assert kinds(model, optimizer, before) == set()
    model.base.requires_grad_(True).train()  # the second phase
    before = snapshot(model)
    train(model, optimizer)
    assert kinds(model, optimizer, before) == set()
    assert freeze_report(model, optimizer).notes == []


def test_torch_two_phases_with_a_filtered_optimizer():
    model = torch_model()
    model.base.requires_grad_(False)
    optimizer = optimizer_over(model, filtered=True)
    train(model, optimizer)
    assert kinds(model, optimizer) == set()
    model.base.requires_grad_(True)
    assert kinds(model, optimizer) == {"unknown-to-optimizer"}
    optimizer.add_param_group({"params": model.base.parameters(), "lr": 0.01})
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    train(model, optimizer)
    scheduler.step()
    assert kinds(model, optimizer) == set()


@pytest.mark.parametrize("options, moves", [({}, False), ({"momentum": 0.9}, True), ({"weight_decay": 0.1}, True)])
def test_torch_zero_gradients_are_dangerous_only_with_memory_or_decay(options, moves):
    model = torch_model()
    optimizer = optimizer_over(model, **options)
    train(model, optimizer)
    model.base.requires_grad_(False)
    assert kinds(model, optimizer) == {"frozen-with-gradient"}
    optimizer.zero_grad(set_to_none=False)
    assert kinds(model, optimizer) == ({"frozen-with-gradient"} if moves else set())
    before = snapshot(model)
    train(model, optimizer, set_to_none=False)
    assert ("frozen-moved" in kinds(model, optimizer, before)) == moves
    optimizer.zero_grad()
    assert kinds(model, optimizer) == set()


def test_torch_optimizer_of_another_model_and_replaced_head():
    model = torch_model()
    assert kinds(model, optimizer_over(torch_model())) == {"unknown-to-optimizer", "not-of-this-model"}
    optimizer = optimizer_over(model)
    model.head = nn.Linear(4, 4)
    assert kinds(model, optimizer) == {"unknown-to-optimizer", "not-of-this-model"}


def test_torch_statistics_that_will_drift():
    model = torch_model(norm=True)
    model.base.requires_grad_(False)
    assert kinds(model) == {"statistics-will-drift"}
    model.base.eval()
    assert kinds(model) == set()
    model.train()  # as every training loop does
    assert kinds(model) == {"statistics-will-drift"}
    before = snapshot(model)
    train(model, optimizer_over(model))
    assert kinds(model, before=before) == {"statistics-will-drift", "statistics-moved"}
    model.base[1] = nn.BatchNorm1d(4, track_running_stats=False).requires_grad_(False)
    assert kinds(model) == set()


def test_torch_statistics_of_a_layer_without_weights_go_by_what_it_stands_in():
    model = torch_model(norm=True)
    model.base[1] = nn.BatchNorm1d(4, affine=False)
    assert kinds(model) == set()
    model.base.requires_grad_(False)
    assert kinds(model) == {"statistics-will-drift"}
    alone = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 4))
    assert kinds(alone) == set()
    alone.requires_grad_(False)
    assert kinds(alone) == {"statistics-will-drift", "nothing-trains"}


def test_torch_eval_that_the_next_train_will_undo():
    model = torch_model(norm=True)
    model.base.requires_grad_(False)
    model.base.eval()
    assert kinds(model) == set() and notes(model) == {"eval-until-train": ("base.1",)}
    model.base.train = lambda mode=True: model.base
    assert notes(model) == {}, "train() cannot reach it"
    del model.base.train
    model.base.register_forward_pre_hook(lambda module, _: module.eval())
    assert notes(model) == {}, "a hook puts it to rest again"


def test_torch_statistics_without_momentum_do_not_drift():
    model = torch_model(norm=True)
    model.base.requires_grad_(False)
    model.base[1].momentum = 0
    assert kinds(model) == set() and notes(model) == {}


@pytest.mark.parametrize("name", ["requires_grad", "require_grad", "requires_grads", "requires_grad_", "trainable"])
def test_torch_typo_on_a_module(name):
    model = torch_model()
    setattr(model.base, name, False)
    assert kinds(model) == {"typo"}


@pytest.mark.parametrize("name", ["require_grad", "requiresgrad", "trainable"])
def test_torch_typo_on_a_parameter(name):
    model = torch_model()
    setattr(model.head.weight, name, False)
    assert kinds(model) == {"typo"}


class Tied(nn.Module):
    """An embedding whose weight is also the output layer's, and a buffer that is no parameter."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.out.weight = self.embed.weight
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("offset", torch.ones(4))

    def forward(self, tokens):
        return self.out(self.embed(tokens) * self.scale + self.offset)


def test_torch_tied_weights_and_buffers():
    model = Tied()
    report = freeze_report(model, optimizer_over(model))
    assert report.findings == [] and report.notes == []
    assert sum(row[1] for row in report.rows) == 29  # the tied weight counts once, the buffer not at all
    model.out.requires_grad_(False)
    assert kinds(model) == set()
    assert [w.name for w in weights_of(model) if w.trainable] == ["scale"]
    model.scale.requires_grad_(False)
    assert kinds(model) == {"nothing-trains"}


def test_torch_half_frozen_layer():
    model = torch_model()
    for parameter in list(model.parameters())[:3]:
        parameter.requires_grad = False
    assert kinds(model) == set() and notes(model) == {"half-frozen-layer": ("base.2",)}
    assert "Note: Some weights of these layers train" in str(freeze_report(model))


def test_torch_the_course_network():
    report = freeze_report(torch_lab.build(5), depth=2)
    assert [row[0] for row in report.rows] == ["base.block1", "base.block2", "base.block3", "base.block4", "head"]


def test_a_report_fits_into_a_narrow_window():
    """Each fault the course network can show at once, with the table at its widest."""
    model = torch_lab.build(5).train()
    before = snapshot(model)
    for parameter in model.base.parameters():
        parameter.requires_grad = False
    model.base.block1.trainable = False  # a typo, whose sentence is long
    model(torch.zeros(8, 3, 32, 32))  # moves the statistics
    report = freeze_report(model, torch.optim.SGD(model.head.parameters(), lr=0.1), before)
    lines = str(report).splitlines()
    assert report.findings and max(map(len, lines)) <= WIDTH, max(lines, key=len)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError):
        freeze_report({"weights": 1})
    with pytest.raises(ValueError, match="another model"):
        freeze_report(torch_model(), before=snapshot(Tied()))


# --- snapshot, moved, distance, weights_of ------------------------------------------------------------------------


def small_keras():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, name="one"), keras.layers.BatchNormalization(name="bn")]
    )


def small_torch():
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


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


def test_weights_of_lists_shared_and_equally_named_weights_once_each():
    tied = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    assert [weight.name for weight in weights_of(tied)] == ["0.weight", "0.bias", "1.bias"]

    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = keras.layers.Dense(2, name="d"), keras.layers.Dense(2, name="d")

        def call(self, x):
            return self.two(self.one(x))

    model = Twice()
    model(np.ones((1, 2)))
    assert [weight.name for weight in weights_of(model)] == ["d.kernel", "d.bias", "d.kernel#2", "d.bias#2"]


def test_weights_of_follows_what_fit_would_train_in_keras():
    model = keras_lab.build(5)
    model.get_layer("base").trainable = False
    model.get_layer("base").get_layer("block4").trainable = True
    trained = {weight.name for weight in weights_of(model) if weight.trainable}
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


# --- the file on its own ------------------------------------------------------------------------------------------


def test_the_examples_of_the_docstring():
    assert doctest.testmod(freeze_report_module).attempted > 10
    assert doctest.testmod(freeze_report_module).failed == 0


ALONE = {
    "torch": """
import torch
model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
model[0].requires_grad_(False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with watch(model, optimizer, expect_frozen="0.*") as seen:
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
""",
    "keras": """
import keras, numpy
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="base"), keras.layers.Dense(1)])
model.layers[0].trainable = False
model.compile("sgd", "mse")
with watch(model, expect_frozen="base.*") as seen:
    model.fit(numpy.ones((4, 2)), numpy.ones((4, 1)), verbose=0)
""",
}


HIDE = """
import builtins

known = builtins.__import__

def without(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and name.partition(".")[0] in ABSENT:
        raise ModuleNotFoundError(name)
    return known(name, globals, locals, fromlist, level)

builtins.__import__ = without
from freeze_report import watch
"""


@pytest.mark.parametrize("framework", ALONE)
def test_the_file_alone_in_an_empty_folder(framework, tmp_path):
    """With numpy and one framework; what the course has besides cannot be imported."""
    shutil.copy(freeze_report_module.__file__, tmp_path)
    absent = {"torch", "keras", "tensorflow", "tabulate", "matplotlib", "utils", "study"}
    absent -= {"keras", "tensorflow"} if framework == "keras" else {"torch"}
    told = "seen.report.check()\nprint(seen.report.verdict)\n"
    (tmp_path / "alone.py").write_text(f"ABSENT = {sorted(absent)}\n" + HIDE + ALONE[framework] + told)
    ended = subprocess.run([sys.executable, "alone.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.stdout == "Nothing suspicious found.\n", ended.stderr[-1000:]


def test_python_freeze_report_prints_the_kinds():
    ended = subprocess.run([sys.executable, freeze_report_module.__file__], capture_output=True, text=True, check=True)
    assert ended.stdout == freeze_report_module.kinds_page() + "\n"
