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
        for line in (line for line in lines if "id" in line):
            entry = found.setdefault(line["id"], {"attempts": 0, "right": None})
            entry |= {"attempts": entry["attempts"] + 1, "last": line["date"], "last_right": line["right"]}
            entry["right"] = entry["right"] or (line["date"] if line["right"] else None)
            if "said" in line:
                entry["said"] = f"{len(line['said'])} of {line['of']}"
        return found, notes

    def _append(self, entry):
        self._unsaved.append(json.dumps(entry).encode() + b"\n")
        try:
            if location():
                with open(location(), "a+b", buffering=0) as file:
                    self._save(file)
            return []
        except OSError as error:
            return self._tell(error)

    def _save(self, file):
        if os.name == "nt":  # there appending is two steps: a lock, far behind what is read, lets one kernel do both
            import msvcrt

            file.seek(1 << 30)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        cut = file.read(1) not in (b"\n", b"")  # a new line must not become a part of the cut one
        text = b"\n" * cut + b"".join(self._unsaved)
        written = file.write(text)
        del self._unsaved[: text[:written].count(b"\n") - cut]
        if self._unsaved:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

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
            notes = self._tell(error)
        texts = [text for text in [*raw.split(b"\n"), *self._unsaved] if text.strip()]
        lines = [_line(text) for text in texts]
        if None in lines and path not in self._told:
            self._told.add(path)
            what = "a damaged line is" if lines.count(None) == 1 else f"{lines.count(None):,} damaged lines are"
            first = shown(texts[lines.index(None)][:60].decode("utf-8", "replace"))
            notes.append(f"{path.name}: {what} passed over ({first}); all others count.")
        return [line for line in lines if line], notes

    def _tell(self, error):
        if (location(), error.errno) in self._told:  # once a kernel
            return []
        self._told.add((location(), error.errno))
        mend = "set FREEZING_PROGRESS to a file that you may write"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # a full disk
            mend = "make room there, and your next answer saves this one too"
        return [f"Your progress is not saved, because {location()} cannot be used ({error.strerror}): {mend}."]


def _line(text):
    """What a line of the file holds, a dict, or None if it is damaged."""
    try:
        line = json.loads(text.decode("utf-8"))
        types = {"challenge": dict} if "challenge" in line else {"id": str, "right": bool}
        types |= {"said": list, "of": int} if "said" in line else {}
        whole = datetime.datetime.fromisoformat(line["date"]).tzinfo
        return line if whole and all(isinstance(line[key], kind) for key, kind in types.items()) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
