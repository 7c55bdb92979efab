"""Remake every file of data/ from Debian's package dataset-fashion-mnist: `python tools/build_data.py --help`.

Maintainers only: learners need nothing from here. Takes about 15 minutes on one core, nearly all of it for
pretraining the two bases.
"""

import argparse
import gzip
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "data"

import torch  # noqa: E402  (the course's modules and their libraries need the path above)
from tqdm import tqdm  # noqa: E402

from utils import data, torch_lab  # noqa: E402

CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# split: (the course's classes, part of Fashion-MNIST, images a class)
SPLITS = {
    "source_train": (data.SOURCE, "train", 200),
    "source_test": (data.SOURCE, "t10k", 200),
    "target_pool": (data.TARGET, "train", 400),
    "target_validation": (data.TARGET, "train", 200),
    "target_test": (data.TARGET, "t10k", 400),
}
EPOCHS, BATCH, RATE, DECAY = 40, 128, 3e-3, 1e-2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--fashion",
        type=Path,
        default=Path("/usr/share/datasets/fashion-mnist"),
        help="folder with the four idx files of the package (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="where to write (default: %(default)s)")
    parser.add_argument("--only", choices=["images", "base", "base_seed1"], help="remake one file")
    options = parser.parse_args()
    if not (options.fashion / "train-images-idx3-ubyte.gz").is_file():
        sys.exit(
            f"No Fashion-MNIST in {options.fashion}: run `apt-get install dataset-fashion-mnist`, or `apt-get download "
            "dataset-fashion-mnist`, `dpkg-deb -x` the package into a folder and name it with --fashion."
        )
    options.out.mkdir(parents=True, exist_ok=True)
    fashion = {part: read_part(options.fashion, part) for part in ("train", "t10k")}
    splits = choose(fashion)
    if options.only in (None, "images"):
        np.savez_compressed(options.out / "images.npz", **splits)
    for seed, name in enumerate(("base", "base_seed1")):
        if options.only in (None, name):
            # deflate gains little on weights, and without it the file's bytes do not depend on zlib's version
            np.savez(options.out / f"{name}.npz", **pretrain(*pretraining_images(fashion, splits), seed, name))
    finish(options.out)


def read_part(folder, part):
    """Images uint8 (n, 28, 28) and class names (n,) of one part of Fashion-MNIST, from its idx files."""

    def idx(name):
        raw = gzip.decompress((folder / name).read_bytes())
        shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)

    labels = idx(f"{part}-labels-idx1-ubyte.gz")
    return idx(f"{part}-images-idx3-ubyte.gz"), np.array(CLASSES)[labels]


def choose(fashion):
    """The first images of each class for every split, none of them twice (Fashion-MNIST holds some duplicates)."""
    taken, result = set(), {}
    # the test splits choose first, so that a duplicate is missing in training rather than in a test
    for split, (classes, part, count) in sorted(SPLITS.items(), key=lambda item: item[1][1] != "t10k"):
        images, names = fashion[part]
        chosen = []
        for name in classes:
            of_class = 0
            for i in np.flatnonzero(names == name):
                if of_class == count:
                    break
                if images[i].tobytes() not in taken:
                    taken.add(images[i].tobytes())
                    chosen.append(i)
                    of_class += 1
        result[f"{split}_x"] = images[chosen]
        result[f"{split}_y"] = np.repeat(np.arange(len(classes), dtype=np.uint8), count)
    return {key: result[key] for split in SPLITS for key in (f"{split}_x", f"{split}_y")}


def pretraining_images(fashion, splits):
    """All training images of the source classes but those that are in the source test split; that split."""
    images, names = fashion["train"]
    tested = {image.tobytes() for image in splits["source_test_x"]}
    keep = [i for i in np.flatnonzero(np.isin(names, data.SOURCE)) if images[i].tobytes() not in tested]
    labels = np.array([data.SOURCE.index(name) for name in names[keep]], np.int64)
    return images[keep], labels, splits["source_test_x"], splits["source_test_y"].astype(np.int64)


def pretrain(grey, labels, test_grey, test_labels, seed, name):
    """Train a fresh network on the source classes: every epoch renders each garment anew; AdamW, one cycle.

    Returns its weights. The test split is looked at once, at the end, and only printed.
    """
    torch.manual_seed(seed)
    model = torch_lab.build(len(data.SOURCE), seed, base=None)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    batches = len(grey) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * batches)
    targets = torch.from_numpy(labels)
    for epoch in (bar := tqdm(range(EPOCHS), desc=f"pretraining {name}", unit="epoch")):
        x = torch_lab.tensor(data.render(grey, "wild", 1000 * (seed + 1) + epoch))
        for batch in torch.randperm(len(grey)).split(BATCH)[:batches]:
            loss = torch.nn.functional.cross_entropy(model(x[batch].float() / 255), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    test = data.render(test_grey).astype(np.float32) / 255
    print(f"{name}: source test accuracy {torch_lab.accuracy(model, test, test_labels):.4f}")
    return torch_lab.get_weights(model)


def finish(out, names=("images.npz", "base.npz", "base_seed1.npz")):
    """Compare the files in `out` with those in data/, or write data/SHA256SUMS when `out` is data/ itself."""
    if out == FOLDER:
        files = sorted(path for kind in ("*.npz", "*.zip") for path in FOLDER.glob(kind))
        (FOLDER / "SHA256SUMS").write_text("".join(f"{data.sha256(path)}  {path.name}\n" for path in files))
    for path in (out / name for name in names if (out / name).is_file()):
        print(f"{data.sha256(path)}  {path.name}  {compare(path)}")


def compare(path):
    """In words, how a remade file stands to the one in data/."""
    committed = FOLDER / path.name
    if path == committed or not committed.is_file():
        return "written"
    if data.sha256(path) == data.sha256(committed):
        return "the same file"
    if path.suffix != ".npz":
        return "ANOTHER FILE"
    with np.load(path) as new, np.load(committed) as old:
        same = new.files == old.files and all(np.array_equal(new[key], old[key]) for key in new.files)
        # images, lite0: another zlib packs the same numbers otherwise. base: another CPU rounds the training otherwise.
        return "the same arrays, packed otherwise" if same else "OTHER ARRAYS"


if __name__ == "__main__":
    main()
