"""Photographs, the ImageNet base as twins, and the reader for a folder of one's own."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from utils import data, lite0_keras, lite0_torch, photos

RAMP = np.repeat(np.linspace(0, 255, 60).astype(np.uint8)[None, :, None], 40, 0).repeat(3, 2)  # light to the right


@pytest.fixture(scope="module")
def twins():
    return lite0_torch.build(), lite0_keras.build()


@pytest.fixture
def folder(tmp_path):
    """Two classes of five different pictures each."""
    for i, name in enumerate(("cats", "großer Hund")):
        for k in range(5):
            save(tmp_path / name / f"picture {k}.png", noise(10 * i + k))
    return tmp_path


def noise(seed, size=40):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)  # large patches: prints that differ
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.NEAREST))


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


# --- the course's photographs ---------------------------------------------------------------------------------------


def test_the_splits_share_no_photograph_and_are_dealt_out_by_seed():
    folder = photos.photographs(32)
    parts = photos.deal(folder, 10, 5, seed=3)
    assert [np.bincount(folder.labels[part]).tolist() for part in parts[:2]] == [[10] * 5, [5] * 5]
    assert sorted(np.concatenate(parts)) == list(range(len(folder.labels))) and len(folder.labels) == len(
        photos.credits()
    )
    assert np.array_equal(parts[0], photos.deal(folder, 10, 5, seed=3)[0])
    assert not np.array_equal(parts[0], photos.deal(folder, 10, 5, seed=4)[0])
    with pytest.raises(ValueError, match="animal has 28 pictures: too few for 23 and 5"):
        photos.deal(folder, 23, 5)


def test_no_two_photographs_look_alike_and_each_has_its_licence():
    assert len(set(photos.photographs().groups)) == len(photos.credits())
    for row in photos.credits():
        assert "public domain" in row["licence"].lower() or "cc0" in row["licence"].lower()
        assert row["author"] and row["source"]


def test_balanced_accuracy_counts_classes_alike():
    assert photos.balanced_accuracy(np.array([0, 0, 0, 0, 0]), np.array([0, 0, 0, 0, 1])) == 0.5


# --- the base -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [96, 98, 128])
def test_the_twins_give_the_same_logits(twins, size):
    x = photos.photographs(size).pictures[::40]
    ours, theirs = (lab.outputs(model, x) for lab, model in zip((lite0_torch, lite0_keras), twins, strict=True))
    assert ours.shape == (5, 1000) and np.abs(ours - theirs).max() < 1e-4


def test_pictures_come_in_as_the_weights_were_trained():
    assert photos.prepare(np.array([127, 255], np.uint8)).tolist() == [0, 1]  # (x - 127) / 128
    assert [photos.padding(*sides) for sides in ((3, 2), (5, 2), (3, 1), (1, 1))] == [(0, 1), (1, 2), (1, 1), (0, 0)]


def test_the_base_knows_what_is_on_photographs(twins):
    found = photos.photographs(224)
    named = {"bison": "bison", "polar_bear": "ice bear", "panda": "giant panda", "koala": "koala", "hammer1": "hammer"}
    rows = [found.files.index(next(f for f in found.files if f.endswith(f"/{name}.webp"))) for name in named]
    answers = lite0_torch.outputs(twins[0], found.pictures[rows]).argmax(1)
    right = [photos.imagenet_classes()[answer] == name for answer, name in zip(answers, named.values(), strict=True)]
    assert sum(right) >= 4


def test_frozen_stages_and_moving_statistics_are_the_same_in_both(twins):
    ours, theirs = lite0_torch.build(5, seed=1), lite0_keras.build(5, seed=1)
    base = theirs.get_layer("base")
    assert np.array_equal(ours.head.weight.detach().numpy().T, theirs.get_layer("head").get_weights()[0])
    for block in photos.BLOCKS:
        count = sum(p.numel() for p in ours.base.get_submodule(block).parameters())
        assert count == sum(np.prod(v.shape) for v in base.get_layer(block).trainable_variables), block
    x = photos.photographs(64).pictures[::12]
    ours.train()(lite0_torch.tensor(x))
    theirs(photos.prepare(x), training=True)
    before = photos.weights(5)["stem.conv.mean"]
    moved = ours.base.stem.bn.running_mean.numpy()
    assert np.abs(moved - before).max() > 1e-3
    assert np.allclose(moved, base.get_layer("stem").get_layer("bn").moving_mean.numpy(), atol=1e-5)


def test_outputs_leave_every_mode_as_it_was():
    model = lite0_torch.build(5).train()
    model.base.stage7.eval()
    lite0_torch.outputs(model, photos.photographs(32).pictures[:2])
    assert model.training and not model.base.stage7.training and model.base.stage6.training


@pytest.mark.parametrize("name", ["lite0.npz", "photos.zip"])
def test_a_damaged_file_says_what_to_do(name, monkeypatch, tmp_path):
    for file in ("SHA256SUMS", name):
        (tmp_path / file).write_bytes((data.FOLDER / file).read_bytes())
    (tmp_path / name).write_bytes((data.FOLDER / name).read_bytes()[:-1])
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    photos._stored.cache_clear()
    with pytest.raises(data.DataError, match=f"{name} is damaged.*restore it"):
        photos.weights() if name == "lite0.npz" else photos.credits()
    photos._stored.cache_clear()


# --- a folder of one's own ------------------------------------------------------------------------------------------


def test_a_folder_is_read_with_its_classes_names_and_sizes(folder):
    found = photos.read_folder(folder, 32)
    assert found.pictures.shape == (10, 32, 32, 3) and found.pictures.dtype == np.uint8
    assert found.labels.tolist() == [0] * 5 + [1] * 5 and found.classes == ["cats", "großer Hund"]
    assert found.files[0] == "cats/picture 0.png" and len(set(found.groups)) == 10 and not found.left_out
    assert str(found) == "10 pictures of 2 classes: 5 cats, 5 großer Hund"


def test_every_kind_of_picture_comes_out_upright_and_in_colour(folder):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down, and stored so
    save(folder / "cats/turned.jpg", RAMP[::-1, ::-1].copy(), exif=exif, quality=95)
    save(folder / "cats/grey.png", RAMP[..., 0])
    save(folder / "cats/sixteen.png", RAMP[..., 0].astype(np.uint16) * 257)
    Image.fromarray(RAMP).convert("CMYK").save(folder / "cats/print.jpg", quality=95)
    Image.fromarray(RAMP).convert("P").save(folder / "cats/palette.gif")
    frames = [Image.fromarray(frame) for frame in (RAMP, 255 - RAMP)]
    frames[0].save(folder / "cats/film.gif", save_all=True, append_images=frames[1:])
    save(folder / "cats/clear.png", np.dstack([RAMP, np.zeros(RAMP.shape[:2], np.uint8)]))
    left_out = photos.read_folder(folder, 32).left_out  # nearly the same pictures: those that are equal to the byte
    pictures = {p.name: photos._picture(p.name, p.read_bytes, 32) for p in (folder / "cats").glob("[!p]*")}
    pictures |= {
        name: photos._picture(name, (folder / "cats" / name).read_bytes, 32) for name in ("print.jpg", "palette.gif")
    }
    assert all("the same picture as" in why for _, why in left_out)
    white = pictures.pop("clear.png")
    assert (white == 255).all()
    for name, picture in pictures.items():
        light = picture.astype(int).mean((0, 2))
        assert light[-1] - light[0] > 120 and picture.shape == (32, 32, 3), name


def test_what_cannot_be_read_is_left_out_and_named(folder):
    (folder / "cats/cut.jpg").write_bytes(save(folder / "whole.jpg", noise(99, 200)).read_bytes()[:900])
    (folder / "cats/empty.jpg").write_bytes(b"")
    (folder / "cats/page.jpg").write_text("<html>404</html>")
    (folder / "cats/IMG_1.HEIC").write_bytes(b"x")
    (folder / "cats/notes.txt").write_text("x")
    (folder / "cats/.DS_Store").write_bytes(b"x")
    (folder / "cats/deeper").mkdir()
    (folder / "cats/deeper/copy.png").write_bytes((folder / "cats/picture 0.png").read_bytes())
    (folder / "großer Hund/copy.png").write_bytes((folder / "cats/picture 0.png").read_bytes())
    (folder / "nothing").mkdir()
    (folder / "only text").mkdir()
    (folder / "only text/a.txt").write_text("x")
    (folder / "cats/loop").symlink_to(folder, target_is_directory=True)
    found = photos.read_folder(folder, 32)
    reasons = dict(found.left_out)
    assert len(found.labels) == 10 and found.classes == ["cats", "großer Hund"]
    for name in ("cats/cut.jpg", "cats/empty.jpg", "cats/page.jpg"):
        assert reasons[name] == "damaged, or no picture inside"
    assert "export it as JPEG" in reasons["cats/IMG_1.HEIC"] and "no picture" in reasons["cats/notes.txt"]
    assert "cats/deeper/copy.png" in reasons or "cats/picture 0.png" in reasons  # one of two equal ones
    assert "in another class" in reasons["großer Hund/copy.png"]
    assert reasons["nothing"] == "an empty folder"
    assert reasons["only text"] == "a folder without a picture that can be read"
    assert not any(".DS_Store" in name or "loop" in name for name in reasons)


def test_a_picture_too_large_is_left_out(folder, monkeypatch):
    monkeypatch.setattr(photos, "LARGEST_PICTURE", 10_000)
    save(folder / "cats/large.png", noise(50, 101))
    assert "too many" in dict(photos.read_folder(folder, 32).left_out)["cats/large.png"]
    monkeypatch.setattr(photos, "LARGEST_FILE", 10)
    with pytest.raises(data.DataError):
        photos.read_folder(folder, 32)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({}, "No subfolders"),
        ({"": 6}, "No subfolders"),
        ({"cats": 6}, "into a subfolder of its own"),
        ({"cats": 6, "dogs": 3}, r"Too few .*dogs \(3\)"),
    ],
)
def test_a_folder_that_cannot_be_learned_from_gets_one_sentence(made, says, tmp_path):
    for i, (name, count) in enumerate(made.items()):
        for k in range(count):
            save(tmp_path / name / f"{k}.png", noise(10 * i + k))
    with pytest.raises(data.DataError, match=says) as told:
        photos.read_folder(tmp_path, 32)
    assert "\n" not in str(told.value)


def test_a_wrong_path_gets_one_sentence(tmp_path):
    (tmp_path / "no.zip").write_bytes(b"x")
    for path, says in (
        (tmp_path / "gone", "no folder"),
        (tmp_path / "no.zip", "zip"),
        (tmp_path / "gone.zip", "no file"),
    ):
        with pytest.raises(data.DataError, match=says):
            photos.read_folder(path)


def test_a_zip_file_is_read_in_place_with_a_folder_around_it(folder, tmp_path):
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"my pictures/{file.relative_to(folder)}")
            archive.write(file, f"__MACOSX/my pictures/{file.relative_to(folder)}")
        archive.writestr("../evil.txt", "x")  # passed over, and nothing is unpacked
    found = photos.read_folder(path, 32)
    assert np.array_equal(found.pictures, photos.read_folder(folder, 32).pictures)
    assert found.classes == ["cats", "großer Hund"] and not (tmp_path.parent / "evil.txt").exists()
    assert photos.read_folder(io.BytesIO(path.read_bytes()), 32).classes == found.classes


def test_the_split_keeps_classes_on_both_sides_and_bursts_on_one(folder):
    burst = noise(3)
    for k in range(4):
        save(folder / f"cats/burst {k}.png", np.clip(burst.astype(int) + k, 0, 255).astype(np.uint8))
    found = photos.read_folder(folder, 32)
    assert len(set(found.groups)) < len(found.labels)
    for seed in range(5):
        train, test = photos.split(found, test=0.3, seed=seed)
        assert sorted([*train, *test]) == list(range(len(found.labels)))
        assert set(found.labels[train]) == set(found.labels[test]) == {0, 1}
        assert not set(found.groups[train]) & set(found.groups[test])
    assert not np.array_equal(photos.split(found, seed=0)[1], photos.split(found, seed=1)[1])


def test_pictures_that_all_look_alike_cannot_be_split(folder):
    for k in range(5):
        save(folder / f"great/{k}.png", np.clip(noise(77).astype(int) + k, 0, 255).astype(np.uint8))
    with pytest.raises(data.DataError, match="great look alike"):
        photos.split(photos.read_folder(folder, 32))


def test_a_gpu_is_used_where_there_is_one():
    assert lite0_torch.DEVICE.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert next(lite0_torch.build(5).parameters()).device.type == lite0_torch.DEVICE.type
