"""`freeze_report`: what of a model will train, what will not, and what is wrong with it, in words.

One file, to be copied into any project: it needs numpy, and PyTorch or Keras only as far as the model does. It never
changes a model, an optimizer or the random state, and what it cannot see it leaves out. With PyTorch:

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    >>> _ = model[0].requires_grad_(False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with watch(model, optimizer) as seen:
    ...     model(torch.ones(1, 2)).sum().backward()
    ...     optimizer.step()
    >>> print(seen.report.verdict)
    Nothing suspicious found.
    >>> moved(seen.before, model)
    ['1.weight', '1.bias']

With Keras (`freeze_report(model)` takes the compiled optimizer):

    >>> import keras
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="base"), keras.layers.Dense(1)])
    >>> model.layers[0].trainable = False
    >>> [finding.kind for finding in freeze_report(model, expect_trainable=["base.*"]).findings]
    ['expected-trainable']

In a test or a training script `freeze_report(model, optimizer, expect_frozen=["base.*"]).check()` raises FreezeError if
something is wrong. `python freeze_report.py` prints all kinds of findings as Markdown. What is read of Keras' training
step is private to Keras (3.13 to 3.15, TensorFlow backend); where that is missing, the report says less, nothing wrong.
"""

import difflib
import fnmatch
import functools
import hashlib
import html
import inspect
import re
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WIDTH = 78  # characters of a line: a terminal has 80, JupyterLab in a window of 800 pixels as many
LARGE = 100_000_000  # weights; from here on `watch` keeps digests and no copy

# --- what there is to find --------------------------------------------------------------------------------------------

# A line a kind: its name, ! for a finding (surely wrong) or ? for a note (may be meant), what it means | what to do.
_KINDS = """
nothing-trains ! No weight of this model is trainable. | Unfreeze what shall train.
typo ! An attribute was made here that looks like the switch that freezes, and is not: it does nothing. | Write
  layer.trainable = False in Keras, module.requires_grad_(False) in PyTorch.
expected-frozen ! These were expected to be frozen, and are not. | Freeze them, last of all.
expected-trainable ! These were expected to be trainable, and are frozen. | Unfreeze them, last of all.
expected-nothing ! No weight has a name that fits this pattern. | Look at the names in `moved` or in the report.
statistics-will-drift ! These normalization layers have frozen weights and are in training mode: every forward pass
  moves their statistics. | PyTorch: call eval() on them after each model.train(). Keras: set the layer's own
  trainable = False.
statistics-moved ! The statistics of these frozen layers moved since the snapshot: the layers were in training mode. |
  PyTorch: eval() after each train(). Keras: trainable = False on the layer, before the step is made.
frozen-moved ! These weights are frozen now, and moved since the snapshot. | If they were frozen before it, look for a
  stale gradient (PyTorch) or a step traced earlier (Keras).
frozen-assigned ? These frozen weights moved since the snapshot, and no optimizer that was given holds them: something
  assigned to them, such as an average of weights (EMA) or a loaded state. | Nothing, if it is meant.
frozen-with-gradient ! These weights are frozen, but a gradient from before is left in them: a step before it is set
  to None moves them. | Call optimizer.zero_grad() after freezing, with set_to_none=True (the default).
unknown-to-optimizer ! These weights are trainable, but the optimizer given does not hold them: it will not move them.
  | PyTorch: optimizer.add_param_group, or a new optimizer. Keras: compile with a new optimizer. If another optimizer
  trains them, give both: freeze_report(model, [one, other]).
not-of-this-model ! The optimizer holds parameters that are not in this model, and the model has trainable ones that
  it does not hold. | Was a layer replaced, or the model copied, after the optimizer was made? Make a new one.
optimizer-holds-more ? The optimizer also holds parameters that are not in this model. | Nothing, if they belong to a
  loss or to another part.
rate-zero ! These weights are trainable, and their learning rate is 0. | Set the group's lr.
rate-zero-now ? These weights are trainable, and their learning rate is 0 at present; a scheduler set it. | At the
  start of a warm-up that is meant. At the end of a schedule nothing trains any more.
group-frozen ? All weights of these parameter groups are frozen. | Nothing, if a later phase opens them.
hook-and-decay ? Hooks change the gradient of these weights, and weight decay or momentum moves them without a
  gradient. | If the hooks freeze rows, set weight_decay (and momentum) to 0 for these weights.
unknown-to-scheduler ! These groups were added after the learning-rate scheduler was made: it may raise an error or
  leave their rate alone. | Make a new scheduler; it starts over, for old groups from their initial_lr.
scheduler-of-another ! The scheduler drives another optimizer than the one given: the rates here stay as they are. |
  Make a scheduler for this optimizer.
gradient-missing ! Gradients came to other weights of the same optimizer while it was watched, and none to these: the
  step does not train them. | Look for no_grad or detach around them, an adapter that is not active, a part that the
  loss does not reach, or reentrant checkpointing whose inputs need no gradient (use_reentrant=False).
gradient-missing-perhaps ? A backward pass left gradients on other weights of the same optimizer, and none on these.
  Unless they were opened after it, the step does not train them. | Look for no_grad or detach around them, an adapter
  that is not active, a part that the loss does not reach, or reentrant checkpointing whose inputs need no gradient
  (use_reentrant=False).
gradient-zero ? The gradient of these trainable weights is exactly 0, and they did not move. | In LoRA's first step
  that is right: B is 0, so A rests. Else look at what follows them (a dead ReLU).
trainable-unmoved ! These weights are trainable and did not move, though others did. | Keras: was the step made before
  they were opened? PyTorch: is the step too small for their precision, does a hook zero their gradient?
unmoved-perhaps ? These weights are trainable and did not move since the snapshot, though others did. | Were they
  opened since, is their gradient exactly 0 (a dead ReLU), or does another optimizer train them?
nothing-moved ? Nothing moved since the snapshot. | Was a step taken, with a rate above 0, and not too small for the
  precision of the weights (bfloat16 has 3 digits)?
inference-weights ! These were made in torch.inference_mode(): autograd cannot train them. | Make or load them outside
  of it.
hidden-weights ! These stand in a plain list, dict or function: parameters() and the flags of the model do not reach
  them. | PyTorch: use nn.ModuleList, nn.ModuleDict, nn.ParameterList or nn.ParameterDict. Keras: make the layers
  outside of the Lambda, attributes of a layer of your own.
ddp-older-than-flags ! DistributedDataParallel wrapped the model when other weights were trainable: gradients of those
  unfrozen since are not synchronized, and the ranks part; those frozen since make it wait. | Wrap the model anew
  after changing what trains.
adapter-inactive ! These adapters are trainable and not active: no gradient reaches them. | Call
  model.set_adapter(name), or enable the adapters.
head-frozen-by-adapters ! The model has adapters, and what looks like its new head is frozen: it is neither trained
  nor saved with them. | Name it in modules_to_save.
base-open-beside-adapters ? The model has adapters, and weights of the layers that they adapt are trainable, too. |
  Nothing, if it is meant. Else freeze the base after the adapters were added.
adapters-frozen ? The model has adapters, all of them are frozen, and other weights train. | Nothing, if they are used
  as they are. Else open them, or freeze the base before they are added (Keras: each variable of it, not the layers).
rate-below-precision ? Most numbers of these 16-bit weights had a gradient, and kept their bits since the snapshot: the
  step is smaller than their spacing. | Keep the weights in float32 (autocast computes in 16 bits), or raise the rate.
tied-weights ? These names stand for one weight with one flag; in one of the places all else is frozen. | Nothing, if
  it is meant. Else untie them.
untied-copy ? An adapter trains a copy of a weight that was tied; the other names still use the original. | Tie them
  again, or leave the weight out of modules_to_save.
frozen-dropout ? Dropout in frozen parts is on: the same input gives another output each time. | PyTorch: eval() on
  the part, after each train(). It matters when features are stored.
assigns-to-itself ? These frozen layers change what they hold in training mode, by themselves (power iteration,
  counters). | PyTorch: eval() on them. Keras: call them with training=False in a layer of your own.
eval-until-train ? Normalization layers with frozen weights rest in eval() mode, and the next model.train() wakes
  them. | Call eval() on them after each train(), or override train().
eval-is-not-freezing ? These parts are in eval() mode, and their weights are trainable: eval() stops statistics and
  Dropout only. | Nothing, if it is meant. To freeze: requires_grad_(False).
half-frozen-layer ? Some weights of these layers train, others are frozen. | Is it meant, or did a slice of a list cut
  them?
container-says-frozen ? These say trainable = False, and some of what is inside trains all the same: it was unfrozen
  afterwards. | Nothing, if it is meant.
container-not-obeyed ! These say trainable = False, and all that is inside trains: the flag was given when a wrapper
  was made and did not reach it, or all was unfrozen afterwards. | Set layer.trainable = True and then False, last of
  all: False upon False changes nothing (TensorFlow backend).
frozen-one-by-one ? These say trainable = True, and all that is inside was frozen by itself: setting them to True
  again unfreezes nothing (TensorFlow backend). | To unfreeze, set the flag of each layer.
trace-trains-frozen ! These weights are frozen, but a training step was traced before that and still trains them. |
  Call compile again.
trace-skips-trainable ! These weights are trainable, but a training step was traced before that and does not train
  them. | Call compile again, with a new optimizer.
set-changed-on-jax ! What is trainable changed after the optimizer was built: on the JAX backend the next fit raises
  an error, and the model's weights are lost. | Call compile again, with a new optimizer.
own-step ? This model is trained by a step of your own: which weights a tf.function was traced with cannot be seen
  here. | Make the function anew after changing what trains, and compare with a snapshot.
unbuilt ? These have no weights yet, so nothing can be said about them. | Run one batch, or build them.
no-values ? The values of these cannot be read (meta tensors). | Materialize them first.
"""


def _read_kinds(text):
    """The table above as {name: (is it surely wrong, what it means, what to do)}."""
    for entry in text.strip().replace("\n  ", " ").split("\n"):
        name, mark, told = entry.split(" ", 2)
        means, do = told.split(" | ")
        yield name, (mark == "!", means, do)


KINDS = dict(_read_kinds(_KINDS))


class FreezeError(Exception):
    """What `FreezeReport.check` raises: the findings, a line each."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found: its kind (see KINDS) and the weights, layers or groups concerned."""

    kind: str
    where: tuple[str, ...]

    @property
    def text(self):
        """What it means and what to do, as one text."""
        return " ".join(KINDS[self.kind][1:])

    def __str__(self):
        names = ", ".join(self.where[:4]) + (f" and {len(self.where) - 4} more" if len(self.where) > 4 else "")
        mark = "!" if KINDS[self.kind][0] else "Note:"
        text = textwrap.fill(f"{mark} {self.text} [{self.kind}]", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        style = {"initial_indent": "  ", "subsequent_indent": "  ", "break_on_hyphens": False}
        return f"{text}\n{textwrap.fill(names, WIDTH, **style)}" if names else text


@dataclass(frozen=True)
class FreezeReport:
    """What `freeze_report` found: verdict, findings (surely wrong), notes (may be meant), and a table of the parts."""

    headers: list[str]
    rows: list[list]
    findings: list[Finding]
    notes: list[Finding] = field(default_factory=list)

    @property
    def verdict(self):
        """One line: how many findings and notes there are."""
        if not self.findings and not self.notes:
            return "Nothing suspicious found."
        counts = [(self.findings, "finding"), (self.notes, "note")]
        words = [f"{len(list_)} {word}{'' if len(list_) == 1 else 's'}" for list_, word in counts if list_]
        return " and ".join(words) + ("." if self.findings else " on what may be meant; nothing surely wrong.")

    def check(self, ignore=()):
        """Raise FreezeError if there are findings whose kinds are not in `ignore`. Returns the report."""
        left = [finding for finding in self.findings if finding.kind not in ignore]
        if left:
            raise FreezeError("\n".join(map(str, left)))
        return self

    def as_dict(self):
        """The report for a log: plain dicts, lists, texts and numbers."""
        told = {
            name: [{"kind": f.kind, "where": list(f.where), "text": f.text} for f in found]
            for name, found in (("findings", self.findings), ("notes", self.notes))
        }
        return {
            "verdict": self.verdict,
            **told,
            "rows": [dict(zip(self.headers, row, strict=True)) for row in self.rows],
        }

    def __str__(self):
        return "\n\n".join([self.verdict, *map(str, [*self.findings, *self.notes]), _table(self.headers, self.rows)])

    __repr__ = __str__

    def _repr_html_(self):
        colours = {"no": "rgba(76, 139, 191, 0.3)", "yes": "rgba(242, 163, 58, 0.4)"}  # frozen blue, trainable orange
        told = "".join(
            f"<li><b>{'✘' if KINDS[f.kind][0] else 'Note:'}</b> {html.escape(f.text)} <small>[{f.kind}]"
            f"{' ' + html.escape(', '.join(f.where[:8])) if f.where else ''}</small></li>"
            for f in [*self.findings, *self.notes]
        )
        head = "".join(f'<th scope="col" style="text-align: left">{html.escape(name)}</th>' for name in self.headers)
        body = "".join(
            "<tr>"
            + "".join(
                f'<td style="text-align: left; background: {colours.get(value, "none") if i == 2 else "none"}">'
                f"{html.escape(_shown(value))}</td>"
                for i, value in enumerate(row)
            )
            + "</tr>"
            for row in self.rows
        )
        return f"<div><p><b>{self.verdict}</b></p><ul>{told}</ul><table><tr>{head}</tr>{body}</table></div>"


def _shown(value):
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(headers, rows):
    """The table as text of WIDTH characters: the first column is cut in the middle where it is too long."""
    cells = [[_shown(value) for value in row] for row in rows]
    heads = [header.split(" ", 1) for header in headers]
    lines = [[head[i] if i < len(head) else "" for head in heads] for i in range(max(map(len, heads), default=1))]
    widths = [max(map(len, column)) for column in zip(*lines, *cells, strict=True)]
    widths[0] = min(widths[0], max(12, WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1)))

    def line(row):
        first = row[0]
        if len(first) > widths[0]:
            keep = widths[0] - 1
            first = f"{first[: keep // 2]}…{first[len(first) - (keep - keep // 2) :]}"
        rest = [
            text.rjust(w) if i == 0 else text.ljust(w)
            for i, (text, w) in enumerate(zip(row[1:], widths[1:], strict=True))
        ]
        return "  ".join([first.ljust(widths[0]), *rest]).rstrip()

    return "\n".join([*map(line, lines), "  ".join("-" * width for width in widths), *map(line, cells)])


# --- what a model is made of ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weight:
    """One array that a model remembers."""

    name: str  # "base.block1.conv.kernel": the path of names from the model down
    key: int  # the id of the parameter or variable, for comparison with what an optimizer holds
    size: int  # numbers in it
    is_statistic: bool  # a running mean and the like: nothing an optimizer could train
    trainable: bool
    value: Callable[[], Any]  # the present values as a numpy array, not a copy; None if they cannot be read
    source: Any  # the parameter or variable itself
    path: tuple[str, ...]  # names of the layers it stands in
    names: tuple[str, ...]  # all its names: a tied weight has several


WRAPPERS = ("DistributedDataParallel", "DataParallel", "OptimizedModule", "FullyShardedDataParallel")
INSIDE_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module")  # what torch.compile and FSDP put into names


def is_torch(model):
    """Whether the model is a PyTorch module; False means a Keras model or layer, on any backend.

    Raises TypeError for anything else.
    """
    if hasattr(model, "trainable_weights") and hasattr(model, "trainable"):
        return False
    if hasattr(model, "named_parameters") and hasattr(model, "named_buffers"):
        return True
    raise TypeError(f"expected a Keras model or a torch nn.Module, got {type(model).__name__}")


def weights_of(model):
    """Every weight and statistic of the model once, in the model's order: a list of Weight.

    A shared or tied weight appears under the first of its names; `names` has all. The prefixes of wrappers (DDP,
    torch.compile) are left out, so that names do not change by wrapping. Raises TypeError for anything but a model.
    """
    found = _torch_weights(model) if is_torch(model) else _keras_weights(model)
    result, taken = [], {}
    for weight in found:
        number = taken[weight.name] = taken.get(weight.name, 0) + 1
        if number > 1:  # two Keras layers in one parent may bear the same name
            new = f"{weight.name}#{number}"
            weight = Weight(**{**weight.__dict__, "name": new, "names": (new, *weight.names[1:])})
        result.append(weight)
    return result


def snapshot(model, light=False):
    """What the model remembers, weights and statistics: a dict from name to a copy of the array.

    light: keep a digest (16 bytes) for each array instead of a copy; `moved` and `freeze_report` take both, `distance`
    needs copies. What cannot be read (meta tensors) is None.
    """
    return {weight.name: _kept(weight.value(), light) for weight in weights_of(model)}


def moved(before, model):
    """The names whose bits differ from the snapshot `before`, in the model's order.

    Raises ValueError if the model has other weights than the snapshot (a layer was added, replaced or removed).
    """
    return _moved(before, weights_of(model))


def distance(before, model):
    """How far the weights moved since the snapshot, relative to their length: |w - w0| / |w0|, without statistics.

    Raises ValueError for a light snapshot.
    """
    pairs = [(before[w.name], w.value()) for w in weights_of(model) if not w.is_statistic]
    if any(isinstance(old, bytes) for old, _ in pairs):
        raise ValueError("a light snapshot holds digests: take snapshot(model) to measure a distance")
    pairs = [(old.astype(np.float64), new) for old, new in pairs if old is not None and new is not None]
    length = np.sqrt(sum(np.square(old).sum() for old, _ in pairs))
    return float(np.sqrt(sum(np.square(new - old).sum() for old, new in pairs)) / length)


def _kept(value, light):
    if value is None:
        return None
    return _digest(value) if light else np.array(value)


def _digest(value):
    """16 bytes that change with the bits, the shape and the type of an array."""
    digest = hashlib.blake2b(f"{value.shape}{value.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    return digest.digest()


def _moved(before, weights):
    known = {weight.name: weight for weight in weights}
    if known.keys() != before.keys():
        odd = ", ".join(sorted(known.keys() ^ before.keys())[:3])
        raise ValueError(f"the snapshot is of another model: {odd} stands in only one of them; take a new snapshot")
    return [name for name, weight in known.items() if not _same(before[name], weight.value())]


def _same(old, new):
    """Whether two arrays hold the same bits (a NaN equals itself); what cannot be read counts as the same."""
    if old is None or new is None:
        return True
    if isinstance(old, bytes):
        return old == _digest(new)
    return old.shape == new.shape and np.ascontiguousarray(old).tobytes() == np.ascontiguousarray(new).tobytes()


def _unwrapped(model):
    """A PyTorch model without its wrappers, and these: (model, [wrappers])."""
    wrappers = []
    while type(model).__name__ in WRAPPERS:
        inner = next((getattr(model, name) for name in ("_orig_mod", "module") if hasattr(model, name)), None)
        if inner is None:
            break
        wrappers.append(model)
        model = inner
    return model, wrappers


def _torch_weights(model):
    model, _ = _unwrapped(model)
    found = {}  # id: [tensor, names, is it a statistic]
    for path, module in model.named_modules(remove_duplicate=False):
        own = [(name, tensor, False) for name, tensor in module._parameters.items() if tensor is not None]
        own += [(name, tensor, True) for name, tensor in module._buffers.items() if tensor is not None]
        path = tuple(part for part in path.split(".") if part and part not in INSIDE_WRAPPERS)
        for name, tensor, is_statistic in own:
            found.setdefault(id(tensor), (tensor, [], is_statistic))[1].append((*path, name))
    for key, (tensor, names, is_statistic) in found.items():
        joined = tuple(dict.fromkeys(".".join(name) for name in names))
        lazy = "Uninitialized" in type(tensor).__name__
        yield Weight(
            name=joined[0],
            key=key,
            size=0 if lazy else tensor.numel(),
            is_statistic=is_statistic,
            trainable=tensor.requires_grad and not is_statistic,
            value=_torch_value(tensor, lazy),
            source=tensor,
            path=names[0][:-1],
            names=joined,
        )


def _torch_value(tensor, lazy):
    def value():
        if lazy or tensor.is_meta:
            return None
        array = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # of a sharded tensor this rank's part
        array = array.detach()
        array = array.int_repr() if array.is_quantized else array
        try:
            return array.cpu().numpy()
        except TypeError:  # numpy has no bfloat16 and no float8: float32 holds all their values
            return array.cpu().float().numpy()

    return value


def _keras_weights(model):
    # What fit trains is this list: a layer's own flag is not enough, since its parent's counts, too.
    trained = {id(variable) for variable in model.trainable_weights}
    seen = set()
    for path, layer in keras_layers(model):
        inside = {id(variable) for child in _children(layer) for variable in child.weights}
        made_fixed = {id(variable) for variable in getattr(layer, "_non_trainable_variables", ())}
        for variable in layer.weights:
            if id(variable) in seen or id(variable) in inside:
                continue
            seen.add(id(variable))
            name = ".".join([*path, variable.name])
            quantized = variable.name in ("kernel", "embeddings", "_kernel")  # int8: made fixed, and a weight still
            yield Weight(
                name=name,
                key=id(variable),
                size=int(np.prod(variable.shape)),
                is_statistic=id(variable) in made_fixed and not quantized,
                trainable=id(variable) in trained,
                value=lambda variable=variable: _keras_value(variable),
                source=variable,
                path=path,
                names=(name,),
            )


def _keras_value(variable):
    value = variable.value
    if hasattr(value, "detach"):
        return _torch_value(value, False)()
    array = np.asarray(variable.numpy() if hasattr(variable, "numpy") else value)
    return array if array.dtype.kind in "fiubc" else array.astype(np.float32)  # bfloat16 is no type of numpy's own


def keras_layers(model):
    """A Keras model and all layers inside it as (path of names, layer), each once, the model itself first."""
    seen, result, left = set(), [], [((), model)]
    while left:
        path, layer = left.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            result.append((path, layer))
            left += [((*path, child.name), child) for child in reversed(_children(layer))]
    return result


def _children(layer):
    """The layers right inside a Keras layer or model."""
    return list(getattr(layer, "_layers", None) or getattr(layer, "layers", []))


# --- the report -------------------------------------------------------------------------------------------------------


class _Facts:
    """What one model tells, in the terms of both frameworks."""

    def __init__(self, weights):
        self.weights = weights
        self.learned = [weight for weight in weights if not weight.is_statistic]
        self.held = None  # keys of what the optimizers hold; None: no optimizer, or it has not chosen yet
        self.undecided = ""  # what the optimizer column says when held is None; empty leaves the column out
        self.rate_of = {}  # key: learning rate
        self.norms = {}  # path of a normalization layer: whether its statistics would move
        self.stale = False  # a recorded step does other than the flags say
        self.found = {}  # kind: names
        self._trains = defaultdict(lambda: [0, 0])  # path: how many weights in it train, and are there
        for weight in self.learned:
            places = [weight.path, *(tuple(name.split(".")[:-1]) for name in weight.names[1:])]
            for part in {place[:depth] for place in places for depth in range(len(place) + 1)}:
                self._trains[part][0] += weight.trainable
                self._trains[part][1] += 1

    def tell(self, kind, where=(), always=False):
        """Add a finding or note if there is anything to name; each name once."""
        where = list(where)
        if where or always:
            self.found.setdefault(kind, {}).update(dict.fromkeys(where))

    def trains(self, path):
        """How many weights in a part train, and how many there are."""
        return tuple(self._trains[path]) if path in self._trains else (0, 0)

    def is_frozen(self, path):
        """Whether nothing trains in a part; for one without weights of its own, in what it stands in."""
        while path and not self.trains(path)[1]:
            path = path[:-1]
        return self.trains(path)[1] > 0 and self.trains(path)[0] == 0


def freeze_report(
    model,
    optimizer=None,
    before=None,
    *,
    scheduler=None,
    expect_frozen=(),
    expect_trainable=(),
    depth=None,
    _watched=None,
):
    """What will train, and in words what is wrong or may be.

    model: any Keras model or nn.Module. optimizer: the one that will train it, or several in a list; None takes the
    compiled one in Keras and leaves the question out in PyTorch. before: a `snapshot`, to see what moved since.
    scheduler: a PyTorch learning-rate scheduler. expect_frozen, expect_trainable: patterns on weight names, such as
    "base.*" (fnmatch), of what was meant; what differs is a finding. depth: how many names of a weight's path make a
    row of the table ("base.block1" has 2); None takes the first depth with two rows. Returns a FreezeReport. Raises
    TypeError for anything but a model, ValueError for a snapshot of another model.
    """
    optimizers = [] if optimizer is None else list(optimizer) if isinstance(optimizer, (list, tuple)) else [optimizer]
    facts = _Facts(weights_of(model))
    changed = None if before is None else set(_moved(before, facts.weights))
    if is_torch(model):
        _look_at_torch(facts, model, optimizers, scheduler, changed, _watched)
    else:
        _look_at_keras(facts, model, optimizers, changed)
    _compare_with_expectations(facts, expect_frozen, expect_trainable)
    if changed is not None:
        _compare_with_flags(facts, changed)
        facts.tell("rate-below-precision", _below_precision(facts.learned, before))
    adapters = [weight for weight in facts.learned if "lora" in weight.name.lower()]
    if any(weight.trainable for weight in facts.learned) and not any(weight.trainable for weight in adapters):
        facts.tell("adapters-frozen", [weight.name for weight in adapters])
    if facts.learned and not any(weight.trainable for weight in facts.learned) and not facts.stale:
        facts.tell("nothing-trains", [" = ".join(w.names) for w in facts.learned if len(w.names) > 1], always=True)
    facts.tell("half-frozen-layer", _half_frozen(facts.learned))
    facts.tell("no-values", [weight.name for weight in facts.weights if weight.value() is None and weight.size])
    told = {True: [], False: []}
    for kind in KINDS:
        if kind in facts.found:
            told[KINDS[kind][0]].append(Finding(kind, tuple(facts.found[kind])))
    headers, rows = _rows(facts, changed, depth)
    return FreezeReport(headers, rows, told[True], told[False])


class watch:
    """Watch some training steps: `with watch(model, optimizer) as seen: ...`, then `seen.report`.

    It takes the snapshot itself, remembers which weights a gradient reached (PyTorch), and takes its hooks away at the
    end. light: keep digests instead of copies; None does so above 100 million weights. Other arguments go to
    `freeze_report`. Afterwards `report` is the FreezeReport and `before` the snapshot.
    """

    def __init__(self, model, optimizer=None, *, light=None, **options):
        self.model, self.optimizer, self.light, self.options = model, optimizer, light, options
        self.report = self.before = None

    def __enter__(self):
        weights = weights_of(self.model)
        light = sum(weight.size for weight in weights) > LARGE if self.light is None else self.light
        self.before = {weight.name: _kept(weight.value(), light) for weight in weights}
        self._reached, self._handles = {}, []  # key of a trainable weight: 0 no gradient reached it, 1 one of zeros, 2
        for weight in weights if is_torch(self.model) else ():
            if weight.trainable and hasattr(weight.source, "register_post_accumulate_grad_hook"):
                self._reached[weight.key] = 0
                note = functools.partial(self._note, weight.key)
                self._handles.append(weight.source.register_post_accumulate_grad_hook(note))
        return self

    def _note(self, key, parameter):
        if self._reached[key] < 2:
            self._reached[key] = 1 + bool(parameter.grad.any())

    def __exit__(self, kind, *_):
        for handle in self._handles:
            handle.remove()
        if kind is None:
            watched = self._reached if any(self._reached.values()) else None
            self.report = freeze_report(self.model, self.optimizer, self.before, _watched=watched, **self.options)


def _compare_with_expectations(facts, expect_frozen, expect_trainable):
    """What was meant, by patterns on names, against what is."""

    def fitting(patterns, weights):
        patterns = [patterns] if isinstance(patterns, str) else patterns
        for pattern in patterns:
            chosen = [w for w in weights if any(fnmatch.fnmatchcase(name, pattern) for name in w.names)]
            if not chosen:
                facts.tell("expected-nothing", [pattern])
            yield from chosen

    for weight in fitting(expect_frozen, facts.weights):
        if weight.trainable:
            facts.tell("expected-frozen", [" = ".join(weight.names)])
        elif weight.is_statistic and facts.norms.get(weight.path):
            facts.tell("expected-frozen", [f"{weight.name} (a statistic that will move)"])
    for weight in fitting(expect_trainable, facts.learned):
        if not weight.trainable:
            facts.tell("expected-trainable", [weight.name])


def _compare_with_flags(facts, changed):
    """What moved since the snapshot against what the flags say."""
    if not changed:
        seen = all(weight.value() is not None for weight in facts.weights)
        return facts.tell("nothing-moved", always=seen and bool(facts.weights))
    norms = set(facts.norms)
    for weight in facts.weights:
        if weight.name not in changed or weight.trainable:
            continue
        if not weight.is_statistic:
            held = facts.held is None or weight.key in facts.held or facts.stale
            facts.tell("frozen-moved" if held else "frozen-assigned", [weight.name])
        elif facts.is_frozen(weight.path) and weight.path in norms:
            facts.tell("statistics-moved", [weight.name])
        elif facts.is_frozen(weight.path) and facts.trains(weight.path)[1]:
            facts.tell("assigns-to-itself", [".".join(weight.path) or "the model itself"])
    return None


def _below_precision(weights, before):
    """Names of trainable 16-bit PyTorch weights most of whose numbers had a gradient and stayed as they were."""
    for weight in weights:
        gradient, old = getattr(weight.source, "grad", None), before[weight.name]
        if weight.trainable and gradient is not None and gradient.element_size() == 2 and not isinstance(old, bytes):
            reached = (gradient != 0).cpu().numpy()
            if np.sum(reached & (old == weight.value())) > 0.5 * np.sum(reached) > 0:
                yield weight.name


def _half_frozen(weights):
    """Layers in which some weights train and others do not, where that does not look like a recipe.

    A recipe repeats itself: the biases of all layers (BitFit), the A and B of all adapters. And a stacked LSTM holds
    several layers, told apart by the end of the names.
    """
    layers = defaultdict(lambda: ([], []))
    for weight in weights:
        last = weight.name.rpartition(".")[2]
        level = last[last.rindex("_l") :] if "_l" in last and last.rpartition("_l")[2][:1].isdigit() else ""
        layers[(*weight.path, level)][weight.trainable].append(last.removesuffix(level))
    half = {path: both for path, both in layers.items() if both[0] and both[1]}
    patterns = defaultdict(list)
    for path, (_, open_) in half.items():
        patterns[tuple(sorted(open_))].append(path)
    result = []
    for names, paths in patterns.items():
        if len(paths) == 1 and not any("lora" in name.lower() or "adapter" in name.lower() for name in names):
            result += [".".join(paths[0][:-1]) or "the model itself"]
    return result


def _misspelt(attributes, right=None):
    """Attributes that look like a switch that freezes, but are not it; right: the one that may stand there."""
    switches = ["trainable", "requires_grad", "requires_grad_"]
    near = (name for name in attributes if not name.startswith("_") and name != right and 6 < len(name) < 18)
    return [name for name in near if difflib.get_close_matches(name, switches, n=1, cutoff=0.8)]


# --- the table --------------------------------------------------------------------------------------------------------


def _rows(facts, changed, depth):
    """Headers and rows of the table: a row a part, equal neighbours in one."""
    deepest = max((len(weight.path) for weight in facts.weights), default=1)
    for names in [depth] if depth else range(1, max(deepest, 1) + 1):
        groups = {}
        for weight in facts.weights:
            groups.setdefault(weight.path[:names], []).append(weight)
        if len(groups) > 1:
            break
    norms = defaultdict(list)
    for path, moves in facts.norms.items():
        norms[path[:names]].append(moves)
    columns = ["layer", "parameters", "trainable"]
    columns += ["in the optimizer"] if facts.held is not None or facts.undecided else []
    columns += ["rate"] if facts.rate_of else []
    columns += ["statistics"] if facts.norms else []
    columns += ["moved"] if changed is not None else []
    parts = []
    for path, group in groups.items():
        learned = [weight for weight in group if not weight.is_statistic]
        rates = sorted({facts.rate_of[w.key] for w in learned if w.key in facts.rate_of})
        row = {
            "parameters": sum(weight.size for weight in learned),
            "trainable": _share([weight.trainable for weight in learned]),
            "in the optimizer": facts.undecided,
            "rate": f"{rates[0]:.3g}" + (f" to {rates[-1]:.3g}" if len(rates) > 1 else "") if rates else "",
            "statistics": _share(norms.get(path, []), "move", "stay"),
        }
        if facts.held is not None:
            row["in the optimizer"] = _share([weight.key in facts.held for weight in learned])
        if changed is not None:
            row["moved"] = _share([weight.name in changed for weight in learned])
            if row["moved"] in ("no", "") and any(weight.name in changed for weight in group):
                row["moved"] = "statistics"
        name = ".".join(path) or "(the model itself)"
        parts.append((name, name, row))
    if depth is None:
        parts = _folded(parts, loosely=False)
        parts = _folded(parts, loosely=True) if len(parts) > 30 else parts
    names = [first if first == last else f"{first} to {_tail(first, last)}" for first, last, _ in parts]
    return columns, [[name, *(row[c] for c in columns[1:])] for name, (_, _, row) in zip(names, parts, strict=True)]


def _folded(parts, loosely):
    """Equal neighbours in one: (first name, last name, row). Their names differ in numbers only.

    loosely: names may differ, and a part that has nothing to say in a column (no statistics) joins its neighbours.
    """
    result = []
    for first, last, row in parts:
        if result:
            start, end, above = result[-1]
            said = {c: (above[c], value) for c, value in row.items() if c != "parameters"}
            equal = all(one == other or (loosely and "" in (one, other)) for one, other in said.values())
            if equal and (loosely or re.sub("[0-9]+", "", end) == re.sub("[0-9]+", "", first)):
                joined = {c: one or other for c, (one, other) in said.items()}
                result[-1] = (start, last, joined | {"parameters": above["parameters"] + row["parameters"]})
                continue
        result.append((first, last, row))
    return result


def _tail(first, last):
    """What of the last name differs from the first: "blocks.0" and "blocks.279" give "279"."""
    one, other = first.split("."), last.split(".")
    same = 0
    while same < min(len(one), len(other)) - 1 and one[same] == other[same]:
        same += 1
    return ".".join(other[same:])


def _share(flags, yes="yes", no="no"):
    """One word for many flags: yes, no, "3 of 5", or nothing."""
    if None in flags:
        return "by its own code"
    count = sum(flags)
    return "" if not flags else yes if count == len(flags) else no if count == 0 else f"{count} of {len(flags)}"


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def _look_at_torch(facts, model, optimizers, scheduler, changed, watched):
    inner, wrappers = _unwrapped(model)
    modules = [
        (tuple(p for p in path.split(".") if p and p not in INSIDE_WRAPPERS), m) for path, m in inner.named_modules()
    ]
    by_path = dict(modules)

    def named(path):
        return ".".join(path) or "the model itself"

    for path, module in modules:
        facts.tell("typo", [".".join([*path, name]) for name in _misspelt(vars(module))])
        if getattr(module, "running_mean", None) is not None and hasattr(module, "track_running_stats"):
            moves, rests = module.training and module.momentum != 0, _rests_by_itself(path, by_path)
            facts.norms[path] = None if moves and rests else moves
            if facts.is_frozen(path) and not rests and module.momentum != 0:
                facts.tell("statistics-will-drift" if moves else "eval-until-train", [named(path)])
        kind = type(module).__name__
        if module.training and facts.is_frozen(path):
            if "Dropout" in kind and getattr(module, "p", 0):
                facts.tell("frozen-dropout", [named(path)])
            if kind == "_SpectralNorm" or any(
                "SpectralNorm" in type(h).__name__ for h in module._forward_pre_hooks.values()
            ):
                facts.tell("assigns-to-itself", [named(path)])
        if not module.training and path and by_path[path[:-1]].training and facts.trains(path)[0]:
            resting = [
                m for _, m in module.named_modules() if "Dropout" in type(m).__name__ or hasattr(m, "running_mean")
            ]
            if resting and resting != [module] and facts.trains(path)[0] == facts.trains(path)[1]:
                facts.tell("eval-is-not-freezing", [named(path)])
    for weight in facts.learned:
        facts.tell("typo", [f"{weight.name}.{name}" for name in _misspelt(vars(weight.source), right="requires_grad")])
        if "Uninitialized" in type(weight.source).__name__:
            facts.tell("unbuilt", [weight.name])
        elif weight.trainable and weight.source.is_inference():
            facts.tell("inference-weights", [weight.name])
    _look_at_adapters(facts, modules, named)
    _look_at_ties(facts)
    strangers = _hidden_weights(facts, modules, named)
    for wrapper in wrappers:
        if hasattr(wrapper, "_get_ddp_logging_data"):
            known = wrapper._get_ddp_logging_data().get("num_parameter_tensors")
            now = sum(weight.trainable for weight in facts.learned)
            if known not in (None, now):
                facts.tell("ddp-older-than-flags", [f"{now} arrays are trainable, and {known} were at the wrapping"])
    if optimizers:
        _compare_with_optimizers(facts, optimizers, scheduler, strangers)
    _look_at_gradients(facts, optimizers, changed, watched)


def _rests_by_itself(path, by_path):
    """Whether `model.train()` may leave a module at rest: somebody on the way down to it stands against it.

    That is an own train(), a hook before the forward pass, or a forward() that calls eval().
    """
    for depth in range(len(path) + 1):
        module = by_path[path[:depth]]
        if (
            "train" in vars(module)
            or type(module).train.__module__ != "torch.nn.modules.module"
            or module._forward_pre_hooks
        ):
            return True
        if type(module).forward.__module__.partition(".")[0] != "torch":
            try:
                if "eval(" in inspect.getsource(type(module).forward):
                    return True
            except (OSError, TypeError):  # no source: made in a console
                continue
    return False


def _look_at_ties(facts):
    """Weights with several names, if in one of the places all else is frozen."""
    for weight in facts.learned:
        if len(weight.names) > 1 and weight.trainable:
            for name in weight.names:
                trains, there = facts.trains(tuple(name.split(".")[:1]))
                if there > 1 and trains == 1:
                    facts.tell("tied-weights", [" = ".join(weight.names)])


def _hidden_weights(facts, modules, named):
    """Modules and parameters in plain lists and dicts. Returns the keys of the hidden parameters."""
    known, hidden = {weight.key for weight in facts.learned}, set()
    for path, module in modules:
        for attribute, value in vars(module).items():
            for item in () if attribute.startswith("_") else _inside(value):
                if hasattr(item, "named_parameters"):
                    keys = {id(parameter) for parameter in item.parameters()}
                else:
                    keys = {id(item)} if type(item).__name__ == "Parameter" else set()
                if keys - known:
                    hidden |= keys - known
                    facts.tell("hidden-weights", [".".join([*path, attribute])])
    return hidden


def _inside(value, depth=3):
    """What stands in plain lists and dicts, also in those inside them."""
    if depth and isinstance(value, (list, tuple, dict)):
        for item in list(value.values() if isinstance(value, dict) else value)[:1000]:
            yield from _inside(item, depth - 1)
    elif depth < 3:
        yield value


def _look_at_adapters(facts, modules, named):
    """peft's adapters and hand-made ones: active ones, a head left out, a base left open."""
    heads = {"classifier", "score", "qa_outputs", "head", "fc"}
    peft = [(path, m) for path, m in modules if hasattr(m, "base_layer") and hasattr(m, "active_adapters")]
    for path, module in peft:
        active = [] if getattr(module, "disable_adapters", False) else list(module.active_adapters)
        for name in getattr(module, "adapter_layer_names", ()):
            for adapter in getattr(module, name, {}):
                inside = (*path, name, adapter)
                open_ = facts.trains(inside)[0] or any(
                    w.trainable for w in facts.learned if w.path == (*path, name) and w.name.endswith(f".{adapter}")
                )
                if open_ and adapter not in active:
                    facts.tell("adapter-inactive", [named(inside)])
        if facts.trains((*path, "base_layer"))[0]:
            facts.tell("base-open-beside-adapters", [named((*path, "base_layer"))])
    for path, module in modules:
        own = {name.lower(): p for name, p in module._parameters.items() if p is not None}
        adapters = [p for name, p in own.items() if "lora" in name or "adapter" in name]
        if adapters and any(p.requires_grad for p in adapters) and "weight" in own and own["weight"].requires_grad:
            facts.tell("base-open-beside-adapters", [named((*path, "weight"))])
        if peft and path and path[-1] in heads and "modules_to_save" not in path and len(path) <= 4:
            trains, there = facts.trains(path)
            if there and not trains and not any(hasattr(m, "base_layer") for m in module.modules()):
                facts.tell("head-frozen-by-adapters", [named(path)])
        if hasattr(module, "modules_to_save") and hasattr(module, "original_module"):
            originals = {id(p) for p in module.original_module.parameters()}
            prefix = named(path)
            for weight in facts.learned:
                others = [name for name in weight.names if not name.startswith(prefix)]
                if weight.key in originals and others:
                    facts.tell("untied-copy", [f"{prefix}, {', '.join(others)}"])


def _compare_with_optimizers(facts, optimizers, scheduler, hidden):
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    options = {
        id(p): (group, optimizer)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for p in group["params"]
    }
    facts.held = set(options)
    names = {weight.key: weight for weight in facts.learned}
    facts.rate_of = {key: float(group["lr"]) for key, (group, _) in options.items() if key in names and "lr" in group}
    unknown = [weight.name for weight in facts.learned if weight.trainable and weight.key not in facts.held]
    facts.tell("unknown-to-optimizer", unknown)
    strangers = facts.held - set(names) - hidden
    if strangers:
        counted = [f"{len(strangers)} of {len(facts.held)} parameters"]
        facts.tell("not-of-this-model" if unknown else "optimizer-holds-more", counted)
    for weight in facts.learned:
        if weight.key not in options:
            continue
        group, optimizer = options[weight.key]
        if not weight.trainable:
            if _would_move(weight.source, group, optimizer):
                facts.tell("frozen-with-gradient", [weight.name])
            continue
        if facts.rate_of.get(weight.key) == 0:
            scheduled = group.get("initial_lr", 0) > 0
            facts.tell("rate-zero-now" if scheduled else "rate-zero", [weight.name])
        if getattr(weight.source, "_backward_hooks", None) and (group.get("weight_decay") or group.get("momentum")):
            facts.tell("hook-and-decay", [weight.name])
    for number, group in enumerate(groups):
        inside = [names[id(p)] for p in group["params"] if id(p) in names]
        if len(groups) > 1 and inside and not any(weight.trainable for weight in inside):
            facts.tell("group-frozen", [f"group {number}"])
    if scheduler is not None and getattr(scheduler, "optimizer", None) is not None:
        if not any(scheduler.optimizer is optimizer for optimizer in optimizers):
            facts.tell("scheduler-of-another", [type(scheduler).__name__])
        elif len(getattr(scheduler, "base_lrs", ())) not in (0, len(scheduler.optimizer.param_groups)):
            late = range(len(scheduler.base_lrs), len(scheduler.optimizer.param_groups))
            facts.tell("unknown-to-scheduler", [f"group {number}" for number in late])
    for optimizer in optimizers:  # a scheduler marks the groups that it finds
        late = [f"group {i}" for i, group in enumerate(optimizer.param_groups) if "initial_lr" not in group]
        facts.tell("unknown-to-scheduler", late if len(late) < len(optimizer.param_groups) else [])


def _would_move(parameter, group, optimizer):
    """Whether a step would change a frozen parameter: it looks at the gradient alone, never at requires_grad."""
    if parameter.grad is None:
        return False
    return bool(parameter.grad.any()) or bool(optimizer.state.get(parameter)) or bool(group.get("weight_decay"))


def _look_at_gradients(facts, optimizers, changed, watched):
    """Trainable weights that a backward pass left out, or that rested though others of the same optimizer moved.

    Only `watch` knows that they were trainable all the while; without it there are notes, no findings. Gradients are
    compared within one optimizer: another one may be meant for another backward pass.
    """
    told = {name for kind in ("rate-zero", "rate-zero-now", "inference-weights") for name in facts.found.get(kind, ())}
    for optimizer in optimizers:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        mine = [w for w in facts.learned if w.key in held and w.trainable and w.name not in told]
        if watched is None:
            missing = [w for w in mine if w.source.grad is None]
        else:
            mine = [w for w in mine if w.key in watched]
            missing = [w for w in mine if not watched[w.key]]
        if len(missing) < len(mine):
            kind = "gradient-missing-perhaps" if watched is None else "gradient-missing"
            facts.tell(kind, [weight.name for weight in missing])
        layers_moved = {w.path for w in mine if changed and w.name in changed}
        for weight in mine if layers_moved else ():
            if weight.name in changed or weight in missing:
                continue
            if watched[weight.key] == 1 if watched else not bool(weight.source.grad.any()):
                facts.tell("gradient-zero", [weight.name])
            elif weight.path not in layers_moved:
                facts.tell("unmoved-perhaps" if watched is None else "trainable-unmoved", [weight.name])
    if not optimizers and changed:
        layers_moved = {w.path for w in facts.learned if w.name in changed}
        rests = [w.name for w in facts.learned if w.trainable and w.path not in layers_moved and w.name not in told]
        facts.tell("unmoved-perhaps", rests if layers_moved else [])


# --- Keras ------------------------------------------------------------------------------------------------------------


def _look_at_keras(facts, model, optimizers, changed):
    compiled = getattr(model, "optimizer", None)
    layers = keras_layers(model)

    def named(path):
        return ".".join(path) or "the model itself"

    for path, layer in layers:
        facts.tell("typo", [".".join([*path, name]) for name in _misspelt(vars(layer), right="trainable")])
        kind = type(layer).__name__
        if hasattr(layer, "moving_mean"):
            facts.norms[path] = bool(layer.trainable)
            if layer.trainable and facts.is_frozen(path):
                facts.tell("statistics-will-drift", [named(path)])
        trains, there = facts.trains(path)
        if path and not layer.trainable and trains:
            facts.tell("container-not-obeyed" if trains == there else "container-says-frozen", [named(path)])
        if path and layer.trainable and there and not trains and any(map(_was_frozen, _children(layer))):
            facts.tell("frozen-one-by-one", [named(path)])
        if kind == "SpectralNormalization" and facts.is_frozen(path):
            facts.tell("assigns-to-itself", [named(path)])
        if kind == "Lambda":
            _look_into_lambda(facts, layer, named(path))
        open_ = (
            {w.name.rpartition(".")[2] for w in facts.learned if w.path == path and w.trainable}
            if _has_lora(layer)
            else ()
        )
        if any("lora" in name for name in open_) and open_ & {"kernel", "embeddings"}:
            facts.tell("base-open-beside-adapters", [named(path)])
    if not facts.learned:
        facts.tell("unbuilt", [getattr(model, "name", "the model")])
    used = optimizers or ([compiled] if compiled is not None else [])
    backend = _keras_backend()
    inner = [one for optimizer in used for one in _inner_optimizers(optimizer)]
    if inner and all(getattr(one, "built", False) for one in inner):
        per_optimizer = [{id(v) for v in getattr(one, "_trainable_variables", [])} for one in inner]
        facts.held = set().union(*per_optimizer)
        for one, keys in zip(inner, per_optimizer, strict=True):
            rate = _keras_rate(one)
            facts.rate_of |= {} if rate is None else dict.fromkeys(keys, rate)
        known = {weight.key for weight in facts.learned}
        facts.rate_of = {key: rate for key, rate in facts.rate_of.items() if key in known}
        unknown = [w.name for w in facts.learned if w.trainable and w.key not in facts.held]
        strangers = facts.held - known
        if strangers:
            counted = [f"{len(strangers)} of {len(facts.held)} parameters"]
            facts.tell("not-of-this-model" if unknown else "optimizer-holds-more", counted)
        if backend == "jax" and not strangers and {w.key for w in facts.learned if w.trainable} != facts.held:
            facts.tell("set-changed-on-jax", always=True)
            facts.stale = True
        else:
            facts.tell("unknown-to-optimizer", unknown)
        zero = [w.name for w in facts.learned if w.trainable and facts.rate_of.get(w.key) == 0]
        facts.tell("rate-zero", zero)
    elif used:
        facts.undecided = "from the first step"
    step = getattr(type(model), "train_step", None)
    own_step = getattr(step, "__module__", "keras").partition(".")[0] != "keras"
    own_loop = compiled is None and any(getattr(one, "built", False) for one in optimizers)
    if backend == "tensorflow" and (own_step or own_loop):
        facts.tell("own-step", always=True)
    if backend == "tensorflow":
        _compare_with_trace(facts, model)
    if changed and not own_step:
        _keras_unmoved(facts, changed)


def _keras_unmoved(facts, changed):
    """Trainable weights that rested though others moved; A of LoRA rests in the first step, where B is 0."""
    if not any(weight.name in changed for weight in facts.learned):
        return
    layers_moved = {weight.path for weight in facts.learned if weight.name in changed}
    for weight in facts.learned:
        if weight.trainable and weight.path not in layers_moved:
            forgotten = weight.name in facts.found.get("trace-skips-trainable", ())
            sure = forgotten or (facts.held is not None and weight.key not in facts.held)
            facts.tell("trainable-unmoved" if sure else "unmoved-perhaps", [weight.name])
        elif weight.trainable and weight.name not in changed and weight.name.endswith("lora_kernel_a"):
            facts.tell("gradient-zero", [weight.name])


def _keras_backend():
    keras = sys.modules.get("keras")
    return keras.config.backend() if keras is not None and hasattr(keras, "config") else ""


def _inner_optimizers(optimizer):
    """An optimizer, or those inside it: a loss-scale optimizer has one, a MultiOptimizer several."""
    if getattr(optimizer, "inner_optimizer", None) is not None:
        return _inner_optimizers(optimizer.inner_optimizer)
    several = getattr(optimizer, "_optimizers", None) or getattr(optimizer, "optimizers", None)
    if several:
        values = several.values() if isinstance(several, dict) else several
        return [one for inner in values for one in _inner_optimizers(inner)]
    return [optimizer]


def _keras_rate(optimizer):
    try:
        return float(np.asarray(_keras_value(optimizer._learning_rate)))
    except Exception:  # a schedule, or a library's own optimizer: then the rate is left out
        return None


def _was_frozen(layer):
    """Whether a layer was frozen by itself; not a normalization layer, which is frozen by itself for good reasons."""
    return bool(layer.weights) and not layer.trainable and not hasattr(layer, "moving_mean") and not _has_lora(layer)


def _has_lora(layer):
    return bool(getattr(layer, "lora_enabled", False))


def _look_into_lambda(facts, layer, name):
    """Layers that a Lambda's function uses from around it: their weights are not the model's."""
    if inspect.isfunction(layer.function):
        known = {weight.key for weight in facts.weights}
        around = inspect.getclosurevars(layer.function)
        for inside in [*around.nonlocals.values(), *around.globals.values()]:
            variables = inside.weights if hasattr(inside, "trainable_weights") else ()
            if any(id(variable) not in known for variable in variables):
                facts.tell("hidden-weights", [f"{name}: {inside.name}"])


def _compare_with_trace(facts, model):
    """Flags against the training steps that TensorFlow has traced: these go on doing what the flags said then."""
    traces = _traced_updates(model)
    if not traces:
        return
    ever, always = set.union(*traces), set.intersection(*traces)
    late = [w.name for w in facts.learned if not w.trainable and w.key in ever]
    facts.tell("trace-trains-frozen", late)
    facts.stale = facts.stale or bool(late)
    facts.tell("trace-skips-trainable", [w.name for w in facts.learned if w.trainable and w.key not in always])


# How an optimizer changes a variable; a layer that changes its own uses AssignVariableOp.
UPDATES = ("AssignSubVariableOp", "AssignAddVariableOp", "ResourceScatterSub", "ResourceScatterAdd")


def _traced_updates(model):
    """For each traced training step the keys of the variables that its optimizer updates: a list of sets."""
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
        # two functions stand here: the loop over the data, and the step inside it, the one that updates
        for concrete in getattr(function, "_list_all_concrete_functions", list)():
            outer_of = {id(inner): id(outer) for outer, inner in concrete.graph.captures}
            library = {}
            updated = [
                tensor for op in concrete.graph.get_operations() for tensor in _updated(op, concrete.graph, library)
            ]
            keys = {handles.get(outer_of.get(id(tensor))) for tensor in updated} - {None}
            if keys:
                result.append(keys)
    return result


def _updated(op, graph, library):
    """The tensors whose variables an operation of a graph updates, also inside a branch (accumulation, loss scale)."""
    if op.type in UPDATES:
        return [op.inputs[0]]
    if op.type not in ("If", "StatelessIf", "Case"):
        return []
    if not library:
        library |= {function.signature.name: function for function in graph.as_graph_def().library.function}
    names = [op.get_attr(name).name for name in ("then_branch", "else_branch") if op.type != "Case"]
    names += [branch.name for branch in op.get_attr("branches")] if op.type == "Case" else []
    positions = set().union(*(_updated_arguments(name, library, set()) for name in names))
    return [op.inputs[1 + position] for position in positions]  # the first input is the condition


def _updated_arguments(name, library, visited):
    """Which arguments of a function, by position, are handles of variables that it updates."""
    function = library.get(name)
    if function is None or name in visited:
        return set()
    arguments = {argument.name: position for position, argument in enumerate(function.signature.input_arg)}
    result = set()
    for node in function.node_def:
        inputs = [text.partition(":")[0] for text in node.input]
        if node.op in UPDATES:
            result |= {arguments[inputs[0]]} & set(arguments.values()) if inputs[0] in arguments else set()
        elif node.op in ("If", "StatelessIf"):
            for branch in ("then_branch", "else_branch"):
                for position in _updated_arguments(node.attr[branch].func.name, library, {*visited, name}):
                    passed = inputs[1 + position]
                    result |= {arguments[passed]} if passed in arguments else set()
    return result


def kinds_page():
    """All kinds of findings and notes as Markdown."""
    lines = ["# What freeze_report finds", ""]
    lines += ["A *finding* is surely wrong; a *note* may be meant. The names are stable: `report.check(ignore=[...])`."]
    for title, wrong in (("Findings", True), ("Notes", False)):
        lines += ["", f"## {title}", "", "| kind | what it means | what to do |", "|---|---|---|"]
        lines += [f"| `{kind}` | {means} | {do} |" for kind, (sure, means, do) in KINDS.items() if sure is wrong]
    return "\n".join(lines)


if __name__ == "__main__":
    print(kinds_page())
