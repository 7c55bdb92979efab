"""Starts `judge.py` for one answer after the other, watches over it, and makes what it said a mark."""

import contextlib
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from utils.study import sandbox, scoring
from utils.study.questions import one_line

from . import cage, slices, submissions

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("utils/**/*.py", "tools/__init__.py", "tools/grade/*.py", "data/*", "data/questions/*")  # what a check needs
MOST = 1_000_000  # bytes of a result
PROCESSES = 200  # that one answer may have at a time
LOOK = "not judged by the machine, because its code has `{}`, which an answer has no need of: look at it yourself"


@dataclass
class Mark:
    """What one question is worth: `share` from 0 to 1, and why it is not 1, "" if it is."""

    share: float
    why: str = ""


class Course:
    """The course as it was when grading began: kept in memory, out of reach of what runs later."""

    def __init__(self, folder, seconds, megabytes, root=ROOT):
        """folder: of the submissions, to be hidden from them. Raises OSError, submissions.NoNotebook."""
        self.seconds, self.megabytes = seconds, megabytes
        self.files = self.read(root)
        self.root, self.stop, self.random = root, threading.Event(), random.SystemRandom()
        self.notebooks = {path.name[:2]: submissions.parse(path.read_bytes()) for path in notebooks(root)}
        needed = map(os.path.realpath, (root, sys.prefix, sys.base_prefix, tempfile.gettempdir()))
        hidden = os.path.realpath(folder)
        self.hidden = [] if any(Path(path).is_relative_to(hidden) for path in needed) else [hidden]
        self.caged, self.no_cage = False, "there is no `unshare`"
        if cage.command():
            self.caged = True
            result = self.start({"task": "probe"})
            self.no_cage = "`unshare` is not permitted" if "failed" in result else result.get("no_cage", "")
            self.caged = not self.no_cage

    @staticmethod
    def read(root):
        """{relative path: bytes} of what a check needs."""
        return {
            path.relative_to(root): path.read_bytes() for part in PARTS for path in root.glob(part) if path.is_file()
        }

    def changed(self):
        """The course's files that are no longer what they were."""
        now = self.read(self.root)
        return sorted(str(path) for path in self.files.keys() | now.keys() if self.files.get(path) != now.get(path))

    def exercise(self, cells, number, question):
        """The mark of one exercise in a learner's notebook (a list of Cell)."""
        id, course = question["id"], self.notebooks[number]
        given = next(cell for cell in course if id in cell.checks())
        mine = [cell for cell in cells if "solution" not in cell.tags and id in cell.checks()]
        mine = mine or [cell for cell in cells if cell.id == given.id and "exercise" in cell.tags]
        if not mine:
            return Mark(0, "its cell is missing")
        tried = [cell for cell in mine if cell.fault or not same(cell, given)]
        if not tried:
            return Mark(0, "not attempted")
        cell = tried[-1]
        if cell.fault:
            return Mark(0, cell.fault)
        theirs = program(course)
        place = next(i for i, other in enumerate(cells) if other is cell)
        others = [*cells[place + 1 :], *cells[:place]]  # what stands before it counts more, so it comes last
        answer = slices.answer(cell, id, program(others), theirs)
        wrong = self.random.choice(question["wrong"])["code"]
        job = {"exercise": id, "before": answer.before, "cell": answer.cell, "value": answer.value}
        job |= {"may_judge": answer.reaches is None, "control": slices.before_code(wrong, theirs)}
        result = self.start({"task": "run", **job})
        if "data" in result:
            result = self.start({"task": "data", "exercise": id, "data": result["data"]})
        elif answer.reaches and ("outside" in result or "judged_here" in result):
            return Mark(0, LOOK.format(answer.reaches))
        if "failed" in result:
            return Mark(0, result["failed"])
        if "changed" in result:
            return Mark(0, "not judged: after it had run, its check let a wrong answer pass; look at it yourself")
        if result.get("right") is True:
            return Mark(1)
        return Mark(0, one_line(str(result.get("line", "")).removeprefix(scoring.WRONG).strip(), 300))

    def start(self, job):
        """Run a job in a process of its own, on a fresh copy of the course. Returns its result, or {"failed": why}.

        job: what `judge.py` is to do: its "task" (probe, run or data) and what that needs.
        """
        nonce, box = secrets.token_hex(16), tempfile.mkdtemp(prefix="grade-")
        try:
            for path, content in self.files.items():
                place = Path(box, path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            scratch = Path(box, "scratch")
            scratch.mkdir()
            job = {**job, "nonce": nonce, "box": box, "scratch": str(scratch), "hidden": self.hidden}
            job |= {"caged": self.caged, "outside": cage.namespaces() if self.caged else {}}
            job |= {"seconds": 2 * self.seconds, "megabytes": self.megabytes}
            output, failed = self.watch(job, scratch)
        finally:
            shutil.rmtree(box, ignore_errors=True)
        if failed:
            return {"failed": failed}
        for line in reversed(output.splitlines()):  # a learner's code may have written there, too
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
                result = json.loads(line)
                if result.pop("nonce") == nonce:
                    return result
        return {"failed": "its process ended without a result: it crashed, or ended itself"}

    def watch(self, job, scratch):
        """Start the process and wait for its end. Returns (what it wrote, why it was ended or "")."""
        command = [*(cage.command() if self.caged else []), sys.executable, "-I", "-B"]
        process = subprocess.Popen(
            [*command, str(Path(job["box"], "tools/grade/judge.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=job["box"],
            env=environment(scratch),
            start_new_session=True,
        )
        output, feed = bytearray(), threading.Thread(target=send, args=(process, json.dumps(job).encode()), daemon=True)
        listen = threading.Thread(target=receive, args=(process, output), daemon=True)
        feed.start(), listen.start()
        why, end, family = "", time.monotonic() + self.seconds, sandbox.Family(process.pid)
        while process.poll() is None and not why:
            if self.stop.wait(0.1):
                why = "interrupted"
            elif time.monotonic() > end:
                why = f"it ran longer than {self.seconds} s: an endless loop?"
            else:
                why = self.excess(family)
        family.kill()
        process.wait()
        listen.join(5)
        return bytes(output), why

    def excess(self, family):
        """Why a process with all that it started is too large, "" if it is not."""
        megabytes, number = family.look()
        if megabytes > self.megabytes:
            return f"it used more than {self.megabytes:,} MB of memory"
        return f"it started more than {PROCESSES} processes" if number > PROCESSES else ""


def notebooks(root=ROOT):
    """The paths of the course's notebooks, sorted."""
    return sorted(root.glob("notebooks/[0-9][0-9]_*.ipynb"))


def program(cells):
    """The statements of the cells that no learner's answer and no solution of the course stands in."""
    kept = [cell for cell in cells if cell.tree and "solution" not in cell.tags]
    return [statement for cell in kept for statement in slices.statements(cell.tree)]


def same(cell, given):
    """Whether a cell is as the course gave it out."""
    return "".join(cell.source.split()) == "".join(given.source.split())


def environment(scratch):
    """The environment of a learner's process: none of the teacher's own, and no files outside its folder."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "SYSTEMROOT") if name in os.environ}
    home = dict.fromkeys(("HOME", "TMPDIR", "TEMP", "TMP", "USERPROFILE"), str(scratch))
    course = {"FREEZING_PROGRESS": "off", "FREEZING_WIDGETS": "off", "MPLBACKEND": "agg", "CUDA_VISIBLE_DEVICES": ""}
    return kept | home | sandbox.ONE_THREAD | course | {"PYTHONHASHSEED": "0"}


def send(process, text):
    """Write a process's input; it may have ended before it read all."""
    try:
        process.stdin.write(text)
        process.stdin.close()
    except OSError:
        pass


def receive(process, output):
    """Collect what a process writes; what is more than a result can be is thrown away."""
    while block := process.stdout.read1(65536):
        if len(output) < MOST:
            output += block
