"""keras_lab and torch_lab are twins: the same numbers from the same weights, the same names, the same frozen sets."""

import os
import runpy
import subprocess
import sys

import numpy as np
import pytest

from utils import data, keras_lab, torch_lab

import keras  # isort: skip  (after keras_lab, which keeps TensorFlow from logging)
import torch

LABS = {"keras": keras_lab, "torch": torch_lab}


@pytest.fixture(params=LABS)
def lab(request):
    return LABS[request.param]


@pytest.mark.parametrize("split", ["source_test", "target_test"])
@pytest.mark.parametrize("style", data.STYLES)
def test_logits_agree_on_the_whole_test_split(split, style):
    x, _ = data.images(split, style)
    ours, theirs = keras_lab.logits(keras_lab.build(), x), torch_lab.logits(torch_lab.build(), x)
    assert ours.shape == theirs.shape == (len(x), 5)
    assert np.abs(ours - theirs).max() < 1e-4


def test_ten_training_steps_agree():
    """The same batches, the same optimizer: losses, weights and BatchNorm statistics stay together."""
    x, y = data.images("target_pool", per_class=64, seed=3)
    batches = np.random.default_rng(0).permutation(len(x)).reshape(10, 32)
    k, t = keras_lab.build(5, seed=1), torch_lab.build(5, seed=1)
    k.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    optimizer = torch.optim.Adam(t.parameters(), lr=1e-3, eps=1e-7)
    k_losses, t_losses = [], []
    for batch in batches:
        k.reset_metrics()
        k_losses.append(float(k.train_on_batch(x[batch], y[batch])))
        loss = torch.nn.functional.cross_entropy(t(torch_lab.tensor(x[batch])), torch.from_numpy(y[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        t_losses.append(loss.item())
    assert np.allclose(k_losses, t_losses, rtol=0.01)
    assert k_losses[-1] < 0.8 * k_losses[0]
    k_weights, t_weights = keras_lab.get_weights(k), torch_lab.get_weights(t)
    for name in k_weights:
        assert np.allclose(k_weights[name], t_weights[name], atol=0.01), name


def test_names_shapes_and_counts_agree():
    k, t = keras_lab.get_weights(keras_lab.build()), torch_lab.get_weights(torch_lab.build())
    assert list(k) == list(t) == list(data.weights())
    assert [a.shape for a in k.values()] == [a.shape for a in t.values()]
    assert all(np.array_equal(k[name], data.weights()[name]) and np.array_equal(t[name], k[name]) for name in k)


def test_layer_tables_agree_on_the_same_frozen_set():
    k, t = keras_lab.build(5), torch_lab.build(5)
    assert keras_lab.layer_table(k) == torch_lab.layer_table(t)
    for name in ("block1", "block3"):
        k.get_layer("base").get_layer(name).trainable = False
        t.base.get_submodule(name).requires_grad_(False)
    assert keras_lab.layer_table(k) == torch_lab.layer_table(t)
    assert [trainable for _, _, trainable in torch_lab.layer_table(t)] == [0, 4672, 0, 36992, 325]


def test_weights_survive_a_round_trip(lab):
    values = {name: array + 1 for name, array in data.weights(5).items()}
    model = lab.build(5)
    lab.set_weights(model, values)
    assert all(np.array_equal(array, values[name]) for name, array in lab.get_weights(model).items())
    with pytest.raises(KeyError, match="head.bias"):
        lab.set_weights(model, {name: array for name, array in values.items() if name != "head.bias"})


def test_what_get_weights_returns_is_a_copy(lab):
    model = lab.build()
    lab.get_weights(model)["head.bias"][:] = 7
    assert not (lab.get_weights(model)["head.bias"] == 7).any()


def test_the_base_knows_its_source_classes(lab):
    x, y = data.images("source_test")
    assert lab.accuracy(lab.build(), x, y) > 0.82
    assert lab.accuracy(lab.build(base="base_seed1"), x, y) > 0.82
    assert lab.accuracy(lab.build(base=None), x, y) < 0.5


def test_the_keras_model_is_an_ordinary_functional_one():
    model = keras_lab.build(5)
    assert [layer.name for layer in model.layers[1:]] == ["base", "head"]
    assert [layer.name for layer in model.get_layer("base").layers[1:]] == [*data.BLOCKS, "gap"]
    assert keras.Model.from_config(model.get_config()).count_params() == model.count_params()


def test_the_torch_model_is_an_ordinary_module():
    model = torch_lab.build(5)
    assert [name for name, _ in model.named_children()] == ["base", "head"]
    assert model.training and all(p.requires_grad for p in model.parameters())
    copy = torch_lab.build(5, seed=1)
    copy.load_state_dict(model.state_dict())
    assert torch.equal(copy.head.weight, model.head.weight)


def test_logits_leave_every_mode_as_it_was():
    model = torch_lab.build()
    model.base.block2.eval()
    before = [module.training for module in model.modules()]
    torch_lab.logits(model, data.images("source_test")[0][:4])
    assert [module.training for module in model.modules()] == before


def test_fit_has_a_history_shaped_like_keras_and_repeats_itself():
    x, y = data.images("target_pool", per_class=10)
    histories = []
    for _ in range(2):
        model = torch_lab.build(5)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        histories.append(torch_lab.fit(model, x, y, optimizer, epochs=3, seed=5))
    assert histories[0] == histories[1]
    assert {name: len(values) for name, values in histories[0].items()} == {"loss": 3, "accuracy": 3}
    assert histories[0]["loss"][-1] < histories[0]["loss"][0]


@pytest.mark.parametrize("progress", [False, True])
def test_fit_shows_a_progress_bar_only_when_asked(monkeypatch, progress):
    seen = []
    monkeypatch.setattr(torch_lab, "trange", lambda epochs, disable, **_: seen.append(disable) or range(epochs))
    model = torch_lab.build(5)
    x, y = data.images("target_pool", per_class=2)
    torch_lab.fit(model, x, y, torch.optim.SGD(model.parameters()), **({"progress": True} if progress else {}))
    assert seen == [not progress]


def test_counted_products_of_a_step(lab):
    if lab is keras_lab:
        model = keras.Sequential([keras.Input((16,)), *(keras.layers.Dense(16, "relu") for _ in range(3))])
        model.layers[0].trainable = False
    else:
        model = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU()) for _ in range(3)))
        model[0].requires_grad_(False)
    x = np.random.default_rng(0).standard_normal((8, 16)).astype("float32")
    assert lab.count_products(model, x, x) == 3 + 2 + 1


@pytest.mark.parametrize("name", ["keras_lab", "torch_lab"])
def test_importing_is_silent_and_leaves_the_other_framework_alone(name):
    other = "torch" if name == "keras_lab" else "tensorflow"
    code = f"from utils import {name}; {name}.build(); import sys; sys.exit({other!r} in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=data.FOLDER.parent, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_these_modules_import_neither_framework():
    code = (
        "import importlib, sys\n"
        "for name in ('data', 'evidence', 'freeze_report', 'plots', 'runs', 'schedules'):\n"
        "    importlib.import_module(f'utils.{name}')\n"
        "    found = {'torch', 'tensorflow', 'keras'} & sys.modules.keys()\n"
        "    assert not found, f'{name} imports {found}'\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=data.FOLDER.parent, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_triton_is_loaded_before_tensorflow(tmp_path):
    """Of PyTorch's CUDA builds; the other way round TensorFlow 2.20 and PyTorch 2.14 crash at the first optimizer."""
    told = "import sys\nprint('after' if 'tensorflow' in sys.modules else 'before')\n"
    (tmp_path / "triton.py").write_text(told)
    more = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{data.FOLDER.parent}"}
    command = [sys.executable, "-c", "import utils.keras_lab"]
    done = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, timeout=120)
    assert done.stdout == "before\n", done.stderr[-500:]


@pytest.mark.filterwarnings("ignore:'utils.keras_lab' found in sys.modules")  # meant: it runs a second time
def test_gpus_are_hidden_from_tensorflow_unless_a_notebook_asks_for_them(monkeypatch):
    hidden = []
    monkeypatch.setattr(keras_lab.tf.config, "set_visible_devices", lambda *devices: hidden.append(devices))
    monkeypatch.setenv("FREEZING_GPU", "on")
    runpy.run_module("utils.keras_lab")  # as a first import would
    assert hidden == []
    monkeypatch.delenv("FREEZING_GPU")
    runpy.run_module("utils.keras_lab")
    assert hidden == [([], "GPU")]
