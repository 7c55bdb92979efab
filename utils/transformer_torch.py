"""A small transformer in PyTorch: build, load, features, next-token logits. Twin of `transformer_keras`.

The base turns token ids (n, length) into a vector a place (n, length, width); the classifier takes the mean of these
vectors over the text. The next-token logits are tied to the embedding, as in most language models: they are the
products of a place's vector with the embedding's rows. Nothing here freezes, unfreezes or adds adapters.
"""

import torch
from torch import nn
from torch.nn import functional

from utils import texts

torch.set_num_threads(1)  # as in torch_lab: a second thread gains nothing on so small a network


class Block(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x)): pre-norm, each place sees itself and what stands before it."""

    def __init__(self, shape, dropout):
        super().__init__()
        self.heads = shape.heads
        self.query, self.key, self.value, self.out = (nn.Linear(shape.width, shape.width) for _ in range(4))
        self.up, self.down = nn.Linear(shape.width, 4 * shape.width), nn.Linear(4 * shape.width, shape.width)
        self.norm1, self.norm2 = (nn.LayerNorm(shape.width, shape.epsilon) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        h = self.norm1(x)
        q, k, v = (f(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        h = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.out(h))
        return x + self.dropout(self.down(functional.gelu(self.up(self.norm2(x)))))


class Base(nn.Module):
    """Token ids (n, length) to a vector a place (n, length, width)."""

    def __init__(self, shape=texts.WRITER, dropout=0.0):
        super().__init__()
        self.tokens = nn.Embedding(shape.words, shape.width)
        self.positions = nn.Embedding(shape.length, shape.width)
        self.block_names = shape.blocks
        for name in shape.blocks:
            self.add_module(name, Block(shape, dropout))
        self.norm = nn.LayerNorm(shape.width, shape.epsilon)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for name in self.block_names:
            x = self.get_submodule(name)(x)
        return self.norm(x)


class Classifier(nn.Module):
    """A base, the mean over the text's places (not over the padding), and a linear head: logits (n, n_classes)."""

    def __init__(self, base, n_classes, width=texts.WRITER.width):
        super().__init__()
        self.base, self.head = base, nn.Linear(width, n_classes)

    def forward(self, ids):
        return self.head(text_mean(self.base(ids), ids))


def build(n_classes=None, seed=0, base="writer", dropout=0.0):
    """The small transformer with the weights that `texts.weights` gives for the same arguments; all of it trainable.

    Returns a Classifier for token ids, int32 or int64 (n, length), in training mode, as PyTorch makes them. Raises
    DataError for a damaged file.
    """
    values = texts.weights(n_classes, seed, base)
    model = Classifier(Base(dropout=dropout), len(values["head.bias"]))
    set_weights(model, values)
    return model


class MiniLM(nn.Module):
    """Hugging Face's BERT with a folder's weights, as a base like ours: ids (n, length) to vectors (n, length, 384)."""

    def __init__(self, folder):
        super().__init__()
        import transformers  # takes seconds

        transformers.logging.set_verbosity_error()  # it would list MiniLM's pooler, which is left out
        transformers.utils.logging.disable_progress_bar()
        self.bert = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False)

    def forward(self, ids):
        return self.bert(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state


def build_minilm(folder, n_classes, seed=0):
    """all-MiniLM-L6-v2 (Wang et al., 2020) with a new head drawn by `seed`; all of it trainable, in eval mode.

    folder: as `texts.minilm_folder` gives it. Needs the library transformers. Returns a Classifier.
    """
    model = Classifier(MiniLM(folder), n_classes, texts.MINILM.width)
    head = texts.new_head(texts.MINILM.width, n_classes, seed)
    model.head.load_state_dict(
        {"weight": torch.from_numpy(head["head.kernel"].T), "bias": torch.from_numpy(head["head.bias"])}
    )
    return model.eval()


def get_weights(model):
    """The weights by the course's names, copied: float32 arrays in the Keras layout."""
    return {name: (p.T if _turned(name) else p).detach().numpy().copy() for name, p in variables(model)}


@torch.no_grad()
def set_weights(model, values):
    """Copy weights by the course's names (as `texts.weights` returns them) into a model. Raises KeyError."""
    for name, parameter in variables(model):
        value = torch.from_numpy(values[name])
        parameter.copy_(value.T if _turned(name) else value)


def variables(model):
    """Every weight as (the course's name, parameter), in the order of `texts.weights`."""
    base = model.base
    yield "tokens", base.tokens.weight
    yield "positions", base.positions.weight
    for name in base.block_names:
        block = base.get_submodule(name)
        for part in ("query", "key", "value", "out", "up", "down"):
            yield f"{name}.{part}.kernel", block.get_submodule(part).weight
            yield f"{name}.{part}.bias", block.get_submodule(part).bias
        yield from _norm(f"{name}.norm1", block.norm1)
        yield from _norm(f"{name}.norm2", block.norm2)
    yield from _norm("norm", base.norm)
    yield "head.kernel", model.head.weight
    yield "head.bias", model.head.bias


def _norm(name, layer):
    yield f"{name}.gamma", layer.weight
    yield f"{name}.beta", layer.bias


def _turned(name):
    return name.endswith(".kernel")  # out, in here; in, out in the Keras layout


def text_mean(vectors, ids):
    """The mean of the vectors (n, length, width) over the places that hold a token: (n, width)."""
    real = (ids != 0).unsqueeze(-1)
    return (vectors * real).sum(1) / real.sum(1)


def features(base, ids, batch_size=100):
    """The mean vectors of texts, to store: float32 (n, width). ids: int32 (n, length), an array or a tensor."""
    parts = torch.as_tensor(ids).split(batch_size)
    with torch.no_grad():
        return torch.cat([text_mean(base(part), part) for part in parts]).numpy()


def next_token_logits(base, ids):
    """What the base holds likely to come after each place: logits (n, length, words), tied to the embedding."""
    return base(ids) @ base.tokens.weight.T


def next_token_loss(base, ids):
    """Mean cross-entropy, in nats a token, of the next-token logits: the base's own task."""
    vectors, target = base(ids[:, :-1]), ids[:, 1:]
    real = target != 0
    return functional.cross_entropy(vectors[real] @ base.tokens.weight.T, target[real])


@torch.no_grad()
def write(base, text, pieces=12):
    """How the base goes on with a text: a str of at most so many pieces more, always the likeliest one."""
    return texts.go_on(lambda ids: int(next_token_logits(base, torch.from_numpy(ids))[0, -1].argmax()), text, pieces)
