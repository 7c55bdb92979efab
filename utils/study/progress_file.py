"""What the learner has answered, in one JSON file that belongs to the learner.

The file is `progress.json` in the folder where the kernel started, or what the environment variable FREEZING_PROGRESS
names; FREEZING_PROGRESS=off keeps everything in memory (tests, and runs that make the committed outputs).

    {"format": 1, "questions": {"01/ex1": {"attempts": 2, "right": first time right or null, "last": last attempt,
                                           "last_right": true, "best": "3 of 4"}}}

Several kernels may write at once: each holds a lock file while it reads, adds its own new answers and replaces the
file in one step. An answer that could not be written is kept, and written with the next one.
"""

import contextlib
import datetime
import json
import os
import re
import secrets
import tempfile
import time
from pathlib import Path

FORMAT = 1
WAIT = 5.0  # seconds to wait for another kernel
STALE = 10.0  # seconds after which a lock is taken to be left by a kernel that died; writing takes milliseconds
_START = Path.cwd()  # before a notebook changes the folder


def location():
    """The path of the progress file, or None when it is switched off."""
    name = os.environ.get("FREEZING_PROGRESS", "").strip()
    if name.lower() == "off":
        return None
    path = Path(name).expanduser() if name else Path("progress.json")
    return Path(os.path.realpath(_START / path))  # realpath: replacing a link's file, not the link


def now():
    """The time as text, local with its offset, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


class Progress:
    """The learner's answers: those in the file, and those of this kernel that are not yet in it."""

    def __init__(self, clock=now):
        self._clock, self._pending, self._told = clock, [], set()

    def record(self, question, right, best=None):
        """Note an attempt, and write the file.

        question: id. right: bool. best: for free recall, (found, of). Returns a list of sentences to tell the learner
        (mostly empty). Never raises for a file that cannot be read or written.
        """
        self._pending.append((question, bool(right), self._clock(), best))
        return self.save()

    def save(self):
        """Write what is not yet in the file, such as answers that met a lock. Returns sentences to tell."""
        path = location()
        return self._write(path) if path and self._pending else []

    def entries(self):
        """({id: entry}, sentences to tell): all answers known. Entry: as in the file. A damaged file is set aside."""
        path, entries, notes = location(), {}, []
        if path:
            try:
                entries = _read(path)
            except _Unusable:
                notes = self._write(path)  # sets it aside, under the lock
            except OSError as error:
                notes = self._tell(path, error)
        return _add(entries, self._pending), notes

    def _write(self, path):
        notes = []
        try:
            with _lock(path) as still_mine:
                try:
                    entries = _read(path)
                except _Unusable as why:
                    kept = _set_aside(path)
                    notes.append(f"{path.name} {why}: it is kept as {kept.name}, and a new one was begun.")
                    entries = {}
                if self._pending:
                    _replace(path, _add(entries, self._pending), still_mine)
                    self._pending = []
        except TimeoutError:
            notes.append(f"{path.name} is in use by another kernel: this answer will be written with the next one.")
        except OSError as error:
            notes += self._tell(path, error)
        return notes

    def _tell(self, path, error):
        if path in self._told:  # once a kernel
            return []
        self._told.add(path)
        why = error.strerror or type(error).__name__
        return [
            f"Your progress is not saved, because {path} cannot be used ({why}). "
            "Set FREEZING_PROGRESS to a file that you may write."
        ]


class _Unusable(Exception):
    """The file is damaged, or of a newer format; the message ends a sentence that begins with its name."""


def _read(path):
    """{id: entry} of the file, {} if there is none. Raises _Unusable, OSError."""
    try:
        data = json.loads(path.read_bytes().decode("utf-8"))
        version, questions = data["format"], data["questions"]
        if isinstance(version, int) and version > FORMAT:
            raise _Unusable("was written by a newer version of the course")
        if version != FORMAT or not all(map(_is_entry, questions.keys(), questions.values())):
            raise ValueError
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _Unusable("is damaged") from None
    return questions


def _is_entry(name, entry):
    def is_time(value):
        return isinstance(value, str) and bool(datetime.datetime.fromisoformat(value).tzinfo)

    return (
        isinstance(entry["attempts"], int)
        and entry["attempts"] > 0
        and isinstance(entry["last_right"], bool)
        and is_time(entry["last"])
        and (entry["right"] is None or is_time(entry["right"]))
        and re.fullmatch(r"\d+ of \d+", entry.get("best", "0 of 0")) is not None
    )


def _add(entries, answers):
    """Entries with the answers added; both are left as they are."""
    entries = dict(entries)
    for question, right, time_, best in answers:
        old = entries.get(question, {"attempts": 0, "right": None})
        new = {
            **old,
            "attempts": old["attempts"] + 1,
            "last": time_,
            "last_right": right,
            "right": old["right"] or (time_ if right else None),
        }
        if best is not None:
            was = int(old.get("best", "0").split()[0])
            new["best"] = f"{max(best[0], was)} of {best[1]}"
        entries[question] = new
    return entries


def _set_aside(path):
    """Rename an unusable file to the first free name, so that none is overwritten. Returns the new path."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    os.rename(path, kept)
    return kept


def _replace(path, entries, still_mine):
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, "questions": entries}, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        if not still_mine():
            raise TimeoutError
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _lock(path):
    """Hold `path`.lock, a file that only one process can create; plain files work on every system and network disk.

    Yields a function that tells whether the lock is still held (a process that slept longer than STALE has lost it).
    Raises TimeoutError after WAIT seconds, OSError if the folder cannot be written.
    """
    lock, mine = path.with_name(path.name + ".lock"), secrets.token_hex(8)
    deadline = time.monotonic() + WAIT
    while True:
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > STALE:
                    lock.unlink()
                    continue
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)

    def held():
        try:
            return lock.read_text() == mine
        except OSError:
            return False

    try:
        with open(handle, "w") as file:
            file.write(mine)
    except OSError:  # a full disk: do not leave a lock that nobody holds
        lock.unlink(missing_ok=True)
        raise
    try:
        yield held
    finally:
        if held():
            with contextlib.suppress(OSError):
                lock.unlink()
