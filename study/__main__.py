"""`python -m study`: look for mistakes in all question files, and in what they need of `study/exercises.py`."""

import sys

from . import exercises, questions


def mistakes():
    """What is wrong with the question files: a list of sentences that name file, id and field."""
    found, asked = [], set()
    for path in questions.files():
        found += questions.validate(path)
        content, _ = questions.read(path)
        asked |= {id for id, q in (content or {"questions": {}})["questions"].items() if q["section"] == "exercises"}
    checked = set(exercises.CHECKS)
    found += [f"study/exercises.py: {id}: there is no check for this exercise." for id in sorted(asked - checked)]
    found += [f"study/exercises.py: {id}: no question file has this exercise." for id in sorted(checked - asked)]
    numbers = [path.name[:2] for path in questions.files()]
    found += [f"data/questions: two files have the number {n}." for n in sorted(set(numbers)) if numbers.count(n) > 1]
    return found


if __name__ == "__main__":
    problems = mistakes()
    print("\n".join(problems) or f"{len(questions.files())} question files, no mistake found.")
    sys.exit(bool(problems))
