"""Which questions to ask again: what was wrong, then what was never asked or has not been asked for longest."""

from itertools import chain, zip_longest


def pick(notebooks, entries, count):
    """The questions of a mixed recall, most needed first.

    notebooks: a list of {id: question}, one a notebook. entries: {id: entry} as the progress file has them. count: how
    many. Returns a list of at most `count` questions from the sections quiz and recall: those whose last answer was
    wrong, the oldest first; those never asked, a notebook at a time in turn; those that were right, the oldest first.
    A question made to be asked before a cell (predict) comes only when it was answered.
    """
    asked = [[q for q in group.values() if q["section"] in ("quiz", "recall")] for group in notebooks]
    # text order is time order as long as the learner stays in one time zone, which is good enough for an advice
    known = sorted(
        (q for q in chain(*asked) if q["id"] in entries),
        key=lambda q: (entries[q["id"]]["last_right"], entries[q["id"]]["last"], q["id"]),
    )
    wrong = [q for q in known if not entries[q["id"]]["last_right"]]
    new = [[q for q in group if q["id"] not in entries and not q.get("predict")] for group in asked]
    in_turn = [q for q in chain(*zip_longest(*new)) if q is not None]
    return [*wrong, *in_turn, *known[len(wrong) :]][:count]
