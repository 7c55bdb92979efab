"""What a person meets before the first notebook: the commands of make, .venv, and the runner of notebooks."""

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml
from jupyterlab_server.settings_utils import get_settings

from tools import run_notebooks

ROOT = Path(__file__).resolve().parent.parent
MAKE_VENV = ROOT / "tools/make_venv.py"
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
STAMP = ".venv/made_from.txt"


def one_sentence(text):
    """Whether a message is one line, with no traceback."""
    return text.count("\n") <= 1 and "Traceback" not in text


# --- make and the lists of dependencies -------------------------------------------------------------------------------


def make(*arguments, folder=ROOT, **environment):
    """What a make command does, as a finished process; not as a part of the `make test` that runs this."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=own | environment, capture_output=True, text=True)


def test_make_alone_lists_every_command():
    commands = re.search(r"^\.PHONY: (.*) venv$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    listed = re.findall(r"^  make ([\w-]+)  +\w", make().stdout, re.MULTILINE)
    assert listed == commands


def test_a_python_that_does_not_start_is_named():
    done = make("venv", "PYTHON=/nowhere/python3.12")
    message = done.stderr.splitlines()[0]
    assert done.returncode and message.startswith("/nowhere/python3.12 does not start: install Python 3.11")


def test_the_first_python_that_runs_and_fits_is_taken(tmp_path):
    folder = course(tmp_path / "course", "")
    shutil.copy(ROOT / "Makefile", folder)
    commands = dict.fromkeys(("python3", "python3.13", "python3.11"), "exit 127")  # as a version manager's shims
    commands["python3.12"] = commands["python"] = f'exec {sys.executable} "$@"'
    for name, command in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{command}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert 'python="python3.12"; ' in make("--dry-run", "venv", folder=folder, PATH=path).stdout

    (folder / ".venv").mkdir()  # but a .venv stays with the Python that made it
    (folder / ".venv/pyvenv.cfg").write_text(f"home = {tmp_path}\nexecutable = {tmp_path}/python\n")
    assert f'python="{tmp_path}/python"; ' in make("--dry-run", "venv", folder=folder, PATH=path).stdout


def test_lab_fetches_no_news_and_no_updates(monkeypatch, tmp_path):
    folder = re.search(r'JUPYTER_CONFIG_PATH="([^"$]*)\$', make("--dry-run", "lab").stdout)[1]
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", folder)
    settings, _ = get_settings(
        app_settings_dir=str(tmp_path),
        schemas_dir=f"{sys.prefix}/share/jupyter/lab/schemas",
        settings_dir=str(tmp_path),
        schema_name="@jupyterlab/apputils-extension:notification",
    )
    defaults = {name: field["default"] for name, field in settings["schema"]["properties"].items()}
    assert defaults["fetchNews"] == "false" and defaults["checkForUpdates"] is False


def pins():
    """The lines of requirements.txt that are neither empty nor a comment."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_requirement_is_pinned_and_says_who_needs_it():
    assert pins() and [line for line in pins() if not re.fullmatch(r"[\w-]+==[\w.]+ +# \w.*", line)] == []


def test_conda_and_binder_get_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, last = environment["dependencies"]
    index, *installed = last["pip"]
    assert conda == ["python=3.11", "pip"]
    assert index == "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert installed == [line.split()[0] for line in pins()]


# --- .venv ------------------------------------------------------------------------------------------------------------


def load(path):
    """A fresh module from a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def course(folder, requirements):
    """A small course in a folder: make_venv.py, and requirements that pip finds beside it, as the wheel `tiny` 1.0."""
    (folder / "tools").mkdir(parents=True)
    shutil.copy(MAKE_VENV, folder / "tools")
    (folder / "requirements.txt").write_text(requirements)
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    return folder


def start(folder, **environment):
    """Start make_venv.py in a small course, in a process group of its own."""
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(folder), "PIP_NO_INDEX": "1"}
    return subprocess.Popen(
        [sys.executable, "tools/make_venv.py"],
        cwd=folder,
        env={**os.environ, **offline, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(folder):
    """Run make_venv.py in a small course: the exit code, what it and pip printed, what it said as errors."""
    process = start(folder)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small course whose half-made .venv was made anew, and what was said then."""
    folder = course(tmp_path_factory.mktemp("finished") / "course", "tiny==1.0  # who needs it\n")
    (folder / ".venv").mkdir()
    (folder / ".venv/left_over").touch()
    return folder, run(folder)


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished course, to be damaged; without pip, which is large."""
    large = shutil.ignore_patterns("pip", "setuptools", "pkg_resources")
    return shutil.copytree(finished[0], tmp_path / "course", symlinks=True, ignore=large)


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 14, 0)])
def test_another_python_is_refused(tmp_path, monkeypatch, version):
    module = load(course(tmp_path / "course", "") / "tools/make_venv.py")
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, "version_info", version)
        patch.setattr(sys, "argv", ["make_venv.py"])
        module.main()
    message = stop.value.code
    assert one_sentence(message) and f"needs Python 3.11 to 3.13 and this is Python {version[0]}." in message
    assert not (tmp_path / "course/.venv").exists()


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9), (3, 13, 1)])
def test_these_pythons_fit(monkeypatch, version):
    module = load(MAKE_VENV)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "version_info", version)
        assert module.unfit() is None


def test_an_old_python_can_read_the_refusal():
    source = MAKE_VENV.read_bytes().decode("ascii")
    newer = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.Match, ast.Nonlocal, ast.AsyncFunctionDef)
    nodes = ast.walk(ast.parse(source))
    assert [node.lineno for node in nodes if isinstance(node, newer) or getattr(node, "annotation", None)] == []


@pytest.mark.parametrize("part", ["venv", "ensurepip"])
def test_a_python_without_venv_is_told_what_to_install(monkeypatch, part):
    module = load(MAKE_VENV)
    monkeypatch.setitem(sys.modules, part, None)  # its import fails
    assert one_sentence(module.unfit()) and f"sudo apt install python{VERSION}-venv" in module.unfit()


def test_a_half_made_venv_is_made_anew_and_a_good_one_left_alone(finished):
    folder, (code, output, errors) = finished
    assert code == 0 and "Successfully installed tiny-1.0" in output
    assert errors.splitlines() == [
        "Removing .venv to make it anew: its installation was never finished.",
        f"Making .venv with Python {VERSION} from requirements.txt: some minutes and about 4 GB of disk, once.",
    ]
    assert not (folder / ".venv/left_over").exists()
    stamp = (folder / STAMP).stat().st_mtime_ns
    assert run(folder) == (0, "", "")
    assert (folder / STAMP).stat().st_mtime_ns == stamp


def lose_stamp(folder):
    (folder / STAMP).unlink()


def damage_stamp(folder):
    (folder / STAMP).write_bytes(b"\xff\x00")


def change_requirements(folder):
    (folder / STAMP).write_text(f"Python {VERSION}\nrequirements.txt of another day\n")


def change_python(folder):
    stamp = (folder / STAMP).read_text()
    (folder / STAMP).write_text(stamp.replace(f"Python {VERSION}", "Python 3.10"))


def break_python(folder):
    (folder / ".venv/bin/python").unlink()
    (folder / ".venv/bin/python").symlink_to("/nowhere/python")


def stop_python(folder):
    (folder / ".venv/bin/python").unlink()
    (folder / ".venv/bin/python").write_text("#!/bin/sh\nexit 3\n")
    (folder / ".venv/bin/python").chmod(0o755)


def tiny(folder):
    return next(folder.glob(".venv/lib/*/site-packages/tiny-1.0.dist-info"))


def remove_library(folder):
    shutil.rmtree(tiny(folder))


def change_library(folder):
    (tiny(folder) / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.1\n")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: None, None),
        (lose_stamp, "its installation was never finished"),
        (damage_stamp, f"it was not made by Python {VERSION}"),
        (change_python, f"it was not made by Python {VERSION}"),
        (change_requirements, "requirements.txt has changed since"),
        (break_python, "its Python does not start"),
        (stop_python, "its Python does not start"),
        (remove_library, "tiny is missing"),
        (change_library, "tiny is 1.1, not 1.0"),
    ],
)
def test_what_is_wrong_with_a_venv_is_named(copy, monkeypatch, damage, reason):
    damage(copy)
    module = load(copy / "tools/make_venv.py")
    reasons = []
    monkeypatch.setattr(module, "say", reasons.append)
    monkeypatch.setattr(module, "make", lambda stamp: None)
    module.update((copy / "requirements.txt").read_text())
    assert reasons == ([f"Removing .venv to make it anew: {reason}."] if reason else [])
    assert (copy / ".venv").exists() == (reason is None)


def test_a_local_build_meets_the_pin(copy):
    (tiny(copy) / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0+cpu\n")
    assert run(copy) == (0, "", "")


def test_a_link_in_the_place_of_venv_is_removed_and_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/work.txt").touch()
    (tmp_path / ".venv").symlink_to("mine")
    load(MAKE_VENV).remove(tmp_path / ".venv")
    assert not (tmp_path / ".venv").is_symlink() and (tmp_path / "mine/work.txt").exists()


def test_an_interrupted_install_is_not_trusted(tmp_path):
    folder = course(tmp_path / "course", "tiny==1.0\n")
    with socket.create_server(("127.0.0.1", 0)) as index:  # takes pip's question and never answers
        index.settimeout(60)
        process = start(folder, PIP_NO_INDEX="", PIP_INDEX_URL=f"http://127.0.0.1:{index.getsockname()[1]}/")
        connection, _ = index.accept()
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        _, errors = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 130 and "Traceback" not in errors and "Interrupted: .venv is not finished" in errors
    assert (folder / ".venv/bin/python").exists() and not (folder / STAMP).exists()


def test_a_failed_install_ends_with_a_sentence(finished, tmp_path, monkeypatch, capfd):
    folder = shutil.copytree(finished[0], tmp_path / "course", symlinks=True)
    (folder / "requirements.txt").write_text("absent==9.9\n")
    (folder / STAMP).unlink()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    module = load(folder / "tools/make_venv.py")
    made = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: made)  # the .venv is there: save its making
    with pytest.raises(SystemExit) as stop:
        module.make(["a stamp"])
    assert "No matching distribution found for absent==9.9" in capfd.readouterr().err
    assert one_sentence(stop.value.code)
    assert stop.value.code.startswith("pip could not install requirements.txt (its error is above): look at")
    assert not (folder / STAMP).exists()


def test_two_runs_at_once_wait_for_each_other(finished):
    fcntl = pytest.importorskip("fcntl")
    with open(finished[0] / "requirements.txt") as requirements:
        fcntl.flock(requirements, fcntl.LOCK_EX)
        process = start(finished[0])
        said = process.stderr.readline()
        waits = process.poll() is None
    assert said == "Another run is making .venv: waiting for it.\n" and waits
    assert process.communicate(timeout=30) == ("", "") and process.returncode == 0


# --- running notebooks ------------------------------------------------------------------------------------------------

CHILD = "import time; print('child', flush=True); x = bytearray(b'x') * 250_000_000; time.sleep(0.5)"
GOOD = [
    "import os\nprint('\u2714 one')\nprint('not \u2714 a claim')\n'PYTEST_CURRENT_TEST' in os.environ",
    f"import subprocess, sys\n_ = subprocess.run([sys.executable, '-c', {CHILD!r}])",
    "for part in ('\u2714 t', 'wo'):\n    print(part, end='', flush=True)\n    __import__('time').sleep(0.3)",
    "import ipywidgets\nipywidgets.Button()",
]
BAD = ["print('\u2714 one')", "\n1 / 0", "print('never')"]


def write_notebook(path, sources):
    """A notebook as an editor leaves it: stale outputs, timing, widget state, another kernel."""
    code = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell in code:
        cell.update(execution_count=77, outputs=[nbformat.v4.new_output("stream", text="stale\n")])
        cell.metadata.execution = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
    metadata = {"widgets": {}, "kernelspec": {"name": "mine", "display_name": "Mine"}, "title": "kept"}
    words = [nbformat.v4.new_markdown_cell(text) for text in ("# A title", "A word.")]
    nbformat.write(nbformat.v4.new_notebook(cells=words + code, metadata=metadata), path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder with a good and a bad notebook, after `--in-place`; what was printed; the notebooks before."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "notebooks").mkdir()
    write_notebook(folder / "notebooks/bad.ipynb", BAD)
    write_notebook(folder / "notebooks/good.ipynb", GOOD)
    before = {path.stem: path.read_bytes() for path in folder.glob("notebooks/*")}
    command = [sys.executable, "-m", "tools.run_notebooks", "--in-place"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return folder, subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True), before


def rows(output):
    """The rows of the printed table by their first word."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line}


def test_the_table_counts_cells_claims_and_memory(ran):
    table = rows(ran[1].stdout)
    cells, claims, seconds, peak, result = table["good"]
    assert (cells, claims, result) == ("4", "2", "ok")
    assert float(seconds) > 1 and int(peak) > 250  # the child process counts
    assert table["bad"][:2] == ["3", "1"] and table["bad"][-1] == "FAILED"
    assert table["total"][:2] == ["7", "3"] and table["total"][-2:] == ["1", "FAILED"]
    assert table["total"][3] == peak


def test_a_failing_cell_is_named_and_ends_only_its_notebook(ran):
    folder, done, before = ran
    assert done.returncode == 1
    assert "FAILED: notebooks/bad.ipynb, cell [2] `1 / 0`\n  ZeroDivisionError: division by zero" in done.stderr
    assert "Traceback" not in done.stderr and " 0/7 [" in done.stderr  # the progress bar
    executed = run_notebooks.code_cells(nbformat.read(folder / "build/notebooks/bad.ipynb", 4))
    assert [cell.execution_count for cell in executed] == [1, 2, None] and executed[2].outputs == []
    assert (folder / "notebooks/bad.ipynb").read_bytes() == before["bad"]


def test_outputs_in_place_are_the_same_from_every_run_and_machine(ran, monkeypatch):
    folder, _, before = ran
    monkeypatch.chdir(folder)
    path = folder / "notebooks/good.ipynb"
    notebook, old = nbformat.read(path, 4), nbformat.reads(before["good"].decode(), 4)
    assert [cell.id for cell in notebook.cells] == [cell.id for cell in old.cells]
    code = run_notebooks.code_cells(notebook)
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4]
    assert all("execution" not in cell.metadata for cell in code)
    assert notebook.metadata == {"title": "kept", **run_notebooks.METADATA}
    assert "version" not in json.dumps(notebook.metadata)
    shown = [[output.get("text") or output.data for output in cell.outputs] for cell in code]
    assert shown[0] == ["\u2714 one\nnot \u2714 a claim\n", {"text/plain": "False"}]  # False: outside of pytest
    assert shown[1:3] == [["child\n"], ["\u2714 two"]]
    assert list(shown[3][0]) == ["text/plain"]  # no id of a widget

    first = path.read_bytes()
    assert first == (folder / "build/notebooks/good.ipynb").read_bytes()
    assert run_notebooks.main(["--in-place", "notebooks/good.ipynb"]) == 0
    assert path.read_bytes() == first


@pytest.mark.parametrize("content", ["", "junk", "[]", "{}", '{"nbformat": 4, "nbformat_minor": 5, "cells": 3}', None])
def test_what_is_no_notebook_gets_one_sentence(tmp_path, content):
    path = tmp_path / "x.ipynb"
    path.mkdir() if content is None else path.write_text(content)
    with pytest.raises(SystemExit) as stop:
        run_notebooks.read(path)
    assert one_sentence(stop.value.code) and str(path) in stop.value.code


def test_a_missing_notebook_gets_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (["absent.ipynb"], []):
        with pytest.raises(SystemExit) as stop:
            run_notebooks.main(arguments)
        assert one_sentence(stop.value.code) and stop.value.code.startswith("There ")
    assert not (tmp_path / "build").exists()


def test_a_cell_without_end_and_a_dead_kernel_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_notebook(Path("long.ipynb"), ["while True: pass"])
    write_notebook(Path("dead.ipynb"), ["__import__('os')._exit(1)"])
    assert run_notebooks.main(["--timeout", "1", "long.ipynb", "dead.ipynb"]) == 1
    errors = capsys.readouterr().err
    assert "long.ipynb, cell [1] `while True: pass`\n  it ran longer than 1 s" in errors
    assert "dead.ipynb, cell [1] `__import__('os')._exit(1)`\n  the kernel died" in errors


def test_nbval_shows_what_jupyterlab_shows(tmp_path):
    """The repairs of conftest.py: a trailing semicolon silences, and what child processes print is an output."""
    silent = nbformat.v4.new_code_cell("1;", execution_count=1)
    printed = [nbformat.v4.new_output("stream", text="child\n")]
    source = "import os, time\n_ = os.system('echo child')\ntime.sleep(0.5)"
    loud = nbformat.v4.new_code_cell(source, execution_count=2, outputs=printed)
    nbformat.write(nbformat.v4.new_notebook(cells=[silent, loud]), tmp_path / "x.ipynb")
    options = ["-p", "conftest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", *options, "x.ipynb"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout
