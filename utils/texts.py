"""Texts and the small transformer of notebook 08, in numpy only: what both frameworks load.

The texts are definitions from WordNet (Princeton University); the small transformer, the "writer", was pretrained on
others of them to write the next word. `read_csv` reads texts of the learner's own, `minilm_weights` a real base.
`data/README.md` tells where all this comes from.
"""

import csv
import functools
import io
import re
import sys
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils import data
from utils.data import DataError

CLASSES = ("animal", "artifact", "food", "location", "person", "plant")
SPLITS = ("pool", "validation", "test")
LENGTH = 24  # tokens of a text that are read, with begin and end: seven definitions of ten are shorter


# --- the course's texts ---------------------------------------------------------------------------------------------


def definitions(split, per_class=None, seed=0):
    """Definitions of one split, with their classes: what the thing is that a dictionary describes so.

    split: one of SPLITS. per_class: how many of each class, drawn by `seed`; None takes all. Returns a list of texts,
    sorted by class, and their numbers in CLASSES, int64 (n,). Raises ValueError for an unknown split or too large a
    per_class, DataError for a damaged file.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}")
    rng, texts, labels = np.random.default_rng([seed, 6]), [], []
    for label, name in enumerate(CLASSES):
        found = [row["text"] for row in _rows("target.csv") if (row["split"], row["label"]) == (split, name)]
        if per_class is not None:
            if not 1 <= per_class <= len(found):
                raise ValueError(f"per_class must be from 1 to {len(found)} for split {split!r}, got {per_class!r}")
            found = [found[i] for i in rng.choice(len(found), per_class, replace=False)]
        texts += found
        labels += [label] * len(found)
    return texts, np.array(labels, np.int64)


def source_definitions():
    """600 definitions of what is none of CLASSES, which the writer has not read: to measure what it forgets."""
    return [row["text"] for row in _rows("source.csv")]


@functools.cache
def vocabulary():
    """The writer's Vocabulary, made from what it was pretrained on."""
    return Vocabulary(_file("vocabulary.txt").split("\n"))


@functools.cache
def _rows(name):
    return list(csv.DictReader(io.StringIO(_file(name))))


def _file(name):
    with zipfile.ZipFile(io.BytesIO(data.checked("texts.zip"))) as archive:
        return archive.read(name).decode()


# --- a file of one's own --------------------------------------------------------------------------------------------

NEEDED, MOST = 4, 500  # texts a class: two to learn from and two to test on; more would not fit a minute
LARGEST_FILE = 200_000_000  # bytes


@dataclass
class Table:
    """What `read_csv` found: texts, labels int64 (n,) as numbers in `classes`, and in `notes` what was left out."""

    texts: list
    labels: np.ndarray
    classes: list
    notes: list

    def __str__(self):
        counts = ", ".join(f"{np.sum(self.labels == i)} {name}" for i, name in enumerate(self.classes))
        return "\n".join([f"{len(self.texts)} texts of {len(self.classes)} classes: {counts}", *self.notes])


def read_csv(path, text="text", label="label", seed=0):
    """The texts and labels of a CSV file with a heading: a Table.

    text, label: the headings of the two columns. Comma, semicolon or tab; UTF-8, UTF-16 or, failing these, Windows'
    Latin letters. Rows without a text or a label, and texts that come twice, are left out; of a class with more than
    500 texts, 500 are drawn by `seed`. Raises DataError, with what to do, for a file from which nothing can be learned.
    """
    rows, notes = _table(Path(path), text, label)
    found = {}
    for words, name in rows:
        found.setdefault(words, set()).add(name)
    torn = [words for words, names in found.items() if len(names) > 1]
    label_of = {words: name for words, (name, *more) in found.items() if not more}
    if len(found) < len(rows):
        notes.append(f"left out, texts that came before: {len(rows) - len(found):,}")
    if torn:
        notes.append(f"left out, texts under two labels: {len(torn):,}, such as {torn[0][:60]!r}")
    names, rng, texts, labels = sorted(set(label_of.values())), np.random.default_rng([seed, 9]), [], []
    if len(names) < 2:
        raise DataError(
            f"Found {len(label_of)} texts of {len(names)} class{'es' * (len(names) != 1)} in {path}: there must be two "
            f"different names or more in the column {label!r}."
        )
    if len(names) > len(label_of) // NEEDED:
        raise DataError(
            f"The column {label!r} of {path} has {len(names)} different names for {len(label_of)} texts: that is no "
            f"list of classes. Name the right column with label=..., or give {NEEDED} texts a class or more."
        )
    for number, name in enumerate(names):
        found = [words for words, of in label_of.items() if of == name]
        if len(found) < NEEDED:
            raise DataError(f"The class {name!r} has {len(found)} texts: {NEEDED} is the least. Add some, or drop it.")
        if len(found) > MOST:
            notes.append(f"left out, texts of {name}: {len(found) - MOST:,} of {len(found):,}")
            found = [found[i] for i in np.sort(rng.choice(len(found), MOST, replace=False))]
        texts += found
        labels += [number] * len(found)
    return Table(texts, np.array(labels, np.int64), names, notes)


def split(table, test=0.3, seed=0):
    """Rows of a Table for training and for testing, int64 each: of every class the share `test`, drawn by `seed`."""
    rng, train, tested = np.random.default_rng([seed, 10]), [], []
    for label in range(len(table.classes)):
        rows = rng.permutation(np.flatnonzero(table.labels == label))
        cut = max(1, round(test * len(rows)))
        tested.extend(rows[:cut])
        train.extend(rows[cut:])
    return np.sort(np.array(train, np.int64)), np.sort(np.array(tested, np.int64))


def _table(path, text, label):
    """([(text, label), ...] without empty ones, notes) of a CSV file."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path} has {path.stat().st_size / 1e6:.0f} MB: give a part of it, {MOST} texts a class.")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"There is no file {path}: check the name.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): give a CSV file.") from None
    if raw[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise DataError(f"{path} is a spreadsheet or an archive: save it as CSV (UTF-8) and give that file.")
    content, notes = _decoded(raw)
    head = content.lstrip("\n").split("\n", 1)[0]
    if not head.strip() or "\0" in content:
        raise DataError(f"{path} {'is empty' if not content.strip() else 'holds no text'}: give a CSV file.")
    between = max(",;\t", key=head.count)
    csv.field_size_limit(LARGEST_FILE)
    reader = csv.DictReader(io.StringIO(content.lstrip("\n"), newline=""), delimiter=between, restkey="")
    names = [(name or "").strip() for name in reader.fieldnames]
    missing = [name for name in (text, label) if name not in names]
    if missing:
        raise DataError(
            f"{path} has no column {' and none '.join(map(repr, missing))}, but {', '.join(map(repr, names))}: name "
            "yours with text=... and label=..., or write a heading into the first line."
        )
    reader.fieldnames = names
    rows = [(" ".join((row[text] or "").split()), (row[label] or "").strip()) for row in reader]
    kept = [row for row in rows if all(row)]
    if len(kept) < len(rows):
        notes.append(f"left out, rows without a text or a label: {len(rows) - len(kept):,}")
    return kept, notes


def _decoded(raw):
    """(the text of a file's bytes with \\n at the ends of its lines, notes)."""
    encodings = ["utf-16"] if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            content = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        notes = [] if encoding.startswith("utf") else ["read as Windows' Latin letters, since it is not UTF-8"]
        return content.replace("\r\n", "\n").replace("\r", "\n"), notes
    return "", []


# --- words and numbers ----------------------------------------------------------------------------------------------

SPECIAL = ("[pad]", "[unk]", "[bos]", "[eos]")  # padding, unknown, begin and end of a text


class Vocabulary:
    """Words and pieces of words ("##ing") by number, as in BERT (Devlin et al., 2018): lower case, no accents."""

    def __init__(self, words, special=SPECIAL):
        self.words, self.special = list(words), special
        self.numbers = {word: i for i, word in enumerate(self.words)}
        self.known = {}

    def encode(self, texts, length=LENGTH):
        """Token ids, int32 (n, length): begin, the text's pieces, end; longer texts are cut, shorter ones padded."""
        pad, _, begin, end = (self.numbers[name] for name in self.special)
        result = np.full((len(texts), length), pad, np.int32)
        for row, text in zip(result, texts, strict=True):
            ids = [begin, *(i for word in split_words(text) for i in self._pieces(word))][: length - 1] + [end]
            row[: len(ids)] = ids
        return result

    def decode(self, ids):
        """The text of token ids, without what stands for begin, end and padding."""
        words = [self.words[i] for i in ids if self.words[i] not in self.special]
        return " ".join(words).replace(" ##", "")

    def _pieces(self, word):
        """The longest known beginning, then the longest known piece of the rest, ...: or the number for unknown."""
        if word not in self.known:
            pieces, start = [], 0
            while start < len(word):
                prefix = "##" if start else ""
                ends = range(len(word), start, -1)
                end = next((end for end in ends if prefix + word[start:end] in self.numbers), None)
                if end is None:
                    pieces = [self.numbers[self.special[1]]]
                    break
                pieces.append(self.numbers[prefix + word[start:end]])
                start = end
            self.known[word] = pieces
        return self.known[word]


def go_on(likeliest, text, pieces=12):
    """The writer's way on with a text: its likeliest next piece, again and again, until it ends the text.

    likeliest: function that gives the number of the next piece after ids, int64 (1, n). Returns a str.
    """
    known, end = vocabulary(), SPECIAL.index("[eos]")
    ids = [i for i in known.encode([text])[0].tolist() if i not in (end, 0)]
    while pieces and len(ids) < WRITER.length and ids[-1] != end:
        ids.append(likeliest(np.array([ids])))
        pieces -= 1
    return known.decode(ids)


def split_words(text):
    """Words and signs, in lower case and without accents."""
    text = unicodedata.normalize("NFD", text.lower())
    return re.findall(r"[^\W_]+|[^\w\s]|_", "".join(c for c in text if unicodedata.category(c) != "Mn"))


# --- the small transformer and MiniLM -------------------------------------------------------------------------------


class Shape(NamedTuple):
    """How large a transformer is, and where its blocks normalize: before each part (and look back only), or after."""

    words: int
    length: int  # places
    width: int
    heads: int
    blocks: tuple
    pre_norm: bool
    epsilon: float


WRITER = Shape(4096, 32, 96, 4, tuple(f"block{i}" for i in range(1, 5)), True, 1e-5)
MINILM = Shape(30522, 512, 384, 12, tuple(f"block{i}" for i in range(1, 7)), False, 1e-12)
BASES = ("writer", "writer_seed1")


def weights(n_classes=None, seed=0, base="writer"):
    """The weights of the small transformer by name, for both twins: float32 arrays in the Keras layout.

    n_classes: of the new head, drawn by `seed` (Glorot uniform); None takes those of CLASSES. base: one of BASES, or
    None for random weights (normal, deviation 0.02, as the pretraining began). Raises DataError for a damaged file.
    """
    if base is None:
        rng = np.random.default_rng([seed, 7])
        result = {name: _random(name, shape, rng) for name, shape in weight_shapes(WRITER).items()}
    else:
        result = unpacked(_stored(base))
    return result | new_head(WRITER.width, n_classes or len(CLASSES), seed)


def unpacked(stored):
    """The weights of a base as float32, from how they are stored: the embedding as int8 with a scale for each token."""
    result = {name: array.astype(np.float32) for name, array in stored.items() if name != "tokens.scale"}
    result["tokens"] *= stored["tokens.scale"].astype(np.float32)[:, None]
    return result


def new_head(width, n_classes, seed=0):
    """The weights of a new head, drawn by `seed` (Glorot uniform): {"head.kernel", "head.bias"}, float32."""
    limit = np.sqrt(6 / (width + n_classes))
    kernel = np.random.default_rng([seed, 2]).uniform(-limit, limit, (width, n_classes))
    return {"head.kernel": kernel.astype(np.float32), "head.bias": np.zeros(n_classes, np.float32)}


def weight_shapes(shape):
    """The names and shapes of a base's weights, in the order that both twins keep: a dict."""
    wide, result = 4 * shape.width, {"tokens": (shape.words, shape.width), "positions": (shape.length, shape.width)}
    norms = [] if shape.pre_norm else ["embedding.norm"]
    for block in shape.blocks:
        for part in ("query", "key", "value", "out", "up", "down"):
            before, after = (wide if part == "down" else shape.width), (wide if part == "up" else shape.width)
            result |= {f"{block}.{part}.kernel": (before, after), f"{block}.{part}.bias": (after,)}
        norms += [f"{block}.norm1", f"{block}.norm2"]
    norms += ["norm"] if shape.pre_norm else []
    return result | {f"{norm}.{part}": (shape.width,) for norm in norms for part in ("gamma", "beta")}


def _random(name, shape, rng):
    if len(shape) == 1:
        return np.full(shape, float(name.endswith("gamma")), np.float32)
    return (0.02 * rng.standard_normal(shape)).astype(np.float32)


@functools.cache
def _stored(base):
    return data.arrays(f"{base}.npz", {*weight_shapes(WRITER), "tokens.scale"})


MINILM_FILES = {  # of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0): SHA-256
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}


def minilm_folder():
    """The folder with all-MiniLM-L6-v2, its files compared with MINILM_FILES; None, and one sentence, if there is none.

    It is data/minilm, where `tools/minilm.py` puts it; on Colab the files are fetched there from their home. Raises
    DataError for a file that is another one.
    """
    folder = data.FOLDER / "minilm"
    if "google.colab" in sys.modules and not all((folder / name).is_file() for name in MINILM_FILES):
        from huggingface_hub import hf_hub_download

        for name in MINILM_FILES:
            hf_hub_download("sentence-transformers/all-MiniLM-L6-v2", name, local_dir=folder)
    missing = [name for name in MINILM_FILES if not (folder / name).is_file()]
    if missing:
        print(
            "MiniLM is not here, and the cells about it are passed over: `python -m tools.minilm`, in the course's "
            "folder, fetches it once (84 MB)."
        )
        return None
    check_minilm(folder)
    return folder


def check_minilm(folder):
    """Raise DataError if a file of all-MiniLM-L6-v2 in the folder is another than MINILM_FILES says."""
    for name, expected in MINILM_FILES.items():
        if data.sha256(folder / name) != expected:
            raise DataError(
                f"{folder / name} is another file than the one that was tried: delete it, and fetch it anew."
            )


def minilm_weights(folder):
    """The weights of all-MiniLM-L6-v2 by the course's names, for `transformer_keras.build_minilm`: float32 arrays."""
    from safetensors.numpy import load_file

    stored = load_file(folder / "model.safetensors")
    parts = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "out": "attention.output.dense",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm1": "attention.output.LayerNorm",
        "norm2": "output.LayerNorm",
    }
    theirs = {"embedding.norm": "embeddings.LayerNorm"}
    theirs |= {f"block{i + 1}.{ours}": f"encoder.layer.{i}.{name}" for i in range(6) for ours, name in parts.items()}
    leaves = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}
    # every text is one segment here, so the vector that BERT adds for its number is part of each place's
    places = stored["embeddings.position_embeddings.weight"] + stored["embeddings.token_type_embeddings.weight"][0]
    result = {"tokens": stored["embeddings.word_embeddings.weight"], "positions": places}
    for name in weight_shapes(MINILM).keys() - result.keys():
        layer, leaf = name.rsplit(".", 1)
        value = stored[f"{theirs[layer]}.{leaves[leaf]}"]
        result[name] = np.ascontiguousarray(value.T) if leaf == "kernel" else value
    return result


def minilm_vocabulary(folder):
    """The Vocabulary of all-MiniLM-L6-v2."""
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    return Vocabulary(words, ("[PAD]", "[UNK]", "[CLS]", "[SEP]"))
