"""A small transformer in plain Keras: build, features, next-token logits; and MiniLM in the same layers.

Twin of `transformer_torch`. Nothing here freezes, adds adapters or compiles: that is the lesson.
"""

import numpy as np

from utils import keras_lab, texts  # noqa: F401  (keras_lab before keras: it keeps TensorFlow from logging)

import keras  # isort: skip
from keras import layers, ops  # isort: skip


class Embedding(layers.Layer):
    """A vector for each token plus one for its place: ids (n, length) to (n, length, width)."""

    def __init__(self, shape, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(shape.words, shape.width, name="tokens")
        self.positions = layers.Embedding(shape.length, shape.width, name="positions")
        # MiniLM's, as BERT's, are normalized here; the small transformer normalizes inside its blocks
        self.norm = None if shape.pre_norm else layers.LayerNormalization(epsilon=shape.epsilon, name="norm")

    def build(self, ids_shape):
        for part in (self.tokens, self.positions):
            part.build(ids_shape)
        if self.norm:
            self.norm.build((None, None, self.tokens.output_dim))

    def call(self, ids):
        x = self.tokens(ids) + self.positions(ops.arange(ops.shape(ids)[1]))
        return self.norm(x) if self.norm else x


class Block(layers.Layer):
    """Attention and a small network at each place, both with a shortcut.

    pre_norm: x + attention(norm1(x)), then x + mlp(norm2(x)), each place sees itself and what stands before it. Else as
    in BERT: norm1(x + attention(x)), then norm2(x + mlp(x)), each place sees all that hold a token.
    """

    def __init__(self, shape, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.pre_norm, self.heads = shape.pre_norm, shape.heads
        for name in ("norm1", "norm2"):
            setattr(self, name, layers.LayerNormalization(epsilon=shape.epsilon, name=name))
        for name in ("query", "key", "value", "out"):
            setattr(self, name, layers.Dense(shape.width, name=name))
        self.up, self.down = layers.Dense(4 * shape.width, name="up"), layers.Dense(shape.width, name="down")
        self.dropout = layers.Dropout(dropout, name="dropout")

    def build(self, x_shape, real_shape=None):
        for part in (self.norm1, self.norm2, self.query, self.key, self.value, self.out, self.up):
            part.build(x_shape)
        self.down.build((*x_shape[:-1], 4 * x_shape[-1]))

    def call(self, x, real=None, training=None):
        if self.pre_norm:
            x = x + self.dropout(self.attention(self.norm1(x)), training=training)
            return x + self.dropout(self.mlp(self.norm2(x)), training=training)
        x = self.norm1(x + self.dropout(self.attention(x, real), training=training))
        return self.norm2(x + self.dropout(self.mlp(x), training=training))

    def attention(self, x, real=None):
        def heads(part):
            return ops.reshape(part(x), (-1, ops.shape(x)[1], self.heads, x.shape[-1] // self.heads))

        mask = None if self.pre_norm else real[:, None, None, :]
        q, k, v = heads(self.query), heads(self.key), heads(self.value)
        h = ops.dot_product_attention(q, k, v, mask=mask, is_causal=self.pre_norm)
        return self.out(ops.reshape(h, ops.shape(x)))

    def mlp(self, x):
        return self.down(ops.gelu(self.up(x), approximate=False))


class Real(layers.Layer):
    """Which places hold a token, and no padding: bool (n, length)."""

    def call(self, ids):
        return ids != 0


class TextMean(layers.Layer):
    """The mean of the vectors (n, length, width) over the places that hold a token: (n, width)."""

    def call(self, vectors, ids):
        real = ops.cast(ids != 0, vectors.dtype)[..., None]
        return ops.sum(vectors * real, 1) / ops.sum(real, 1)


def build(n_classes=None, seed=0, base="writer", dropout=0.0):
    """The small transformer with the weights that `texts.weights` gives for the same arguments; all of it trainable.

    Returns an ordinary functional model for token ids (n, length), not compiled: "base" (embedding, block1 to block4,
    norm: a vector a place), "mean" over the text, and "head" (Dense, logits). Raises DataError for a damaged file.
    """
    values = texts.weights(n_classes, seed, base)
    model = _classifier(texts.WRITER, len(values["head.bias"]), dropout)
    set_weights(model, values)
    return model


def build_minilm(folder, n_classes, seed=0):
    """all-MiniLM-L6-v2 (Wang et al., 2020) in the same layers, with a new head drawn by `seed`; all of it trainable.

    folder: as `texts.minilm_folder` gives it. Returns a model as `build` does.
    """
    model = _classifier(texts.MINILM, n_classes)
    set_weights(model, texts.minilm_weights(folder) | texts.new_head(texts.MINILM.width, n_classes, seed))
    return model


def set_weights(model, values):
    """Copy weights by the course's names (as `texts.weights` returns them) into a model. Raises KeyError."""
    for name, variable in variables(model):
        variable.assign(values[name])


def variables(model):
    """Every weight as (the course's name, variable), in the order of `texts.weights`."""
    base = model.get_layer("base")
    embedding = base.get_layer("embedding")
    yield "tokens", embedding.tokens.embeddings
    yield "positions", embedding.positions.embeddings
    if embedding.norm:
        yield from _norm("embedding.norm", embedding.norm)
    for block in (layer for layer in base.layers if isinstance(layer, Block)):
        for part in ("query", "key", "value", "out", "up", "down"):
            layer = getattr(block, part)
            yield f"{block.name}.{part}.kernel", layer._kernel  # of Dense with LoRA, `kernel` is the merged one
            yield f"{block.name}.{part}.bias", layer.bias
        yield from _norm(f"{block.name}.norm1", block.norm1)
        yield from _norm(f"{block.name}.norm2", block.norm2)
    if not embedding.norm:
        yield from _norm("norm", base.get_layer("norm"))
    yield "head.kernel", model.get_layer("head").kernel
    yield "head.bias", model.get_layer("head").bias


def features(base, ids, batch_size=100):
    """The mean vectors of texts, to store: float32 (n, width). ids: int32 (n, length)."""
    parts = [ids[i : i + batch_size] for i in range(0, len(ids), batch_size)]
    return np.concatenate([TextMean()(base(part, training=False), part).numpy() for part in parts])


def next_token_logits(base, ids):
    """What the base holds likely to come after each place: logits (n, length, words), tied to the embedding."""
    return ops.matmul(base(ids), ops.transpose(base.get_layer("embedding").tokens.embeddings))


def next_token_loss(base, ids):
    """Mean cross-entropy, in nats a token, of the next-token logits: the base's own task."""
    vectors, target = base(ids[:, :-1]), ids[:, 1:]
    real = np.flatnonzero(target != 0)  # the logits of all places would take most of the time
    logits = ops.matmul(
        ops.take(ops.reshape(vectors, (-1, vectors.shape[-1])), real, axis=0),
        ops.transpose(base.get_layer("embedding").tokens.embeddings),
    )
    return ops.mean(keras.losses.sparse_categorical_crossentropy(target.ravel()[real], logits, from_logits=True))


def write(base, text, pieces=12):
    """How the base goes on with a text: a str of at most so many pieces more, always the likeliest one."""
    return texts.go_on(lambda ids: int(ops.argmax(next_token_logits(base, ids)[0, -1])), text, pieces)


def _norm(name, layer):
    yield f"{name}.gamma", layer.gamma
    yield f"{name}.beta", layer.beta


def _classifier(shape, n_classes, dropout=0.0):
    ids = keras.Input((None,), dtype="int32")
    x = Embedding(shape, name="embedding")(ids)
    real = None if shape.pre_norm else Real(name="real")(ids)
    for name in shape.blocks:
        x = Block(shape, dropout, name=name)(x, real=real)
    if shape.pre_norm:
        x = layers.LayerNormalization(epsilon=shape.epsilon, name="norm")(x)
    base = keras.Model(ids, x, name="base")
    ids = keras.Input((None,), dtype="int32")
    x = TextMean(name="mean")(base(ids), ids)
    return keras.Model(ids, layers.Dense(n_classes, name="head")(x))
