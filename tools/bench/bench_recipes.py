"""Time to the same accuracy: two phases on cached features against the recipes of the two best-known tutorials.

- Keras' guide "Transfer learning & fine-tuning": base frozen and called with `training=False`, Dropout 0.2, a new
  Dense; Adam() for 20 epochs, then everything with Adam(1e-5) for 10; batches of 64.
- PyTorch's "Transfer Learning for Computer Vision Tutorial", its fixed feature extractor: SGD(0.001, momentum=0.9),
  StepLR(7, 0.1), 25 epochs, batches of 4, `train()` and `eval()` in turn, the best epoch's weights at the end.

Both run the frozen base in every epoch. Here all recipes have the same base, the same 1,000 pictures and the same new
head. What differs from the pages: nothing is augmented (a cache forbids it), and PyTorch's loader has no workers (with
pictures as small as these they only cost). The guide's epochs are those of its first edition, of which its text still
speaks; by now its code says 2 and 1, which on so few pictures would teach next to nothing.

The target is what a tutorial's recipe has reached on the validation split at its end. The clock of either side runs
while it trains, compiles or makes its cache, and stands while accuracy is measured, which is after each epoch. The test
split is not used. `python -m tools.bench --rates` looks for each recipe's best rates, on the validation split.
"""

import itertools
import time

import numpy as np

from tools.bench.table import row
from utils import data, keras_lab, torch_lab  # keras_lab first: it silences TensorFlow

import keras  # isort: skip
import tensorflow as tf  # isort: skip
import torch  # isort: skip
from torch import nn  # isort: skip

PER_CLASS, SEEDS, CLASSES = 200, range(3), len(data.TARGET)
PUBLISHED = {"PyTorch": {"rate": 1e-3}, "Keras": {"head": 1e-3, "all": 1e-5}}
BEST = {"PyTorch": {"rate": 3e-2}, "Keras": {"head": 3e-2, "all": 3e-4}}  # found by `rates`
# Found by it, too: of the pairs that end within a point of the best, one that both frameworks share.
OURS = {"PyTorch": {"head": 3e-2, "last": 3e-3}, "Keras": {"head": 3e-2, "last": 3e-3}}
GOALS = {"as published": 10, "best rates": 3}  # how many times as fast we want to be


class Clock:
    """Seconds of training, and the validation accuracy that was reached by then: `marks`, a list of pairs.

    `reached` tells whether the accuracy is that of `target`, so that a run can end there.
    """

    def __init__(self, accuracy, target=np.inf):
        self.accuracy, self.target, self.marks, self.seconds = accuracy, target, [], 0.0
        self.start = time.perf_counter()

    def mark(self):
        """Stop, measure the accuracy, go on."""
        self.seconds += time.perf_counter() - self.start
        self.marks.append((self.seconds, self.accuracy()))
        self.start = time.perf_counter()

    @property
    def reached(self):
        return bool(self.marks) and self.marks[-1][1] >= self.target


# --- PyTorch --------------------------------------------------------------------------------------------------------


def torch_tutorial(x, y, validation, seed, rate, epochs=25):
    """The fixed feature extractor of PyTorch's tutorial. Returns the clock's marks."""
    torch.manual_seed(seed)
    model = torch_lab.build(CLASSES, seed)
    dataset = torch.utils.data.TensorDataset(torch_lab.tensor(x), torch.from_numpy(y))
    clock = Clock(lambda: torch_lab.accuracy(model, *validation))
    for parameter in model.base.parameters():
        parameter.requires_grad = False
    optimizer = torch.optim.SGD(model.head.parameters(), lr=rate, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        model.train()
        running_loss, running_corrects = 0.0, 0
        for inputs, labels in loader:
            optimizer.zero_grad()
            outputs = model(inputs)
            _, predictions = torch.max(outputs, 1)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * inputs.size(0)
            running_corrects += torch.sum(predictions == labels.data)
        scheduler.step()
        clock.mark()
    return clock.marks


def torch_ours(x, y, validation, seed, head, last, target=np.inf, epochs=(3, 10)):
    """Head, then head and last block, each on what the frozen blocks give out, computed once; ends at the target."""
    torch.manual_seed(seed)
    model = torch_lab.build(CLASSES, seed).eval()  # and so it stays: BatchNorm at rest
    clock = Clock(lambda: torch_lab.accuracy(model, *validation), target)
    labels = torch.from_numpy(y)
    model.requires_grad_(False)
    *frozen, last_block, gap, flatten = model.base
    with torch.no_grad():
        cached = nn.Sequential(*frozen)(torch_lab.tensor(x))
        features = nn.Sequential(last_block, gap, flatten)(cached)
    phases = (
        (features, model.head, head, epochs[0]),
        (cached, nn.Sequential(last_block, gap, flatten, model.head), last, epochs[1]),
    )
    for inputs, part, rate, turns in phases:
        part.requires_grad_(True)
        optimizer = torch.optim.Adam(part.parameters(), lr=rate, fused=True)
        for _ in range(turns):
            for batch in torch.randperm(len(inputs)).split(32):
                loss = nn.functional.cross_entropy(part(inputs[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            clock.mark()
            if clock.reached:
                return clock.marks
    return clock.marks


# --- Keras ----------------------------------------------------------------------------------------------------------


class Mark(keras.callbacks.Callback):
    """Marks the clock after each epoch, and ends the training at the clock's target."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def on_epoch_end(self, epoch, logs=None):
        self.clock.mark()
        self.model.stop_training = self.clock.reached


def keras_accuracy(model, x, y):
    """What `keras_lab.accuracy` gives, by a compiled step: for many calls."""
    answer = tf.function(lambda batch: model(batch, training=False))
    parts = [(tf.constant(x[i : i + 500]), y[i : i + 500]) for i in range(0, len(x), 500)]
    return lambda: float(np.mean([np.mean(answer(inputs).numpy().argmax(1) == labels) for inputs, labels in parts]))


def keras_ready(model, rate, *metrics):
    """Compile as the guide does."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, metrics=metrics or None)


def keras_guide(x, y, validation, seed, head, all, epochs=(20, 10)):
    """The end-to-end example of Keras' guide. Returns the clock's marks."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    built = keras_lab.build(CLASSES, seed)
    base, first = built.get_layer("base"), built.get_layer("head").get_weights()
    order = np.random.default_rng(seed).permutation(len(x))  # the guide's data come mixed, ours sorted by class
    x, y = x[order], y[order]
    clock = Clock(lambda: accuracy())
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(64).prefetch(tf.data.AUTOTUNE).cache()
    base.trainable = False
    inputs = keras.Input(shape=(data.SIZE, data.SIZE, 3))
    hidden = base(inputs, training=False)
    hidden = keras.layers.Dropout(0.2)(hidden)
    outputs = keras.layers.Dense(CLASSES)(hidden)
    model = keras.Model(inputs, outputs)
    model.layers[-1].set_weights(first)
    accuracy = keras_accuracy(model, *validation)
    for opened, rate, turns in zip((False, True), (head, all), epochs, strict=True):
        base.trainable = opened
        keras_ready(model, rate, keras.metrics.SparseCategoricalAccuracy())
        model.fit(dataset, epochs=turns, verbose=0, callbacks=[Mark(clock)])
    return clock.marks


def keras_ours(x, y, validation, seed, head, last, target=np.inf, epochs=(3, 10)):
    """Head, then head and last block, each on what the frozen blocks give out, computed once; ends at the target."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = keras_lab.build(CLASSES, seed)
    clock = Clock(keras_accuracy(model, *validation), target)
    base, dense = model.get_layer("base"), model.get_layer("head")
    base.trainable = False
    block, gap = base.get_layer("block4"), base.get_layer("gap")
    frozen = keras.Model(base.input, base.get_layer("block3").output)
    cached = keras_lab.logits(frozen, x)
    features = keras_lab.logits(keras.Sequential([block, gap]), cached)
    for inputs, part, rate, turns in (
        (features, [dense], head, epochs[0]),
        (cached, [block, gap, dense], last, epochs[1]),
    ):
        if len(part) > 1:
            base.trainable = True
            block.get_layer("bn").trainable = False
        part = keras.Sequential([keras.Input(inputs.shape[1:]), *part])
        keras_ready(part, rate)
        part.optimizer.build(part.trainable_variables)  # else fit makes its variables, and traces the step twice
        batches = tf.data.Dataset.from_tensor_slices((inputs, y)).shuffle(len(y)).batch(32).prefetch(tf.data.AUTOTUNE)
        part.fit(batches, epochs=turns, verbose=0, callbacks=[Mark(clock)])
        if clock.reached:
            break
    return clock.marks


# --- the comparison ---------------------------------------------------------------------------------------------------

TUTORIAL = {"PyTorch": torch_tutorial, "Keras": keras_guide}
OUR_WAY = {"PyTorch": torch_ours, "Keras": keras_ours}
NAME = {"PyTorch": "PyTorch's tutorial", "Keras": "Keras' guide"}


def reached(framework, marks):
    """The accuracy of what a tutorial's recipe ends with: PyTorch's takes the best epoch's weights."""
    accuracies = [accuracy for _, accuracy in marks]
    return max(accuracies) if framework == "PyTorch" else accuracies[-1]


def first(marks, target):
    """When the target was first reached: seconds, or infinity if it was not."""
    return next((seconds for seconds, accuracy in marks if accuracy >= target), float("inf"))


def compare(framework, rates, label):
    """The rows of one tutorial with one choice of rates."""
    validation = data.images("target_validation")
    strict, whole, targets, theirs, ours = [], [], [], [], []
    for seed in SEEDS:
        x, y = data.images("target_pool", per_class=PER_CLASS, seed=seed)
        marks = TUTORIAL[framework](x, y, validation, seed, **rates)
        targets.append(reached(framework, marks))
        own = OUR_WAY[framework](x, y, validation, seed, **OURS[framework], target=targets[-1])
        theirs.append(first(marks, targets[-1]))
        ours.append(first(own, targets[-1]))
        strict.append(theirs[-1] / ours[-1])
        whole.append(marks[-1][0] / ours[-1])
    missed = sum(np.isinf(ours))
    note = (
        f"{NAME[framework]}, {label}: it ends at {np.median(targets):.3f} on the validation split, first reached after "
        f"{np.median(theirs):.1f} s; ours is there after {np.median(ours):.2f} s (medians of {len(SEEDS)} seeds"
    )
    note += f"; with {missed} of them ours never is, and counts as 0)." if missed else ")."
    name = f"{NAME[framework]}, {label} / two phases, cached"
    return [
        row(f"{name}: until its final accuracy is first reached", strict, goal=["at least", GOALS[label]], note=note),
        row(f"{name}: its whole run / ours until then", whole, shown=False),
    ]


def rows():
    """All rows of this file."""
    x, y = data.images("target_pool", per_class=20)
    for framework in TUTORIAL:  # what starts with the first call is nobody's cost
        TUTORIAL[framework](x, y, (x, y), 0, **PUBLISHED[framework], epochs=1 if framework == "PyTorch" else (1, 1))
        OUR_WAY[framework](x, y, (x, y), 0, **OURS[framework], epochs=(1, 1))
    return [
        one
        for framework in TUTORIAL
        for label, rates in (("as published", PUBLISHED), ("best rates", BEST))
        for one in compare(framework, rates[framework], label)
    ]


def rates():
    """Print the validation accuracy at the end of each recipe by its rates, means over three seeds."""
    validation = data.images("target_validation")
    heads, rest = (1e-2, 3e-2, 1e-1), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    grid = [("PyTorch", torch_tutorial, (rate,)) for rate in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)]
    for framework, run in (("PyTorch", torch_ours), ("Keras", keras_ours), ("Keras", keras_guide)):
        grid += [(framework, run, pair) for pair in itertools.product(heads, rest)]
    for framework, run, chosen in grid:
        ends = []
        for seed in range(3):
            marks = run(*data.images("target_pool", per_class=PER_CLASS, seed=seed), validation, seed, *chosen)
            ends.append(reached(framework if run is torch_tutorial else "", marks))
        print(f"{run.__name__:15} {chosen} {np.mean(ends):.3f}", flush=True)
