"""The checks of the exercises: one small function each, which knows the right answer and the typical wrong ones.

Prompts and hints stand in `data/questions/*.yaml`. A check gets the learner's answer and returns None if it is right,
else a key of the exercise's `mistakes` ("no-return" needs no entry: a function that should return something and does
not). It need not look at types: an exception becomes a sentence in `study`. Answers are judged by what they do, not by
how they are written. Frameworks are imported inside the checks that need one.
"""

import copy
import importlib.util
import os
import sys

import numpy as np

from utils import data, schedules
from utils.freeze_report import moved, snapshot, weights_of

CHECKS = {}  # exercise id: function(answer) -> None or the key of a mistake


def exercise(name):
    """Decorator that makes a function the check of the exercise with this id, such as "01/ex1"."""

    def register(function):
        CHECKS[name] = function
        return function

    return register


def _is_torch(model):
    return hasattr(model, "named_parameters")


def _trains(model):
    """Of a course model, (the parts that train whole, those that are frozen whole): two sets of names."""
    lab = importlib.import_module("utils.torch_lab" if _is_torch(model) else "utils.keras_lab")
    rows = lab.layer_table(model)
    return {name for name, size, open_ in rows if open_ == size}, {name for name, _, open_ in rows if not open_}


def _gaussian(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def _two_phases(trainings, weights, told, keys):
    """The mistake in two trainings, the head alone, then everything at a tenth of the rate; None if there is none.

    trainings: for each, (names that moved, rates, what else was set of the optimizer and the loss). weights: all names.
    told: what the learner says has moved in the last one. keys: of the mistakes, for a head that rests and for too few
    trainings.
    """
    if len(trainings) < 2:
        return keys["few"]
    (first, first_rates, options), (last, rates, last_options) = trainings[0], trainings[-1]
    if any(name.startswith("base") for name in first):
        return "not-frozen-first"
    if not any(name.startswith("base") for name in last):
        return "base-still"
    if not all(any(name.startswith("head") for name in names) for names in (first, last)):
        return keys["head"]
    if set(last) != set(weights):
        return "part-still"
    for key, value in options.items():
        if value != last_options[key]:
            return key
    if not np.allclose(rates, 0.1 * max(first_rates), rtol=0.01, atol=0):
        return "rate"
    return "no-return" if told is None else None if set(told) == set(last) else "evidence"


@exercise("01/ex1")
def last_block_and_head(model):
    open_, frozen = _trains(model)
    if len(open_) + len(frozen) < 5:
        return "other-blocks"
    named = {(): "all-frozen", ("block4",): "head-frozen", ("head",): "block4-frozen", ("block4", "head"): None}
    return "nothing-frozen" if not frozen else named.get(tuple(sorted(open_)), "other-blocks")


@exercise("01/ex2")
def frozen_within_half_of_the_work(frozen):
    work, parameters = (3, 3, 2, 1, 1), (1, 4, 16, 32, 10)
    chosen = set() if np.ndim(list(frozen)) != 1 else set(frozen)
    if chosen == {1, 2, 3}:
        return "from-one"
    if not chosen or chosen - set(range(5)):
        return "not-layers"
    open_ = [i for i in range(5) if i not in chosen]
    if not open_:
        return "all-frozen"
    cost = sum(work) + sum(work[i] for i in open_) + sum(work[open_[0] + 1 :])
    if cost > 13.5:
        return "too-dear"
    return None if sum(parameters[i] for i in open_) == 42 else "fewer"


@exercise("02/ex1")
def fine_tune_in_two_fits(fine_tune):
    from utils.keras_lab import keras

    fits = []
    x, y, other = _gaussian(3, 16, 4)

    class Recording(keras.Model):
        def fit(self, *args, **kwargs):
            before = snapshot(self)
            result = super().fit(*args, **kwargs)
            made = self.optimizer.get_config() | {"learning_rate": 0, "name": ""}
            loss = float(np.mean(keras.losses.get(self.loss)(y, other)))  # its value: equal losses are one
            options = {"other-optimizer": (type(self.optimizer), made), "loss": round(loss, 4)}
            fits.append((moved(before, self), [float(self.optimizer.learning_rate)], options))
            return result

    inputs = keras.Input((4,))
    base = keras.Sequential([inputs, *(keras.layers.Dense(4, "tanh") for _ in range(2))], name="base")
    model = Recording(inputs, keras.layers.Dense(4, name="head")(base(inputs)))
    try:
        told = fine_tune(model, x, y)
    except ValueError as error:
        if "Unknown variable" in str(error):
            return "same-optimizer"
        raise
    found = _two_phases(fits, snapshot(model), told, {"few": "one-fit", "head": "head-still"})
    return found if found != "base-still" else "not-compiled" if base.trainable_weights else "flag-did-nothing"


@exercise("02/ex2")
def fine_tune_in_two_trainings(fine_tune):
    import torch
    from torch import nn

    torch.manual_seed(0)
    model, trainings = nn.Sequential(), []
    model.add_module("base", nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh()))
    model.add_module("head", nn.Linear(4, 4))
    x, y = torch.from_numpy(_gaussian(2, 16, 4))

    def train(optimizer):
        before = snapshot(model)
        for _ in range(3):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
        names = moved(before, model)
        ids = {id(parameter) for name, parameter in model.named_parameters() if name in names}
        groups = [group for group in optimizer.param_groups if ids & set(map(id, group["params"]))]
        made = [{key: group[key] for key in group if key not in ("params", "lr")} for group in groups]
        options = {"other-optimizer": [type(optimizer), *made[:1], *(one for one in made[1:] if one != made[0])]}
        trainings.append((names, [float(group["lr"]) for group in groups], options))

    try:
        told = fine_tune(model, train)
    except ValueError as error:
        if "more than one parameter group" in str(error):
            return "twice"
        raise
    found = _two_phases(trainings, snapshot(model), told, {"few": "one-training", "head": "head-left-out"})
    is_open = model.base[0].weight.requires_grad
    return found if found != "base-still" else "not-in-optimizer" if is_open else "flag-did-nothing"


@exercise("03/ex1")
def base_rests_while_the_head_trains(finetune):
    import torch
    from torch import nn

    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5))
    model = nn.Sequential()
    model.base, model.head = base, nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3))
    batches = [(torch.randn(16, 4) + 3, torch.arange(16) % 3) for _ in range(2)]
    resting = copy.deepcopy(base).eval()(torch.cat([x for x, _ in batches])).detach()
    before, seen = snapshot(model), []

    def watch(module, inputs, output):
        if torch.is_grad_enabled():
            nearest = torch.cdist(inputs[0], resting, compute_mode="donot_use_mm_for_euclid_dist").min(1).values
            seen.append((len(output), bool(nearest.max() < 1e-4), base[1].training, module.training))

    handle = model.head[0].register_forward_hook(watch)
    finetune(model, batches, 1)
    first = moved(before, model)
    middle = snapshot(model)
    finetune(model, batches, 2)
    handle.remove()
    names = moved(before, model)
    if not all(any(name.startswith("head.") for name in part) for part in (first, moved(middle, model))):
        return "head-still"
    if any(name.startswith("base.") and name.endswith(("weight", "bias")) for name in names):
        return "base-trains"
    if "base.1.running_mean" in names:
        return "statistics" if "base.1.running_mean" in first else "later-epochs"
    if not all(rests for _, rests, *_ in seen):
        return "batch-statistics" if any(norm for *_, norm, _ in seen) else "dropout"
    if not all(head for *_, head in seen):
        return "head-asleep"
    return None if sum(rows for rows, *_ in seen) >= 3 * len(resting) else "head-still"


@exercise("03/ex2")
def statistics_rest_after_unfreezing(finetune):
    from utils.keras_lab import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    block = [keras.Input((4,)), layers.Dense(6, name="dense"), layers.BatchNormalization(name="bn")]
    top = [layers.Dense(5, name="dense_top"), layers.BatchNormalization(name="bn_top")]
    base = keras.Sequential([keras.Input((4,)), keras.Sequential(block, name="block"), *top], name="base")
    x = _gaussian(32, 4) + 3
    before = snapshot(base)
    finetune(base, x, x[:, :1])
    names = moved(before, base)
    kernels = [name for name in names if name.endswith("kernel")]
    statistics = [name for name in names if "moving" in name]
    if len(kernels) < 2:
        return "part-still" if kernels else "base-still"
    if statistics:
        return "nested" if all(name.startswith("block.") for name in statistics) else "statistics"
    return None


def _stranger():
    """A frozen base that no notebook shows, in the framework that is loaded: (base, function(training) -> a step)."""
    if "torch" in sys.modules:
        import torch
        from torch import nn

        twist = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
        parts = {"stem": nn.Linear(4, 4), "norm": nn.BatchNorm1d(4, track_running_stats=False), "twist": twist}
        parts |= {"bn": nn.BatchNorm1d(4), "last": nn.LayerNorm(4)}
        base = nn.Sequential()
        for name, part in parts.items():
            base.add_module(name, part)
        base.requires_grad_(False)
        batch = torch.from_numpy(_gaussian(16, 4))
        return base, lambda training: lambda: base.train(training)(batch)
    from utils.keras_lab import keras

    layers = keras.layers
    twist = layers.SpectralNormalization(layers.Dense(4, name="inner"), name="twist")
    bn = layers.BatchNormalization(name="bn")
    parts = [layers.Dense(4, name="stem"), layers.LayerNormalization(name="norm"), twist, bn]
    base = keras.Sequential([keras.Input((4,)), *parts, layers.Dense(4, name="last")])
    for weight in base.trainable_weights:  # one by one, so that the layers still work in training mode
        weight.trainable = False
    return base, lambda training: lambda: base(_gaussian(16, 4), training=training)


@exercise("03/ex3")
def parts_that_change_in_a_step(restless_parts):
    base, steps = _stranger()
    for training in (True, False):
        before, called, run = snapshot(base), [], steps(training)

        def step(run=run, called=called):
            called.append(True)
            run()

        found = restless_parts(base, step)
        if not called:
            return "not-called"
        if found is None:
            return "no-return"
        changed = {name.split(".")[0] for name in moved(before, base)}
        if any("." in str(name) for name in found):
            return "weights"
        if not set(found) <= changed:
            return "still-part"
        if set(found) != changed:
            return "missed"
        if list(found) != sorted(changed):
            return "order"
    return None


@exercise("04/ex1")
def rates_fall_layer_by_layer(layerwise):
    import torch

    from utils import torch_lab

    for head_rate, factor in ((1e-2, 0.5), (3e-2, 0.1)):
        model = torch_lab.build(5)
        optimizer = layerwise(model, head_rate, factor)
        if optimizer is None:
            return "no-return"
        if type(optimizer) is not torch.optim.Adam:
            return "not-adam"
        if not all(parameter.requires_grad for parameter in model.parameters()):
            return "frozen"
        rate_of = {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
        if any(id(parameter) not in rate_of for parameter in model.parameters()):
            return "missing"
        parts = [model.head, *(model.base.get_submodule(name) for name in reversed(data.BLOCKS))]
        found = [{rate_of[id(parameter)] for parameter in part.parameters()} for part in parts]
        if any(len(rates) != 1 for rates in found):
            return "other"
        rates, wanted = np.concatenate([list(rates) for rates in found]), head_rate * factor ** np.arange(5)
        near = lambda one, other: np.allclose(one, other, rtol=1e-3, atol=0)  # noqa: E731
        if not near(rates, wanted):
            named = {"one-rate": near(rates, rates[0]), "same-factor": near(rates[1:], rates[1])}
            named |= {"upside-down": near(sorted(rates), sorted(wanted)), "head-scaled": near(rates, factor * wanted)}
            return next((key for key, holds in named.items() if holds), "other")
    return None


@exercise("04/ex2")
def two_phases_spare_the_base(fine_tune):
    from utils import keras_lab
    from utils.freeze_report import distance, moved, snapshot

    model = keras_lab.build(5)
    base = model.get_layer("base")
    before = snapshot(base)
    fine_tune(model, *data.images("target_pool", per_class=20))
    names = moved(before, base)
    if any("moving" in name for name in names):
        return "statistics"
    if sum(name.endswith("kernel") for name in names) < len(data.BLOCKS):
        return "not-moved"
    if distance(before, base) > 0.2:  # at 3e-4 it is 0.03, at 3e-2 about 1
        return "too-far"
    return "head" if keras_lab.accuracy(model, *data.images("target_validation")) < 0.65 else None


@exercise("05/ex1")
def deepest_depth_within_noise(choose):
    luck = np.array([0, 0.06, -0.05, 0.03, -0.04])  # the seeds' own, the same at every depth
    noise = np.array([1, -1, 0.5, -0.5, 0])  # of a difference: its interval reaches from minus one to plus one
    one_high = np.array([0.5, -2, 0.5, 0.5, 0.5])  # the same from -1.4 to 1.4, with one lucky run
    best, little = (0, 0 * noise), 0.002 * noise
    depths = {  # for each size and depth: how far below the best, and the noise of the difference
        20: [(0.1, little), (0.001, 2 * little), best, (0.002, 2 * little[::-1]), (0.006, little)],
        5: [(0.05, little), best, (0.012, little), (0.03, little), (0.015, 0.03 * noise)],
        200: [best, (0.034, 0.02 * one_high), (0.04, little), (0.08, little), (0.2, little)],
    }
    cells = {(n, k): 0.8 + luck - gap - part for n, row in depths.items() for k, (gap, part) in enumerate(row)}
    chosen = [choose({key: values.copy() for key, values in cells.items()}, size) for size in depths]
    if any(depth is None for depth in chosen):
        return "no-return"
    if any(np.ndim(depth) for depth in chosen):
        return "other"
    named = {(3, 4, 0): None, (2, 1, 0): "highest-mean", (1, 1, 0): "freezes-least", (4, 4, 2): "unpaired"}
    named |= {(4, 4, 3): "unpaired"} | dict.fromkeys([(1, 4, 1), (3, 4, 2)], "best-run")
    named |= dict.fromkeys([(3, 1, 0), (4, 1, 0), (4, 4, 0)], "fixed-margin")
    return "other-sizes" if len(set(chosen)) == 1 else named.get(tuple(map(int, chosen)), "other")


@exercise("05/ex2")
def first_two_blocks_rest(model):
    open_, frozen = _trains(model)
    if not frozen >= {"block1", "block2"}:
        return "not-frozen"
    if not open_ >= {"block3", "block4", "head"}:
        return "too-many"
    if _is_torch(model):
        import torch

        model = copy.deepcopy(model)
        x, before = torch.from_numpy(_gaussian(8, 3, 32, 32)), snapshot(model)
        front = torch.nn.Sequential(model.base.block1, model.base.block2)
        kept = front(x)
        model(x)  # in the modes that the learner gave it
        names = " ".join(moved(before, model))
        asleep = {name: f"{name}.bn.running_mean" not in names for name in data.BLOCKS}
        changes = not torch.equal(kept, front.eval()(x))
    else:
        base, changes = model.get_layer("base"), False
        asleep = {name: not base.get_layer(name).get_layer("bn").trainable for name in data.BLOCKS}
    if changes or not (asleep["block1"] and asleep["block2"]):
        return "statistics"
    return "all-asleep" if asleep["block3"] or asleep["block4"] else None


@exercise("06/ex1")
def head_trained_from_a_store(train_head):
    import torch

    from utils import torch_lab

    x, y = data.images("target_pool", per_class=8)
    inputs, labels = torch_lab.tensor(x), torch.from_numpy(y)
    batches = torch.arange(40).reshape(2, 20).flip(1).repeat(3, 1)  # three epochs
    seen, augmented = [], []

    def trained(*augment):
        """(What the learner made of a new model, the mistake in what moved or None)."""
        model = torch_lab.build(5)
        before = snapshot(model)
        model.base.block1.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
        train_head(model, inputs, labels, batches, *augment)
        names = moved(before, model)
        base = [name for name in names if name.startswith("base.")]
        if base:
            return model, "base-trains" if any(name.endswith(("weight", "bias")) for name in base) else "statistics"
        return model, None if "head.weight" in names else "head-still"

    def by_hand(model, pictures, training=False):
        """Whether the model's head is what training on the base's output for these pictures gives."""
        reference = torch_lab.build(5)
        features = reference.base.train(training)(pictures).detach()
        optimizer = torch.optim.SGD(reference.head.parameters(), lr=0.1)
        for batch in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(reference.head(features[batch]), labels[batch]).backward()
            optimizer.step()
        pairs = zip(reference.head.parameters(), model.head.parameters(), strict=True)
        return all(torch.allclose(one, other, atol=1e-4) for one, other in pairs)

    model, mistake = trained()
    if mistake:
        return mistake
    if sum(seen) > len(x):
        return "not-stored"
    if not by_hand(model, inputs):
        return "training-mode" if by_hand(model, inputs, training=True) else "other"
    model, mistake = trained(lambda pictures: augmented.append(len(pictures)) or pictures.flip(-1))
    if mistake or sum(augmented) < batches.numel():
        return mistake or "augmented-once"
    return None if by_hand(model, inputs.flip(-1)) else "other"


@exercise("06/ex2")
def last_block_trained_from_a_store(tune_last_block):
    from utils import keras_lab
    from utils.keras_lab import tf

    x, y = data.images("target_pool", per_class=8)
    model = keras_lab.build(5)
    head = model.get_layer("head").bias  # begins at zero, and each step changes it

    def watched(layer):
        """A variable for the head as it is when the layer is first used after a step of training, whoever trains."""
        state, call = tf.Variable(0.0), layer.call

        def call_and_note(*args, **kwargs):
            state.assign(tf.where(tf.equal(state, 0), head.value[0], state))
            return call(*args, **kwargs)

        layer.call = call_and_note
        return state

    states = [watched(model.get_layer("base").get_layer(name).get_layer("conv")) for name in data.BLOCKS]
    before = keras_lab.get_weights(model)
    tune_last_block(model, x, y)
    after = keras_lab.get_weights(model)
    names = [name for name in after if not np.array_equal(before[name], after[name])]
    if not names:
        return "copies"
    if any(name.startswith(data.BLOCKS[:3]) for name in names):
        return "first-move"
    if "block4.conv.kernel" not in names:
        return "block4-still"
    if "head.kernel" not in names:
        return "head-still"
    # a picture that runs through a frozen block in the middle of training was not stored behind it; at the end it may
    ran = [float(state) not in (0.0, float(head.value[0])) for state in states]
    return "not-stored" if ran[0] else "cut-early" if ran[2] else None


@exercise("06/ex3")
def a_schedule_within_the_bill(schedule):
    spans = {part: (float(start), float(end)) for part, (start, end) in dict(schedule).items()}
    parts, shapes = (*data.BLOCKS, "head"), zip((16, 8, 4, 4), (3, *data.CHANNELS), data.CHANNELS, strict=False)
    work = [pixels**2 * 9 * into * out for pixels, into, out in shapes] + [data.CHANNELS[-1] * 5]
    try:
        schedules.stages(spans, parts)
    except ValueError as error:
        return "head-rests" if "nothing trains" in str(error) else "no-schedule"
    if "block1" in spans:
        return "first-trains"
    if spans.get("head") != (0, 1):
        return "head-rests"
    least = {"block2": 0.2, "block3": 0.2, "block4": 0.5}
    if any(np.diff(spans.get(part, (0, 0)))[0] < share - 1e-9 for part, share in least.items()):
        return "short"
    return "too-dear" if sum(schedules.cost(spans, parts, work, 10).values()) > 0.4 else None


@exercise("07/ex1")
def far_pictures_gain_from_an_open_base(plan):
    from utils import photos

    first, rate = plan
    if first not in photos.BLOCKS:
        return "no-block"
    alone, tuned = _second_phase(first, float(rate))
    return "spoiled" if tuned < alone - 0.03 else "too-little" if tuned < alone + 0.03 else None


def _second_phase(first, rate):
    """Accuracies on enlarged garments: of a head on EfficientNet-Lite0, and after 30 steps with more blocks open."""
    from PIL import Image

    from utils import photos

    def enlarged(split, per_class):
        small, labels = data.images(split, per_class=per_class, seed=7)
        large = [
            Image.fromarray((255 * one).astype("uint8")).resize((64, 64), Image.Resampling.BILINEAR) for one in small
        ]
        return np.stack(large), labels

    (x, y), (unseen, truth) = enlarged("target_pool", 20), enlarged("target_validation", 40)
    opened = photos.BLOCKS[photos.BLOCKS.index(first) :]
    keras_only = os.environ.get("FREEZING_FRAMEWORK") == "keras" or not importlib.util.find_spec("torch")
    answers = (_tuned_in_keras if keras_only else _tuned_in_torch)(x, y, unseen, opened, rate)
    return [float(np.mean(found == truth)) for found in answers]


def _tuned_in_torch(x, y, unseen, opened, rate):
    """Answers on unseen pictures, after the head's phase and after the second."""
    import torch

    from utils import lite0_torch, runs

    model, answers = lite0_torch.build(5).requires_grad_(False).eval(), []
    labels = torch.from_numpy(y).to(lite0_torch.DEVICE)
    stored = torch.from_numpy(lite0_torch.outputs(model.base, x)).to(lite0_torch.DEVICE)
    parts = [(model.head, stored, model.head, 3e-3, 60)]
    parts.append((model, lite0_torch.tensor(x), [model.base.get_submodule(name) for name in opened], rate, 30))
    for trained, inputs, open_, speed, steps in parts:
        for part in [model.head, *open_] if isinstance(open_, list) else [open_]:
            part.requires_grad_(True)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=speed)
        for batch in runs.batches(len(x), steps, 16):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(trained(inputs[batch]), labels[batch]).backward()
            optimizer.step()
        answers.append(lite0_torch.outputs(model, unseen).argmax(1))
    return answers


def _tuned_in_keras(x, y, unseen, opened, rate):
    """The same in Keras."""
    from utils import lite0_keras, photos, runs  # before keras: it silences TensorFlow

    import keras  # isort: skip

    model, answers = lite0_keras.build(5), []
    base, loss = model.get_layer("base"), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    head = keras.Sequential([model.get_layer("head")])
    for trained, inputs, speed, steps in (
        (head, lite0_keras.outputs(base, x), 3e-3, 60),
        (model, photos.prepare(x), rate, 30),
    ):
        for name in photos.BLOCKS:
            base.get_layer(name).trainable = name in opened
            for layer in base.get_layer(name).layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
        trained.compile(keras.optimizers.Adam(speed), loss)
        rows = runs.batches(len(x), steps, 16).ravel()
        trained.fit(inputs[rows], y[rows], batch_size=16, shuffle=False, verbose=0)
        answers.append(lite0_keras.outputs(model, unseen).argmax(1))
    return answers


@exercise("07/ex2")
def keras_features_of_photographs(features_of):
    from utils import keras_lab, lite0_keras, photos  # noqa: F401  (keras_lab silences TensorFlow)

    base = lite0_keras.build(5).get_layer("base")
    pictures = _photographs_by_class()
    right, found = lite0_keras.outputs(base, pictures), features_of(base, pictures.copy())
    if found is None:
        return "no-return"
    wrong = {  # after the rest: this moves the statistics
        "training-mode": base(photos.prepare(pictures), training=True),
        "both": base(pictures.astype("float32"), training=True),
    }
    return _features_judged(np.asarray(found), right, wrong)


@exercise("07/ex3")
def torch_features_of_photographs(features_with):
    import torch

    from utils import lite0_torch, torch_lab

    base = lite0_torch.build(5).base
    pictures = _photographs_by_class()
    found = features_with(base, pictures.copy())
    if found is None:
        return "no-return"
    base.train()
    with torch.no_grad():
        wrong = {
            "training-mode": base(lite0_torch.tensor(pictures)).cpu(),
            "both": base(torch_lab.tensor(pictures.astype("float32")).to(lite0_torch.DEVICE)).cpu(),
        }
    right = lite0_torch.outputs(lite0_torch.build(5).base, pictures)
    return _features_judged(np.asarray(found.detach().cpu() if hasattr(found, "detach") else found), right, wrong)


def _photographs_by_class():
    """16 photographs of one class, uint8 (16, 64, 64, 3): one batch, whatever its usual size."""
    from utils import photos

    return photos.photographs(64).pictures[:16]


def _features_judged(found, right, wrong):
    """None for the right features, else what is wrong with them. right: (n, 1280). wrong: mistake -> the same."""
    if found.shape != right.shape:
        return "shape"
    if np.allclose(found, right, atol=1e-3):
        return None
    near = {mistake: np.abs(found - np.asarray(features)).max() < 1e-2 for mistake, features in wrong.items()}
    if any(near.values()):
        return max(near, key=near.get)
    spread = np.asarray(right).std()
    return "input" if 0.01 * spread < found.std(0).mean() and np.ptp(found) > spread else "other"


@exercise("08/ex1")
def a_dense_layer_with_an_adapter(lora_dense):
    class Counting(np.ndarray):
        """An array that tells the largest one that was computed from it."""

        largest = 0

        def __array_finalize__(self, other):
            Counting.largest = max(Counting.largest, self.size)

    x, w, bias, a, b = (_gaussian(*shape) for shape in ((3, 40), (40, 30), (30,), (40, 2), (2, 30)))
    bias, b = bias + 1, b[:, ::-1] + 2  # not the same numbers in all
    given = [array.copy().view(Counting) for array in (x, w, bias, a, b)]
    Counting.largest = 0
    found = lora_dense(*given)
    if found is None:
        return "no-return"
    layer, adapter = x @ w + bias, x @ a @ b
    named = {None: layer + adapter, "no-adapter": layer, "no-bias": x @ w + adapter, "replaced": adapter + bias}
    found = np.asarray(found)
    mistake = next(
        (m for m, y in named.items() if y.shape == found.shape and np.allclose(y, found, atol=1e-3)), "other"
    )
    return "merged" if mistake is None and Counting.largest >= w.size else mistake


@exercise("08/ex2")
def adapters_within_two_bounds(answer):
    from utils import texts

    chosen, rank = answer
    chosen = [chosen] if isinstance(chosen, str) else list(chosen)
    rank, blocks = int(rank), texts.WRITER.blocks
    if not chosen or set(chosen) - set(blocks) or len(set(chosen)) < len(chosen):
        return "no-block"
    if rank < 1:
        raise TypeError
    numbers = 4 * texts.WRITER.width * rank * len(chosen) + 6 * (texts.WRITER.width + 1)
    if 4 * numbers > 10_000:
        return "too-large"
    if _share_of_work(chosen, rank) > 0.52:
        return "too-much-work"
    return None if len(chosen) > 1 else "more-blocks"


def _share_of_work(chosen, rank):
    """Of training everything, counted in a step with adapters in these blocks: in PyTorch, or else in Keras."""
    ids, labels = np.full((2, 24), 9, np.int32), np.zeros(2, np.int64)
    if importlib.util.find_spec("torch"):
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        from utils import transformer_torch

        def count(adapted):
            model = transformer_torch.build(6)
            model.base.requires_grad_(not adapted)
            for block in map(model.base.get_submodule, adapted):
                for layer in (block.query, block.value):
                    a, b = (torch.ones(s, requires_grad=True) for s in ((96, rank), (rank, 96)))
                    layer.register_forward_hook(lambda _, x, y, a=a, b=b: y + x[0] @ a @ b)
            with FlopCounterMode(display=False) as counter:
                torch.nn.functional.cross_entropy(model(torch.from_numpy(ids)), torch.from_numpy(labels)).backward()
            return counter.get_total_flops()
    else:
        from utils import keras_lab, transformer_keras

        def count(adapted):
            model = transformer_keras.build(6)
            base = model.get_layer("base")
            for variable in base.variables if adapted else ():
                variable.trainable = False
            for block in map(base.get_layer, adapted):
                block.query.enable_lora(rank)
                block.value.enable_lora(rank)
            loss = keras_lab.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            return keras_lab.count_operations(model, ids, labels, loss)

    return count(chosen) / count([])


@exercise("08/ex3")
def adapters_and_head_train(adapt):
    """Judged with a model of the framework that the answer is for: the one that it does not stumble over."""
    judged, failed = [], None
    for module in ("utils.transformer_torch", "utils.transformer_keras"):
        if module in sys.modules or not any(f"utils.transformer_{f}" in sys.modules for f in ("torch", "keras")):
            try:
                judged.append(_adapted_wrongly(adapt(importlib.import_module(module).build(6))))
            except (AttributeError, ValueError, TypeError, ImportError) as error:
                failed = error
    if not judged:
        raise failed
    return None if None in judged else judged[0]


def _adapted_wrongly(model):
    if model is None:
        return "no-return"
    weights = weights_of(model)
    trains = {name: weight.trainable for weight in weights for name in weight.names}
    adapters = [name for name in trains if "lora" in name.lower()]
    heads = [name for name in trains if "head" in name.split(".") and "original_module" not in name]
    if len(adapters) < 16:
        return "no-adapters"
    if not all(trains[name] for name in adapters):
        return "adapters-frozen"
    if not all(trains[name] for name in heads):
        return "head-frozen"
    rest = set(trains) - set(adapters) - {name for name in trains if "head" in name.split(".")}
    return "base-open" if any(trains[name] for name in rest) else None
