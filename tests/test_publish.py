"""Where the course lives: what publishing writes, a notebook alone in a folder, the copies for Colab."""

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile

import guards
import nbformat
import pytest
from nbclient import NotebookClient
from test_tools import edit, make, one_sentence

from tools import ROOT, colab, notebooks, publish, read

FIRST = notebooks()[0]
V1, OTHER = ("owner/name", "v1"), ("some-one/a.course_2", "2026.11-rc1")
LINK = re.compile(r"colab\.research\.google\.com/github/([^\s/]+/[^\s/]+)/blob/([^\s/]+)/")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A copy of what publishing changes, published nowhere; publish.main changes this one."""
    copy = tmp_path / "course"
    (copy / "notebooks").mkdir(parents=True)
    for path in [ROOT / "README.md", *notebooks()[:2]]:
        shutil.copy(path, copy / path.relative_to(ROOT))
    monkeypatch.setattr(publish, "ROOT", copy)
    publish.main(["--undo"])
    return copy


def contents(folder):
    """All files below a folder, with their bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- publishing -------------------------------------------------------------------------------------------------------


def current(root):
    """Where the course in `root` is published, as its README tells: repository and tag; None when it is not."""
    found = re.search(r"https://github.com/(\S+)/tree/(\S+)\)", (root / "README.md").read_text(encoding="utf-8"))
    return found and found.groups()


def faults(root):
    """Which files of a course differ from what publishing writes there, or link to Colab by hand."""
    place = current(root)
    written = publish.texts(root, place)
    found = [path.name for path, text in written.items() if text != path.read_text(encoding="utf-8")]
    for page in [*written, *root.glob("*.md"), *root.glob("data/**/*.md")]:
        found += [page.name] * bool(set(LINK.findall(page.read_text(encoding="utf-8"))) - {place})
    return found


def test_all_places_of_the_course_say_the_same():
    assert faults(ROOT) == []


def test_publishing_reaches_every_place_and_can_be_repeated_changed_and_undone(course):
    before = contents(course)
    assert b"colab.research.google.com/github" not in b"".join(before.values())
    publish.main(V1)
    assert current(course) == V1 and faults(course) == []
    for path in notebooks(course / "notebooks"):
        nb = nbformat.read(path, as_version=4)
        opened = f"https://colab.research.google.com/github/owner/name/blob/v1/notebooks/{path.name}"
        assert nb.cells[0].source.split("\n\n")[1] == f"[▶ Open in Colab]({opened})"
        assert "-b v1 https://github.com/owner/name {course}" in guards.code(nb)[0].source
        assert guards.folded_cells(nbformat.v4.new_notebook(cells=[guards.code(nb)[0]])) == []
        assert "../README.md" not in "".join(cell.source for cell in nb.cells)
    assert (
        "](https://github.com/owner/name/blob/v1/README.md#" in read(course / "notebooks" / FIRST.name).cells[0].source
    )
    once = contents(course)
    publish.main(V1)
    assert contents(course) == once
    publish.main(OTHER)
    assert faults(course) == [] and b"owner/name" not in b"".join(contents(course).values())
    publish.main(["--undo"])
    assert contents(course) == before


@pytest.mark.parametrize("place", [None, V1, ("x" * 39 + "/" + "y" * 60, "2026.11-rc1")])
def test_the_set_up_cell_is_short_and_in_the_style_of_the_notebooks(course, place):
    for name in ("pyproject.toml", "notebooks/.ruff.toml"):
        shutil.copy(ROOT / name, course / name)
    path = course / "notebooks" / FIRST.name
    path.write_text(publish.published(path, place), encoding="utf-8")
    assert len(guards.lines(guards.code(nbformat.read(path, 4))[0])) <= 6
    for rule in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *rule, "--no-cache", path]
        assert subprocess.run(command, cwd=course, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("repo", "tag", "says"),
    [
        (repo, "v1", "is no repository on GitHub")
        for repo in ("", "name", "a/b/c", "own er/name", "owner/name\n", "o/..")
    ]
    + [("https://github.com/owner/name", "v1", "is no repository"), ("owner/name.git", "v1", "is no repository")]
    + [
        ("owner/name", tag, "cannot be the tag")
        for tag in ("", "v 1", "-v1", "v1..2", "v1.lock", "a/b", "HEAD", "v1\n")
    ],
)
def test_nonsense_is_refused_with_a_sentence_and_changes_nothing(course, repo, tag, says):
    before = contents(course)
    with pytest.raises(SystemExit, match=says) as refusal:
        publish.main([repo, tag])
    assert one_sentence(refusal.value.code) and publish.USE in refusal.value.code
    assert contents(course) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("notebooks/02_recompile_pitfall.ipynb", '"id": "setup"', '"id": "other"'),
        ("notebooks/02_recompile_pitfall.ipynb", '"cells"', '"cell"'),
        ("README.md", "<!-- /published -->", ""),
    ],
)
def test_all_places_are_written_or_none(course, name, old, new):
    edit(course / name, old, new)
    before = contents(course)
    with pytest.raises(SystemExit) as refusal:
        publish.main(V1)
    assert one_sentence(refusal.value.code) and contents(course) == before


def test_make_hands_on_what_it_is_given_as_it_is(tmp_path):
    given = ["--old-file=.venv/made", f'VENV_PYTHON="{sys.executable}"']  # with this Python, without making .venv
    refused = make("publish", f"REPO=owner/name; touch {tmp_path}/harm", "TAG='", *given)
    assert "; touch " in refused.stderr and "is no repository" in refused.stderr and not (tmp_path / "harm").exists()


# --- a notebook alone in a folder -------------------------------------------------------------------------------------


def git(*arguments, folder):
    """Run git; returns the finished process."""
    person = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    return subprocess.run(["git", *person, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """A bare git repository of the course, in the place of GitHub's: its environment. Tags v1 and later."""
    folder = tmp_path_factory.mktemp("remote")
    for name in ("utils", "study", "data"):
        shutil.copytree(ROOT / name, folder / "work" / name, ignore=shutil.ignore_patterns("__pycache__"))
    git("init", "-q", folder=folder / "work")
    for news in ("v1", "later"):
        (folder / "work/NEWS").write_text(news)
        git("add", "--all", folder=folder / "work")
        git("commit", "-q", "-m", news, folder=folder / "work")
        git("tag", news, folder=folder / "work")
    assert git("clone", "-q", "--bare", "work", "course.git", folder=folder).returncode == 0
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{folder}/course.git.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/owner/name",
    }


USE = """
from utils import data
assert len(data.images("target_pool", per_class=1)[0]) == 5
print(os.path.relpath(os.path.dirname(os.path.dirname(data.__file__))), end="")
"""


def start(source, folder, **environment):
    """Run a set-up cell in `folder` and then use the course; returns the finished process."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-"]  # as text: a set-up cell for Colab is too long for an argument
    return subprocess.run(
        command, cwd=folder, env=own | environment, input=source + "\n" + USE, capture_output=True, text=True
    )


def test_a_notebook_in_the_course_finds_it_and_a_lone_one_that_is_unpublished_says_what_to_do(tmp_path):
    for place in (None, V1):
        assert start(publish.set_up(place), ROOT / "notebooks").stdout == ".."
    done = start(publish.set_up(None), tmp_path)
    assert done.returncode and done.stderr.startswith("Open this notebook in the course's own folder")


def test_a_published_lone_notebook_fetches_its_own_release_once(remote, tmp_path):
    for tag in ("v1", "later"):  # side by side
        cell = publish.set_up(("owner/name", tag))
        first = start(cell, tmp_path, **remote)
        assert (first.stdout, first.stderr) == (f"freezing-course-{tag}", "")
        assert (tmp_path / f"freezing-course-{tag}/NEWS").read_text() == tag
        twice = start(f"{cell}\n{cell}", tmp_path, PATH="")  # needs no remote and no git now
        assert (twice.stdout, twice.stderr) == (f"freezing-course-{tag}", "")


def test_a_lone_notebook_that_cannot_fetch_says_why(remote, tmp_path):
    offline = {**remote, "GIT_CONFIG_KEY_0": "url.https://127.0.0.1:9/.insteadOf"}
    for tag, environment, says in (
        ("v9", remote, "fatal: Remote branch v9 not found"),
        ("v1", offline, "fatal: unable to access 'https://127.0.0.1:9/"),
        ("v1", {**remote, "PATH": "/nowhere"}, "git"),  # not found
    ):
        done = start(publish.set_up(("owner/name", tag)), tmp_path, **environment)
        assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr, done.stderr
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "freezing-course-v1").mkdir()
    (tmp_path / "freezing-course-v1/mine").write_text("mine")
    assert "already exists" in start(publish.set_up(V1), tmp_path, **remote).stderr
    assert (tmp_path / "freezing-course-v1/mine").read_text() == "mine"


# --- the copies for Colab ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def carrying(tmp_path_factory):
    """The first notebook's copy for Colab."""
    folder = tmp_path_factory.mktemp("colab")
    colab.main([str(FIRST), f"--to={folder}"])
    return folder / FIRST.name


def test_a_copy_for_colab_is_the_notebook_with_another_set_up_cell(carrying):
    nb, source = (nbformat.read(path, as_version=4) for path in (carrying, FIRST))
    nbformat.validate(nb)
    changed = [one.id for one, other in zip(nb.cells, source.cells, strict=True) if one != other]
    assert changed == ["title", "setup", "key-points"]  # the links there lead to what is not carried
    assert "](" not in "".join(cell.source for cell in nb.cells if cell.id in ("title", "key-points"))
    assert guards.folded_cells(nb) == guards.folded_cells(source)
    assert 4.5e6 < carrying.stat().st_size < 6.5e6  # "5 MB" in the README


def test_a_copy_for_colab_needs_nothing_beside_it(carrying, tmp_path):
    cell = guards.code(nbformat.read(carrying, as_version=4))[0].source
    done = start(cell + "\n" + cell, tmp_path, PATH="")  # twice in a kernel; no git either
    assert re.fullmatch(r"freezing-course-[0-9a-f]{8}", done.stdout) and done.stderr == ""
    course = tmp_path / done.stdout
    files = [*(ROOT / "data").rglob("*.npz"), *(ROOT / "utils").rglob("*.py"), ROOT / "LICENSE"]
    large = sum(colab.LARGE.values(), ())  # not for this notebook
    assert not any((course / "data" / name).exists() for name in large)
    for path in (path for path in files if path.name not in large):
        assert (course / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert not (course / "data/teaching").exists()  # it would tell the learner the answers
    shutil.rmtree(course)
    course.write_text("in the way")
    refused = start(cell, tmp_path)
    assert refused.stderr.startswith("Cannot unpack the course here (") and one_sentence(refused.stderr)


def test_the_packed_course_does_not_tell_when_it_was_packed():
    files = zipfile.ZipFile(io.BytesIO(colab.packed(ROOT))).infolist()
    assert len(files) > 30 and {file.date_time for file in files} == {(1980, 1, 1, 0, 0, 0)}


def test_a_notebook_with_photographs_carries_them(tmp_path):
    colab.main([str(ROOT / "notebooks/07_your_own_pictures.ipynb"), f"--to={tmp_path}"])
    cell = guards.code(nbformat.read(tmp_path / "07_your_own_pictures.ipynb", as_version=4))[0].source
    course = tmp_path / start(cell, tmp_path).stdout
    assert all((course / "data" / name).is_file() for name in colab.LARGE["photos"])


def test_copies_for_colab_have_no_badge_and_do_not_replace_the_notebooks(course, tmp_path, capsys):
    publish.main(V1)
    path = course / "notebooks" / FIRST.name
    before = contents(course)
    with pytest.raises(SystemExit):
        colab.main([str(path), f"--to={path.parent}"])
    assert "choose another folder" in capsys.readouterr().err and contents(course) == before
    colab.main([str(path), f"--to={tmp_path / 'made'}"])
    assert "Open in Colab" not in read(tmp_path / "made" / FIRST.name).cells[0].source


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["published", "carrying"])
def test_a_lone_notebook_runs_from_top_to_bottom(kind, carrying, course, remote, tmp_path, monkeypatch):
    publish.main(V1)
    nb = nbformat.read(carrying if kind == "carrying" else course / "notebooks" / FIRST.name, as_version=4)
    for name in ("PYTEST_CURRENT_TEST", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in remote.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "alone").mkdir()
    NotebookClient(
        nb, timeout=300, kernel_name="python3", resources={"metadata": {"path": f"{tmp_path}/alone"}}
    ).execute()
    claims = [re.findall(r"^✔ .*", guards.shown(one), re.MULTILINE) for one in (nb, guards.read(FIRST))]
    assert claims[0] == claims[1] != []
    assert [name for name in os.listdir(tmp_path / "alone") if not name.startswith("freezing-course-")] == []
