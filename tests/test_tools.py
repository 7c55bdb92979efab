"""What a person meets before the first notebook: the commands of make, .venv, learn/, and the running of notebooks."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import nbformat
import pytest
import yaml
from jupyterlab_server.settings_utils import get_settings

from tools import ROOT, code_cells, learn, refresh, write


def one_sentence(text):
    """Whether a message is one line, with no traceback."""
    return text.strip() and text.count("\n") <= 1 and "Traceback" not in text


# --- make and the lists of dependencies -------------------------------------------------------------------------------


def make(*arguments, folder=ROOT, **environment):
    """What a make command does, as a finished process; not as a part of the `make test` that runs this."""
    if not shutil.which("make"):
        pytest.skip("Windows has no make")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=own | environment, capture_output=True, text=True)


def test_make_alone_lists_every_command():
    commands = re.search(r"^\.PHONY: (.*) again$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert re.findall(r"^  make ([\w-]+)  +\w", make().stdout, re.MULTILINE) == commands


def pins():
    """The lines of requirements.txt that are neither empty nor a comment."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_requirement_is_pinned_says_who_needs_it_and_goes_to_conda_and_binder_too():
    assert [line for line in pins() if not re.fullmatch(r"[\w-]+==[\w.]+ +# \w.*", line)] == []
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, last = environment["dependencies"]
    index, *installed = last["pip"]
    assert (conda, index) == (["python=3.11", "pip"], "--extra-index-url https://download.pytorch.org/whl/cpu")
    assert installed == [line.split()[0] for line in pins()]


def test_lab_opens_the_first_notebook_of_learn_and_fetches_no_news(monkeypatch, tmp_path):
    command = make("--dry-run", "lab").stdout
    assert command.index("-m tools.learn") < command.index("-m jupyterlab --ServerApp.root_dir=learn")
    assert "--LabApp.default_url=/lab/tree/01_freeze_basics.ipynb" in command
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", re.search(r'JUPYTER_CONFIG_PATH="([^"$]*)\$', command)[1])
    settings, _ = get_settings(
        app_settings_dir=str(tmp_path),
        schemas_dir=f"{sys.prefix}/share/jupyter/lab/schemas",
        settings_dir=str(tmp_path),
        schema_name="@jupyterlab/apputils-extension:notification",
    )
    defaults = {name: field["default"] for name, field in settings["schema"]["properties"].items()}
    assert defaults["fetchNews"] == "false" and defaults["checkForUpdates"] is False


# --- .venv ------------------------------------------------------------------------------------------------------------

PYTHON = """#!/bin/sh
# stands for a Python: its version is asked of the real one, its venv and pip only write down that they were called
case "$1" in
-c) exec "{python}" -c "import sys; {change}; exec(sys.argv[1])" "$2" ;;
-m) echo "$2" >> "{folder}/calls" ;;
esac
if [ "$2" = venv ]; then rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; fi
if [ "$2" = pip ] && [ -e "{folder}/slow" ]; then exec sleep 60; fi
if [ "$2" = pip ] && [ -e "{folder}/broken" ]; then echo "ERROR: No matching distribution" >&2; exit 1; fi
"""


@pytest.fixture
def course(tmp_path):
    """A folder with the Makefile and a Python 3.12 that installs nothing; `calls` tells what it was asked for."""
    if os.name == "nt":
        pytest.skip("its Python is a shell script")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").write_text("tiny==1.0\n")
    (tmp_path / "calls").touch()
    python(tmp_path, "python3.12", "sys.version_info = (3, 12, 1)")
    return tmp_path


def python(folder, name, change):
    (folder / name).write_text(PYTHON.format(python=sys.executable, change=change, folder=folder))
    (folder / name).chmod(0o755)
    return f"{folder}/{name}"


def install(course, *pythons):
    """Run the rule of .venv; returns the finished process and the calls of venv and pip."""
    (course / "calls").write_text("")
    done = make(".venv/made", f"PYTHON={' '.join(pythons) or course / 'python3.12'}", folder=course)
    return done, (course / "calls").read_text().split()


@pytest.mark.parametrize(
    "change",
    [
        "sys.version_info = (3, 10, 13)",
        "sys.version_info = (3, 14, 0)",
        "sys.modules['venv'] = None",
        "sys.modules['ensurepip'] = None",
        None,
    ],
)
def test_a_wrong_or_missing_python_gets_one_sentence(course, change):
    name = python(course, "other", change) if change else "/nowhere/python3.12"
    done, calls = install(course, name)
    said, makes_own, *rest = done.stderr.splitlines()
    assert done.returncode and not rest and makes_own.startswith("make: *** ") and calls == []
    assert said.startswith(
        "The course needs Python 3.11, 3.12 or 3.13 with its venv module, and none of these is one: "
    )
    assert f"{name};" in said and "sudo apt install python3-venv" in said and "make lab PYTHON=python3.12" in said
    assert not (course / ".venv").exists()


def test_the_first_python_that_fits_makes_it_and_a_whole_one_is_left_alone(course):
    fitting = [python(course, f"fits{minor}", f"sys.version_info = (3, {minor}, 0)") for minor in (11, 13)]
    done, calls = install(course, "/nowhere/python3", python(course, "old", "sys.version_info = (3, 9, 1)"), *fitting)
    assert calls == ["venv", "pip", "tools.minilm"]
    assert f"Making .venv with {course}/fits11 from requirements.txt" in done.stderr
    assert install(course)[1] == []


def test_what_is_not_whole_is_made_anew(course):
    (course / "broken").touch()
    done, calls = install(course)
    assert calls == ["venv", "pip"] and "ERROR: No matching distribution\n.venv is not whole (the error" in done.stderr
    (course / "broken").unlink()
    assert install(course)[1] == ["venv", "pip", "tools.minilm"]
    os.utime(course / "requirements.txt", (time.time() + 5,) * 2)  # changed since
    assert install(course)[1] == ["venv", "pip", "tools.minilm"]
    os.utime(course / "requirements.txt", (1, 1))
    (course / ".venv/bin/python").write_text("#!/bin/sh\nexit 127\n")  # as when the system's Python has gone
    assert install(course)[1] == ["venv", "pip", "tools.minilm"] and install(course)[1] == []


def test_an_interrupted_install_is_done_again(course):
    (course / "slow").touch()
    command = ["make", ".venv/made", f"PYTHON={course}/python3.12"]
    process = subprocess.Popen(command, cwd=course, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while "pip" not in (course / "calls").read_text() and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read()
    os.killpg(process.pid, signal.SIGKILL)  # nobody can tidy up then; Ctrl-C is milder
    process.communicate(timeout=30)
    assert (course / ".venv/bin").exists() and not (course / ".venv/made").exists()
    (course / "slow").unlink()
    assert install(course)[1] == ["venv", "pip", "tools.minilm"] and (course / ".venv/made").exists()


@pytest.mark.slow
def test_a_real_venv_is_made_and_made_again_by_its_own_python(course, monkeypatch):
    with zipfile.ZipFile(course / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    for name, value in {"CONFIG_FILE": os.devnull, "FIND_LINKS": str(course), "NO_INDEX": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    assert "Successfully installed tiny-1.0" in make(".venv/made", f"PYTHON={sys.executable}", folder=course).stdout
    os.utime(course / "requirements.txt", (time.time() + 5,) * 2)
    again = make(".venv/made", "PYTHON=.venv/bin/python", folder=course)  # as when it is activated
    assert "Successfully installed tiny-1.0" in again.stdout and again.returncode == 0


# --- learn/ -----------------------------------------------------------------------------------------------------------


def write_notebook(path, sources):
    """A notebook as an editor leaves it: stale outputs, timing, widget state, another kernel."""
    code = [nbformat.v4.new_code_cell(source) for source in sources]
    for cell in code:
        cell.update(execution_count=77, outputs=[nbformat.v4.new_output("stream", text="stale\n")])
        cell.metadata.execution = {"iopub.status.busy": "2026-01-01T00:00:00Z"}
    metadata = {"widgets": {}, "kernelspec": {"name": "mine", "display_name": "Mine"}, "title": "kept"}
    words = [nbformat.v4.new_markdown_cell(text) for text in ("# A title", "A word.")]
    write(nbformat.v4.new_notebook(cells=words + code, metadata=metadata), path)


@pytest.fixture
def learner(tmp_path, monkeypatch):
    """A course of two notebooks, and learn/ as `make lab` fills it: the folder."""
    for name in ("01_a.ipynb", "02_b.ipynb"):
        write_notebook(tmp_path / "notebooks" / name, ["1 + 1"])
    monkeypatch.setattr(learn, "notebooks", lambda: sorted((tmp_path / "notebooks").glob("*.ipynb")))
    monkeypatch.setattr(learn, "LEARN", tmp_path / "learn")
    learn.main()
    return tmp_path


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_copies_have_no_outputs_and_are_never_written_again(learner, capsys):
    copies = sorted((learner / "learn").iterdir())
    assert [path.name for path in copies] == ["01_a.ipynb", "02_b.ipynb"]
    assert not any(cell.outputs or cell.execution_count for cell in code_cells(nbformat.read(copies[0], 4)))
    edit(copies[0], "1 + 1", "mine = 2")
    edit(copies[1], '"made_from"', '"dropped"')  # as some editors do
    before = [path.read_bytes() for path in copies]
    learn.main()
    edit(learner / "notebooks/02_b.ipynb", "1 + 1", "1 + 2")
    learn.main()
    assert [path.read_bytes() for path in copies] == before and capsys.readouterr().out == ""


def test_a_newer_original_is_told_and_taken_by_a_command_that_keeps_the_old_copy(learner, capsys):
    copy = learner / "learn/02_b.ipynb"
    edit(copy, "1 + 1", "mine = 2")
    edit(learner / "notebooks/02_b.ipynb", "stale", "other outputs")
    learn.main()
    assert capsys.readouterr().out == ""
    edit(learner / "notebooks/02_b.ipynb", "1 + 1", "1 + 2")
    learn.main()
    told = capsys.readouterr().out
    assert told.startswith("02_b.ipynb has changed since your copy was made: `make fresh NOTEBOOK=02` gives you")
    assert one_sentence(told)
    learn.main(["02"])
    copy.write_text("{")  # a damaged one stops nothing
    learn.main()
    assert "02_b.ipynb cannot be read: `make fresh" in capsys.readouterr().out
    learn.main(["02"])
    assert "mine = 2" in copy.with_stem("02_b_yours1").read_text() and copy.with_stem("02_b_yours2").read_text() == "{"
    assert "1 + 2" in copy.read_text()


@pytest.mark.parametrize("number", ["", "07", "0"])
def test_a_number_of_no_notebook_gets_one_sentence(learner, number):
    with pytest.raises(SystemExit, match="make fresh NOTEBOOK=03") as stop:
        learn.main([number])
    assert one_sentence(stop.value.code)


# --- running notebooks ------------------------------------------------------------------------------------------------

GOOD = [
    "import os\nprint('\u2714 one')\nprint('not \u2714 a claim')\n'PYTEST_CURRENT_TEST' in os.environ",
    "x = bytearray(b'x') * 250_000_000\ndel x\n_ = os.system('echo child')",
    "import time\nfor part in ('\u2714 t', 'wo'):\n    print(part, end='', flush=True)\n    time.sleep(0.3)",
    "import ipywidgets\nipywidgets.Button()",
]
BAD = ["print('\u2714 one')", "\n1 / 0", "print('never')"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder with a good, a failing and a dying notebook after `make refresh`; the process; their bytes before."""
    folder = tmp_path_factory.mktemp("ran")
    sources = {"good": GOOD, "bad": BAD, "dead": ["__import__('os')._exit(1)"]}
    for name, cells in sources.items():
        write_notebook(folder / f"{name}.ipynb", cells)
    before = {path.stem: path.read_bytes() for path in folder.iterdir()}
    command = [sys.executable, "-m", "tools.refresh", *(f"{name}.ipynb" for name in sources)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return folder, subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True), before


def test_the_table_counts_cells_claims_and_memory(ran):
    table = {line.split()[0]: line.split()[1:] for line in ran[1].stdout.splitlines() if line}
    cells, claims, seconds, peak, result = table["good"]
    assert (cells, claims, result) == ("4", "2", "ok") and float(seconds) > 0.5
    assert int(peak) > 250 or not os.path.exists("/proc/self/status")  # only Linux tells it
    assert table["bad"][:2] == ["3", "1"] and table["bad"][-1] == "FAILED"
    assert table["total"][:2] == ["8", "3"] and table["total"][3:] == [peak, "2", "FAILED"]


def test_a_failing_cell_is_named_and_ends_only_its_notebook(ran):
    folder, done, before = ran
    assert done.returncode == 1 and "Traceback" not in done.stderr and " 0/3 [" in done.stderr  # the progress bar
    assert "FAILED: bad, code cell 2 `1 / 0`\n  ZeroDivisionError: division by zero" in done.stderr
    assert "dead, code cell 1 `__import__('os')._exit(1)`\n  the kernel died" in done.stderr
    assert all((folder / f"{name}.ipynb").read_bytes() == before[name] for name in ("bad", "dead"))


def test_outputs_are_the_same_from_every_run_and_machine(ran):
    path, old = ran[0] / "good.ipynb", nbformat.reads(ran[2]["good"].decode(), 4)
    notebook = nbformat.read(path, 4)
    code = code_cells(notebook)
    assert [cell.id for cell in notebook.cells] == [cell.id for cell in old.cells]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4]
    assert all("execution" not in cell.metadata for cell in code)
    assert notebook.metadata == {"title": "kept", **refresh.METADATA} and "version" not in json.dumps(notebook.metadata)
    shown = [[output.get("text") or output.data for output in cell.outputs] for cell in code]
    assert shown[0] == ["\u2714 one\nnot \u2714 a claim\n", {"text/plain": "False"}]  # False: outside of pytest
    assert shown[1:3] == [["child\n"], ["\u2714 two"]]
    assert list(shown[3][0]) == ["text/plain"]  # no id of a widget


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
