"""Remake data/texts.zip and the two bases of notebook 08 from a Debian package: `python tools/build_texts.py --help`.

Maintainers only: learners need nothing from here. The bases take about 20 minutes each on one quiet core. The package
is looked for in --from:

    apt-get download wordnet-base=1:3.0-37
"""

import argparse
import csv
import hashlib
import io
import math
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  (the course's modules and their libraries need the path above)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402
from tqdm import tqdm  # noqa: E402

from tools import build_data  # noqa: E402
from utils import data, texts, transformer_torch  # noqa: E402

PACKAGE = "wordnet-base_1%3a3.0-37_all.deb"
SUM = "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"
PARTS = ("noun", "verb", "adj", "adv")
LEXICOGRAPHER = {5: "animal", 6: "artifact", 13: "food", 15: "location", 18: "person", 20: "plant"}  # lexnames(5WN)
SIZES = {"test": 150, "validation": 150, "pool": 950}  # texts a class, at most
SOURCE_TEXTS = 600
STEPS, BATCH, RATE, DECAY, WARM_UP = 9_000, 64, 2e-3, 0.05, 200
TOGETHER = 40  # batches that are drawn at once and sorted by length: less padding


class Entry(NamedTuple):
    """A synset: its key, its class (None if it is none of texts.CLASSES), a word for it, definition, examples."""

    key: str
    label: str
    word: str
    text: str
    examples: list


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, default=Path(), help="folder with the package")
    parser.add_argument("--out", type=Path, default=data.FOLDER, help="where to write (default: %(default)s)")
    parser.add_argument("--only", choices=["texts", *texts.BASES], help="remake one file")
    options = parser.parse_args()
    path = options.source / PACKAGE
    if not path.is_file():
        sys.exit(f"No {PACKAGE} in {options.source.resolve()}: run `apt-get download wordnet-base=1:3.0-37` there.")
    if data.sha256(path) != SUM:
        sys.exit(f"{path} is another file than the one that was tried (its SHA-256 differs): fetch it anew.")
    options.out.mkdir(parents=True, exist_ok=True)
    read, target, source = splits(list(entries(path)))
    vocabulary = make_vocabulary(read)
    if options.only in (None, "texts"):
        (options.out / "texts.zip").write_bytes(archive(target, source, vocabulary, notice(path)))
    for seed, name in enumerate(texts.BASES):
        if options.only in (None, name):
            np.savez(options.out / f"{name}.npz", **pretrain(read, source, vocabulary, seed, name))
    build_data.finish(options.out, ("texts.zip", *(f"{name}.npz" for name in texts.BASES)))


# --- texts ----------------------------------------------------------------------------------------------------------


def files(package, wanted):
    """The files of a Debian package whose path ends as wanted: {path: bytes}."""
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {
            end: archive.extractfile(m).read() for m in archive if m.isfile() for end in wanted if m.name.endswith(end)
        }


def notice(package):
    """WordNet's licence, as the package words it."""
    return files(package, ["wordnet-base/copyright"])["wordnet-base/copyright"].decode().split("\nFiles: debian/*")[0]


def entries(package):
    """Every synset of WordNet as an Entry, in the order of its files."""
    for part, raw in files(package, [f"wordnet/data.{part}" for part in PARTS]).items():
        for line in raw.decode("latin-1").splitlines():
            if line.startswith("  "):  # the licence
                continue
            left, _, gloss = line.partition(" | ")
            fields = left.split()
            label = LEXICOGRAPHER.get(int(fields[1])) if part.endswith("noun") else None
            text = gloss.split('; "')[0].strip()
            yield Entry(
                part[-4:] + fields[0], label, fields[4].replace("_", " "), text, re.findall(r'"([^"]*)"', gloss)
            )


def splits(found):
    """(entries to pretrain on, {split: entries of texts.CLASSES}, source entries to measure forgetting on).

    By a hash of its key an entry is read in pretraining, without its class, or is left for the target task. Texts that
    differ in names and numbers only count as one, and the first keeps its place.
    """
    read, left, source, seen = [], [], [], set()
    for entry in found:
        turn = int(hashlib.sha256(entry.key.encode()).hexdigest(), 16) % 100
        if entry.label and turn >= 50:
            left.append(entry)
        elif turn >= 97:
            source.append(entry)
        else:
            read.append(entry)
            seen.add(plain(entry.text))
    fresh = []
    for entry in left + source:
        if len(plain(entry.text)) > 5 and plain(entry.text) not in seen:
            seen.add(plain(entry.text))
            fresh.append(entry)
    target = {split: [] for split in SIZES}
    for number, label in enumerate(texts.CLASSES):
        of_class = [entry for entry in fresh if entry.label == label]
        order = iter(np.random.default_rng([8, number]).permutation(len(of_class)))
        for split, size in SIZES.items():
            target[split] += [of_class[i] for i, _ in zip(order, range(size), strict=False)]
    others = [entry for entry in fresh if not entry.label]
    chosen = np.random.default_rng([8, len(texts.CLASSES)]).permutation(len(others))[:SOURCE_TEXTS]
    return read, target, [others[i] for i in chosen]


def plain(text):
    """A text without names, numbers and signs."""
    return re.sub(r"\W+", " ", re.sub(r"\b[A-Z0-9]\S*", "", text)).strip()


def corpus(read):
    """What is read in pretraining: definitions, then examples."""
    return [entry.text for entry in read] + [example for entry in read for example in entry.examples]


def make_vocabulary(read):
    """A Vocabulary of word pieces from what is read in pretraining, and from nothing else."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=texts.SPECIAL[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=texts.WRITER.words, special_tokens=list(texts.SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator((" ".join(texts.split_words(text)) for text in corpus(read)), trainer)
    # sorted: the trainer numbers what is equally frequent otherwise from run to run
    return texts.Vocabulary([*texts.SPECIAL, *sorted(tokenizer.get_vocab().keys() - set(texts.SPECIAL))])


def archive(target, source, vocabulary, licence):
    """The bytes of texts.zip."""
    rows = [(split, e.label, e.word, e.text) for split in texts.SPLITS for e in target[split]]
    parts = {
        "target.csv": table(("split", "label", "word", "text"), rows),
        "source.csv": table(("word", "text"), [(e.word, e.text) for e in source]),
        "vocabulary.txt": "\n".join(vocabulary.words),
        "LICENCE.txt": licence,
    }
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target_file:
        for name, text in parts.items():
            target_file.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return result.getvalue()


def table(head, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


# --- pretraining ----------------------------------------------------------------------------------------------------


def pretrain(read, source, vocabulary, seed, name):
    """Train a fresh transformer to write the next word; AdamW, warm-up, then half a cosine. Returns what is stored."""
    ids = torch.from_numpy(vocabulary.encode(corpus(read), texts.WRITER.length)).long()
    lengths = (ids != 0).sum(1)
    ids, lengths = ids[lengths >= 4], lengths[lengths >= 4]
    held = torch.from_numpy(vocabulary.encode([entry.text for entry in source], texts.WRITER.length)).long()
    model = transformer_torch.build(seed=seed, base=None)
    base, draw = model.base, torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(base.parameters(), RATE, betas=(0.9, 0.98), weight_decay=DECAY, fused=True)
    for step in (bar := tqdm(range(STEPS), desc=f"pretraining {name}", unit="step", mininterval=5)):
        if step % TOGETHER == 0:
            drawn = torch.randint(len(ids), (BATCH * TOGETHER,), generator=draw)
            drawn = drawn[lengths[drawn].argsort()].view(TOGETHER, BATCH)[torch.randperm(TOGETHER, generator=draw)]
        rows = drawn[step % TOGETHER]
        for group in optimizer.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * step / STEPS))
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (0.97 * cosine + 0.03)
        loss = transformer_torch.next_token_loss(base, ids[rows, : int(lengths[rows].max())])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(base.parameters(), 1.0)
        optimizer.step()
        if step % 500 == 499:
            bar.set_postfix(loss=f"{loss.item():.3f}", held_out=f"{measured(base, held):.3f}")
    values = stored(transformer_torch.get_weights(model))
    transformer_torch.set_weights(model, texts.unpacked(values) | texts.new_head(texts.WRITER.width, 6))
    print(f"{name}: loss on held-out definitions, as stored: {measured(base, held):.4f}")
    return values


@torch.no_grad()
def measured(base, held):
    """The next-token loss on held-out definitions, in nats a token."""
    return float(transformer_torch.next_token_loss(base, held))


def stored(values):
    """What is kept of the weights: the embedding as int8 with a scale for each token, the rest as float16."""
    scale = (np.abs(values["tokens"]).max(1) / 127).astype(np.float16)
    rounded = np.clip(np.round(values["tokens"] / scale[:, None].astype(np.float32)), -127, 127).astype(np.int8)
    rest = {
        name: value.astype(np.float16) for name, value in values.items() if not name.startswith(("head.", "tokens"))
    }
    return {"tokens": rounded, "tokens.scale": scale, **rest}


if __name__ == "__main__":
    main()
