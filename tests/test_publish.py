"""Where the course lives: the stamp in all its places, a notebook alone in a folder, the copies for Colab."""

import io
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import guards
import nbformat
import pytest
from nbclient import NotebookClient
from test_tools import make, one_sentence

from tools import colab, stamp

ROOT = Path(__file__).resolve().parent.parent
FIRST = stamp.notebooks(ROOT)[0]
V1, OTHER = stamp.Stamp("owner/name", "v1"), stamp.Stamp("some-one/a.course_2", "2026.11-rc1")


@pytest.fixture
def course(tmp_path):
    """A copy of what is stamped, without a stamp."""
    copy = tmp_path / "course"
    (copy / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "README.md", copy)
    for path in stamp.notebooks(ROOT)[:2]:
        shutil.copy(path, copy / "notebooks")
    stamp.write(copy, None)
    return copy


def contents(folder):
    """All files below a folder, with their bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the stamp --------------------------------------------------------------------------------------------------------


def test_all_places_of_the_course_have_the_same_stamp_or_none():
    assert stamp.differing(ROOT) == []


def test_a_stamp_reaches_every_badge_set_up_cell_and_the_readme(course):
    assert stamp.write(course, V1) == 3
    assert stamp.current(course) == V1 and stamp.differing(course) == []
    for path in stamp.notebooks(course):
        nb = nbformat.read(path, as_version=4)
        opened = f"https://colab.research.google.com/github/owner/name/blob/v1/notebooks/{path.name}"
        assert nb.cells[0].source.split("\n\n")[1] == f"[▶ Open in Colab]({opened})"
        assert f"]({opened})" in (course / "README.md").read_text()
        assert 'COURSE = "https://github.com/owner/name#v1"\n' in guards.code(nb)[0].source
        assert [fault for guard in guards.GUARDS for fault in guard(nb)] == []


def test_the_same_stamp_again_changes_nothing_another_replaces_it_and_unstamping_restores(course):
    unstamped = contents(course)
    assert stamp.current(course) is None and b"colab.research.google.com/github" not in b"".join(unstamped.values())
    stamp.write(course, V1)
    once = contents(course)
    assert stamp.write(course, V1) == 0 and contents(course) == once
    stamp.write(course, OTHER)
    twice = contents(course)
    assert stamp.differing(course) == [] and b"owner/name" not in b"".join(twice.values())
    stamp.write(course, None)
    assert contents(course) == unstamped


@pytest.mark.parametrize(
    ("repo", "tag", "says"),
    [
        ("", "", "REPO and TAG missing"),
        ("owner/name", "", "TAG missing"),
        ("", "v1", "REPO missing"),
        *[
            (repo, "v1", "is no repository on GitHub")
            for repo in [
                *(
                    "name",
                    "/name",
                    "owner/",
                    "a/b/c",
                    "own er/name",
                    " owner/name",
                    "owner/name\n",
                    "owner/..",
                    "-o/name",
                ),
                *("o--w/name", "owner/name.git", "https://github.com/owner/name", "owner/na#me", "öwner/name", "o/n)"),
                *('owner/"', "o" * 40 + "/name", "owner/" + "n" * 101),
            ]
        ],
        *[
            ("owner/name", tag, "cannot be the tag")
            for tag in [
                "v 1",
                " v1",
                "v1\n",
                "-v1",
                ".v1",
                "v1.",
                "v1..2",
                "v1.lock",
                "v~1",
                "v^1",
                "v:1",
                "a/b",
                "HEAD",
            ]
            + ["v?", "v*", "v[1", "v\\1", "@{1}", '"', "v#1", "v%31", "ü", "x" * 101]
        ],
    ],
)
def test_nonsense_is_refused_with_a_sentence_and_changes_nothing(course, monkeypatch, repo, tag, says):
    monkeypatch.setattr(stamp, "ROOT", course)
    before = contents(course)
    with pytest.raises(SystemExit, match=says) as refusal:
        stamp.main([f"--repo={repo}", f"--tag={tag}"])
    assert one_sentence(refusal.value.code) and stamp.COMMAND in refusal.value.code
    assert contents(course) == before


def git(*arguments, folder):
    """Run git; returns the finished process."""
    person = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    return subprocess.run(["git", *person, *arguments], cwd=folder, capture_output=True, text=True)


def test_git_takes_every_tag_that_we_take(tmp_path):
    rng = random.Random(0)
    tags = {"".join(rng.choices("aZ09._-@~/ {^:?*[\\\x7f", k=rng.randint(1, 4))) for _ in range(600)}
    tags |= {start + end for start in ("v", "-", ".", "HEAD") for end in ("", ".lock", ".", "..1", "1", "-")}
    taken = [tag for tag in sorted(tags) if stamp.GIT_TAG.fullmatch(tag)]
    assert 20 < len(taken) < len(tags) / 2
    git("init", "-q", folder=tmp_path)
    git("commit", "-q", "--allow-empty", "-m", "all", folder=tmp_path)
    assert [tag for tag in taken if git("tag", tag, folder=tmp_path).returncode] == []


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


BREAKS = {
    "the badge of one notebook": lambda course, path: edit(path, "/blob/v1/", "/blob/v2/"),
    "no badge in one notebook": lambda course, path: edit(path, "[▶ Open in Colab]", "[Colab]"),
    "one set-up cell": lambda course, path: edit(path, "owner/name#v1", "owner/name#v2"),
    "the code of one set-up cell": lambda course, path: edit(path, "--depth=1", "--depth=2"),
    "one link of the README": lambda course, path: edit(
        course / "README.md", "blob/v1/notebooks/02", "blob/v2/notebooks/02"
    ),
    "no stamp in the README": lambda course, path: (course / "README.md").write_text(stamp.readme(course, None)),
    "no stamp in one notebook": lambda course, path: path.write_text(stamp.stamped(path, None)),
    "a badge by hand on a page": lambda course, path: (course / "MORE.md").write_text(
        f"[x]({stamp.address('x', OTHER)})"
    ),
    "a badge by hand in a cell": lambda course, path: edit(path, "## Recall", f"## Recall {stamp.address('x', OTHER)}"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_place_that_differs_is_found(course, name):
    stamp.write(course, V1)
    BREAKS[name](course, stamp.notebooks(course)[1])
    assert stamp.differing(course) != []


def test_a_badge_by_hand_is_found_in_a_course_without_a_stamp(course):
    edit(stamp.notebooks(course)[0], "## Recall", f"## Recall {stamp.address('x', V1)}")
    assert stamp.differing(course) == ["01_freeze_basics.ipynb links to owner/name at v1, with no stamp elsewhere"]


def lose_set_up(course):
    edit(stamp.notebooks(course)[1], '"id": "setup"', '"id": "other"')


def lose_marks(course):
    edit(course / "README.md", "<!-- /stamp -->", "")


def spoil(course):
    stamp.notebooks(course)[1].write_text("{")


def refuse_writing(course):
    stamp.notebooks(course)[1].with_suffix(".ipynb.part").mkdir()


@pytest.mark.parametrize(
    "obstacle", [lose_set_up, lose_marks, spoil, refuse_writing, lambda c: shutil.rmtree(c / "notebooks")]
)
def test_all_places_are_stamped_or_none(course, monkeypatch, obstacle):
    monkeypatch.setattr(stamp, "ROOT", course)
    obstacle(course)
    before = contents(course)
    with pytest.raises(SystemExit) as refusal:
        stamp.main(["--repo=owner/name", "--tag=v1"])
    assert one_sentence(refusal.value.code)
    assert contents(course) == before


def test_make_hands_on_what_it_is_given_as_it_is(course):
    for name in ("tools", "utils"):
        shutil.copytree(ROOT / name, course / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", course)
    given = ["--old-file=venv", f"VENV_PYTHON={sys.executable}"]  # with this Python, without making .venv
    refused = make("stamp", "REPO=owner/name; touch harm", "TAG='", *given, folder=course)
    assert "REPO='owner/name; touch harm' is no repository" in refused.stderr and not (course / "harm").exists()
    assert (
        "Stamped owner/name at v1: 3 files changed."
        in make("stamp", "REPO=owner/name", "TAG=v1", *given, folder=course).stdout
    )
    assert stamp.current(course) == V1 and stamp.differing(course) == []
    assert "tools.stamp --unstamp" in make("--dry-run", "unstamp", *given, folder=course).stdout


# --- a notebook alone in a folder -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """A bare git repository of the course, in the place of GitHub's. Tag v1; its main branch has gone on since."""
    folder = tmp_path_factory.mktemp("remote")
    for name in ("utils", "data", "notebooks"):
        ignore = shutil.ignore_patterns("__pycache__", "progress.json*", ".*")
        shutil.copytree(ROOT / name, folder / "work" / name, ignore=ignore)
    git("init", "-q", folder=folder / "work")
    for news in ("v1", "later"):
        (folder / "work" / "NEWS").write_text(news)
        git("add", "--all", folder=folder / "work")
        git("commit", "-q", "-m", news, folder=folder / "work")
        git("tag", news, folder=folder / "work")
    assert git("clone", "-q", "--bare", "work", "course.git", folder=folder).returncode == 0
    return folder / "course.git"


USE = """
from utils import data
assert len(data.images("target_pool", per_class=1)[0]) == 5
print(os.path.relpath(os.path.dirname(os.path.dirname(data.__file__)), START))
"""


def start(source, folder, **environment):
    """Run the first cells of a notebook, then use what they found, in `folder`; as a finished process."""
    own = {name: value for name, value in os.environ.items() if name not in ("FREEZING_COURSE", "PYTHONPATH")}
    program = f"import os\nSTART = os.getcwd()\n{source}\n{USE}"
    command = [sys.executable, "-c", program] if len(program) < 100_000 else [sys.executable, "-"]
    text = None if len(program) < 100_000 else program
    return subprocess.run(command, cwd=folder, env=own | environment, input=text, capture_output=True, text=True)


def alone(folder, course=None, name=None, **environment):
    """What the set-up cell does in a folder of its own: `course` is FREEZING_COURSE, `name` a stamp."""
    if course is not None:
        environment["FREEZING_COURSE"] = str(course)
    return start(stamp.set_up_cell(name), folder, **environment)


def test_a_lone_notebook_fetches_the_course_once(remote, tmp_path):
    first = alone(tmp_path, remote)
    assert (first.stdout, first.stderr) == ("freezing-course\n", "")
    mine = tmp_path / "freezing-course" / "notebooks" / "progress.json"
    mine.write_text("{}")
    shutil.move(remote, moved := remote.with_name("gone.git"))  # the second run needs no remote
    try:
        assert alone(tmp_path, remote).stdout == first.stdout
    finally:
        shutil.move(moved, remote)
    assert mine.read_text() == "{}"


def test_the_set_up_cell_can_run_twice_in_a_kernel(remote, tmp_path):
    twice = stamp.set_up_cell(None) + "\n" + stamp.set_up_cell(None)
    assert start(twice, tmp_path, FREEZING_COURSE=str(remote)).stdout == "freezing-course\n"


def test_a_stamped_lone_notebook_fetches_its_own_release_from_github(remote, tmp_path):
    github = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{remote}.insteadOf"}
    github["GIT_CONFIG_VALUE_0"] = "https://github.com/owner/name"
    for tag in ("v1", "later"):  # side by side
        done = alone(tmp_path, name=stamp.Stamp("owner/name", tag), **github)
        assert (done.stdout, done.stderr) == (f"freezing-course-{tag}\n", "")
        assert (tmp_path / f"freezing-course-{tag}" / "NEWS").read_text() == tag


@pytest.mark.parametrize(
    ("course", "says"),
    [
        ("", "The folder utils is missing: open this notebook in the course's own folder."),
        (
            "/nowhere/course.git",
            "Cannot fetch /nowhere/course.git (fatal: repository '/nowhere/course.git' does not exist)",
        ),
        ("https://127.0.0.1:9/course", r"unable to access 'https://127.0.0.1:9/course/'"),  # no network
        ("REMOTE#v9", "Remote branch v9 not found"),
    ],
)
def test_a_lone_notebook_that_cannot_fetch_says_why(remote, tmp_path, course, says):
    done = alone(tmp_path, course.replace("REMOTE", str(remote)))
    assert done.returncode == 1 and says in done.stderr and one_sentence(done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_lone_notebook_without_git_or_with_its_folder_taken_says_so(remote, tmp_path):
    (tmp_path / "empty").mkdir()
    missing = alone(tmp_path, remote, PATH=str(tmp_path / "empty"))
    assert "No such file or directory: 'git'" in missing.stderr and one_sentence(missing.stderr)
    (tmp_path / "freezing-course").mkdir()
    (tmp_path / "freezing-course" / "mine").write_text("mine")
    taken = alone(tmp_path, remote)
    assert "'freezing-course' already exists" in taken.stderr and one_sentence(taken.stderr)
    assert (tmp_path / "freezing-course" / "mine").read_text() == "mine"


def run_alone(path, folder, monkeypatch, **environment):
    """Run a whole notebook in a folder of its own. Returns the notebook with its outputs."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    nb = nbformat.read(path, as_version=4)
    NotebookClient(nb, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return nb


def claims(nb):
    """The claims that a notebook's outputs show."""
    return re.findall(r"^✔ \[C\d\d\]", guards.shown(nb), re.MULTILINE)


@pytest.mark.slow
def test_a_lone_notebook_runs_from_top_to_bottom(remote, tmp_path, monkeypatch):
    nb = run_alone(FIRST, tmp_path, monkeypatch, FREEZING_COURSE=remote)
    assert claims(nb) == claims(guards.read(FIRST)) != []
    assert os.listdir(tmp_path) == ["freezing-course"]


# --- the copies for Colab ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def carrying(tmp_path_factory):
    """The first notebook's copy for Colab."""
    folder = tmp_path_factory.mktemp("colab")
    colab.main([str(FIRST), f"--to={folder}"])
    return folder / FIRST.name


def first_cells(path):
    """The source of the two cells before the lesson."""
    return "\n".join(cell.source for cell in guards.code(nbformat.read(path, as_version=4))[:2])


def test_a_copy_for_colab_needs_nothing_beside_it(carrying, tmp_path):
    done = start(first_cells(carrying), tmp_path, PATH="")  # no git either
    assert re.fullmatch(r"freezing-course-[0-9a-f]{8}\n", done.stdout) and done.stderr == ""
    course = tmp_path / done.stdout.strip()
    for path in [*(ROOT / "data").rglob("*.npz"), *(ROOT / "utils").rglob("*.py"), ROOT / "LICENSE"]:
        assert (course / path.relative_to(ROOT)).read_bytes() == path.read_bytes()

    mine = course / "notebooks" / "progress.json"
    mine.write_text("{}")
    (course / "utils" / "data.py").write_text("cut of")  # as by an earlier run that was interrupted
    twice = first_cells(carrying) + "\n" + first_cells(carrying)  # in one kernel
    assert start(twice, tmp_path).stdout == done.stdout and mine.read_text() == "{}"


def test_a_copy_for_colab_is_the_notebook_with_one_cell_more(carrying, course):
    nb, source = (nbformat.read(path, as_version=4) for path in (carrying, FIRST))
    nbformat.validate(nb)
    more = nb.cells.pop(1)
    assert more.metadata == colab.FOLDED and more.source.startswith("# @title ")
    assert [cell.source for cell in nb.cells[1:]] == [cell.source for cell in source.cells[1:]]
    assert 4.5e6 < carrying.stat().st_size < 5.5e6  # "5 MB" in the README

    stamp.write(course, V1)
    badged = nbformat.read(stamp.notebooks(course)[0], as_version=4)
    assert "Open in Colab" in badged.cells[0].source
    assert "Open in Colab" not in colab.carrying(badged, more).cells[0].source


def test_the_packed_course_does_not_tell_when_it_was_packed():
    files = zipfile.ZipFile(io.BytesIO(colab.packed(ROOT))).infolist()
    assert len(files) > 30 and {file.date_time for file in files} == {(1980, 1, 1, 0, 0, 0)}


def test_a_copy_for_colab_that_cannot_unpack_says_so(carrying, tmp_path):
    folder = re.search(r'extractall\("(.*?)"\)', first_cells(carrying))[1]
    (tmp_path / folder).write_text("in the way")
    done = start(first_cells(carrying), tmp_path)
    assert done.returncode == 1 and "Cannot unpack the course here" in done.stderr and one_sentence(done.stderr)


def test_copies_for_colab_do_not_replace_the_notebooks(course):
    before = contents(course)
    with pytest.raises(SystemExit, match="choose another folder with --to"):
        colab.main([str(stamp.notebooks(course)[0]), f"--to={course / 'notebooks'}"])
    assert contents(course) == before


@pytest.mark.slow
def test_a_copy_for_colab_runs_from_top_to_bottom(carrying, tmp_path, monkeypatch):
    nb = run_alone(carrying, tmp_path, monkeypatch, FREEZING_COURSE="")
    assert claims(nb) == claims(guards.read(FIRST)) != []
