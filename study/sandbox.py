"""Runs a learner's code in a process of its own, with a time limit, so that it cannot take the notebook down.

This protects from accidents, not from malice: the code may do what the learner may. The same file is both sides:
imported, it is the parent; run as a script, it is the child.
"""

import contextlib
import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

STARTUP = 90.0  # seconds that Python and the imports may take; a busy machine needs 20 for TensorFlow
LEARNERS = "<your code>"  # the file name in tracebacks
EXITED = "Your code ended the Python process before the check was done: leave out what exits."
NOT_RUN = "Your code was not run, and it does not count: no Python process could be started"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "FREEZING_PROGRESS": "off"}
QUIET |= dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")


@dataclass(frozen=True)
class Outcome:
    """What became of the code.

    kind: "done", "syntax" (never run), "raised", "exited", "time", "crashed" or "no process" (never run). mistake: for
    "done", the key of the first expectation that failed, None when all held. text: else one sentence for the learner.
    """

    kind: str
    mistake: str | None = None
    text: str = ""

    @property
    def counts(self):
        """Whether the code was run at all; what was not run should cost nobody an attempt."""
        return self.kind not in ("syntax", "no process")


def run(code, check="", imports=(), seconds=20.0):
    """Run code, then a check in the same namespace, in a new process and an empty folder.

    code, check: Python text. The check calls `expect(condition, "key")`; the first condition that is false ends it.
    imports: modules to import beforehand, outside of the limit. seconds: the limit of code and check together.
    Returns Outcome.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(code, LEARNERS, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"Line {error.lineno} is" if getattr(error, "lineno", None) else "This is"
        why = getattr(error, "msg", None) or error
        return Outcome("syntax", text=f"{line} not Python: {why}. It was not run, and does not count.")
    job = json.dumps([code, check, list(imports), seconds])
    with tempfile.TemporaryDirectory(prefix="freezing-", ignore_cleanup_errors=True) as folder:
        late, options = Path(folder, "late.txt"), {"cwd": folder, "env": os.environ | QUIET, "text": True}
        options |= {"input": job, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            process = subprocess.run([sys.executable, os.path.abspath(__file__)], timeout=STARTUP + seconds, **options)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Outcome("no process", text=f"{NOT_RUN} ({type(error).__name__}).")
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Outcome(**json.loads(Path(folder, "report.json").read_text()))
        if not late.exists():
            return Outcome("no process", text=f"{NOT_RUN}: {', '.join(imports)} cannot be imported there.")
        if late.stat().st_size:
            text = f"Your code ran longer than {seconds:g} seconds and was stopped: is there an endless loop?"
            return Outcome("time", text=text)
    if 0 <= process.returncode <= 255:  # else a signal; on Windows a large number
        return Outcome("exited", text=EXITED)
    return Outcome("crashed", text=f"Your code crashed the Python process (code {process.returncode}).")


# ---------------------------------------------------------------- the child


class _Expected(BaseException):
    """An expectation of the check that did not hold; not an Exception, so that the learner's code cannot catch it."""


def _expect(condition, key):
    if not condition:
        raise _Expected(key)


def _child():
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # not study/, whose modules have common names
    code, check, imports, seconds = json.load(sys.stdin)
    report = Path("report.json").resolve()
    for name in imports:
        __import__(name)
    # From here the limit counts: a thread in C ends the process, also where Python code holds the interpreter
    faulthandler.dump_traceback_later(seconds, exit=True, file=open("late.txt", "w"))  # noqa: SIM115
    report.write_text(json.dumps(vars(judge(code, check))))
    os._exit(0)  # what the code left running, or registered for the exit, does not hold it up


def judge(code, check):
    """Run code and check here, in this process. Returns Outcome: "done", "raised" or "exited"."""
    names, where = {"__name__": "__main__"}, ""
    try:
        exec(compile(code, LEARNERS, "exec"), names)
        names["expect"], where = _expect, "in the check of your code, "
        exec(compile(check, "<check>", "exec"), names)
    except _Expected as failed:
        return Outcome("done", str(failed))
    except SystemExit:
        return Outcome("exited", text=EXITED)
    except BaseException as error:
        what = ""
        with contextlib.suppress(Exception):  # the learner's own exception may fail to tell its text
            what = " ".join(str(error).split()).encode("utf-8", "backslashreplace").decode()[:200]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == LEARNERS]
        where = f"in line {lines[-1]} of your code, " if lines else where
        told = f"Your code was run, and {where}{type(error).__name__} was raised{what and ': '}{what.rstrip('.')}."
        return Outcome("raised", text=told)
    return Outcome("done")


if __name__ == "__main__":
    _child()
