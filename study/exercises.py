"""The checks of the exercises: one small function each, which knows the right answer and the typical wrong ones.

Prompts and hints stand in `data/questions/*.yaml`. A check gets the learner's answer and returns None if it is right,
else a key of the exercise's `mistakes`. It need not look at types: an exception becomes a sentence in `study`.
Frameworks are imported inside the checks that need one; a check that gets a model uses the model's own methods.
"""

import numpy as np

from utils import data
from utils.freeze_report import is_torch, moved, snapshot, weights_of

CHECKS = {}  # exercise id: function(answer) -> None or the key of a mistake


def exercise(name):
    """Decorator that makes a function the check of an exercise.

    name: the id, such as "01/ex1". Returns the function unchanged. Raises ValueError if the id has a check already.
    """

    def register(function):
        known = CHECKS.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (function.__module__, function.__qualname__):
            raise ValueError(f"study/exercises.py: {name} has two checks: {known.__name__} and {function.__name__}")
        CHECKS[name] = function  # the same function again: the module was reloaded
        return function

    return register


def _trains(model):
    """Which blocks, and the head, of a course model have trainable weights: a set of names."""
    weights = [weight for weight in weights_of(model) if weight.trainable]
    return {name for name in (*data.BLOCKS, "head") if any(name in weight.name.split(".") for weight in weights)}


def _nearest(guesses, share):
    """What the guess says that is nearest to a share; "other" if none is as near as a rounded answer would be."""
    nearest = min(guesses, key=lambda guess: abs(guess - share))
    return guesses[nearest] if abs(nearest - share) < 0.006 else "other"


@exercise("01/ex1")
def last_block_and_head(model):
    trains = _trains(model)
    if trains == {"block4", "head"}:
        return None
    if trains == {*data.BLOCKS, "head"}:
        return "nothing-frozen"
    return {(): "all-frozen", ("block4",): "head-frozen", ("head",): "block4-frozen"}.get(tuple(trains), "other-blocks")


@exercise("01/ex2")
def work_left(share):
    guesses = {15 / 29: None, 3 / 10: "frozen-share", 5 / 29: "no-forward", 22 / 29: "kept-input-gradients"}
    guesses |= {16 / 30: "one-too-many", 16 / 29: "one-too-many"}
    return _nearest(guesses, share)


@exercise("03/ex1")
def base_rests_while_the_head_trains(finetune):
    import torch
    from torch import nn

    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5))
    model = nn.Sequential()
    model.base, model.head = base, nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 3))
    batches = [(torch.randn(16, 4) + 3, torch.arange(16) % 3) for _ in range(2)]
    before, seen = snapshot(model), []
    watch = lambda module, inputs, output: seen.append(  # noqa: E731  (what was on while the head computed)
        (torch.is_grad_enabled(), base[1].training, base[3].training, module.training)
    )
    handle = model.head[0].register_forward_hook(watch)
    finetune(model, batches, 1)
    first = set(moved(before, model))
    finetune(model, batches, 2)
    handle.remove()
    names = set(moved(before, model))
    if not any(name.startswith("head.") for name in names):
        return "head-still"
    if any(name.startswith("base.") and name.endswith(("weight", "bias")) for name in names):
        return "base-trains"
    if "base.1.running_mean" in names:
        return "statistics" if "base.1.running_mean" in first else "later-epochs"
    training = [state for state in seen if state[0]]
    if any(norm for _, norm, _, _ in training):
        return "batch-statistics"
    if any(dropout for _, _, dropout, _ in training):
        return "dropout"
    return None if training and all(head for *_, head in training) else "head-asleep"


@exercise("03/ex2")
def statistics_rest_after_unfreezing(finetune):
    from utils import keras_lab  # noqa: F401  (before keras: it keeps TensorFlow from logging)

    import keras  # isort: skip

    keras.utils.set_random_seed(0)
    layers = keras.layers
    block = [keras.Input((4,)), layers.Dense(6, name="dense"), layers.BatchNormalization(name="bn")]
    top = [layers.Dense(5, name="dense_top"), layers.BatchNormalization(name="bn_top")]
    base = keras.Sequential([keras.Input((4,)), keras.Sequential(block, name="block"), *top], name="base")
    x = np.random.default_rng(0).standard_normal((32, 4)).astype("float32") + 3
    before = snapshot(base)
    finetune(base, x, x[:, :1])
    names = moved(before, base)
    kernels = {name for name in names if name.endswith("kernel")}
    statistics = {name for name in names if "moving" in name}
    if not kernels:
        return "base-still"
    if len(kernels) < 2:
        return "part-still"
    if statistics:
        return "nested" if all(name.startswith("block.") for name in statistics) else "statistics"
    return None


@exercise("02/ex1")
def fine_tune_in_two_fits(fine_tune):
    from utils import keras_lab  # noqa: F401  (before keras: it keeps TensorFlow from logging)

    import keras  # isort: skip

    fits = []

    class Recording(keras.Model):
        def fit(self, *args, **kwargs):
            before = snapshot(self)
            super().fit(*args, **kwargs)
            parts = {name.split(".")[0] for name in moved(before, self)}
            fits.append((parts, type(self.optimizer), float(self.optimizer.learning_rate), self.loss))

    inputs = keras.Input((4,))
    base = keras.Sequential([inputs, *(keras.layers.Dense(4, "tanh") for _ in range(2))], name="base")
    model = Recording(inputs, keras.layers.Dense(4, name="head")(base(inputs)))
    x, y = np.random.default_rng(0).standard_normal((2, 16, 4)).astype("float32")
    try:
        fine_tune(model, x, y)
    except ValueError as error:
        if "Unknown variable" in str(error):
            return "same-optimizer"
        raise
    if len(fits) < 2:
        return "one-fit"
    (first, kind, rate, loss), (last, last_kind, last_rate, last_loss) = fits[0], fits[-1]
    if "base" in first:
        return "not-frozen-first"
    if "base" not in last:
        return "not-compiled" if base.trainable_weights else "flag-did-nothing"
    if "head" not in last:
        return "head-still"
    if last_kind is not kind:
        return "other-optimizer"
    if last_loss != loss:
        return "loss"
    return None if last_rate < 0.5 * rate else "rate-kept"


@exercise("02/ex2")
def fine_tune_in_two_trainings(fine_tune):
    import torch
    from torch import nn

    torch.manual_seed(0)
    model, trainings = nn.Sequential(), []
    model.add_module("base", nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh()))
    model.add_module("head", nn.Linear(4, 4))
    x, y = torch.randn(2, 16, 4)

    def train(optimizer):
        before = snapshot(model)
        for _ in range(3):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
        base = {id(parameter) for parameter in model.base.parameters()}
        rates = [group["lr"] for group in optimizer.param_groups if base & set(map(id, group["params"]))]
        highest = max(group["lr"] for group in optimizer.param_groups)
        trainings.append(({name.split(".")[0] for name in moved(before, model)}, max(rates, default=0), highest))

    try:
        fine_tune(model, train)
    except ValueError as error:
        if "more than one parameter group" in str(error):
            return "twice"
        raise
    if len(trainings) < 2:
        return "one-training"
    (first, _, rate), (last, base_rate, _) = trainings[0], trainings[-1]
    if "base" in first:
        return "not-frozen-first"
    if "base" not in last:
        return "not-in-optimizer" if model.base[0].weight.requires_grad else "flag-did-nothing"
    if "head" not in last:
        return "head-left-out"
    return None if base_rate < 0.5 * rate else "rate-kept"


@exercise("05/ex1")
def deepest_depth_within_noise(choose):
    common = np.array([0, 0.06, -0.05, 0.03, -0.04])  # the seeds' own luck, the same at every depth
    little = np.array([0.004, -0.003, 0.005, -0.002, 0.001])  # a difference with an interval around zero
    top = 0.8 + common
    cells = {(20, 0): top - 0.1, (20, 1): top - little[::-1], (20, 2): top, (20, 3): top - little}
    cells |= {(20, 4): top - 0.02 - little / 2}
    cells |= {(5, frozen): top - 0.1 * (4 - frozen) - little for frozen in range(5)}
    cells |= {(200, frozen): top - 0.1 * frozen - little for frozen in range(5)}
    chosen = {size: int(choose(dict(cells), size)) for size in (5, 20, 200)}
    if chosen == {5: 4, 20: 3, 200: 0}:
        return None
    if chosen[5] == chosen[20] == chosen[200]:
        return "other-sizes"
    return {1: "freezes-least", 2: "highest-mean", 4: "unpaired"}.get(chosen[20], "other")


@exercise("05/ex2")
def first_two_blocks_rest(model):
    trains = _trains(model)
    first, later = {"block1", "block2"}, {"block3", "block4", "head"}
    if trains & first:
        return "not-frozen"
    if later - trains:
        return "too-many"
    if is_torch(model):
        asleep = {
            name: not any(part.training for part in model.base.get_submodule(name).modules()) for name in data.BLOCKS
        }
    else:
        base = model.get_layer("base")
        asleep = {name: not base.get_layer(name).get_layer("bn").trainable for name in data.BLOCKS}
    if not asleep["block1"] or not asleep["block2"]:
        return "statistics"
    return "all-asleep" if asleep["block3"] or asleep["block4"] else None


@exercise("04/ex1")
def rates_fall_layer_by_layer(layerwise):
    from utils import torch_lab

    for head_rate, factor in ((1e-2, 0.5), (3e-2, 0.1)):
        model = torch_lab.build(5)
        optimizer = layerwise(model, head_rate, factor)
        rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        if any(id(p) not in rate_of for p in model.parameters()):
            return "missing"
        parts = [model.head, *(model.base.get_submodule(name) for name in reversed(data.BLOCKS))]
        found = [{rate_of[id(p)] for p in part.parameters()} for part in parts]
        if any(len(rates) != 1 for rates in found):
            return "other"
        rates = np.array([rates.pop() for rates in found])
        wanted = head_rate * factor ** np.arange(5)
        if np.allclose(rates, wanted):
            continue
        if np.allclose(rates, rates[0]):
            return "one-rate"
        if np.allclose(rates[1:], rates[1]):
            return "same-factor"
        if np.allclose(sorted(rates), sorted(wanted)):
            return "upside-down"
        return "head-scaled" if np.allclose(rates, factor * wanted) else "other"
    return None


@exercise("04/ex2")
def blocks_open_and_norms_rest(open_blocks):
    from utils import keras_lab

    model = keras_lab.build(5)
    blocks = [model.get_layer("base").get_layer(name) for name in data.BLOCKS]
    for k in (4, 3, 2, 1, 0, 2, 4, 1):
        open_blocks(model, k)
        trains = {name for name, _, part in keras_lab.layer_table(model) if part}
        wanted = {*data.BLOCKS[k:], "head"}
        if "head" not in trains:
            return "head"
        if trains != wanted:
            return "stuck" if trains < wanted else "not-frozen" if trains > wanted else "other"
        if any(block.get_layer("bn").trainable for block in blocks):
            return "norms"
    return None


@exercise("09/ex1")
def a_base_that_rests_is_told_from_one_that_moves(base_rests):
    import sys

    lab = sys.modules.get("utils.torch_lab") or sys.modules.get("utils.keras_lab")  # what the notebook uses
    parts = {
        "nothing": lambda weight: False,
        "head": lambda weight: weight.name.startswith("head."),
        "statistics": lambda weight: weight.is_statistic,
        "base": lambda weight: weight.name.startswith("base.") and not weight.is_statistic,
    }
    found = {}
    for part, chosen in parts.items():
        model, calls = lab.build(5), []

        def train(given, model=model, calls=calls, chosen=chosen):
            calls.append(given is model)
            before = {id(weight.source) for weight in weights_of(model) if chosen(weight)}
            for weight in weights_of(model):
                if id(weight.source) in before:
                    _shift(weight.source)

        found[part] = bool(base_rests(model, train))
        if calls != [True]:
            return "not-called"
    if found == {"nothing": True, "head": True, "statistics": False, "base": False}:
        return None
    if found["base"] or not found["nothing"]:
        return "other"
    return "statistics" if found["statistics"] else "head"


def _shift(array):
    """Add 1 to a Keras variable or a PyTorch tensor, where it is."""
    if hasattr(array, "assign_add"):
        array.assign_add(array * 0 + 1)
    else:
        array.data.add_(1)


@exercise("09/ex2")
def work_of_two_phases(share):
    full, first = 26, 14
    guesses = {(10 * first + 5 * full) / (15 * full): None, first / full: "first-phase"}
    guesses |= {(10 * 20 + 5 * full) / (15 * full): "kept-input-gradients", (first / full + 1) / 2: "unweighted"}
    return _nearest(guesses, share)


@exercise("06/ex1")
def head_trained_from_a_store(train_head):
    import torch

    from utils import torch_lab

    x, y = data.images("target_pool", per_class=8)
    inputs, labels = torch_lab.tensor(x), torch.from_numpy(y)
    batches = torch.arange(40).reshape(2, 20).flip(1).repeat(3, 1)  # three epochs
    model, reference, seen = torch_lab.build(5), torch_lab.build(5), []
    before = snapshot(model)
    model.base.block1.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    train_head(model, inputs, labels, batches)
    names = set(moved(before, model))
    if any(name.startswith("base.") and name.endswith(("weight", "bias")) for name in names):
        return "base-trains"
    if any("running" in name for name in names):
        return "statistics"
    if "head.weight" not in names:
        return "head-still"
    if sum(seen) > len(x):
        return "not-stored"

    def by_hand(features):
        reference.head.load_state_dict(torch_lab.build(5).head.state_dict())
        optimizer = torch.optim.SGD(reference.head.parameters(), lr=0.1)
        for batch in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(reference.head(features[batch]), labels[batch]).backward()
            optimizer.step()
        return torch.allclose(reference.head.weight, model.head.weight, atol=1e-4)

    in_training = reference.base(inputs).detach()
    reference.base.load_state_dict(torch_lab.build(5).base.state_dict())
    if not by_hand(reference.base.eval()(inputs).detach()):
        return "training-mode" if by_hand(in_training) else "other"
    augmented = []
    train_head(torch_lab.build(5), inputs, labels, batches, lambda x: augmented.append(len(x)) or x.flip(3))
    return None if sum(augmented) >= batches.numel() else "augmented-once"


@exercise("06/ex2")
def last_block_trained_from_a_store(tune_last_block):
    from utils import keras_lab

    import keras  # isort: skip

    x, y = data.images("target_pool", per_class=8)
    model, fit, given = keras_lab.build(5), keras.Model.fit, []

    def recorded(self, x=None, *args, **kwargs):
        given.append(tuple(getattr(x, "shape", ()))[1:])
        return fit(self, x, *args, **kwargs)

    before = keras_lab.get_weights(model)
    keras.Model.fit = recorded
    try:
        tune_last_block(model, x, y)
    finally:
        keras.Model.fit = fit
    after = keras_lab.get_weights(model)
    names = {name.split(".")[0] for name in after if not np.array_equal(before[name], after[name])}
    if not names:
        return "copies"
    if names & {"block1", "block2", "block3"}:
        return "first-move"
    if "block4" not in names:
        return "block4-still"
    if "head" not in names:
        return "head-still"
    if set(given) == {(4, 4, 64)}:
        return None
    if (32, 32, 3) in given:
        return "not-stored"
    return "cut-early" if {(16, 16, 16), (8, 8, 32)} & set(given) else "other"
