"""What the learner has answered, in one JSON file that belongs to the learner.

The file is `progress.json` in the folder where the kernel started, or what the environment variable FREEZING_PROGRESS
names; FREEZING_PROGRESS=off keeps everything in memory (tests, and runs that make the committed outputs).

    {"format": 1, "questions": {"01/ex1": {"attempts": 2, "right": first time right or null, "last": last attempt,
                                           "last_right": true, "best": "3 of 4"}},
     "challenge": what `rounds.py` keeps of the learner's tries, if there was one}

Several kernels may write at once: each holds a lock file while it reads, adds its own new answers and replaces the
file in one step. An answer that could not be written is kept, and written with the next one.
"""

import contextlib
import datetime
import errno
import json
import math
import os
import re
import secrets
import tempfile
import time
from pathlib import Path

FORMAT = 1
WAIT = 5.0  # seconds to wait for another kernel
LARGEST = 10_000_000  # bytes: a thousand times what all answers take
STALE = 10.0  # seconds after which a lock is taken to be left by a kernel that died; writing takes milliseconds
_START = Path.cwd()  # before a notebook changes the folder


def location():
    """The path of the progress file, or None when it is switched off."""
    name = os.environ.get("FREEZING_PROGRESS", "").strip()
    if name.lower() == "off":
        return None
    path = Path(name).expanduser() if name else Path("progress.json")
    return Path(os.path.realpath(_START / path))  # realpath: replacing a link's file, not the link


def folder():
    """The folder where the kernel started: the learner's."""
    return _START


def now():
    """The time as text, local with its offset, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


class Progress:
    """The learner's answers: those in the file, and those of this kernel that are not yet in it."""

    def __init__(self, clock=now):
        self._clock, self._pending, self._told = clock, [], set()
        self._challenge = None  # the newest state of the challenge, while it could not be written

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
        return self._write(path) if path and (self._pending or self._challenge) else []

    def challenge(self):
        """(the state of the challenge as `keep_challenge` got it or None, sentences to tell)."""
        data, notes = self._load()
        return self._challenge or data.get("challenge"), notes

    def keep_challenge(self, state):
        """Keep the state of the challenge, a dict that JSON can hold, and write the file. Returns sentences to tell."""
        self._challenge = state
        return self.save()

    def entries(self):
        """({id: entry}, sentences to tell): all answers known. Entry: as in the file. A damaged file is set aside."""
        data, notes = self._load()
        return _add(data.get("questions", {}), self._pending), notes

    def _load(self):
        path = location()
        if path:
            try:
                return _read(path), []
            except _Unusable:
                return {}, self._write(path)  # sets it aside, under the lock
            except OSError as error:
                return {}, self._tell(path, error)
        return {}, []

    def _write(self, path):
        notes = []
        try:
            with _lock(path) as still_mine:
                try:
                    data = _read(path)
                except _Unusable as why:
                    kept = _set_aside(path)
                    notes.append(f"{path.name} {why}: it is kept as {kept.name}, and a new one was begun.")
                    data = {}
                if self._pending or self._challenge:
                    data = {**data, "questions": _add(data.get("questions", {}), self._pending)}
                    if self._challenge:
                        data["challenge"] = self._challenge
                    _replace(path, data, still_mine)
                    self._pending, self._challenge = [], None
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
        mend = "Set FREEZING_PROGRESS to a file that you may write."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # a full disk
            mend = "Make room there: your next answer then saves this one too."
        return [f"Your progress is not saved, because {path} cannot be used ({why}). {mend}"]


class _Unusable(Exception):
    """The file is damaged, or of a newer format; the message ends a sentence that begins with its name."""


def _read(path):
    """What is in the file, {} if there is none. Raises _Unusable, OSError."""
    try:
        with open(path, "rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise _Unusable("is too large to be a progress file")
        data = json.loads(raw.decode("utf-8"))
        version, questions = data["format"], data["questions"]
        if isinstance(version, int) and version > FORMAT:
            raise _Unusable("was written by a newer version of the course")
        if version != FORMAT or not all(map(_is_entry, questions.keys(), questions.values())):
            raise ValueError
        if "challenge" in data and not is_challenge(data["challenge"]):
            raise ValueError
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _Unusable("is damaged") from None
    return data


def _is_time(value):
    return isinstance(value, str) and bool(datetime.datetime.fromisoformat(value).tzinfo)


def is_challenge(state):
    """Whether a value is a state of the challenge as `rounds.py` writes it; may raise ValueError and the like."""

    def is_number(value):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

    def is_problem(record):
        return (
            is_number(record["started"])
            and is_number(record["away"])
            and isinstance(record["attempts"], int)
            and (record["right"] is None or isinstance(record["right"], bool) and is_number(record["seconds"]))
        )

    ids, won = state["ids"], state["won"]
    return (
        isinstance(state["number"], int)
        and isinstance(ids, list)
        and all(isinstance(id, str) for id in ids)
        and isinstance(state["problems"], list)
        and len(state["problems"]) <= len(ids)
        and all(map(is_problem, state["problems"]))
        and (
            won is None
            or (_is_time(won["date"]) and is_number(won["seconds"]) and isinstance(won["number"], int))
            and (won["name"] is None or isinstance(won["name"], str))
        )
    )


def _is_entry(name, entry):
    return (
        isinstance(entry["attempts"], int)
        and entry["attempts"] > 0
        and isinstance(entry["last_right"], bool)
        and _is_time(entry["last"])
        and (entry["right"] is None or _is_time(entry["right"]))
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


def _replace(path, data, still_mine):
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump({**data, "format": FORMAT}, file, indent=1, ensure_ascii=False)
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
