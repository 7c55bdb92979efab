"""Hostile or broken files, and a full disk: one clear sentence, no traceback, and nothing of the learner's is lost.

What `test_data`, `test_study`, `test_sweep` and `test_tools` check already is not repeated here.
"""

import contextlib
import html
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import numpy as np
import pytest

from study import badge, questions, scoring, views
from study.progress import Progress
from tools import learn, read, refresh
from utils import data

pytestmark = pytest.mark.skipif(os.name == "nt", reason="rights, links and small disks, as Linux and macOS have them")
ROOT = data.FOLDER.parent
DEMO = Path(__file__).parent / "questions" / "90_demo.yaml"
TOO_LARGE = 10_000_000_000  # bytes of a file without content, which takes no room on the disk
SCRIPT = '<script>alert(1)</script><img src=x onerror="alert(1)">[x](javascript:alert(1)) </p></details><b onclick=1>'


@contextlib.contextmanager
def without_rights():
    """As a user that may not read what is closed; root may read everything."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)  # nobody
    try:
        yield
    finally:
        os.seteuid(own)


@pytest.fixture
def open_folder():
    """A folder that everyone may enter and write: pytest's own are closed to nobody."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


# --- data files ---------------------------------------------------------------------------------------------------


def list_anew(folder):
    """Checksums of what is there now, as `tools/build_data.py` would write them."""
    lines = [f"{data.sha256(path)}  {path.name}\n" for path in sorted(folder.glob("*.npz"))]
    (folder / "SHA256SUMS").write_text("".join(lines))


def put(source):
    return lambda path: shutil.copy(path.with_name(source), path)


def in_its_place(make):
    def change(path):
        path.unlink()
        make(path)

    return change


DAMAGE = {
    "the other base": ("base.npz", put("base_seed1.npz"), "is damaged"),
    "too large": ("base.npz", lambda path: os.truncate(path, TOO_LARGE), "is damaged"),
    "a link to itself": ("base.npz", in_its_place(lambda path: path.symlink_to(path)), "cannot be read (Too many"),
}


@pytest.mark.parametrize("name, damage, said", DAMAGE.values(), ids=DAMAGE)
def test_a_data_file_that_is_not_the_one_is_named(copied, name, damage, said):
    damage(copied / name)
    with pytest.raises(data.DataError) as caught:
        data.weights()
    message = str(caught.value)
    assert message.startswith(f"data/{name} {said}") and f"git checkout -- data/{name}" in message
    assert "\n" not in message


def test_a_data_file_that_may_not_be_read_is_named(open_folder, monkeypatch):
    shutil.copy(data.FOLDER / "SHA256SUMS", open_folder)
    shutil.copy(data.FOLDER / "base.npz", open_folder)
    (open_folder / "base.npz").chmod(0)
    monkeypatch.setattr(data, "FOLDER", open_folder)
    data._load.cache_clear()
    with without_rights(), pytest.raises(data.DataError, match=r"data/base.npz cannot be read \(Permission denied\)"):
        data.weights()


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def arrays():
    with np.load(data.FOLDER / "base.npz") as kept:
        return dict(kept)


def with_pickles(path):
    trap = np.array([Trap(path.with_name("trap"))], dtype=object)
    np.savez(path, **(arrays() | {"head.bias": trap}))
    with np.load(path, allow_pickle=True) as kept:  # it is a trap indeed: it opens the file
        kept["head.bias"].item().close()
    path.with_name("trap").unlink()


def with_zeros(path):
    """Right names, in half a megabyte that unpacks to 200."""
    np.savez_compressed(path, **(arrays() | {"head.bias": np.zeros(200_000_000, np.uint8)}))


FORGED = {
    "the images": put("images.npz"),
    "no archive": lambda path: path.write_text("base"),
    "pickled objects": with_pickles,
    "zeros": with_zeros,
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_file_whose_checksum_was_listed_anew_does_no_harm(copied, forge):
    forge(copied / "base.npz")
    list_anew(copied)
    with pytest.raises(data.DataError, match="data/base.npz does not hold the arrays that the course needs"):
        data.weights()
    assert not (copied / "trap").exists()


# --- a progress file --------------------------------------------------------------------------------------------------

SWAPPED = {
    "a notebook": lambda path: shutil.copy(ROOT / "notebooks/01_freeze_basics.ipynb", path),
    "weights": lambda path: shutil.copy(ROOT / "data/base.npz", path),
    "too large": lambda path: (path.touch(), os.truncate(path, TOO_LARGE)),
}


@pytest.mark.parametrize("make", SWAPPED.values(), ids=SWAPPED)
def test_what_is_no_progress_file_is_only_added_to(file, make):
    make(file)
    size, mine = file.stat().st_size, Progress()
    assert mine.record("90/single", True) == []
    entries, (told,) = mine.entries()
    assert list(entries) == ["90/single"] and "passed over" in told and len(told) < 200
    assert file.stat().st_size - size < 100


def test_a_progress_file_that_may_not_be_read_is_left_alone(open_folder, monkeypatch):
    path = open_folder / "progress.jsonl"
    monkeypatch.setenv("FREEZING_PROGRESS", str(path))
    Progress().record("90/single", True)
    path.chmod(0)
    mine = Progress()
    with without_rights():
        (told,) = mine.record("90/numeric", True)
        assert "Your progress is not saved" in told and "Permission denied" in told
    path.chmod(0o644)
    assert mine.record("90/multiple", True) == []  # and what could not be written
    assert list(Progress().entries()[0]) == ["90/single", "90/numeric", "90/multiple"]


def test_a_read_only_folder(open_folder, monkeypatch):
    monkeypatch.setenv("FREEZING_PROGRESS", str(open_folder / "progress.jsonl"))
    open_folder.chmod(0o555)
    with without_rights():
        assert "Your progress is not saved" in Progress().record("90/single", True)[0]
    assert list(open_folder.iterdir()) == []


# --- question files ---------------------------------------------------------------------------------------------------

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
ENTRY = "title: x\nquiz:\n  - {{id: 90/a, kind: numeric, prompt: x, otherwise: x, tolerance: 0, answer: {}}}\n"
FEW = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\ntitle: [*c, *c, *c, *c]\n"
BOMBS = {  # (the file, a part of what is said)
    "aliases": (LAUGHS + "title: *j\nquiz: *j\n", "too many aliases"),
    "few aliases": (FEW, "a: unknown field."),
    "an alias of itself": ("title: x\nquiz: &a [*a]", "quiz, number 1: must be a mapping, not a list"),
    "merged maps": ("title: x\na: &a {k: v}\nb: {<<: *a}", "'<<' is not allowed here"),
    "brackets": ("title: " + "[" * 100_000, "too deeply nested"),
    "dashes": ("title: x\nquiz:\n  " + "- " * 100_000, "too deeply nested"),
    "nested": ("title: " + "[" * 5000 + "]" * 5000, "too deeply nested"),
    "a longer number": (ENTRY.format("0x" + "f" * 6000), "must be a number, not one so large"),
    "a long text": ("title: x\nquiz:\n  - {id: " + "x" * 10_000 + "}", "xxx ...: "),
    "a Python object": ("title: !!python/object/new:os.system [echo trap]\n", "begins with ! needs quotes"),
    "bytes": ("title: !!binary aGVsbG8=\n", "title: must be text, not bytes"),
    "two files in one": ("title: x\n---\ntitle: y\n", "---"),
    "a sign that is none": ('title: "\\ud800"\n', ""),
}
VALIDATE = """
import contextlib, json, resource, sys
with contextlib.suppress(ValueError):  # macOS sets no such limit
    resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000,) * 2)
from pathlib import Path
from study import questions
print(json.dumps({path.parent.name: questions.validate(path) for path in Path(sys.argv[1]).glob("*/90_x.yaml")}))
"""


def test_no_question_file_takes_all_time_or_memory_or_runs_code(tmp_path):
    for name, (text, _) in BOMBS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "90_x.yaml").write_text(text)
    (tmp_path / "too large").mkdir()
    (tmp_path / "too large/90_x.yaml").touch()
    os.truncate(tmp_path / "too large/90_x.yaml", TOO_LARGE)
    command = [sys.executable, "-c", VALIDATE, tmp_path]  # apart: it might end the process, or never end
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name, (_, told) in {**BOMBS, "too large": ("", "too large")}.items():
        assert found[name] and told in found[name][0], (name, found[name])
        assert all(text.startswith("90_x.yaml") and len(text) < 300 for text in found[name])


def with_markup(value, key=""):
    """A question with markup in every text that is shown."""
    if isinstance(value, dict):
        return {name: with_markup(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [with_markup(part, key) for part in value]
    return f"{SCRIPT} `{SCRIPT}` {value}" if isinstance(value, str) and key not in KEPT else value


KEPT = ("id", "kind", "level", "section", "file", "says", "mistake", "problem", "keras", "torch")
HARMLESS = {"div", "p", "b", "br", "code", "pre", "details", "summary", "blockquote", "ol", "ul", "li", "small"}
HARMLESS |= {"span", "style"}
ATTRIBUTE = r' (class="[a-z0-9 -]+"|role="status"|aria-hidden="true")'


def harmful(page):
    """The tags of a page that are not plain, or have more than a plain attribute."""
    tags = re.findall(r"<[^>]*>?", page)
    names = "|".join(HARMLESS)
    return [tag for tag in tags if not re.fullmatch(rf"</?({names})({ATTRIBUTE})*\s*/?>", tag)]


def test_what_finds_harmful_tags_finds_them():
    assert harmful(f"<p>{SCRIPT}</p>") and harmful('<p class="a" style="x">') and not harmful('<p class="a">x</p>')


def parts(box):
    yield box
    for part in getattr(box, "children", ()):
        yield from parts(part)


@pytest.mark.parametrize("question", questions.read(DEMO)[0]["questions"].values(), ids=lambda value: value["id"])
def test_markup_in_a_question_is_shown_as_typed(question):
    question = with_markup(question)
    if question["section"] == "cards":
        shown = [views.cards_bundle([question])["text/html"]]
    elif question["section"] not in ("quiz", "recall"):
        return pytest.skip("this kind has no view of its own")
    else:
        bundle = views.quiz_bundle if question["section"] == "quiz" else views.recall_bundle
        shown = [bundle(question)["text/html"]]
        score = scoring.Score(False, (SCRIPT, SCRIPT))
        box = views.live(question, lambda *_: (score, [SCRIPT]), lambda: SCRIPT, None)
        for part in parts(box):
            if type(part).__name__ == "Button":
                part.click()
        shown += [part.value for part in parts(box) if type(part).__name__ == "HTML"]
        assert len(shown) > 2
    assert [tag for page in shown for tag in harmful(page.replace(views.STYLE, ""))] == []
    assert any(html.escape("<script>", quote=False) in page for page in shown)


# --- a learner's name -------------------------------------------------------------------------------------------------

NAMES = [
    SCRIPT,
    "]]>",
    "&lt;b&gt;&#60;",
    '"/><script>',
    "Åsa\x00\x1b[31m\u202eevil",
    "李 小龙",
    "x" * 10_000,
    "e" + "\u0301" * 500,
]


def badge_of(name):
    return badge.svg(name, "2026-11-22T10:00:00+00:00", 321.0, 2)


def test_a_name_with_markup_is_text_in_the_badge():
    plain = [(part.tag, sorted(part.attrib)) for part in ET.fromstring(badge_of("Ada")).iter()]
    for name in NAMES:
        text = badge_of(name)
        root = ET.fromstring(text)
        tags = [(part.tag, sorted(set(part.attrib) - {"textLength", "lengthAdjust"})) for part in root.iter()]
        assert tags == plain and len(text) < 5000
        assert badge.clean_name(name) in [part.text for part in root.iter()]


def test_any_name_makes_a_badge_or_is_refused():
    rng = random.Random(2)
    ranges = [
        (0, 0x250),
        (0x300, 0x370),
        (0x590, 0x700),
        (0x2000, 0x2100),
        (0xD7F0, 0xE010),
        (0xFE00, 0x10000),
        (0x1F1E6, 0x1FA00),
    ]
    made = 0
    for _ in range(300):
        name = "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randrange(30)))
        with contextlib.suppress(questions.StudyError):
            ET.fromstring(badge_of(name).encode("utf-8"))
            made += 1
    assert made > 200


# --- notebooks --------------------------------------------------------------------------------------------------------

CELL = {"cell_type": "code", "execution_count": 3, "metadata": {}, "outputs": [], "source": ["print('one')\n", "2"]}
OLD_CELL = {"cell_type": "code", "language": "python", "collapsed": False, "outputs": [], "prompt_number": 3}
OLD = {
    "2": {"nbformat": 2, "metadata": {}, "worksheets": [{"cells": [{**OLD_CELL, "input": "print('one')\n2"}]}]},
    "4.4": {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [CELL]},
    "two of one id": {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{**CELL, "id": "a"}] * 2},
}


@pytest.mark.parametrize("old", OLD.values(), ids=OLD)
def test_a_notebook_of_an_older_format_is_read_as_a_new_one_in_silence(tmp_path, old):
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(old))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notebook = read(path)
        nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, nbformat.v4.nbformat_minor)
    assert {cell.source for cell in notebook.cells} == {"print('one')\n2"}
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, json.dumps({"nbformat": 5, "cells": [CELL]})])
def test_what_is_no_notebook_gets_one_sentence(tmp_path, content):
    path = tmp_path / "x.ipynb"
    with pytest.raises(SystemExit, match="Cannot read .*: look at its name"):
        read(path)  # it is missing
    path.write_text(content)
    with pytest.raises(SystemExit) as stop:
        read(path)
    assert stop.value.code == f"{path} is not a notebook of format 1 to 4: restore it, or leave it out."


# --- a full disk ------------------------------------------------------------------------------------------------------


class Disk:
    """A small disk of its own (tmpfs), full from the start."""

    def __init__(self, path):
        self.path, self.filler = path, path / "filler"
        self.fill()

    def fill(self, left=0):
        """Take all room, but for `left` bytes."""
        with open(self.filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)) == 4096:
                pass
        os.truncate(self.filler, self.filler.stat().st_size - left)

    def make_room(self):
        self.filler.unlink()

    def files(self):
        return sorted(path.name for path in self.path.iterdir() if path != self.filler)


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=777", "tmpfs", path]
    if not shutil.which("mount") or os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount a small disk to fill")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)  # it may still be the current folder


@pytest.mark.parametrize("left", [0, 30], ids=["no room", "room for half a line"])
def test_a_full_disk_during_a_progress_save(disk, monkeypatch, left):
    path = disk.path / "progress.jsonl"
    monkeypatch.setenv("FREEZING_PROGRESS", str(path))
    disk.make_room()
    path.write_bytes(b"\n" * (4096 - left))  # a disk gives room by the page
    disk.fill()
    mine = Progress()
    (told,) = mine.record("90/numeric", True)
    assert told.endswith("(No space left on device): make room there, and your next answer saves this one too.")
    assert mine.record("90/multiple", False) == []  # told once
    assert sorted(mine.entries()[0]) == ["90/multiple", "90/numeric"]
    disk.make_room()
    assert mine.record("90/single", True) == []
    assert {name: entry["attempts"] for name, entry in Progress().entries()[0].items()} == dict.fromkeys(
        ["90/numeric", "90/multiple", "90/single"], 1
    )


def test_a_badge_on_a_full_disk_leaves_no_half_file(disk):
    disk.fill(left=0)
    with pytest.raises(badge.StudyError, match="No space left on device"):
        badge.save("<svg/>" * 1000, disk.path)
    assert disk.files() == []
    disk.make_room()
    assert badge.save("<svg/>", disk.path).name == "freezing_master.svg"


def a_notebook(folder, monkeypatch):
    """The only notebook of the course: x.ipynb in that folder."""
    path = folder / "x.ipynb"
    path.write_text(json.dumps(OLD["4.4"]))
    monkeypatch.setattr(learn, "notebooks", lambda: [path])
    return path


def test_a_full_disk_while_notebooks_run_and_are_copied(disk, monkeypatch):
    disk.make_room()
    path = a_notebook(disk.path, monkeypatch)
    before = path.read_bytes()
    monkeypatch.setattr(learn, "LEARN", disk.path / "learn")
    (disk.path / "learn").mkdir()
    disk.fill()
    for write, named in ((lambda: refresh.main([str(path)]), path), (learn.main, disk.path / "learn/x.ipynb")):
        with pytest.raises(SystemExit) as stop:
            write()
        assert stop.value.code.startswith(f"Cannot write {named} (No space left on device): nothing is lost, mend that")
        assert path.read_bytes() == before and disk.files() == ["learn", "x.ipynb"]
        assert list((disk.path / "learn").iterdir()) == []


def test_a_read_only_learn(open_folder, tmp_path, monkeypatch):
    a_notebook(open_folder, monkeypatch)
    monkeypatch.setattr(learn, "LEARN", open_folder / "learn")
    learn.LEARN.mkdir(mode=0o555)
    with without_rights(), pytest.raises(SystemExit) as stop:
        learn.main()
    assert stop.value.code.startswith(f"Cannot write {learn.LEARN}/x.ipynb (Permission denied): nothing is lost")
    learn.main()
    with without_rights():
        learn.main()  # nothing is to be written: all is well
        with pytest.raises(SystemExit, match="Cannot rename .* nothing is lost"):
            learn.main(["x"])
    assert [path.name for path in learn.LEARN.iterdir()] == ["x.ipynb"]


def test_a_kernel_that_does_not_start_gets_one_sentence(tmp_path, monkeypatch):
    path = a_notebook(tmp_path, monkeypatch)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/profile_default").write_text("")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "own"))  # as on a full disk: a folder there cannot be made
    with pytest.raises(SystemExit) as stop:
        refresh.main([str(path)])
    assert stop.value.code.startswith(f"{path}: its kernel does not start (") and "\n" not in stop.value.code
