"""Photographs and the ImageNet base of notebook 07, in numpy and Pillow only: what both frameworks load.

The photographs of the course (`photographs`, `deal`), a folder or zip file of the learner (`read_folder`, `split`), and
EfficientNet-Lite0 (Tan and Le, 2019, without squeeze-and-excitation and with ReLU6): its table of convolutions and its
weights. `data/README.md` tells where they come from.
"""

import csv
import functools
import hashlib
import io
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from utils import data
from utils.data import DataError

SIZE = 96  # pixels a side, unless another size is asked for

# --- the course's photographs ---------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=3)
def photographs(size=SIZE):
    """The course's own photographs as a Folder, as `read_folder` returns one. Raises DataError for a damaged file."""
    return read_folder(io.BytesIO(data.checked("photos.zip")), size)


def credits():
    """Who made the photographs: a list of dicts with file, licence, author and source."""
    with zipfile.ZipFile(io.BytesIO(data.checked("photos.zip"))) as archive:
        return list(csv.DictReader(io.StringIO(archive.read("CREDITS.csv").decode())))


def deal(folder, train=10, validation=5, seed=0):
    """Rows of a Folder for training, validation and testing, int64 each: so many of each class, the rest to the test.

    Dealt out by `seed`; each part is sorted by class. Classes differ in size, so average over them in the test
    (`balanced_accuracy`). Raises ValueError where a class has too few pictures to leave any for the test.
    """
    rng, parts = np.random.default_rng([seed, 4]), ([], [], [])
    for label, name in enumerate(folder.classes):
        rows = rng.permutation(np.flatnonzero(folder.labels == label))
        if len(rows) <= train + validation:
            raise ValueError(f"{name} has {len(rows)} pictures: too few for {train} and {validation} and a test")
        for part, chosen in zip(parts, np.split(rows, [train, train + validation]), strict=True):
            part.extend(chosen)
    return tuple(np.array(part, np.int64) for part in parts)


def balanced_accuracy(answers, y):
    """The mean over classes of the share that was answered right: a float from 0 to 1. answers, y: int (n,)."""
    return float(np.mean([np.mean(answers[y == label] == label) for label in np.unique(y)]))


# --- a folder of one's own ------------------------------------------------------------------------------------------

KINDS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
UNREAD = {".heic": "HEIC, as iPhones store it: export it as JPEG", ".heif": "HEIF: export it as JPEG"}
UNREAD |= {".avif": "AVIF: export it as JPEG", ".mp4": "a film", ".mov": "a film", ".pdf": "a PDF, not a picture"}
NEEDED = 4  # pictures a class: two to learn from and two to test on, at the very least
LARGEST_FILE, LARGEST_PICTURE = 100_000_000, 200_000_000  # bytes; pixels: beyond that it is a mistake, or an attack
ALIKE = 4  # of 64 bits of a picture's print may differ in what counts as the same scene


@dataclass
class Folder:
    """What `read_folder` found: pictures uint8 (n, size, size, 3), labels int64 (n,), and their names.

    groups: int64 (n,), equal for pictures of a class that look alike (a burst, a copy at another size): `split` keeps
    them on one side. left_out: (file, reason) of everything that was not taken.
    """

    pictures: np.ndarray
    labels: np.ndarray
    classes: list
    files: list
    groups: np.ndarray
    left_out: list = field(default_factory=list)

    def __str__(self):
        counts = ", ".join(f"{np.sum(self.labels == i)} {name}" for i, name in enumerate(self.classes))
        lines = [f"{len(self.labels)} pictures of {len(self.classes)} classes: {counts}"]
        lines += [f"left out: {name} ({why})" for name, why in self.left_out[:10]]
        if len(self.left_out) > 10:
            lines.append(f"left out: {len(self.left_out) - 10} more, see `left_out`")
        return "\n".join(lines)


def read_folder(path, size=SIZE):
    """All pictures of a folder, or of a zip file, that holds a subfolder for each class: a Folder.

    path: of the folder or zip file (or an open file). Deeper folders count to their class; hidden files are passed
    over. Every picture is turned upright (EXIF), set on white where it is transparent, cut to its middle square and
    scaled down; only that is kept in memory. Raises DataError, with what to do, where there are no classes to learn.
    """
    left_out, kept = [], []
    classes, entries = _entries(path)
    prints = {}
    for name, label, read in tqdm(entries, desc="reading pictures", unit="picture", delay=2, leave=False):
        try:
            picture = _picture(name, read, size)
        except Exception as error:  # whatever a damaged file makes of a decoder
            left_out.append((name, str(error) or type(error).__name__))
            continue
        same = prints.setdefault(hashlib.sha256(picture.tobytes()).digest(), (name, label))
        if same[0] != name:
            where = "" if same[1] == label else ", in another class"
            left_out.append((name, f"the same picture as {same[0]}{where}"))
        else:
            kept.append((picture, label, name))
    counts = np.bincount([label for _, label, _ in kept], minlength=len(classes))
    found = [label for label, count in enumerate(counts) if count]
    left_out += [
        (classes[i], "a folder without a picture that can be read") for i in range(len(classes)) if not counts[i]
    ]
    if not _is_zip(path):
        empty = [part.name for part in sorted(Path(path).iterdir()) if part.is_dir() and not any(part.iterdir())]
        left_out += [(name, "an empty folder") for name in empty]
    if len(found) < 2:
        raise DataError(
            f"Found pictures of {len(found)} class{'es' * (len(found) != 1)} and {len(left_out)} other files: put "
            "the pictures of each class into a subfolder of its own, for two classes or more."
        )
    few = [f"{classes[label]} ({counts[label]})" for label in found if counts[label] < NEEDED]
    if few:
        raise DataError(
            f"Too few pictures to learn from and to test on: {', '.join(few)}. Add some: {NEEDED} is the least."
        )
    labels = np.array([found.index(label) for _, label, _ in kept], np.int64)
    x = np.stack([picture for picture, _, _ in kept])
    names = [name for _, _, name in kept]
    groups = np.concatenate([alike(x[labels == i]) + np.argmax(labels == i) for i in range(len(found))])
    return Folder(x, labels, [classes[label] for label in found], names, groups, left_out)


def split(folder, test=0.3, seed=0):
    """Rows for training and for testing, int64 each: of every class about the share `test`, drawn by `seed`.

    Pictures of one group stay on one side, and each class has at least one group on both. Raises DataError where all
    pictures of a class look alike.
    """
    rng, train, tested = np.random.default_rng([seed, 5]), [], []
    for label, name in enumerate(folder.classes):
        of_class = folder.labels == label
        *groups, last = rng.permutation(np.unique(folder.groups[of_class]))  # at least one to learn from
        if not groups:
            raise DataError(f"All pictures of {name} look alike: there is nothing to test on. Add different ones.")
        wanted, chosen = max(1, round(test * of_class.sum())), []
        for group in groups:
            if len(chosen) < wanted:
                chosen.extend(np.flatnonzero(folder.groups == group))
        tested.extend(chosen)
        train.extend(np.setdiff1d(np.flatnonzero(of_class), chosen))
    return np.sort(np.array(train, np.int64)), np.sort(np.array(tested, np.int64))


def _entries(path):
    """(class names, [(name, label, function that reads its bytes), ...]) of a folder or zip file, in a fixed order."""
    files = _in_zip(path) if _is_zip(path) else _in_folder(Path(path))
    files = {name: read for name, read in sorted(files.items()) if not any(map(_hidden, name.split("/")))}
    while len({name.split("/")[0] for name in files}) == 1 and all(name.count("/") > 1 for name in files):
        files = {name.split("/", 1)[1]: read for name, read in files.items()}  # a folder around the classes' folders
    inside = {name: read for name, read in files.items() if "/" in name}
    if not inside:
        raise DataError(
            f"No subfolders with files in {getattr(path, 'name', path)}: put the pictures of each class into a "
            "subfolder that has the class's name."
        )
    classes = sorted({name.split("/")[0] for name in inside})
    return classes, [(name, classes.index(name.split("/")[0]), read) for name, read in inside.items()]


def _is_zip(path):
    return hasattr(path, "read") or str(path).lower().endswith(".zip")


def _hidden(part):
    return part.startswith((".", "__MACOSX")) or part.lower() in ("thumbs.db", "desktop.ini")


def _in_folder(path):
    """name -> function that reads the file, for all files below a folder; links to folders are not followed."""
    if not path.is_dir():
        raise DataError(
            f"There is no folder {path}: check the name, or give the folder that holds a subfolder a class."
        )
    found = {}
    for folder, _, names in os.walk(path):
        for file in (Path(folder) / name for name in names):
            found[file.relative_to(path).as_posix()] = functools.partial(_bytes_of, file)
    return found


def _bytes_of(file):
    if file.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{file.stat().st_size / 1e6:.0f} MB: too large for a photograph")
    return file.read_bytes()


def _in_zip(path):
    """The same for a zip file. Nothing is unpacked to disk, so no name in it can lead out of a folder."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DataError(f"There is no file {path}: check the name.") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{getattr(path, 'name', path)} cannot be read as a zip file ({error}): make it anew."
        ) from None

    def read(part):
        if part.file_size > LARGEST_FILE:
            raise ValueError(f"{part.file_size / 1e6:.0f} MB: too large for a photograph")
        return archive.read(part)

    return {part.filename: functools.partial(read, part) for part in archive.infolist() if not part.is_dir()}


def _picture(name, read, size):
    """One file as uint8 (size, size, 3): upright, on white, its middle square, scaled down. Raises what goes wrong."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in KINDS:
        raise ValueError(UNREAD.get(suffix, f"no picture: {suffix or 'no suffix'}"))
    try:
        with Image.open(io.BytesIO(read())) as image:
            if image.width * image.height > LARGEST_PICTURE:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            image.draft("RGB", (2 * size, 2 * size))  # a JPEG is then decoded at a fraction of its size, much faster
            image.load()
            image = ImageOps.exif_transpose(image)  # telephones store "turn me" instead of turning
            if image.mode.startswith("I") or image.mode == "F":  # 16 bits or more of grey: scaled, not cut off
                grey = np.asarray(image, np.float64)
                image = Image.fromarray((255 * (grey - grey.min()) / max(np.ptp(grey), 1)).astype(np.uint8))
            if image.has_transparency_data:  # converted to RGB, it would show what lies hidden there
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS))
    except (ValueError, MemoryError):
        raise
    except Exception as error:
        raise ValueError("damaged, or no picture inside") from error


def alike(x):
    """A number for each picture, int64 (n,), the same for those that look alike: whose prints differ in few bits.

    The print of a picture is whether it grows lighter from each of 8 x 9 places to the next (a "difference hash").
    """
    small = [np.asarray(Image.fromarray(picture).convert("L").resize((9, 8)), np.int16) for picture in x]
    bits = np.array([(grey[:, 1:] > grey[:, :-1]).ravel() for grey in small])
    signs, groups = bits * np.float32(2) - 1, np.arange(len(x))
    for i in range(0, len(x), 500):
        near = signs[i : i + 500] @ signs.T >= signs.shape[1] - 2 * ALIKE
        for others in near:
            same = np.unique(groups[others])
            if len(same) > 1:
                groups[np.isin(groups, same)] = same[0]
    return groups


# --- the base -------------------------------------------------------------------------------------------------------

# stage: blocks, kernel, stride of its first block, how many times wider inside, channels out
STAGES = {
    "stage1": (1, 3, 1, 1, 16),
    "stage2": (2, 3, 2, 6, 24),
    "stage3": (2, 5, 2, 6, 40),
    "stage4": (3, 3, 2, 6, 80),
    "stage5": (3, 5, 1, 6, 112),
    "stage6": (4, 5, 2, 6, 192),
    "stage7": (1, 3, 1, 6, 320),
}
BLOCKS = ("stem", *STAGES, "top")  # what is frozen or opened
STEM, FEATURES, EPSILON = 32, 1280, 1e-3
NORM = ("gamma", "beta", "mean", "variance")  # of BatchNorm


class Convolution(NamedTuple):
    """A convolution without bias; BatchNorm follows, and ReLU6 if `relu`. before, after: channels."""

    name: str  # such as "stage2.1.expand"
    kernel: int
    stride: int
    before: int
    after: int
    depthwise: bool = False
    relu: bool = True


def convolutions(block):
    """The convolutions of one of BLOCKS, in order: Convolutions."""
    if block not in STAGES:
        yield (
            Convolution("stem.conv", 3, 2, 3, STEM) if block == "stem" else Convolution("top.conv", 1, 1, 320, FEATURES)
        )
        return
    names = list(STAGES)
    before = STEM if block == "stage1" else STAGES[names[names.index(block) - 1]][-1]
    blocks, kernel, stride, wider, after = STAGES[block]
    for i in range(blocks):
        inside = before * wider
        if wider > 1:
            yield Convolution(f"{block}.{i}.expand", 1, 1, before, inside)
        yield Convolution(f"{block}.{i}.depthwise", kernel, stride if i == 0 else 1, inside, inside, depthwise=True)
        yield Convolution(f"{block}.{i}.project", 1, 1, inside, after, relu=False)
        before = after


def padding(kernel, stride):
    """Pixels before and after a side: TensorFlow's "same" for an even size, as the weights were trained with."""
    return (kernel - stride) // 2, (kernel - stride + 1) // 2


@functools.cache
def _stored():
    parts = ("kernel", *NORM)
    names = {f"{one.name}.{part}" for block in BLOCKS for one in convolutions(block) for part in parts}
    return data.arrays("lite0.npz", names | {"head.kernel", "head.scale", "head.bias", "head.classes"})


def weights(n_classes=None, seed=0):
    """The weights of EfficientNet-Lite0 by name, for both twins: float32 arrays in the Keras layout.

    n_classes: None keeps ImageNet's head (1,000 classes, see `imagenet_classes`); a number gives a new head drawn by
    `seed` (Glorot uniform). Raises DataError for a damaged file.
    """
    stored = _stored()
    result = {name: array.astype(np.float32) for name, array in stored.items() if not name.startswith("head.")}
    if n_classes is None:
        kernel, bias = stored["head.kernel"] * stored["head.scale"], stored["head.bias"]
    else:
        limit = np.sqrt(6 / (FEATURES + n_classes))
        kernel = np.random.default_rng([seed, 2]).uniform(-limit, limit, (FEATURES, n_classes))
        bias = np.zeros(n_classes)
    return result | {"head.kernel": kernel.astype(np.float32), "head.bias": bias.astype(np.float32)}


def imagenet_classes():
    """The names of ImageNet's 1,000 classes, in the order of the head's answers: a list of str."""
    return _stored()["head.classes"].tobytes().decode().split("\n")


def prepare(x):
    """Pictures as this base was trained on them: uint8 (n, size, size, 3) to float32 (x - 127) / 128, in [-1, 1]."""
    return (x.astype(np.float32) - 127) / 128
