"""Make .venv, the course's own Python, from requirements.txt; do nothing when it is good already.

Every `make` command runs this first. Without make: `python tools/make_venv.py`, then use the Python in .venv.
Standard library only, in syntax that an old Python reads too, so that it can say which Python is needed.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys

OLDEST, NEWEST = (3, 11), (3, 13)  # the Pythons that every pinned library runs on
PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REQUIREMENTS = os.path.join(PROJECT, "requirements.txt")
VENV = os.path.join(PROJECT, ".venv")
VENV_PYTHON = os.path.join(VENV, *(["Scripts", "python.exe"] if os.name == "nt" else ["bin", "python"]))
STAMP = os.path.join(VENV, "made_from.txt")  # written last: a .venv without it was never finished
AGAIN = "then run the same command again."

# Run by the venv's Python: prints the first pin that is not met. A build such as 2.13.0+cpu meets the pin 2.13.0.
CHECK = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name, wanted in (pin.split("==") for pin in sys.argv[1:]):
    try:
        found = version(name)
    except PackageNotFoundError:
        sys.exit(print(name, "is missing"))
    if found.split("+")[0] != wanted:
        sys.exit(print(name, "is", found + ", not", wanted))
"""

# Run by the venv's Python: pip, which an interrupt during its first half second ends without a traceback too.
PIP = """
import runpy, sys
try:
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


def main():
    """See that .venv is good, making it when it is not.

    With `--fits` only say by the exit code whether this Python can make it. Exits with one sentence when it cannot.
    """
    problem = unfit()
    if sys.argv[1:] == ["--fits"]:
        sys.exit(1 if problem else 0)
    if problem:
        sys.exit(problem)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` too must end pip with this program
    try:
        with open(REQUIREMENTS) as requirements:
            wait_for_others(requirements)
            update(requirements.read())
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted: .venv is not finished, so the next run makes it anew.\n")
        sys.exit(130)
    except OSError as error:
        sys.exit("Cannot make .venv: %s; mend that, %s" % (error, AGAIN))


def unfit():
    """One sentence on why this Python cannot make .venv and what to install; None when it can."""
    here = "Python %d.%d (%s)" % (sys.version_info[0], sys.version_info[1], sys.executable)
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return (
            "The course needs Python %d.%d to %d.%d and this is %s: install one, for example from "
            "https://www.python.org/downloads/, and name it, as in `make lab PYTHON=python3.12`."
        ) % (OLDEST + NEWEST + (here,))
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        return (
            "%s cannot make a virtual environment (%s): install the missing part, on Debian and Ubuntu with "
            "`sudo apt install python%d.%d-venv`, %s"
        ) % (here, error, sys.version_info[0], sys.version_info[1], AGAIN)
    return None


def wait_for_others(requirements):
    """Wait until no other run is making this .venv; the lock on the open file ends with this program."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(requirements, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Another run is making .venv: waiting for it.")
        fcntl.flock(requirements, fcntl.LOCK_EX)
    except OSError:
        return  # a file system without locks: do without


def update(requirements):
    """Make .venv unless it is good; say why when there was one. requirements: the text of requirements.txt."""
    stamp = [
        "Python %d.%d" % sys.version_info[:2],
        "requirements.txt " + hashlib.sha256(requirements.encode()).hexdigest(),
    ]
    if os.path.lexists(VENV):
        why = fault(stamp, re.findall(r"^[\w.-]+==[\w.]+", requirements, re.MULTILINE))
        if not why:
            return
        say("Removing .venv to make it anew: %s." % why)
        remove(VENV)
    make(stamp)


def fault(stamp, pins):
    """Why the .venv that is there cannot be used, in a few words; None when it can."""
    try:
        with open(STAMP, errors="replace") as lines:
            found = lines.read().splitlines()
    except OSError:
        return "its installation was never finished"
    if stamp[0] not in found:
        return "it was not made by %s" % stamp[0]
    if stamp[1] not in found:
        return "requirements.txt has changed since"
    try:
        check = subprocess.run(
            [VENV_PYTHON, "-I", "-c", CHECK] + pins,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
            universal_newlines=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "its Python does not start"
    return check.stdout.strip() or ("its Python does not start" if check.returncode else None)


def remove(path):
    """Remove a folder, or the file or link that is in its place."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.remove(path)


def make(stamp):
    """Make .venv, install requirements.txt into it, and write the stamp. Exits with one sentence when that fails."""
    say("Making .venv with %s from requirements.txt: some minutes and about 4 GB of disk, once." % stamp[0])
    base = getattr(sys, "_base_executable", sys.executable)  # not the .venv just removed, if that one runs this
    venv = subprocess.run([base, "-m", "venv", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if venv.returncode:
        sys.stderr.write(venv.stdout.decode(errors="replace"))
        sys.exit("Python could not make .venv (its error is above): mend that, " + AGAIN)
    pip = [VENV_PYTHON, "-I", "-c", PIP, "install", "--disable-pip-version-check", "-r", REQUIREMENTS]
    if subprocess.call(pip):
        sys.exit(
            "pip could not install requirements.txt (its error is above): "
            "look at the network connection and the free disk space, " + AGAIN
        )
    with open(STAMP + ".new", "w") as lines:
        lines.write("\n".join(stamp) + "\n")
    os.replace(STAMP + ".new", STAMP)  # whole or not at all


def say(line):
    """One line for the person who waits, at once."""
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
