"""Grade learners' notebooks: `python -m tools.grade` (see `__main__.py`).

submissions.py   which file is whose, and what is in it: nothing of it runs
slices.py        the statements that an exercise's answer needs, and what in them an answer has no need of
judge.py         runs one answer in a process of its own
cage.py          what that process may not do
"""
