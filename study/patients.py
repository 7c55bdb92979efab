"""The checks of notebook 09's patients: each runs a learner's script on a model and data of its own, and looks.

What must move has moved, what must rest has rested (BatchNorm's statistics, too), and the accuracy on validation data
reaches a bound. The bounds were set with seeds 10 to 13, where the shipped solutions were 0.01 or more above and the
scripts as they came below; the check draws with another seed. As in `exercises`, a check returns None or the key of a
mistake.
"""

import numpy as np

from utils import data
from utils.freeze_report import distance, snapshot

from .exercises import exercise

SEED = 7
BOUNDS = {"09/stranger": 0.82, "09/two-phases": 0.79, "09/adapters": 0.58, "09/keras-adapters": 0.5}
FAR = 0.28  # of block4: a tenth of the head's rate moves it by 0.1 of its length, the head's rate by 0.3 to 0.4
FEW = 10  # steps that make no phase
STATISTICS = ("running_mean", "running_var", "num_batches_tracked", "moving_mean", "moving_variance")


def _changed(before, after):
    """(the parts, such as block4 or head, of which weights differ; whether statistics do); wrapped parts left out."""
    names = [name for name in before if name in after and not np.array_equal(before[name], after[name])]
    weights = [name.split(".") for name in names if not name.endswith(STATISTICS)]
    return {path[path[0] == "base"] for path in weights}, any(name.endswith(STATISTICS) for name in names)


def _pictures():
    return data.images("target_pool", per_class=40, seed=SEED)


def _texts():
    """Token ids and labels: 40 definitions of each class to learn from, 50 to validate."""
    from utils import texts

    for split, per_class in (("pool", 40), ("validation", 50)):
        words, labels = texts.definitions(split, per_class, SEED)
        yield texts.vocabulary().encode(words), labels


@exercise("09/stranger")
def a_strangers_network(fine_tune):
    import torch

    from utils import torch_lab

    model, seen = torch_lab.build(5, seed=SEED), []
    before, block4 = snapshot(model), snapshot(model.base.block4)
    watched = [part.weight for part in (model.head, model.base.block4.conv)]
    starts = [weight.detach().clone() for weight in watched]

    def note(module, inputs):
        if torch.is_grad_enabled():
            awake = any(part.training for part in module.base.modules() if hasattr(part, "running_mean"))
            moving = [not torch.equal(weight, start) for weight, start in zip(watched, starts, strict=True)]
            seen.append((awake, *moving, module.head.weight.detach().clone()))

    handle = model.register_forward_pre_hook(note)
    fine_tune(model, *_pictures())
    handle.remove()
    parts, statistics = _changed(before, snapshot(model))
    if "head" not in parts:
        return "head-still"
    if statistics or any(awake for awake, *_ in seen):
        return "statistics" if statistics else "batch-statistics"
    if parts & {"block1", "block2", "block3"}:
        return "first-blocks"
    if "block4" not in parts:
        return "block4-still"
    alone = [head for _, head_moves, block4_moves, head in seen if head_moves and not block4_moves]
    if len(alone) < FEW:
        return "at-once"
    if torch.equal(alone[-1], model.head.weight):
        return "head-stops"
    if distance(block4, model.base.block4) > FAR:
        return "rate"
    reached = torch_lab.accuracy(model, *data.images("target_validation"))
    return None if reached >= BOUNDS["09/stranger"] else "accuracy"


@exercise("09/two-phases")
def two_phases_of_a_keras_model(two_phases):
    from utils import keras_lab
    from utils.keras_lab import keras

    fits = []

    class Recording(keras.Model):
        def fit(self, *args, **kwargs):
            before = snapshot(self)
            result = super().fit(*args, **kwargs)
            fits.append(_changed(before, snapshot(self))[0])
            return result

    built = keras_lab.build(5, seed=SEED)
    model = Recording(built.input, built.output)
    last = model.get_layer("base").get_layer("block4")
    before, block4 = snapshot(model), snapshot(last)
    two_phases(model, *_pictures())
    parts, statistics = _changed(before, snapshot(model))
    if len(fits) < 2:
        return "one-fit"
    if not all("head" in names for names in (fits[0], fits[-1])):
        return "head-still" if "head" not in fits[0] else "head-stops"
    if fits[0] != {"head"}:
        return "at-once"
    if not parts & set(data.BLOCKS):
        return "base-still"
    if statistics:
        return "statistics"
    if parts & {"block1", "block2"}:
        return "first-blocks"
    if not parts >= {"block3", "block4"}:
        return "block-still"
    if distance(block4, last) > FAR:
        return "rate"
    reached = keras_lab.accuracy(model, *data.images("target_validation"))
    return None if reached >= BOUNDS["09/two-phases"] else "accuracy"


@exercise("09/adapters")
def adapters_in_a_transformer(adapt):
    import torch

    from utils import texts, transformer_torch

    model = transformer_torch.build(seed=SEED)
    (x, y), (unseen, truth) = ((torch.from_numpy(ids).long(), labels) for ids, labels in _texts())
    own = {name: (parameter, parameter.detach().clone()) for name, parameter in model.named_parameters()}
    starts, probe = [], unseen[:8]
    with torch.no_grad():
        base = model.base(probe)

    def note(module, inputs):
        if torch.is_grad_enabled() and not starts:
            starts.append([(name, p, p.detach().clone()) for name, p in module.named_parameters()])
            with torch.no_grad():
                starts.append(torch.allclose(module.base(probe), base, atol=1e-4))

    handle = model.register_forward_pre_hook(note)
    adapt(model, x, torch.from_numpy(y))
    handle.remove()
    left = {id(parameter) for parameter in model.parameters()}
    rests = [torch.equal(p, start) and id(p) in left for name, (p, start) in own.items() if name.startswith("base.")]
    if not all(rests):
        return "base-moves"
    new = [one for one in (starts or [[]])[0] if not any(one[1] is parameter for parameter, _ in own.values())]
    if not starts or not new:
        return "no-adapters"
    if not starts[1]:
        return "not-at-base"
    moving = {name.rpartition(".")[0] for name, parameter, start in new if not torch.equal(parameter, start)}
    where = [f"base.{block}.{part}" for block in texts.WRITER.blocks for part in ("query", "value")]
    reached = [any(name.startswith(place) for name in moving) for place in where]
    if not all(reached):
        return "some-adapters" if any(reached) else "adapters-still"
    if torch.equal(*own["head.weight"]):
        return "head-still"
    with torch.no_grad():
        right = (model.eval()(unseen).argmax(1).numpy() == truth).mean()
    return None if right >= BOUNDS["09/adapters"] else "accuracy"


@exercise("09/keras-adapters")
def adapters_in_a_keras_transformer(adapt):
    from utils import texts, transformer_keras
    from utils.keras_lab import keras

    heads = []

    class Recording(keras.Model):
        def fit(self, *args, **kwargs):
            note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: heads.append(snapshot(head)))
            kwargs["callbacks"] = [*(kwargs.get("callbacks") or []), note]
            return super().fit(*args, **kwargs)

    built = transformer_keras.build(seed=SEED)
    model = Recording(built.input, built.output)
    head, (x, y), (unseen, truth) = model.get_layer("head"), *_texts()
    heads.append(snapshot(head))
    before = {name: variable.numpy() for name, variable in transformer_keras.variables(model)}
    adapt(model, x, y)
    after = dict(transformer_keras.variables(model))
    if any(not np.array_equal(start, after[name].numpy()) for name, start in before.items() if "head" not in name):
        return "base-moves"
    blocks = [model.get_layer("base").get_layer(name) for name in texts.WRITER.blocks]
    parts = [part for block in blocks for part in (block.query, block.value)]
    if not any(part.lora_enabled for part in parts):
        return "no-adapters"
    moving = [part.lora_enabled and bool(np.any(part.lora_kernel_b.numpy())) for part in parts]  # it begins at 0
    if not all(moving):
        return "some-adapters" if any(moving) else "adapters-still"
    if np.array_equal(before["head.kernel"], after["head.kernel"].numpy()):
        return "head-still"
    late = [_changed(one, other)[0] for one, other in zip(heads, heads[1:], strict=False)]
    if not all(late):
        return "asleep"
    right = (model(unseen, training=False).numpy().argmax(1) == truth).mean()
    return None if right >= BOUNDS["09/keras-adapters"] else "accuracy"
