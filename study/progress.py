"""What the learner has answered: one JSON line an answer, in a file that belongs to the learner.

The file is `progress.jsonl` in the folder where the kernel started, or what the environment variable FREEZING_PROGRESS
names; FREEZING_PROGRESS=off keeps everything in memory (tests, and runs that make the committed outputs).

    {"id": "01/ex1", "right": false, "date": "2026-11-22T10:00:00+01:00"}
    {"id": "01/explain-freezing", "right": false, "said": [1, 3], "of": 4, "date": ...}      concepts that were ticked
    {"challenge": what `challenge.py` keeps of the learner's tries, "date": ...}                   the last one counts

Each is appended in one write, so that several kernels may do so at once. Nothing is ever rewritten: a damaged line is
passed over, and what could not be written is kept, and written with the next answer.
"""

import datetime
import errno
import json
import os
from pathlib import Path

from .questions import shown

LARGEST = 10_000_000  # bytes that are read, from the end: a hundred thousand answers
_START = Path.cwd()  # before a notebook changes the folder


def location():
    """The path of the progress file, or None when it is switched off."""
    name = os.environ.get("FREEZING_PROGRESS", "").strip()
    return None if name.lower() == "off" else _START / os.path.expanduser(name or "progress.jsonl")


def folder():
    """The folder where the kernel started: the learner's."""
    return _START


def now():
    """The time as text, local with its offset, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


class Progress:
    """The learner's answers: those in the file, and those of this kernel that could not be written."""

    def __init__(self, clock=now):
        self._clock, self._unsaved, self._told = clock, [], set()

    def record(self, id, right, **more):
        """Note an attempt, and write it: id, right (bool), and what else belongs to it (said, of).

        Returns a list of sentences to tell the learner, mostly empty. Never raises for a file that cannot be written.
        """
        return self._append({"id": id, "right": bool(right), **more, "date": self._clock()})

    def keep_challenge(self, state):
        """Keep the state of the challenge, a dict that JSON can hold. Returns sentences to tell."""
        return self._append({"challenge": state, "date": self._clock()})

    def challenge(self):
        """(the state of the challenge that was kept last or None, sentences to tell)."""
        lines, notes = self._lines()
        return next((line["challenge"] for line in reversed(lines) if "challenge" in line), None), notes

    def entries(self):
        """({id: entry}, sentences to tell).

        An entry holds attempts, last (a date), last_right, right (the date of the first time, or None), and for own
        words `said`, the concepts ticked last, such as "3 of 4".
        """
        lines, notes = self._lines()
        found = {}
        for line in lines:
            if "id" not in line:
                continue
            old = found.get(line["id"], {"attempts": 0, "right": None})
            new = found[line["id"]] = {**old, "attempts": old["attempts"] + 1, "last": line["date"]}
            new |= {"last_right": line["right"], "right": old["right"] or (line["date"] if line["right"] else None)}
            if "said" in line:
                new["said"] = f"{len(line['said'])} of {line['of']}"
        return found, notes

    def _append(self, entry):
        self._unsaved.append(json.dumps(entry).encode() + b"\n")
        try:
            return self._save(location()) if location() else []
        except OSError as error:
            return self._tell(error)

    def _save(self, path):
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if (
                os.name == "nt"
            ):  # there appending is two steps: a lock, far behind what is read, lets one kernel do both
                import msvcrt

                os.lseek(handle, 1 << 30, os.SEEK_SET)
                msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
            size = os.fstat(handle).st_size
            os.lseek(handle, max(0, size - 1), os.SEEK_SET)
            cut = size > 0 and os.read(handle, 1) != b"\n"  # a new line must not become a part of the cut one
            text = b"\n" * cut + b"".join(self._unsaved)
            written = os.write(handle, text)
        finally:
            os.close(handle)
        del self._unsaved[: text[:written].count(b"\n") - cut]
        if self._unsaved:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return []

    def _lines(self):
        """(the lines that are whole, with those not yet written, as dicts; sentences to tell)."""
        path, raw, notes = location(), b"", []
        try:
            with open(path or os.devnull, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LARGEST))
                raw = file.read(LARGEST)
        except FileNotFoundError:
            pass
        except OSError as error:
            notes += self._tell(error)
        texts = [line for line in [*raw.split(b"\n"), *self._unsaved] if line.strip()]
        lines = [_line(text) for text in texts]
        damaged = [text for text, line in zip(texts, lines, strict=True) if line is None]
        if damaged and path not in self._told:
            self._told.add(path)
            what = "a damaged line is" if len(damaged) == 1 else f"{len(damaged):,} damaged lines are"
            first = shown(damaged[0][:60].decode("utf-8", "replace"))
            notes.append(f"{path.name}: {what} passed over ({first}); all others count.")
        return [line for line in lines if line], notes

    def _tell(self, error):
        if (location(), error.errno) in self._told:  # once a kernel
            return []
        self._told.add((location(), error.errno))
        mend = "set FREEZING_PROGRESS to a file that you may write"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # a full disk
            mend = "make room there, and your next answer saves this one too"
        why = error.strerror or type(error).__name__
        return [f"Your progress is not saved, because {location()} cannot be used ({why}): {mend}."]


def _line(text):
    """What a line of the file holds, a dict, or None if it is damaged."""
    try:
        line = json.loads(text.decode("utf-8"))
        whole = bool(datetime.datetime.fromisoformat(line["date"]).tzinfo)
        if "challenge" in line:
            return line if whole and isinstance(line["challenge"], dict) else None
        whole &= isinstance(line["id"], str) and isinstance(line["right"], bool)
        if "said" in line:
            whole &= isinstance(line["said"], list) and isinstance(line["of"], int)
        return line if whole else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
