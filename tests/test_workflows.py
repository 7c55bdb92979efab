"""GitHub's workflows: they follow the published schema, and run what `make` runs."""

import re
import subprocess
import sys

import pytest
import yaml

from tools import ROOT

PATHS = sorted((ROOT / ".github/workflows").glob("*.yml"))
INSTALL = "python -m pip install -r requirements.txt"


def follows_the_schema(*paths):
    """Whether files are workflows as GitHub's published schema has them; the schema comes with check-jsonschema."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *paths]
    return subprocess.run(command, capture_output=True).returncode == 0


def commands(name):
    """What a workflow's steps run, in order."""
    jobs = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8"))["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def recipe(target):
    """What a target of the Makefile runs, for whatever Python is at hand."""
    lines = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    return [line.strip().lstrip("@").replace("$(VENV_PYTHON)", "python") for line in lines.splitlines()]


def test_workflows_follow_the_published_schema_and_a_broken_one_does_not(tmp_path):
    assert [path.stem for path in PATHS] == ["site", "tests", "weekly"] and follows_the_schema(*PATHS)
    (tmp_path / "broken.yml").write_text(PATHS[1].read_text(encoding="utf-8").replace("runs-on:", "run-on:"))
    assert not follows_the_schema(tmp_path / "broken.yml")


@pytest.mark.parametrize(("name", "target"), [("tests", "test"), ("site", "site"), ("weekly", "run")])
def test_a_workflow_runs_what_make_runs(name, target):
    install, *rest = commands(name)
    assert install == INSTALL
    makes_environment = ("python -m tools.minilm", "python -m pip install --upgrade ")
    assert [command for command in rest if not command.startswith(makes_environment)] == recipe(target)
    assert name == "site" or makes_environment[0] in rest  # notebook 08 is compared with its outputs


def test_the_systems_and_pythons_are_those_that_the_course_names():
    matrix = yaml.safe_load(PATHS[1].read_text(encoding="utf-8"))["jobs"]["test"]["strategy"]["matrix"]
    assert [system.split("-")[0] for system in matrix["os"]] == ["ubuntu", "macos", "windows"]
    named = re.search(r"You need Python ([\d., or]+) with", (ROOT / "README.md").read_text(encoding="utf-8"))[1]
    assert matrix["python"] == [re.findall(r"3\.\d+", named)[i] for i in (0, -1)]
