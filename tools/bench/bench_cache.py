"""An epoch of head training on cached features: against the head's own cost, and against the plain epoch.

1,000 pictures, batches of 32, base frozen and in inference mode. The plain epoch computes the base at every step; the
cached one takes its output, computed once, from memory. The head's own cost is the same epoch with its batches of
features already made, so what lies between is the cost of looking up the cache. PyTorch trains by a plain loop, Keras
by `fit` on a `tf.data.Dataset`, four epochs a call: what a call of `fit` costs by itself is more than an epoch here.
"""

from tools.bench.table import row
from utils import data, keras_lab, torch_lab
from utils.evidence import time_ratios

import keras  # isort: skip
import tensorflow as tf  # isort: skip
import torch  # isort: skip
from torch import nn  # isort: skip

ROUNDS, EPOCHS, SIZE, CLASSES = 7, 4, 32, len(data.TARGET)


def torch_epochs(x, y):
    """name -> function that trains for EPOCHS epochs, or makes the cache once."""
    model, inputs, labels = torch_lab.build(CLASSES).eval(), torch_lab.tensor(x), torch.from_numpy(y)
    model.base.requires_grad_(False)

    def features():
        with torch.no_grad():
            return torch.cat([model.base(part) for part in inputs.split(500)])

    def train(part, batches):
        for _ in range(EPOCHS):
            for batch, answers in batches():
                loss = nn.functional.cross_entropy(part(batch), answers)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    def shuffled(inputs):
        return ((inputs[rows], labels[rows]) for rows in torch.randperm(len(inputs)).split(SIZE))

    optimizer = torch.optim.Adam(model.head.parameters(), lr=3e-2)
    cached = features()
    ready = list(shuffled(cached))
    return {
        "plain": lambda: train(model, lambda: shuffled(inputs)),
        "cached": lambda: train(model.head, lambda: shuffled(cached)),
        "head": lambda: train(model.head, lambda: ready),
        "making": features,
    }


def keras_epochs(x, y):
    """The same by Keras' `fit`."""
    model = keras_lab.build(CLASSES)
    base, head = model.get_layer("base"), keras.Sequential([keras.Input((64,)), model.get_layer("head")])
    base.trainable = False
    for part in (model, head):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        part.compile(keras.optimizers.Adam(3e-2), loss, jit_compile=False)
    cached = keras_lab.logits(base, x)
    ready = tf.data.Dataset.from_tensor_slices((cached, y)).batch(SIZE).cache()
    pictures, features = (
        tf.data.Dataset.from_tensor_slices((inputs, y)).shuffle(len(y)).batch(SIZE).prefetch(tf.data.AUTOTUNE)
        for inputs in (x, cached)
    )
    return {
        "plain": lambda: model.fit(pictures, epochs=EPOCHS, verbose=0),
        "cached": lambda: head.fit(features, epochs=EPOCHS, verbose=0),
        "head": lambda: head.fit(ready, epochs=EPOCHS, verbose=0),
        "making": lambda: keras_lab.logits(base, x),
    }


def rows():
    """All rows of this file."""
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    x, y = data.images("target_pool", per_class=200)
    result = []
    for name, epochs in (("PyTorch", torch_epochs(x, y)), ("Keras", keras_epochs(x, y))):
        share = time_ratios(epochs, ROUNDS)
        result += [
            row(f"{name}: cached epoch / the head's own cost", share["cached"] / share["head"], goal=["at most", 1.2]),
            row(f"{name}: plain epoch / cached epoch", 1 / share["cached"]),
            row(f"{name}: making the cache / plain epoch", share["making"] * EPOCHS, shown=False),
        ]
    return result
