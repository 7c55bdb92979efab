"""Runs a learner's code in a process of its own, so that nothing it does can take the notebook down.

An endless loop, a memory hog, `os._exit` or a segmentation fault ends that process, with all processes that it
started, and becomes one clear sentence. This protects from accidents, not from malice: the code may read and write
files as the learner may. The same file is both sides: imported, it is the parent; run as a script, it is the child.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

COURSE = Path(__file__).resolve().parent.parent
STARTUP = 90.0  # seconds that Python and the imports may take; a busy machine needs 20 for TensorFlow
GRACE = 1_000  # MB that a framework itself may take, beside the code's own limit
LEARNERS = "<your code>"  # the file name in tracebacks
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")


@dataclass(frozen=True)
class Outcome:
    """What became of the code.

    kind: "done", "syntax" (never run), "raised", "exited", "time", "memory", "crashed" or "no process" (never run).
    mistake: for "done", the key that the check returned, None when all was as expected. text: for all other kinds, one
    sentence to tell the learner.
    """

    kind: str
    mistake: str | None = None
    text: str = ""

    @property
    def counts(self):
        """Whether the code was run at all; what was not run should cost nobody an attempt."""
        return self.kind not in ("syntax", "no process")


def run(code, check="", imports=(), seconds=20.0, megabytes=1_000):
    """Run code, then a check in the same namespace, in a new process.

    code, check: Python text. The check calls `expect(condition, "key")`; the first condition that is false ends it,
    and its key is the outcome's mistake. imports: modules to import beforehand; that time and memory do not count.
    seconds, megabytes: the limits of code and check together. Returns Outcome; raises nothing but KeyboardInterrupt.
    """
    with tempfile.TemporaryDirectory(prefix="freezing-", ignore_cleanup_errors=True) as folder:
        job = {"code": code, "check": check, "imports": list(imports), "seconds": seconds, "megabytes": megabytes}
        try:
            Path(folder, "job.json").write_text(json.dumps(job))  # \ud800 and the like are escaped
            process = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), folder],
                cwd=folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return Outcome("no process", text=f"No new Python process can be started ({error}): your code was not run.")
        stopped = _watch(process, Path(folder, "ready"), seconds, megabytes)
        return stopped or _read(process.returncode, Path(folder, "report.json"))


def _environment():
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "FREEZING_PROGRESS": "off"}
    return {**os.environ, **ONE_THREAD, **quiet}


def _watch(process, ready, seconds, megabytes):
    """Wait for the process to end; end it, and all that it started, when it breaks a limit. Returns Outcome or None."""
    family, deadline, begun = Family(process.pid), time.monotonic() + STARTUP, False
    try:
        while process.poll() is None:
            if not begun and ready.exists():
                begun, deadline = True, time.monotonic() + seconds
            if time.monotonic() > deadline:
                if begun:
                    text = f"Your code ran longer than {seconds:g} seconds and was stopped: is there an endless loop?"
                    return Outcome("time", text=text)
                return Outcome("no process", text=f"Python took more than {STARTUP:g} s to start; try again.")
            if family.look()[0] > megabytes + GRACE:
                return Outcome("memory", text=_memory(megabytes))
            time.sleep(0.05)
    finally:
        family.kill()
        process.wait()
    return None


class Family:
    """A process and all its descendants, those too that left its group."""

    def __init__(self, pid):
        import psutil  # ipykernel needs it, so it is where a notebook runs

        self._ps, self._pid, self._known = psutil, pid, {}
        with contextlib.suppress(psutil.Error):
            self._known[pid] = psutil.Process(pid)

    def look(self):
        """(Resident memory of all of them in MB, how many there are)."""
        total, living, seen = 0, 0, set()
        for pid, process in list(self._known.items()):
            if pid not in seen:  # else its descendants were found with its own parent's
                with contextlib.suppress(self._ps.Error):
                    found = {child.pid: child for child in process.children(recursive=True)}
                    self._known |= found
                    seen |= found.keys()
        for process in self._known.values():
            with contextlib.suppress(self._ps.Error):
                total += process.memory_info().rss
                living += 1
        return total / 1e6, living

    def kill(self):
        """End them all; those that have ended are left alone, even if their number was given to another process."""
        with contextlib.suppress(self._ps.Error):
            self.look()  # for children born since
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)  # the group is not reaped before process.wait()
        for process in self._known.values():
            with contextlib.suppress(self._ps.Error):
                process.kill()


def _memory(megabytes):
    return f"Your code asked for more than {megabytes:,} MB of memory and was stopped."


def _read(code, report):
    """The outcome of a process that ended by itself."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Outcome(**json.loads(report.read_text()))
    if code < 0 and -code in (getattr(signal, "SIGXCPU", 0), getattr(signal, "SIGKILL", 0)):
        return Outcome("crashed", text="The system stopped your code: it took too much time or memory.")
    if code < 0 or code > 0x80000000 - 1:
        name = signal.Signals(-code).name if -code in list(signal.Signals) else code
        return Outcome("crashed", text=f"Your code crashed the Python process ({name}).")
    return Outcome("exited", text="Your code ended the Python process before the check was done: leave out what exits.")


# ---------------------------------------------------------------- the child


class _Expected(BaseException):
    """An expectation of the check that did not hold; not an Exception, so that the learner's code cannot catch it."""


def _expect(condition, key):
    if not condition:
        raise _Expected(key)


def _child(folder):
    sys.path[0] = str(COURSE)  # not this file's folder, whose modules have common names
    folder = Path(folder)
    job = json.loads((folder / "job.json").read_text())
    for name in job["imports"]:
        __import__(name)
    _limit(job["seconds"], job["megabytes"])
    (folder / "ready").touch()
    outcome = _run(job)
    (folder / "report.part").write_text(json.dumps(outcome))
    os.replace(folder / "report.part", folder / "report.json")
    os._exit(0)  # threads that the code left running, and what it registered for the exit, do not hold it up


def _limit(seconds, megabytes):
    """The operating system's own limits, where it has them: they hold even if the parent dies."""
    try:
        import resource
    except ImportError:  # Windows: the parent's watch remains
        return

    def set_(name, value):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            which = getattr(resource, name)
            hard = resource.getrlimit(which)[1]
            resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))

    used = resource.getrusage(resource.RUSAGE_SELF)
    set_("RLIMIT_CPU", int(used.ru_utime + used.ru_stime + 4 * seconds) + 5)
    set_("RLIMIT_CORE", 0)
    set_("RLIMIT_FSIZE", 100_000_000)
    with contextlib.suppress(OSError, ValueError, IndexError):  # Linux: private memory, what it has now and the limit
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        set_("RLIMIT_DATA", pages * resource.getpagesize() + megabytes * 1_000_000)


def _run(job):
    """{"kind", "mistake", "text"} of a job."""
    names = {"__name__": "__main__"}
    try:
        program = compile(job["code"], LEARNERS, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"Line {error.lineno} is" if getattr(error, "lineno", None) else "This is"
        why = getattr(error, "msg", None) or error
        return _told("syntax", f"{line} not Python: {why}. It was not run, and does not count.")
    stage = ""
    try:
        exec(program, names)
        stage = "in the check of your code, "
        names["expect"] = _expect
        exec(compile(job["check"], "<check>", "exec"), names)
    except _Expected as failed:
        return {"kind": "done", "mistake": str(failed)}
    except SystemExit:
        return _told("exited", "Your code ended the Python process before the check was done: leave out what exits.")
    except MemoryError:
        return _told("memory", _memory(job["megabytes"]))
    except BaseException as error:
        return _raised(error, stage, job["megabytes"])
    return {"kind": "done", "mistake": None}


def _raised(error, stage, megabytes):
    what = ""
    with contextlib.suppress(Exception):  # the learner's own exception may fail to tell its text
        what = " ".join(str(error).split()).encode("utf-8", "backslashreplace").decode()
    if "allocate memory" in what or type(error).__name__ == "ResourceExhaustedError":
        return _told("memory", _memory(megabytes))
    what = f": {what[:200]}" if what else ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == LEARNERS]
    where = f"in line {lines[-1]} of your code, " if lines else stage
    return _told("raised", f"Your code was run, and {where}{type(error).__name__} was raised{what}.".replace("..", "."))


def _told(kind, text):
    return {"kind": kind, "text": text}


if __name__ == "__main__":
    _child(sys.argv[1])
