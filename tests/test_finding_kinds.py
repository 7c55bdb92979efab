"""utils.freeze_report: each kind of finding and note on a broken sample, and silence once that is mended."""

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from tools import ROOT as COURSE
from utils import keras_lab  # noqa: F401  before keras: it keeps TensorFlow from logging
from utils.freeze_report import KINDS, FreezeError, freeze_report, kinds_page, snapshot, watch

import keras  # isort: skip

layers = keras.layers
X = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")
T = torch.from_numpy(X)
SAMPLES = {}
ELSEWHERE = {"adapter-inactive", "head-frozen-by-adapters", "untied-copy", "set-changed-on-jax"}  # test_report_slowly


def sample(kind):
    """A function of `broken` that returns a report: of the broken model, or of the same one mended."""

    def keep(function):
        SAMPLES[kind] = function
        return function

    return keep


def net(*between):
    """base (0, 1 and what is given) and head in PyTorch; the base is frozen."""
    model = nn.Sequential()
    model.add_module("base", nn.Sequential(nn.Linear(4, 4), *between, nn.Linear(4, 4)).requires_grad_(False))
    model.add_module("head", nn.Linear(4, 4))
    return model


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1} | options)


def step(model, optimizer):
    optimizer.zero_grad()
    (model(T) - T).square().mean().backward()
    optimizer.step()


def keras_net(*between, frozen=True, compiled=True):
    base = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a"), *between], name="base")
    base.trainable = not frozen
    model = keras.Sequential([keras.Input((4,)), base, layers.Dense(4, name="head")])
    if compiled:
        model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def fit(model):
    model.fit(X, X, batch_size=8, verbose=0)


@sample("nothing-trains")
def _(broken):
    model = net()
    model.head.requires_grad_(not broken)
    return freeze_report(model)


@sample("typo")
def _(broken):
    model = net()
    setattr(model.base, "requires_grad" if broken else "remark", False)
    return freeze_report(model)


@sample("expected-frozen")
def _(broken):
    model = net(nn.BatchNorm1d(4)).train(broken)  # its weights are frozen, its statistics move in training mode
    return freeze_report(model, expect_frozen=["base.*"])


@sample("expected-trainable")
def _(broken):
    return freeze_report(net(), expect_trainable=["base.*", "head.*"] if broken else "head.*")


@sample("expected-nothing")
def _(broken):
    return freeze_report(net(), expect_frozen="bse.*" if broken else "base.*")


@sample("statistics-will-drift")
def _(broken):
    model = keras_net(layers.BatchNormalization(name="bn"), frozen=False)
    bn = model.get_layer("base").get_layer("bn")
    for variable in bn.trainable_variables:
        variable.trainable = False
    bn.trainable = broken
    return freeze_report(model)


@sample("statistics-moved")
def _(broken):
    model = net(nn.BatchNorm1d(4))
    model.base.train(broken)
    before = snapshot(model)
    step(model, sgd(model))
    model.base.eval()
    return freeze_report(model, before=before)


@sample("frozen-moved")
def _(broken):
    model = keras_net(frozen=not broken)
    fit(model)
    model.get_layer("base").trainable = False  # too late for the step traced above
    with watch(model) as seen:
        fit(model)
    return seen.report


@sample("frozen-assigned")
def _(broken):
    student = nn.Linear(4, 4)
    model = nn.ModuleDict({"student": student, "teacher": copy.deepcopy(student).requires_grad_(False)})
    with watch(model, torch.optim.SGD(student.parameters(), lr=0.1)) as seen:
        step(student, seen.optimizer)
        model.teacher.weight.data.lerp_(student.weight.data, 0.1 if broken else 0.0)
    return seen.report


@sample("frozen-with-gradient")
def _(broken):
    model = net().requires_grad_(True)
    optimizer = sgd(model)
    step(model, optimizer)
    model.base.requires_grad_(False)
    if not broken:
        optimizer.zero_grad()
    return freeze_report(model, optimizer)


@sample("unknown-to-optimizer")
def _(broken):
    model = net().requires_grad_(True)
    head, base = (torch.optim.SGD(part.parameters(), lr=0.1) for part in (model.head, model.base))
    return freeze_report(model, head if broken else [head, base])


@sample("not-of-this-model")
def _(broken):
    model = net()
    optimizer = sgd(model)
    if broken:
        model.head = nn.Linear(4, 4)
    return freeze_report(model, optimizer)


@sample("optimizer-holds-more")
def _(broken):
    model, loss = net(), nn.Linear(2, 2)
    return freeze_report(model, torch.optim.SGD([*model.parameters(), *(loss.parameters() if broken else [])], lr=0.1))


@sample("rate-zero")
def _(broken):
    model = net()
    return freeze_report(model, sgd(model, lr=0.0 if broken else 1e-6))


@sample("rate-zero-now")
def _(broken):
    model = net()
    optimizer = sgd(model)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: epoch)
    if not broken:
        optimizer.step()
        warm_up.step()
    return freeze_report(model, optimizer, scheduler=warm_up)


@sample("group-frozen")
def _(broken):
    model = net()
    model.base[0].requires_grad_(not broken)  # half of a group may well be frozen
    groups = [{"params": model.base.parameters()}, {"params": model.head.parameters()}]
    return freeze_report(model, torch.optim.SGD(groups, lr=0.1))


@sample("hook-and-decay")
def _(broken):
    model = nn.Embedding(9, 4)
    model.weight.register_hook(lambda gradient: gradient * torch.arange(9)[:, None].ge(5))  # rows 0 to 4 shall rest
    return freeze_report(model, torch.optim.AdamW(model.parameters(), weight_decay=0.1 if broken else 0.0))


@sample("unknown-to-scheduler")
def _(broken):
    model = net()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    optimizer.add_param_group({"params": model.base.requires_grad_(True).parameters()})
    return freeze_report(model, optimizer, scheduler=scheduler if broken else make_new(scheduler))


def make_new(scheduler):
    return torch.optim.lr_scheduler.StepLR(scheduler.optimizer, 3)


@sample("scheduler-of-another")
def _(broken):
    model = net()
    one, other = sgd(model), sgd(model)
    scheduler = torch.optim.lr_scheduler.StepLR(one, 3)
    return freeze_report(model, other if broken else one, scheduler=scheduler)


class Detached(nn.Module):
    """A base that the gradient cannot reach."""

    def __init__(self, detach):
        super().__init__()
        self.base, self.head, self.detach = nn.Linear(4, 4), nn.Linear(4, 4), detach

    def forward(self, x):
        features = self.base(x)
        return self.head(features.detach() if self.detach else features)


@sample("gradient-missing")
def _(broken):
    model = Detached(broken)
    with watch(model, sgd(model)) as seen:
        step(model, seen.optimizer)
        seen.optimizer.zero_grad()  # what reached them is remembered all the same
    return seen.report


@sample("gradient-missing-perhaps")
def _(broken):
    model = Detached(broken)
    optimizer = sgd(model)
    step(model, optimizer)
    return freeze_report(model, optimizer)


class Adapted(nn.Module):
    """A layer with a low-rank adapter by hand."""

    def __init__(self, first_step=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4), requires_grad=False)
        self.lora_a, self.lora_b = nn.Parameter(torch.randn(2, 4)), nn.Parameter(torch.zeros(4, 2))
        if not first_step:
            nn.init.normal_(self.lora_b)

    def forward(self, x):
        return x @ (self.weight + self.lora_b @ self.lora_a).T


@sample("gradient-zero")
def _(broken):
    model = Adapted(first_step=broken)
    with watch(model, sgd(model)) as seen:
        step(model, seen.optimizer)
    return seen.report


@sample("base-open-beside-adapters")
def _(broken):
    model = Adapted()
    model.weight.requires_grad_(broken)
    return freeze_report(model)


@sample("trainable-unmoved")
def _(broken):
    model = keras_net()
    fit(model)
    model.get_layer("base").trainable = True
    if not broken:
        model.compile(keras.optimizers.SGD(0.1), "mse")
    with watch(model) as seen:
        fit(model)
    return seen.report


@sample("unmoved-perhaps")
def _(broken):
    model = net()
    before = snapshot(model)
    optimizer = sgd(model)
    step(model, optimizer)
    model.base.requires_grad_(broken)
    return freeze_report(model, before=before)


@sample("adapters-frozen")
def _(broken):
    model = nn.Sequential(Adapted(), nn.Linear(4, 4))
    if broken:
        model[0].requires_grad_(False)
    else:
        model[0].weight.requires_grad_(False)
    return freeze_report(model)


@sample("rate-below-precision")
def _(broken):
    model = nn.Linear(4, 4).to(torch.bfloat16)
    optimizer = torch.optim.Adam(model.parameters(), 1e-5 if broken else 1e-1)
    with watch(model, optimizer) as seen:
        optimizer.zero_grad()
        model(T.to(torch.bfloat16)).float().square().mean().backward()
        optimizer.step()
        if broken:  # else nothing at all would have moved
            with torch.no_grad():
                model.bias[0] += 1
    return seen.report


@sample("nothing-moved")
def _(broken):
    model = nn.Linear(4, 4).bfloat16()
    nn.init.ones_(model.weight)
    with watch(model) as seen, torch.no_grad():
        model.weight += 1e-4 if broken else 1e-1  # bfloat16 knows nothing between 1 and 1.0078
    return seen.report


@sample("inference-weights")
def _(broken):
    with torch.inference_mode(broken):
        return freeze_report(nn.Linear(4, 4))


class InAList(nn.Module):
    def __init__(self, container):
        super().__init__()
        self.blocks, self.head = container([nn.Linear(4, 4)]), nn.Linear(4, 4)


@sample("hidden-weights")
def _(broken):
    return freeze_report(InAList(list if broken else nn.ModuleList))


@pytest.fixture(scope="module", autouse=True)
def process_group():
    """One process that is a group of its own: enough for DDP to wrap a model."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@sample("ddp-older-than-flags")
def _(broken):
    model = net()
    wrapped = nn.parallel.DistributedDataParallel(model)
    model.base.requires_grad_(True)
    return freeze_report(wrapped if broken else nn.parallel.DistributedDataParallel(model))


@sample("tied-weights")
def _(broken):
    model = nn.ModuleDict({"embed": nn.Embedding(4, 4), "out": nn.Linear(4, 4)})
    model.out.weight = model.embed.weight
    model.out.bias.requires_grad_(not broken)
    return freeze_report(model)


@sample("frozen-dropout")
def _(broken):
    model = net(nn.Dropout(0.1))
    model.base.train(broken)
    return freeze_report(model)


@sample("assigns-to-itself")
def _(broken):
    model = net()
    model.base.append(spectral_norm(nn.Linear(4, 4)).requires_grad_(False))
    model.base.train(broken)
    return freeze_report(model)


@sample("eval-until-train")
def _(broken):
    model = net(nn.BatchNorm1d(4))
    model.base.eval()
    if not broken:
        model.base.train = lambda mode=True: model.base
    return freeze_report(model)


@sample("eval-is-not-freezing")
def _(broken):
    model = net(nn.Dropout(0.1))
    model.base.eval().requires_grad_(broken)
    return freeze_report(model)


@sample("half-frozen-layer")
def _(broken):
    model = net()
    model.head.bias.requires_grad_(not broken)
    return freeze_report(model)


@sample("container-says-frozen")
def _(broken):
    model = keras_net(layers.Dense(4, name="b"))
    model.get_layer("base").get_layer("b").trainable = broken
    return freeze_report(model)


@sample("container-not-obeyed")
def _(broken):
    wrapper = layers.Bidirectional(layers.LSTM(2), trainable=False)
    model = keras.Sequential([keras.Input((3, 4)), wrapper, layers.Dense(1)])
    if not broken:
        wrapper.trainable = True
        wrapper.trainable = False
    return freeze_report(model)


@sample("frozen-one-by-one")
def _(broken):
    model = keras_net(frozen=False)
    model.get_layer("base").get_layer("a").trainable = not broken
    return freeze_report(model)


@sample("trace-trains-frozen")
def _(broken):
    model = keras_net(frozen=False)
    fit(model)
    model.get_layer("base").trainable = False
    if not broken:
        model.compile(keras.optimizers.SGD(0.1), "mse")
    return freeze_report(model)


@sample("trace-skips-trainable")
def _(broken):
    model = keras_net()
    fit(model)
    model.get_layer("base").trainable = True
    if not broken:
        model.compile(keras.optimizers.SGD(0.1), "mse")
    return freeze_report(model)


class OwnStep(keras.Model):
    def train_step(self, data):
        return {"loss": keras.ops.mean(self(data[0]))}


@sample("own-step")
def _(broken):
    inputs = keras.Input((4,))
    return freeze_report((OwnStep if broken else keras.Model)(inputs, layers.Dense(1)(inputs)))


@sample("unbuilt")
def _(broken):
    model = keras.Sequential([layers.Dense(4)])
    if not broken:
        model.build((None, 4))
    return freeze_report(model)


@sample("no-values")
def _(broken):
    with torch.device("meta" if broken else "cpu"):
        return freeze_report(nn.Linear(4, 4))


def kinds(report):
    return {found.kind for found in [*report.findings, *report.notes]}


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_kind_is_found_where_it_is_and_only_there(kind):
    broken, mended = SAMPLES[kind](True), SAMPLES[kind](False)
    assert kind in kinds(broken), str(broken)
    assert kind not in kinds(mended) and not mended.findings, str(mended)
    for report in (broken, mended):
        assert report.as_dict()["verdict"] == report.verdict and report.verdict in report._repr_html_()


def test_every_kind_has_a_sample_and_a_line_on_the_page():
    assert SAMPLES.keys() | ELSEWHERE == KINDS.keys()
    assert all(kinds_page().count(f"| `{kind}` |") == 1 for kind in KINDS)
    assert f"It tells {len(KINDS)} kinds of trouble" in (COURSE / "README.md").read_text(encoding="utf-8")


# --- the report as a guard, and what `watch` leaves behind --------------------------------------------------------


def test_check_raises_with_the_findings_and_passes_what_is_ignored():
    model = net()
    model.base.trainable = False
    with pytest.raises(FreezeError, match=r"\[typo\]\n  base.trainable"):
        freeze_report(model).check()
    assert freeze_report(model).check(ignore=["typo"]).findings, "it returns the report"
    assert SAMPLES["own-step"](True).check().notes, "notes raise nothing"


def test_watch_leaves_model_optimizer_and_random_state_as_they_are():
    model, quiet = net(nn.Dropout(0.5)).requires_grad_(True), torch.random.get_rng_state()
    watched = copy.deepcopy(model)
    for each in (model, watched):
        torch.random.set_rng_state(quiet)
        optimizer = torch.optim.Adam(each.parameters())
        step(each, optimizer)
        with watch(each, optimizer) if each is watched else torch.enable_grad():
            step(each, optimizer)
    same = [torch.equal(a, b) for a, b in zip(model.parameters(), watched.parameters(), strict=True)]
    assert all(same) and not any(p._post_accumulate_grad_hooks for p in watched.parameters())


def test_an_error_inside_watch_is_the_readers_own():
    with pytest.raises(ZeroDivisionError), watch(net()):
        raise ZeroDivisionError


def test_a_light_snapshot_sees_the_same_and_holds_no_copy():
    model = net()
    light, full = snapshot(model, light=True), snapshot(model)
    step(model, sgd(model))
    assert all(len(digest) == 16 for digest in light.values())
    assert [freeze_report(model, before=each).rows for each in (light, full)] == [
        freeze_report(model, before=full).rows
    ] * 2


# --- healthy set-ups are silent -----------------------------------------------------------------------------------


def healthy_lstm():
    model = nn.ModuleDict({"base": nn.LSTM(4, 4, 2), "head": nn.GRU(4, 4)})
    for name, parameter in model.base.named_parameters():
        parameter.requires_grad = "_l1" in name  # the upper of two layers
    return freeze_report(model, sgd(model))


def healthy_gan():
    both = nn.ModuleDict({"G": nn.Linear(4, 4), "D": nn.Linear(4, 1)})
    optimizers = [torch.optim.Adam(part.parameters()) for part in both.values()]
    with watch(both, optimizers) as seen:
        both.D(both.G(T).detach()).mean().backward()
        optimizers[1].step()
        both.zero_grad()
        both.D(both.G(T)).mean().backward()
        optimizers[0].step()
    return seen.report


def healthy_compiled():
    model = net()
    compiled = torch.compile(model, backend="eager")
    with watch(compiled, sgd(model), expect_frozen="base.*") as seen:
        step(compiled, seen.optimizer)
    return seen.report


def healthy_bidirectional():
    inside = layers.Bidirectional(layers.GRU(2))
    inside.trainable = False
    model = keras.Sequential([keras.Input((3, 4)), layers.Normalization(), layers.GaussianNoise(0.1), inside])
    model.add(layers.Dense(4))
    model.compile("adam", "mse")
    with watch(model) as seen:
        model.fit(np.repeat(X[:, None], 3, 1), X, verbose=0)
    return seen.report


def healthy_average(**options):
    model = keras_net(compiled=False)
    model.compile(keras.optimizers.Adam(0.01, **options), "mse")
    with watch(model) as seen:
        fit(model)
    return seen.report


def healthy_adapters():
    model = keras_net(frozen=False, compiled=False)
    for layer in model.get_layer("base").layers:
        layer.enable_lora(2)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, X, batch_size=16, verbose=0)  # in the first step B is 0, and A rests
    with watch(model, expect_frozen="base.*kernel") as seen:
        fit(model)
    return seen.report


def healthy_two_rates():
    model = keras_net(frozen=False, compiled=False)
    slow = keras.optimizers.OptimizerMap(keras.optimizers.Adam(1e-2), {"base/.*": keras.optimizers.Adam(1e-4)})
    model.compile(keras.optimizers.MultiOptimizer(slow), "mse")
    fit(model)
    return freeze_report(model)


HEALTHY = {
    "LSTM and GRU": healthy_lstm,
    "two GAN optimizers": healthy_gan,
    "torch.compile": healthy_compiled,
    "Keras: Normalization, noise, Bidirectional": healthy_bidirectional,
    "Keras: average of weights": functools.partial(healthy_average, use_ema=True),
    "Keras: accumulated gradients": functools.partial(healthy_average, gradient_accumulation_steps=2),
    "Keras: two rates": healthy_two_rates,
    "Keras: enable_lora": healthy_adapters,
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_set_up_is_silent(name):
    report = HEALTHY[name]()
    assert not report.findings and not report.notes, str(report)


@pytest.mark.parametrize("options", [{"gradient_accumulation_steps": 2}, {"loss_scale_factor": 2.0}])
def test_a_stale_step_is_seen_inside_a_branch_too(options):
    model = keras_net(frozen=False, compiled=False)
    model.compile(keras.optimizers.Adam(0.01, **options), "mse")
    fit(model)
    model.get_layer("base").trainable = False
    assert "trace-trains-frozen" in kinds(freeze_report(model))


def test_in_the_first_step_of_keras_lora_a_rests_and_a_note_says_why():
    model = keras_net(frozen=False, compiled=False)
    model.get_layer("base").get_layer("a").enable_lora(2)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    with watch(model) as seen:
        model.fit(X, X, batch_size=16, verbose=0)
    assert [(note.kind, note.where) for note in seen.report.notes] == [("gradient-zero", ("base.a.lora_kernel_a",))]


def test_the_table_tells_weights_that_moved_from_statistics():
    report = SAMPLES["statistics-moved"](True)
    assert dict(zip([row[0] for row in report.rows], [row[-1] for row in report.rows], strict=True)) == {
        "base": "statistics",
        "head": "yes",
    }


def test_a_thousand_equal_blocks_make_one_row_and_names_are_cut_in_the_middle():
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(1000)])
    name = "a_block_with_a_name_that_is_longer_than_any_line_of_a_terminal_has_room_for_and_then_some_more"
    report = freeze_report(nn.ModuleDict({name: nn.Linear(2, 2), "blocks": model}), depth=2)
    assert len(report.rows) == 1001
    report = freeze_report(nn.ModuleDict({name: nn.Linear(2, 2), "blocks": model}))
    assert [row[:2] for row in report.rows] == [[name, 6], ["blocks", 6000]]
    assert max(map(len, str(report).splitlines())) <= 78 and "…" in str(report)
    model[7].requires_grad_(False)
    assert [row[:2] for row in freeze_report(model).rows] == [["0 to 6", 42], ["7", 6], ["8 to 999", 5952]]


def test_base_and_head_stay_two_rows_and_a_flat_network_becomes_few():
    model = net().requires_grad_(True)
    assert [row[0] for row in freeze_report(model).rows] == ["base", "head"]
    pairs = {f"{kind}_of_{name}": kind for name in "abcdefghijklmnop" for kind in ("conv", "norm")}
    made = {"conv": functools.partial(nn.Linear, 2, 2), "norm": functools.partial(nn.BatchNorm1d, 2)}
    flat = nn.ModuleDict({name: made[kind]() for name, kind in pairs.items()}).requires_grad_(False).eval()
    flat["head"] = nn.Linear(2, 2)
    folded = [row[0] for row in freeze_report(flat).rows]
    assert folded == ["conv_of_a to norm_of_p", "head"]
