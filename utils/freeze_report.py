"""`freeze_report`: what of a model will train, what will not, and what is suspicious about it, in words.

Beside it `snapshot`, `moved` and `distance`: what a training step changed. All work on any Keras model and any
`nn.Module`, and import neither framework. What is read of Keras' training step is private to Keras (3.13 to 3.15,
TensorFlow backend); where it is missing, the report says less, but nothing wrong.
"""

import difflib
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tabulate import tabulate


@dataclass(frozen=True)
class Weight:
    """One array that a model remembers."""

    name: str  # "base.block1.conv.kernel": the path of names from the model down
    key: int  # the id of the parameter or variable, for comparison with what an optimizer holds
    size: int  # numbers in it
    is_statistic: bool  # BatchNorm's running mean and the like: nothing an optimizer could train
    trainable: bool
    value: Callable[[], Any]  # the present values as a numpy array; not a copy
    source: Any  # the parameter or variable itself


def is_torch(model):
    """Whether the model is PyTorch's; False means Keras'. Raises TypeError for anything else."""
    if hasattr(model, "named_parameters") and hasattr(model, "named_buffers"):
        return True
    if hasattr(model, "trainable_weights") and hasattr(model, "layers"):
        return False
    raise TypeError(f"expected a Keras model or a torch nn.Module, got {type(model).__name__}")


def weights_of(model):
    """Every weight and statistic of the model once, in the model's order: a list of Weight.

    A shared or tied weight appears under the first of its names. Raises TypeError for anything but a model.
    """
    found = _torch_weights(model) if is_torch(model) else _keras_weights(model)
    result, names = [], set()
    for weight in found:
        name, number = weight.name, 2
        while name in names:  # two Keras layers in one parent may bear the same name
            name, number = f"{weight.name}#{number}", number + 1
        names.add(name)
        result.append(weight if name == weight.name else replace(weight, name=name))
    return result


def parts_of(model):
    """The model and everything inside it as (path of names, layer or module), each once, the model itself first."""
    if is_torch(model):
        return list(model.named_modules())
    return list(_keras_parts(model, "", set()))


def children_of(layer):
    """The layers right inside a Keras layer or model."""
    return getattr(layer, "_layers", None) or getattr(layer, "layers", [])


def same_bits(one, other):
    """Whether two arrays hold the same bits (a NaN equals itself)."""
    return one.shape == other.shape and np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def _torch_weights(model):
    seen = set()
    for path, module in model.named_modules():
        own = [(pair, False) for pair in module.named_parameters(path, recurse=False)]
        own += [(pair, True) for pair in module.named_buffers(path, recurse=False)]
        for (name, tensor), is_statistic in own:
            if id(tensor) not in seen:  # tied weights
                seen.add(id(tensor))
                yield _torch_weight(name, tensor, is_statistic)


def _torch_weight(name, tensor, is_statistic):
    def value():
        return tensor.detach().cpu().numpy()

    return Weight(name, id(tensor), tensor.numel(), is_statistic, tensor.requires_grad, value, tensor)


def _keras_weights(model):
    # What fit trains is this list: a layer's own flag is not enough, since its parent's counts, too.
    trained = {id(variable) for variable in model.trainable_weights}
    seen = set()
    for path, layer in _keras_parts(model, "", set()):
        inside = {id(variable) for child in children_of(layer) for variable in child.weights}
        for variable in layer.weights:
            if id(variable) in seen or id(variable) in inside:
                continue
            seen.add(id(variable))
            yield Weight(
                name=f"{path}.{variable.name}" if path else variable.name,
                key=id(variable),
                size=int(np.prod(variable.shape)),
                is_statistic=_is_keras_statistic(layer, variable),
                trainable=id(variable) in trained,
                value=lambda variable=variable: np.asarray(variable.numpy()),
                source=variable,
            )


def _is_keras_statistic(layer, variable):
    """A variable that its layer made with trainable=False: it would not train if the layer did."""
    own = getattr(layer, "_non_trainable_variables", ())  # no public name tells it from a frozen weight
    return any(variable is v for v in own)


def _keras_parts(layer, path, seen):
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    for child in children_of(layer):
        yield from _keras_parts(child, f"{path}.{child.name}" if path else child.name, seen)


def snapshot(model):
    """A copy of everything the model remembers, weights and BatchNorm statistics: a dict from name to array."""
    return {weight.name: np.array(weight.value()) for weight in weights_of(model)}


def moved(before, model):
    """The names whose bits differ from the snapshot `before`, in the model's order.

    Raises ValueError if the model has other weights than the snapshot (a layer was added, replaced or removed).
    """
    weights = {weight.name: weight for weight in weights_of(model)}
    if weights.keys() != before.keys():
        odd = ", ".join(sorted(weights.keys() ^ before.keys())[:3])
        raise ValueError(f"the snapshot is of another model: {odd} stands in only one of them; take a new snapshot")
    return [name for name, weight in weights.items() if not same_bits(before[name], weight.value())]


def distance(before, model):
    """How far the weights moved since the snapshot, relative to their length: |w - w0| / |w0|, without statistics."""
    pairs = [(before[w.name], w.value()) for w in weights_of(model) if not w.is_statistic]
    length = np.sqrt(sum(np.square(old, dtype=np.float64).sum() for old, _ in pairs))
    return float(np.sqrt(sum(np.square(new - old, dtype=np.float64).sum() for old, new in pairs)) / length)


WIDTH = 78  # characters of a line: JupyterLab breaks longer ones anywhere when its window is 800 pixels wide


@dataclass(frozen=True)
class Finding:
    """One suspicious thing: a short name for it, the weights or layers concerned, what it does and what to do."""

    kind: str
    where: tuple[str, ...]
    text: str

    def __str__(self):
        names = ", ".join(self.where[:4]) + (f" and {len(self.where) - 4} more" if len(self.where) > 4 else "")
        text = textwrap.fill(f"! {self.text}", WIDTH, subsequent_indent="  ")
        return f"{text}\n{_indented(names)}" if names else text


@dataclass(frozen=True)
class FreezeReport:
    """What `freeze_report` found; print it to read it. Notes are about what may be meant so, findings are not."""

    headers: list[str]
    rows: list[list]
    findings: list[Finding]
    notes: list[Finding] = field(default_factory=list)

    def __str__(self):
        headers = [header.replace("the ", "the\n").replace("Norm ", "Norm\n") for header in self.headers]
        table = tabulate(self.rows, headers, disable_numparse=True, colalign=["left", "right"])
        verdict = "\n".join(map(str, self.findings)) if self.findings else "Nothing suspicious found."
        return "\n".join([f"{table}\n\n{verdict}", *(str(note).replace("!", "Note:", 1) for note in self.notes)])

    __repr__ = __str__


def _indented(names):
    return textwrap.fill(
        names, WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


@dataclass
class _Facts:
    """What one framework's model tells, in the terms of both."""

    weights: list
    held: set | None  # keys of what the optimizer holds; None: no optimizer, or it has not chosen yet
    undecided: str = ""  # what the optimizer column says when held is None; empty leaves the column out
    norms: dict = field(default_factory=dict)  # path of a BatchNorm layer: whether its statistics would move
    findings: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def find(self, kind, where, text):
        """Add a finding if there is anything to name."""
        if where:
            self.findings.append(Finding(kind, tuple(where), text))

    def note(self, kind, where, text):
        """Add a note if there is anything to name."""
        if where:
            self.notes.append(Finding(kind, tuple(where), text))


def freeze_report(model, optimizer=None, before=None, depth=None):
    """What will train, row by row, and in words what looks wrong.

    model: any Keras model or nn.Module. optimizer: the one that will train it; None takes the compiled one in Keras and
    leaves the question out in PyTorch. before: a `snapshot`, to see what moved since. depth: how many names of a
    weight's path make a row ("base.block1" has 2); None takes the first depth with more than two rows.
    Returns a FreezeReport. Raises TypeError for anything but a model, ValueError for a snapshot of another model.
    """
    facts = (_torch_facts if is_torch(model) else _keras_facts)(model, optimizer)
    changed = None if before is None else set(moved(before, model))
    if not any(weight.trainable for weight in facts.weights):
        facts.findings.append(Finding("nothing-trains", (), "Nothing is trainable: training will change no weight."))
    if changed:
        _compare_with_flags(facts, changed)
    facts.note(
        "half-frozen-layer",
        _half_frozen(facts.weights),
        "Some weights of these layers train, others are frozen. Is it meant, or did a slice of a list cut them?",
    )
    columns = ["layer", "parameters", "trainable"]
    columns += ["in the optimizer"] if facts.held is not None or facts.undecided else []
    columns += ["BatchNorm statistics"] if facts.norms else []
    columns += ["moved"] if changed is not None else []
    rows = [_row(path, group, facts, changed) for path, group in _groups(facts.weights, depth).items()]
    return FreezeReport(columns, [[row[column] for column in columns] for row in rows], facts.findings, facts.notes)


# --- the table ------------------------------------------------------------------------------------------------------


def _groups(weights, depth):
    """The weights by the first `depth` names of their layers' paths."""
    deepest = max((weight.name.count(".") for weight in weights), default=0)
    for names in [depth] if depth else range(1, max(deepest, 1) + 1):
        result = {}
        for weight in weights:
            result.setdefault(_cut(weight.name.rpartition(".")[0], names), []).append(weight)
        if len(result) > 2:
            break
    return result


def _cut(path, names):
    return ".".join(path.split(".")[:names]) or "(the model itself)"


def _row(path, group, facts, changed):
    learned = [weight for weight in group if not weight.is_statistic]
    norms = [moves for at, moves in facts.norms.items() if at == path or at.startswith(f"{path}.")]
    row = {
        "layer": path,
        "parameters": sum(weight.size for weight in learned),
        "trainable": _share([weight.trainable for weight in learned]),
        "BatchNorm statistics": _share(norms, "move", "stay"),
    }
    if facts.held is None:
        row["in the optimizer"] = facts.undecided
    else:
        row["in the optimizer"] = _share([weight.key in facts.held for weight in learned])
    if changed is not None:
        row["moved"] = _share([weight.name in changed for weight in learned])
        if row["moved"] in ("no", "") and any(weight.name in changed for weight in group):
            row["moved"] = "statistics"
    return row


def _share(values, yes="yes", no="no"):
    """In words, how many of the values are true."""
    if not values:
        return ""
    return yes if all(values) else f"{yes}: {sum(values)} of {len(values)}" if any(values) else no


# --- findings that both frameworks share ----------------------------------------------------------------------------


def _compare_with_flags(facts, changed):
    """Flags against what moved. Only for a snapshot since which anything moved at all."""
    frozen = {w.name for w in facts.weights if not w.trainable and not w.is_statistic}
    facts.find(
        "frozen-moved",
        [w.name for w in facts.weights if w.name in frozen & changed],
        "These weights say that they are frozen, and yet they moved since the snapshot.",
    )
    facts.find(
        "statistics-moved",
        [
            w.name
            for w in facts.weights
            if w.is_statistic and w.name in changed and _siblings_frozen(w, facts.weights, frozen)
        ],
        "The weights of these layers are frozen, and yet their statistics moved since the snapshot.",
    )
    layers_moved = {name.rpartition(".")[0] for name in changed}  # a bias before BatchNorm may rest for good reasons
    facts.find(
        "trainable-unmoved",
        [w.name for w in facts.weights if w.trainable and w.name.rpartition(".")[0] not in layers_moved],
        "These weights say that they train, and yet they did not move since the snapshot.",
    )


def _half_frozen(weights):
    """Paths of the layers in which some of the layer's own weights train and others do not."""
    flags = {}
    for w in weights:
        if not w.is_statistic:
            flags.setdefault(w.name.rpartition(".")[0], set()).add(w.trainable)
    return [path or "(the model itself)" for path, found in flags.items() if len(found) == 2]


def _siblings_frozen(statistic, weights, frozen):
    """Whether the layer that owns the statistic has weights, and all of them are frozen."""
    layer = statistic.name.rpartition(".")[0]
    names = {w.name for w in weights if w.name.rpartition(".")[0] == layer and not w.is_statistic}
    return bool(names) and names <= frozen


def _misspelt(attributes, right=None):
    """Attributes that look like a switch that freezes, but are not it; right: the one that may stand there."""
    switches = ["trainable", "requires_grad", "requires_grad_"]
    public = [name for name in attributes if not name.startswith("_") and name != right]
    return [name for name in public if difflib.get_close_matches(name, switches, n=1, cutoff=0.8)]


# --- PyTorch --------------------------------------------------------------------------------------------------------


def _torch_facts(model, optimizer):
    weights = weights_of(model)
    facts = _Facts(weights, None)
    modules = parts_of(model)
    facts.norms = {
        path: module.training and module.momentum != 0
        for path, module in modules
        if getattr(module, "running_mean", None) is not None and hasattr(module, "track_running_stats")
    }
    typos = [f"{path or 'model'}.{name}" for path, m in modules for name in _misspelt(vars(m))]
    typos += [f"{w.name}.{name}" for w in weights for name in _misspelt(vars(w.source), right="requires_grad")]
    facts.find(
        "typo",
        typos,
        "A new attribute was made here; it freezes nothing. Write parameter.requires_grad = False or "
        "module.requires_grad_(False).",
    )
    facts.find(
        "statistics-will-drift",
        [path for path, moves in facts.norms.items() if moves and _owner_frozen(path, weights)],
        "BatchNorm layers with frozen weights are in training mode: every forward pass moves their statistics. Call "
        "eval() on them after each model.train().",
    )
    facts.note(
        "eval-until-train",
        [path for path, moves in facts.norms.items() if not moves and _wakes(path, dict(modules), weights)],
        "BatchNorm layers with frozen weights rest in eval() mode, and the next model.train() wakes them. Call eval() "
        "on them after each train(), or override train().",
    )
    if optimizer is not None:
        _compare_with_optimizer(facts, optimizer)
    return facts


def _wakes(path, modules, weights):
    """Whether `model.train()` would set a frozen layer in motion: nobody on the way down to it stands against it."""
    if not _owner_frozen(path, weights) or modules[path].momentum == 0:
        return False
    names = path.split(".")
    above = [modules[".".join(names[:i])] for i in range(len(names) + 1)]
    plain = [
        "train" not in vars(m) and type(m).train.__module__ == "torch.nn.modules.module" and not m._forward_pre_hooks
        for m in above
    ]
    return all(plain)


def _owner_frozen(path, weights):
    """Whether nothing trains in the layer at `path`; for one without weights of its own, in what it stands in."""
    while path:
        inside = [w.trainable for w in weights if w.name.startswith(f"{path}.") and not w.is_statistic]
        if inside:
            return not any(inside)
        path = path.rpartition(".")[0]
    return not any(w.trainable for w in weights)


def _compare_with_optimizer(facts, optimizer):
    options = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    facts.held = set(options)
    facts.find(
        "unknown-to-optimizer",
        [w.name for w in facts.weights if w.trainable and w.key not in facts.held],
        "These weights are trainable, but the optimizer does not hold them: they will not move, and their gradients "
        "pile up. Use optimizer.add_param_group or make a new optimizer.",
    )
    facts.find(
        "frozen-with-gradient",
        [
            w.name
            for w in facts.weights
            if w.key in options and not w.trainable and _would_move(w.source, options[w.key], optimizer)
        ],
        "These weights are frozen, but their gradient is not None: a step before zero_grad() has set it to None moves "
        "them. Call optimizer.zero_grad() after freezing.",
    )
    _find_strangers(facts)
    groups = optimizer.param_groups
    late = [f"group {i}" for i, group in enumerate(groups) if "initial_lr" not in group]
    facts.find(
        "unknown-to-scheduler",
        late if len(late) < len(groups) else [],  # a scheduler marks the groups that it finds
        "These groups were added after the learning-rate scheduler was made: it may raise an error, or drive their "
        "rate too high. Make a new scheduler.",
    )


def _find_strangers(facts):
    """What the optimizer holds and the model does not have."""
    strangers = facts.held - {weight.key for weight in facts.weights}
    facts.find(
        "not-of-this-model",
        [f"{len(strangers)} of {len(facts.held)} parameters"] if strangers else [],
        "The optimizer holds parameters that are not in this model. Was a layer replaced after the optimizer was made?",
    )


def _would_move(parameter, group, optimizer):
    """Whether a step would change a frozen parameter: it looks at the gradient alone, never at requires_grad."""
    if parameter.grad is None:
        return False
    return bool(parameter.grad.any()) or bool(optimizer.state.get(parameter)) or bool(group.get("weight_decay"))


# --- Keras ----------------------------------------------------------------------------------------------------------


def _keras_facts(model, optimizer):
    weights = weights_of(model)
    optimizer = optimizer or getattr(model, "optimizer", None)
    facts = _Facts(weights, None)
    layers = parts_of(model)
    facts.norms = {path: bool(layer.trainable) for path, layer in layers if hasattr(layer, "moving_mean")}
    facts.find(
        "typo",
        [f"{path or 'model'}.{name}" for path, layer in layers for name in _misspelt(vars(layer), right="trainable")],
        "A new attribute was made here; it freezes nothing. Write layer.trainable = False.",
    )
    facts.find(
        "statistics-will-drift",
        [path for path, moves in facts.norms.items() if moves and _owner_frozen(path, weights)],
        "The weights of these BatchNorm layers were frozen one by one, and the layers say trainable = True: fit moves "
        "their statistics. Write layer.trainable = False.",
    )
    facts.find(
        "container-says-frozen",
        [path for path, layer in layers if path and not layer.trainable and _trains_inside(path, weights)],
        "These say trainable = False, but something inside was unfrozen afterwards and trains.",
    )
    facts.note(
        "frozen-one-by-one",
        [path for path, layer in layers if path and layer.trainable and _frozen_children(layer)],
        "These say trainable = True, and hold layers that were frozen one by one. Setting them to True again unfreezes "
        "nothing (TensorFlow backend): set the flag of each layer.",
    )
    if optimizer is not None and getattr(optimizer, "built", False):
        facts.held = {id(v) for v in getattr(optimizer, "_trainable_variables", [])}
        facts.find(
            "unknown-to-optimizer",
            [w.name for w in weights if w.trainable and w.key not in facts.held],
            "These weights are trainable, but the optimizer was built without them. Call compile with a new optimizer.",
        )
        _find_strangers(facts)
    elif optimizer is not None:
        facts.undecided = "from the first step"
    _compare_with_trace(facts, model)
    return facts


def _frozen_children(layer):
    """Layers right inside that were frozen; not BatchNorm, which is frozen by itself for good reasons."""
    children = children_of(layer)
    return [child for child in children if child.weights and not child.trainable and not hasattr(child, "moving_mean")]


def _trains_inside(path, weights):
    return any(w.trainable for w in weights if w.name.startswith(f"{path}."))


def _compare_with_trace(facts, model):
    """Flags against the training steps that TensorFlow has traced: these go on doing what the flags said then."""
    traces = _traced_assignments(model)
    if not traces:
        return
    ever, always = set.union(*traces), set.intersection(*traces)
    facts.find(
        "trace-trains-frozen",
        [w.name for w in facts.weights if not w.is_statistic and not w.trainable and w.key in ever],
        "These weights are frozen, but the training step was traced before that and still trains them. Call compile "
        "again.",
    )
    facts.find(
        "trace-skips-trainable",
        [w.name for w in facts.weights if w.trainable and w.key not in always],
        "These weights are trainable, but the training step was traced before that and does not train them. Call "
        "compile again, with a new optimizer.",
    )


def _traced_assignments(model):
    """For each traced training step the keys of the variables that it assigns: a list of sets."""
    step = getattr(model, "train_function", None)
    handles = {}
    for variable in getattr(model, "variables", []):
        handle = getattr(getattr(variable, "value", None), "handle", None)
        if handle is not None:
            handles[id(handle)] = id(variable)
    result = []
    for cell in getattr(step, "__closure__", None) or ():
        try:
            function = getattr(cell.cell_contents, "__wrapped__", cell.cell_contents)
        except ValueError:  # an empty cell
            continue
        # two functions stand here: the loop over the data, and the step inside it, the one that assigns
        for concrete in getattr(function, "_list_all_concrete_functions", list)():
            captured = {id(inner): id(outer) for outer, inner in concrete.graph.captures}
            assigned = [op.inputs[0] for op in concrete.graph.get_operations() if op.type.startswith("Assign")]
            keys = {handles.get(captured.get(id(tensor))) for tensor in assigned} - {None}
            if assigned:
                result.append(keys)
    return result
