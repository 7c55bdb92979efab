"""The images and the base's weights, in numpy only: what both frameworks load, so that both get the same numbers.

The pictures are Fashion-MNIST garments (28x28, grey) that `render` puts on coloured backgrounds (32x32 RGB) each time
they are asked for. `render` uses only operations whose result IEEE 754 fixes (no sine, no exponential, no normal
deviates), so a seed gives the same bytes on every machine. `data/README.md` tells where the files come from.
"""

import functools
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "data"
SOURCE = ("T-shirt", "Pullover", "Sandal", "Shirt", "Ankle boot")  # what the base was pretrained on
TARGET = ("Trouser", "Dress", "Coat", "Sneaker", "Bag")  # what it is fine-tuned for
SPLITS = ("source_train", "source_test", "target_pool", "target_validation", "target_test")
DIGITS = tuple("0123456789")  # the far target: no garments at all
DIGIT_SPLITS = {"digits_pool": 90, "digits_validation": 24, "digits_test": 60}  # pictures of each digit
STYLES = ("wild", "studio")
SIZE = 32  # pixels a side of a rendered picture
CHANNELS = (16, 32, 64, 64)  # of block1 .. block4
STRIDES = (2, 2, 2, 1)
BLOCKS = tuple(f"block{i + 1}" for i in range(len(CHANNELS)))
LARGEST = 100_000_000  # bytes of a file of data/, packed and unpacked: twenty times what the course has


class DataError(Exception):
    """A file of `data/` is missing or damaged; the message says which and what to do."""


def images(split, style="wild", per_class=None, seed=0):
    """Rendered pictures of one split with their labels, sorted by class.

    split: one of SPLITS or DIGIT_SPLITS. style: "wild" (cluttered) or "studio" (plain). per_class: how many of each
    class, drawn by `seed`; None takes all. Returns x, float32 (n, 32, 32, 3) in [0, 1], channels last, and
    y, int64 (n,).
    Raises ValueError for an unknown split or style or too large a per_class, DataError for a damaged file.
    """
    _one_of("split", split, (*SPLITS, *DIGIT_SPLITS))
    pictures, y = _rendered(split, style, per_class, seed)
    pixels = pictures.astype(np.float32)
    pixels /= np.float32(255)  # in place: np.divide(pictures, ..., dtype=np.float32) takes 9 times as long
    return pixels, y.copy()


@functools.lru_cache(maxsize=4)  # a sweep asks for the same pictures again and again
def _rendered(split, style, per_class, seed):
    """The same as `images`, uint8 and not to be written to."""
    arrays = _digits() if split in DIGIT_SPLITS else _load("images.npz")
    grey, y = arrays[f"{split}_x"], arrays[f"{split}_y"].astype(np.int64)
    if per_class is not None:
        rng = np.random.default_rng(seed)
        smallest = int(np.bincount(y).min())
        if not 1 <= per_class <= smallest:
            raise ValueError(f"per_class must be from 1 to {smallest} for split {split!r}, got {per_class!r}")
        chosen = [rng.choice(np.flatnonzero(y == c), per_class, replace=False) for c in range(y.max() + 1)]
        grey, y = grey[np.concatenate(chosen)], y[np.concatenate(chosen)]
    return render(grey, style, seed), y


def render(grey, style="wild", seed=0):
    """Colour pictures of grey garments: "wild" turns, tints and sets them before clutter, "studio" only frames them.

    grey: uint8 (n, 28, 28). Returns uint8 (n, 32, 32, 3), the same bytes on every machine. Raises ValueError for an
    unknown style.
    """
    _one_of("style", style, STYLES)
    if style == "studio":
        margin = (SIZE - 28) // 2
        framed = np.pad(grey, ((0, 0), (margin, margin), (margin, margin)))
        return np.repeat(framed[..., None], 3, axis=-1)
    rng = np.random.default_rng([seed, 1])
    parts = [_wild(grey[i : i + 500], rng) for i in range(0, len(grey), 500)]  # in parts: they fit the cache
    return np.concatenate(parts) if parts else np.zeros((0, SIZE, SIZE, 3), np.uint8)


def weights(n_classes=None, seed=0, base="base"):
    """The weights of the course's network by name, for both twins: a base, and a head.

    n_classes: None keeps the head that the base was pretrained with (5 source classes); a number gives a new head,
    drawn by `seed` (Glorot uniform). base: the file in data/ ("base", or "base_seed1" for the second, independent
    pretraining), or None for random blocks (He normal) drawn by the same seed. Returns a dict of float32 arrays in the
    Keras layout: kernels (height, width, in, out), "block1.conv.kernel" to "head.bias". Raises DataError.
    """
    rng = np.random.default_rng([seed, 2])
    width = CHANNELS[-1]
    limit = np.sqrt(6 / (width + (n_classes or len(SOURCE))))
    head = rng.uniform(-limit, limit, (width, n_classes or len(SOURCE))).astype(np.float32)
    result = _random_base(rng) if base is None else dict(_load(f"{base}.npz"))
    if n_classes is not None or base is None:
        result |= {"head.kernel": head, "head.bias": np.zeros(head.shape[1], np.float32)}
    return result


def sha256(path):
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checked(name):
    """The bytes of data/NAME, after their checksum was compared with data/SHA256SUMS. Raises DataError."""
    path, mend = FOLDER / name, _mend(name)
    try:
        sums = dict(reversed(line.split()) for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
        expected = sums[name]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"data/SHA256SUMS is missing, damaged or does not list {name}; "
            "restore it with `git checkout -- data/SHA256SUMS` or fetch the course again."
        ) from error
    try:
        with open(path, "rb") as file:
            raw = file.read(LARGEST)
    except FileNotFoundError:
        raise DataError(f"data/{name} is missing; {mend}.") from None
    except OSError as error:
        raise DataError(f"data/{name} cannot be read ({error.strerror}); {mend}.") from None
    if hashlib.sha256(raw).hexdigest() != expected:
        raise DataError(f"data/{name} is damaged (its checksum is not the one in data/SHA256SUMS); {mend}.")
    return raw


def arrays(name, needed):
    """The arrays of the npz file data/NAME, by name; it must hold those that are needed. Raises DataError."""
    found = _unpacked(checked(name))  # the checksum vouches for the file, but not if the list was changed as well
    if found is None or found.keys() != needed:
        mend = _mend(name)
        raise DataError(f"data/{name} does not hold the arrays that the course needs; {mend}, with data/SHA256SUMS.")
    return found


def _mend(name):
    return f"restore it with `git checkout -- data/{name}` or fetch the course again"


@functools.cache
def _load(name):
    """The arrays of data/NAME, one of the files of the small pictures; read once."""
    return arrays(name, _names(name))


def _unpacked(raw):
    """The arrays of an npz file's bytes, by name; None if it is none, is too big unpacked, or holds pickled objects."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if sum(part.file_size for part in archive.infolist()) > LARGEST:
                return None
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception:  # BadZipFile, zlib.error, EOFError, TokenError, MemoryError, ...: whatever the bytes lead to
        return None


def _names(file):
    """The names of the arrays in a file of data/."""
    if file == "images.npz":
        return {f"{split}_{part}" for split in SPLITS for part in "xy"}
    return {"head.kernel", "head.bias", *_random_base(np.random.default_rng(0))}


@functools.cache
def _digits():
    """scikit-learn's handwritten digits, 8x8 scaled to 24x24 and framed to 28x28, in the splits of DIGIT_SPLITS."""
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    small, at = np.unique(small.astype(np.int64), axis=0, return_index=True)  # none twice
    labels, result = labels[at], {}
    for digit in range(10):
        # in the order of the collection, and dealt out in turn: each split gets something of every writer
        of_digit = small[labels == digit][np.argsort(at[labels == digit])][: sum(DIGIT_SPLITS.values())]
        turn = np.arange(len(of_digit)) % 29
        for split, low, high in (("digits_pool", 0, 15), ("digits_validation", 15, 19), ("digits_test", 19, 29)):
            chosen = of_digit[(low <= turn) & (turn < high)]
            result.setdefault(f"{split}_x", []).append(_scaled(chosen.reshape(-1, 8, 8)))
            result.setdefault(f"{split}_y", []).append(np.full(len(chosen), digit, np.uint8))
    return {name: np.concatenate(parts) for name, parts in result.items()}


def _scaled(small):
    """8x8 digits of 0 to 16 as 28x28 of 0 to 255: linear between pixels, in whole numbers, so exact everywhere."""
    place = np.clip(np.arange(24) - 1, 0, 21)  # of each new pixel, in thirds of an old one
    low, part = place // 3, place % 3
    high = np.minimum(low + 1, 7)
    rows = small[:, low] * (3 - part)[:, None] + small[:, high] * part[:, None]
    both = rows[:, :, low] * (3 - part) + rows[:, :, high] * part  # 9 times the old scale: 0 to 144
    return np.pad(((both * 255 + 72) // 144).astype(np.uint8), ((0, 0), (2, 2), (2, 2)))


def _random_base(rng):
    result, before = {}, 3
    for block, channels in zip(BLOCKS, CHANNELS, strict=True):
        kernel = rng.standard_normal((3, 3, before, channels)) * np.sqrt(2 / (9 * before))
        result[f"{block}.conv.kernel"] = kernel.astype(np.float32)
        for name, value in (("gamma", 1), ("beta", 0), ("mean", 0), ("variance", 1)):
            result[f"{block}.bn.{name}"] = np.full(channels, value, np.float32)
        before = channels
    return result


def _one_of(what, value, allowed):
    if value not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


# --- the wild style -------------------------------------------------------------------------------------------------


def _wild(grey, rng):
    """One part of `render`'s wild style; see there. Each random number is drawn once for the whole part."""

    def draw(low, high, *shape):  # not rng.uniform: its C code may fuse multiply and add, and then differ in a bit
        return rng.random((len(grey), *shape), dtype=np.float32) * np.float32(high - low) + np.float32(low)

    garment = _moved(grey, draw)
    shade = _mixture(rng, draw)[..., None]
    one, other = draw(0, 1, 1, 1, 3), draw(0, 1, 1, 1, 3)
    background = (one * shade + other * (1 - shade)) * np.float32(0.8)
    mask = np.minimum(garment * 4, 1)[..., None]
    colour = (np.float32(0.25) + np.float32(0.75) * garment)[..., None] * draw(0.2, 1, 1, 1, 3)
    picture = (mask * colour + (1 - mask) * background) * 255
    noise = rng.integers(0, 16, (3, *picture.shape), dtype=np.uint8).sum(0, dtype=np.uint8)  # standard deviation 8
    return np.clip(picture + noise - np.float32(22), 0, 255).astype(np.uint8)


def _grid():
    """Pixel coordinates, with 0 in the middle of the picture: rows, columns."""
    line = np.arange(SIZE, dtype=np.float32) - np.float32((SIZE - 1) / 2)
    return line[:, None], line[None, :]


def _moved(grey, draw):
    """The garments turned by up to 25 degrees, scaled by 0.7 to 1.05, shifted by up to 4 pixels: float32 in [0, 1]."""
    t = draw(-0.2217, 0.2217, 1, 1)  # tan of half the angle: sine and cosine by division alone
    scale = draw(0.7, 1.05, 1, 1)
    cos, sin = (1 - t * t) / (1 + t * t) / scale, 2 * t / (1 + t * t) / scale
    rows, columns = _grid()
    dx, dy = columns - draw(-4, 4, 1, 1), rows - draw(-4, 4, 1, 1)
    # a frame of one dark pixel: what lies outside the garment's picture is read from there
    padded = np.pad(grey.astype(np.float32) / 255, ((0, 0), (1, 1), (1, 1))).reshape(-1)
    u = np.clip(cos * dx + sin * dy + np.float32(14.5), 0, np.float32(28.999))
    v = np.clip(cos * dy - sin * dx + np.float32(14.5), 0, np.float32(28.999))
    column, row = u.astype(np.int64), v.astype(np.int64)
    fu, fv = u - column.astype(np.float32), v - row.astype(np.float32)
    at = np.arange(len(grey))[:, None, None] * 900 + row * 30 + column
    top = padded[at] * (1 - fu) + padded[at + 1] * fu
    bottom = padded[at + 30] * (1 - fu) + padded[at + 31] * fu
    return top * (1 - fv) + bottom * fv


def _mixture(rng, draw):
    """How two background colours mix at each pixel, float32 in [0, 1]: clouds of three sizes, or stripes."""
    rows, columns = _grid()
    t = draw(-1, 1, 1, 1)  # the stripes' direction, by half the angle as above
    along = ((1 - t * t) / (1 + t * t) * columns + 2 * t / (1 + t * t) * rows) * draw(0.03, 0.14, 1, 1)
    phase = along + draw(0, 1, 1, 1)
    wave = np.abs(2 * (phase - np.floor(phase)) - 1)
    result = wave * wave * (3 - 2 * wave)
    kind = draw(0, 1)
    for i, cells in enumerate((2, 5, 11)):
        cloudy = (kind >= i * np.float32(0.22)) & (kind < (i + 1) * np.float32(0.22))
        result[cloudy] = _clouds(rng, int(cloudy.sum()), cells)
    return result


def _clouds(rng, n, cells):
    """n smooth random fields, float32 (n, 32, 32) in [0, 1]: a random grid of cells, interpolated linearly."""
    grid = rng.random((n, cells + 1, cells + 1), dtype=np.float32)
    position = np.arange(SIZE, dtype=np.float32) * np.float32(cells) / np.float32(SIZE)
    cell = position.astype(np.int64)
    rest = position - cell.astype(np.float32)
    rest_rows = rest[None, :, None]
    grid = grid[:, cell] * (1 - rest_rows) + grid[:, cell + 1] * rest_rows
    return grid[:, :, cell] * (1 - rest) + grid[:, :, cell + 1] * rest
