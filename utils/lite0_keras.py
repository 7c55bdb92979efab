"""EfficientNet-Lite0 in plain Keras, with ImageNet's weights: the base of notebook 07. Twin of `lite0_torch`.

The table of convolutions and the weights are in `photos`. Nothing here freezes, unfreezes or compiles: that is the
lesson.
"""

import itertools

import numpy as np

from utils import keras_lab, photos  # before keras: it keeps TensorFlow from logging

import keras  # isort: skip
from keras import layers  # isort: skip

# The GPU if there is one and the notebook asked for it before TensorFlow came in (see `keras_lab`).
DEVICE = "gpu" if keras_lab.tf.config.get_visible_devices("GPU") else "cpu"


def build(n_classes=None, seed=0):
    """A model with the weights that `photos.weights` gives for the same arguments; all of it trainable, not compiled.

    Returns an ordinary functional model for pictures (n, size, size, 3) as `photos.prepare` makes them, of any even
    size: "base" (the models stem, stage1 to stage7 and top, then gap: features (n, 1280)) and "head" (Dense, logits).
    Raises DataError for a damaged file.
    """
    values = photos.weights(n_classes, seed)
    inputs = x = keras.Input((None, None, 3))
    for block in photos.BLOCKS:
        x = _block(block)(x)
    base = keras.Model(inputs, layers.GlobalAveragePooling2D(name="gap")(x), name="base")
    pictures = keras.Input((None, None, 3))
    head = layers.Dense(len(values["head.bias"]), name="head")
    model = keras.Model(pictures, head(base(pictures)))
    for block in photos.BLOCKS:
        for convolution in photos.convolutions(block):
            kernel, *norm = (values[f"{convolution.name}.{part}"] for part in ("kernel", *photos.NORM))
            base.get_layer(block).get_layer(_prefix(convolution) + "conv").set_weights([kernel])
            base.get_layer(block).get_layer(_prefix(convolution) + "bn").set_weights(norm)
    head.set_weights([values["head.kernel"], values["head.bias"]])
    return model


def outputs(model, x, batch_size=32):
    """What a model makes of pictures, uint8 (n, size, size, 3), in inference mode: float32 (n, ...).

    Give it the base for features, the whole model for logits.
    """
    starts = range(0, len(x), batch_size)
    parts = [model(photos.prepare(x[i : i + batch_size]), training=False).numpy() for i in starts]
    return np.concatenate(parts)


def _block(block):
    """One of photos.BLOCKS as a model; in a stage, all inverted residuals but the first add their input."""
    convolutions = list(photos.convolutions(block))
    inputs = x = keras.Input((None, None, convolutions[0].before))
    for place, parts in itertools.groupby(convolutions, lambda one: one.name.split(".")[1]):
        before = x
        for convolution in parts:
            x = _unit(x, convolution)
        if block in photos.STAGES and place != "0":
            x = layers.Add(name=f"{place}_add")([before, x])
    return keras.Model(inputs, x, name=block)


def _unit(x, convolution):
    """One `photos.Convolution`: pad, conv, bn, and relu if it has one."""
    prefix, (_, kernel, stride, _, after, depthwise, relu) = _prefix(convolution), convolution
    low, high = photos.padding(kernel, stride)
    x = layers.ZeroPadding2D(((low, high), (low, high)), name=prefix + "pad")(x)
    settings = {"strides": stride, "use_bias": False, "name": prefix + "conv"}
    x = (layers.DepthwiseConv2D(kernel, **settings) if depthwise else layers.Conv2D(after, kernel, **settings))(x)
    # momentum 0.99 here is 0.01 in PyTorch
    x = layers.BatchNormalization(epsilon=photos.EPSILON, momentum=0.99, name=prefix + "bn")(x)
    return layers.ReLU(6.0, name=prefix + "relu")(x) if relu else x


def _prefix(convolution):
    """What a convolution's layers are called inside their block: "" in stem and top, "1_expand_" in a stage."""
    return "".join(f"{part}_" for part in convolution.name.split(".")[1:] if part != "conv")
