"""Notebook 07: a head on stored features against the usual tutorial loop, on the same real base and photographs.

50 photographs at 96 pixels, 60 steps of 16, the base frozen and at rest in both. The loop runs the base at every step;
the other way runs it once over all photographs, which counts, and then trains the head on what was stored.
"""

from tools.bench.table import row
from utils import lite0_keras, lite0_torch, photos, runs  # Keras first: it silences TensorFlow
from utils.evidence import time_ratios

import keras  # isort: skip
import torch  # isort: skip
from torch.nn.functional import cross_entropy  # isort: skip

ROUNDS, STEPS, SIZE, EPOCHS = 3, 60, 16, 15  # 15 epochs of 4 batches are 60 steps


def torch_ways(x, y):
    """name -> function that trains a head."""
    model, labels = lite0_torch.build(5).eval(), torch.from_numpy(y).to(lite0_torch.DEVICE)
    model.base.requires_grad_(False)

    def train(part, inputs):
        optimizer = torch.optim.Adam(model.head.parameters(), lr=3e-3)
        for batch in runs.batches(len(y), STEPS, SIZE, seed=0):
            optimizer.zero_grad()
            cross_entropy(part(inputs[batch]), labels[batch]).backward()
            optimizer.step()

    def stored():
        train(model.head, torch.from_numpy(lite0_torch.outputs(model.base, x)).to(lite0_torch.DEVICE))

    return {"loop": lambda: train(model, lite0_torch.tensor(x)), "stored": stored}


def keras_ways(x, y):
    """The same by Keras' `fit`."""
    model = lite0_keras.build(5)
    base, head = model.get_layer("base"), keras.Sequential([keras.Input((1280,)), model.get_layer("head")])
    base.trainable = False
    for part in (model, head):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        part.compile(keras.optimizers.Adam(3e-3), loss, jit_compile=False)

    def train(part, inputs):
        part.fit(inputs, y, batch_size=SIZE, epochs=EPOCHS, verbose=0)

    def stored():
        train(head, lite0_keras.outputs(base, x))

    return {"loop": lambda: train(model, photos.prepare(x)), "stored": stored}


def rows():
    """All rows of this file."""
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    folder = photos.photographs()
    train, _, _ = photos.deal(folder)
    x, y = folder.pictures[train], folder.labels[train]
    return [
        row(
            f"{name}, notebook 07's base: tutorial loop / head on stored features",
            1 / time_ratios(ways, ROUNDS)["stored"],
            goal=["at least", 5],
        )
        for name, ways in (("PyTorch", torch_ways(x, y)), ("Keras", keras_ways(x, y)))
    ]
