"""utils/data.py and the files of data/: honest splits, the same pictures everywhere, one sentence when damaged."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from utils import data

ROOT = data.FOLDER.parent


def grey(split):
    return data._load("images.npz")[f"{split}_x"]


def test_no_image_is_in_two_splits_or_twice_in_one():
    images = [image.tobytes() for split in data.SPLITS for image in grey(split)]
    assert len(images) == len(set(images)) == 7000


@pytest.mark.parametrize("split", data.SPLITS)
def test_every_class_is_equally_often_in_a_split(split):
    _, y = data.images(split, style="studio")
    assert len(set(np.bincount(y))) == 1 and len(np.bincount(y)) == 5
    assert y.dtype == np.int64 and (np.diff(y) >= 0).all()


def digits(split):
    return data._digits()[f"{split}_x"]


def test_no_digit_is_in_two_splits_or_twice_in_one():
    images = [image.tobytes() for split in data.DIGIT_SPLITS for image in digits(split)]
    assert len(images) == len(set(images)) == 10 * sum(data.DIGIT_SPLITS.values()) == 1740


@pytest.mark.parametrize(("split", "each"), data.DIGIT_SPLITS.items())
def test_every_digit_is_equally_often_in_a_split(split, each):
    x, y = data.images(split)
    assert x.shape == (10 * each, 32, 32, 3)
    assert np.array_equal(np.bincount(y), [each] * 10) and y.dtype == np.int64 and (np.diff(y) >= 0).all()


def test_digits_have_the_same_bytes_on_every_machine():
    picture = data.render(digits("digits_test")[::20], seed=7)
    assert hashlib.sha256(picture.tobytes()).hexdigest() == (
        "afd26f720d87ad7749058afcb68e5b96f29d079d8a72fbafbce0c43bbfdd5fc5"
    )


def test_digits_are_scaled_linearly():
    corner = np.zeros((1, 8, 8), np.int64)
    corner[0, 0, 0] = 16
    big = data._scaled(corner)[0]
    assert big.shape == (28, 28) and big.dtype == np.uint8 and not big[:2].any() and not big[:, :2].any()
    assert list(big[2, 2:7]) == [255, 255, 170, 85, 0] and list(big[2:7, 2]) == [255, 255, 170, 85, 0]
    assert (data._scaled(np.full((1, 8, 8), 16))[0, 2:26, 2:26] == 255).all()


def test_pictures_have_the_shape_and_range_that_networks_expect():
    x, y = data.images("target_pool", per_class=3, seed=1)
    assert x.shape == (15, 32, 32, 3) and x.dtype == np.float32 and len(y) == 15
    assert 0 <= x.min() < 0.1 and 0.9 < x.max() <= 1


def test_a_seed_gives_the_same_bytes_on_every_machine():
    picture = data.render(grey("target_test")[::20], seed=7)
    assert hashlib.sha256(picture.tobytes()).hexdigest() == (
        "368127d04dd3ef3445c78ded1a39783fc66553d0b1f7c0be5662bb573123ba3a"
    )


def test_seeds_draw_other_images_and_other_backgrounds():
    one, two = (data.images("target_pool", style="studio", per_class=5, seed=seed)[0] for seed in (0, 1))
    assert not np.array_equal(one, two)
    same = grey("target_test")[:4]
    assert not np.array_equal(data.render(same, seed=0), data.render(same, seed=1))


def test_the_studio_only_frames():
    pictures = data.render(grey("target_test")[:4], "studio")
    assert np.array_equal(pictures[:, 2:30, 2:30, 0], grey("target_test")[:4])
    assert pictures.sum() == 3 * grey("target_test")[:4].astype(int).sum()


def test_no_pictures_render_to_no_pictures():
    assert data.render(grey("target_test")[:0]).shape == (0, 32, 32, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"split": "train"}, "split must be one of 'source_train'"),
        ({"split": "target_pool", "style": "plain"}, "style must be one of 'wild', 'studio'"),
        ({"split": "target_pool", "per_class": 401}, "per_class must be from 1 to 400"),
        ({"split": "digits_pool", "per_class": 91}, "per_class must be from 1 to 90"),
        ({"split": "target_pool", "per_class": 0}, "per_class must be from 1 to 400"),
    ],
)
def test_wrong_arguments_are_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        data.images(**arguments)


def test_a_new_head_depends_on_the_seed_and_the_base_does_not():
    one, two = data.weights(5, seed=0), data.weights(5, seed=1)
    assert not np.array_equal(one["head.kernel"], two["head.kernel"])
    assert np.array_equal(one["block1.conv.kernel"], two["block1.conv.kernel"])
    assert data.weights(7)["head.kernel"].shape == (64, 7)


def test_a_random_base_depends_on_the_seed():
    one, two = data.weights(seed=0, base=None), data.weights(seed=1, base=None)
    assert list(one) == list(data.weights())
    assert not np.array_equal(one["block1.conv.kernel"], two["block1.conv.kernel"])


def test_the_two_bases_were_pretrained_apart():
    assert not np.array_equal(
        data.weights()["block1.conv.kernel"], data.weights(base="base_seed1")["block1.conv.kernel"]
    )


@pytest.mark.parametrize("name", ["images.npz", "base.npz", "base_seed1.npz"])
def test_a_flipped_byte_is_found_and_the_file_named(copied, name):
    raw = bytearray((copied / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copied / name).write_bytes(raw)
    with pytest.raises(data.DataError, match=rf"data/{name} is damaged .*git checkout -- data/{name}"):
        data._load(name)


def test_a_missing_file_is_named(copied):
    (copied / "base.npz").unlink()
    with pytest.raises(data.DataError, match=r"data/base.npz is missing; restore it with"):
        data.weights()


@pytest.mark.parametrize("content", [None, "", "nonsense\n", "abc  other.npz\n"])
def test_a_missing_or_damaged_list_of_checksums_is_named(copied, content):
    sums = copied / "SHA256SUMS"
    if content is None:
        sums.unlink()
    else:
        sums.write_text(content)
    with pytest.raises(data.DataError, match="data/SHA256SUMS is missing, damaged or does not list base.npz"):
        data.weights()


def test_what_is_committed_is_small():
    sizes = {path.name: path.stat().st_size for path in data.FOLDER.glob("*.[nz][pi][zp]")}
    assert sum(sizes.values()) < 16e6 and sizes["lite0.npz"] < 8e6 and sizes["photos.zip"] < 1.1e6
    assert sum(sizes[name] for name in ("texts.zip", "writer.npz", "writer_seed1.npz")) < 3e6


def test_the_build_script_says_where_to_get_the_package(tmp_path):
    command = [sys.executable, ROOT / "tools" / "build_data.py", "--fashion", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "apt-get install dataset-fashion-mnist" in result.stderr and "Traceback" not in result.stderr
