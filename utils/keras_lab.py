"""The course's network in Keras: build, load, weights, layer table, accuracy. Twin of `torch_lab`.

Importing this module imports TensorFlow without the lines it logs from C++. Nothing here freezes, unfreezes or
compiles: that is the notebooks' lesson.
"""

import contextlib
import importlib.util
import os
import sys

import numpy as np

from utils import data


@contextlib.contextmanager
def _silence():
    """Drop what C++ code writes to file descriptor 2: TensorFlow logs there before any setting can stop it."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _silence():
    if importlib.util.find_spec("triton"):  # PyTorch's CUDA builds bring it; loaded after TensorFlow 2.20, it crashes
        import triton  # noqa: F401
    import keras
    import tensorflow as tf

    if os.environ.get("FREEZING_GPU") != "on":  # notebooks 07 and 08 set it; elsewhere no claim may hang on the machine
        tf.config.set_visible_devices([], "GPU")
    tf.constant(0)  # the search for devices logs, too, and starts with the first tensor
tf.get_logger().setLevel("ERROR")  # no advice on retracing: the course retraces on purpose
from keras import layers  # noqa: E402  (after the silent import)


def build(n_classes=None, seed=0, base="base"):
    """The course's network with the weights that `data.weights` gives for the same arguments; all of it trainable.

    Returns an ordinary functional model: input, "base" (a functional model of block1 to block4 and the mean over the
    picture), "head" (Dense, logits). Not compiled. Raises DataError for a damaged file.
    """
    values = data.weights(n_classes, seed, base)
    inputs = keras.Input((data.SIZE, data.SIZE, 3))
    outputs = layers.Dense(values["head.bias"].shape[0], name="head")(_base()(inputs))
    model = keras.Model(inputs, outputs)
    set_weights(model, values)
    return model


def get_weights(model):
    """The weights and BatchNorm statistics by the course's names, copied: float32 arrays in the Keras layout."""
    return {name: variable.numpy() for name, variable in _variables(model)}


def set_weights(model, values):
    """Copy `values` (as `get_weights` returns them) into the model. Raises KeyError for a missing name."""
    for name, variable in _variables(model):
        variable.assign(values[name])


def layer_table(model):
    """One row for each block and the head: [name, parameters, trainable ones]. Statistics do not count."""
    trained = {id(variable) for variable in model.trainable_weights}
    rows = {name: [name, 0, 0] for name in (*data.BLOCKS, "head")}
    for name, variable in _variables(model):
        if not name.endswith((".mean", ".variance")):
            row, size = rows[name.split(".")[0]], int(np.prod(variable.shape))
            row[1] += size
            row[2] += size * (id(variable) in trained)
    return list(rows.values())


def logits(model, x, batch_size=500):
    """The network's answers in inference mode, float32 (n, n_classes)."""
    parts = [model(x[i : i + batch_size], training=False).numpy() for i in range(0, len(x), batch_size)]
    return np.concatenate(parts)


def accuracy(model, x, y):
    """The share of pictures whose largest logit is their label's, in inference mode: a float from 0 to 1."""
    return float((logits(model, x).argmax(1) == y).mean())


def count_operations(model, x, y, loss):
    """How many operations the matrix products of one training step take (2 for each multiply and add): an int.

    loss: function of the labels and the model's answers. Counted in the step's graph, without what nothing that is
    asked for depends on. Convolutions are not counted.
    """

    @tf.function
    def gradients(x, y):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(y, model(x, training=True)))
        return tape.gradient(value, model.trainable_variables)

    outputs = gradients.get_concrete_function(tf.constant(x), tf.constant(y)).graph.outputs
    todo, seen, total = [tensor.op for tensor in outputs], set(), 0
    while todo:
        op = todo.pop()
        if op.name not in seen:
            seen.add(op.name)
            todo += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
            total += _operations(op)
    return total


def _operations(op):
    """Of one operation of a graph, if it is a matrix product, else 0."""
    if "MatMul" in op.type:
        turned = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        inner = op.inputs[0].shape[-2 if turned else -1]
        return 2 * int(np.prod(op.outputs[0].shape)) * inner
    if op.type == "Einsum":
        letters = op.get_attr("equation").decode().split("->")[0].split(",")
        sizes = {
            one: n for word, t in zip(letters, op.inputs, strict=True) for one, n in zip(word, t.shape, strict=True)
        }
        return 2 * int(np.prod(list(sizes.values())))
    return 0


def count_products(model, x, y):
    """How many matrix products one training step runs (squared error, a network of equal Dense layers): an int."""
    return count_operations(model, x, y, lambda y, told: tf.square(told - y)) // (2 * len(x) * x.shape[1] ** 2)


def _base():
    """block1 to block4, then the mean over the picture: (n, 32, 32, 3) to (n, 64)."""
    inputs = x = keras.Input((data.SIZE, data.SIZE, 3))
    before = 3
    for name, channels, stride in zip(data.BLOCKS, data.CHANNELS, data.STRIDES, strict=True):
        x = _block(name, before, channels, stride)(x)
        before = channels
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="gap")(x), name="base")


def _block(name, before, channels, stride):
    """3x3 convolution (no bias), BatchNorm, ReLU. Padding stands apart: Keras' "same" pads otherwise than PyTorch."""
    return keras.Sequential(
        [
            keras.Input((None, None, before)),
            layers.ZeroPadding2D(1, name="pad"),
            layers.Conv2D(channels, 3, strides=stride, use_bias=False, name="conv"),
            layers.BatchNormalization(epsilon=1e-3, momentum=0.9, name="bn"),  # momentum 0.9 here is 0.1 in PyTorch
            layers.ReLU(name="relu"),
        ],
        name=name,
    )


def _variables(model):
    """Every weight and statistic as (the course's name, variable), in the order of `data.weights`."""
    base = model.get_layer("base")
    for name in data.BLOCKS:
        bn = base.get_layer(name).get_layer("bn")
        yield f"{name}.conv.kernel", base.get_layer(name).get_layer("conv").kernel
        yield f"{name}.bn.gamma", bn.gamma
        yield f"{name}.bn.beta", bn.beta
        yield f"{name}.bn.mean", bn.moving_mean
        yield f"{name}.bn.variance", bn.moving_variance
    head = model.get_layer("head")
    yield "head.kernel", head.kernel
    yield "head.bias", head.bias
