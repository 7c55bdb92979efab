"""Scoring a learner's own words by concept, without a language model: patterns on clauses, and who is denied what.

A text is cut into clauses. A clause counts if it reads like a sentence and was not copied from the question. A concept
is found when a clause matches one of its patterns with the right polarity: `says` needs an even number of negations
around the match, `denies` an odd one, so that "the weights never stop changing" is not "the weights do not change".
`data/questions/README.md` tells how to write patterns.
"""

import functools
import re
import unicodedata
from dataclasses import dataclass

LIMIT = 2000  # characters of a text: bounds the time a pattern can take
NO_SENTENCE = "Write at least one whole sentence of your own; keywords do not count."
COPIED = "That is copied from the question or its hints: say it in your own words."

# What learners write for the same thing, made one. Applied in this order to small letters.
_REWRITE = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"[`\"*“”«»]", " "),
        (r"[’‘´]", "'"),
        (r"\s*[–—]\s*|\s+-+\s+", ", "),
        (r"\b(wo|ca)n'?t\b|\bcannot\b", " can not "),
        (r"n't\b", " not"),
        (r"\b(do|does|did|is|are|was|were|has|have|would|should|could)nt\b", r"\1 not"),
        (r"\b(it|that|there|what|he|she)'s\b", r"\1 is"),
        (r"'re\b", " are"),
        (r"'ll\b", " will"),
        (r"[ \t]+", " "),
        # words of negation that deny nothing
        (r"\bno matter\b", "regardless"),
        (r"\bnot (only|just|merely|simply)\b", "also"),
        (r"\bnothing (but|other than|else than)\b", "only"),
        (r"\b(all|everything|nothing|anything) but\b", r"\1 except"),
        (r"\bno doubt\b|\bwithout (a |any )?doubt\b", "surely"),
        (r"\bwhether or not\b", "whether"),
        (r"\b(do not|never) forget\b", "remember"),
        # "it is false that ...", "... is a myth": denies the whole clause
        (r"\bnot (at all )?(false|wrong|untrue|incorrect|a (myth|misconception|mistake|lie))\b", "true"),
        (r"\bnot (at all |really )?(true|right|correct|so|the case)\b", "NOTTRUE"),
        (
            r"\b(is|are|was|be) (just |simply |plain |completely |quite )?(an? |the )?(common |big |old )?"
            r"(false|wrong|untrue|incorrect|myth|misconception|mistake|mistaken|nonsense|lie)\b",
            r"\1 NOTTRUE",
        ),
        (
            r"\b(false|wrong|untrue|incorrect|myth|misconception|mistake)"
            r"(?=:| (that|to (say|think|claim|believe|assume))\b)",
            "NOTTRUE",
        ),
    )
]
_CUT = re.compile(
    r"[.!?]+(?=\s|$)|[;:\n]+|"
    r",?\s*\b(?:but|while|whilst|whereas|although|even though|though|however|yet)\b,?"
)
_BOUNDARY = re.compile(r"[,()]|\b(?:and|nor|because|since|as|so|then|when|if|once|where|who|which)\b")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|without|unable|impossible|rather than|instead of|"
    r"stop(?:s|ped|ping)?|ceas(?:e|es|ed|ing)|fail(?:s|ed|ing)?|prevent(?:s|ed|ing)?|avoid(?:s|ed|ing)?|"
    r"refus(?:e|es|ed|ing)|lack(?:s|ed|ing)?|(?:keep|keeps|kept|keeping)(?= (?:\w+ ){1,6}from\b))\b"
)
_HEDGE = re.compile(
    r"\b(?:hardly|barely|rarely|seldom|scarcely|almost|nearly|roughly|partly|"
    r"not (?:\w+ )?(?:always|often|necessarily|usually|fully|completely|entirely|quite|really))\b"
)
_DEGREE = re.compile(  # after a denied verb: "do not change much" says that they change
    r"\w*\W+(?:(?:\w+ )?(?:much|lot|deal|fast|quickly|strongly|greatly|significantly|completely|entirely|often|always)|"
    r"very|too)\b"
)
_UNSURE = re.compile(
    r"\b(?:not|un)\s*(?:sure|certain|tell|remember|clear|say)\b|"
    # not "the optimizer does not know the layer"
    r"\b(?:i|we|one) (?:\w+ ){0,2}not (?:\w+ )?know\b|\bnot know (?:if|why|what|how|which)\b|"
    r"\b(?:wonder|guess)\w* if\b|\bwhether\b"
)
_PRONOUN = re.compile(
    r"(?:(?:and|so|because|then|thus|therefore|hence|as|since|also|still)\W+)*"
    r"(?:it|its|they|their|them|these|those|this|that|which|such|both|none|all of)\b"
)
_VERDICT = re.compile(r"(?:and )?(?:that|this|it|which|they) (?:is|are|was|were)?\s*NOTTRUE\W*")
_FUNCTION = frozenset(
    re.findall(
        r"\w+",
        """
    a an the this that these those it its they their them there he she we you i our your my one which who what
    is are was were be been being am do does did has have had having can could will would shall should may might must
    not no never none nothing neither nor of in on at to for from by with without through into onto over under between
    after before during until than as if when while because since so then and or but about against along out up down
    off all any each every some both only still also just too very much more most less many few other same own such
    even once how why where here again further back however yet whatever regardless NOTTRUE""",
    )
)
_VERBS = re.compile(
    r"""(?:
    is|are|was|were|be|been|am|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must|
    kept|held|got|gave|went|left|made|took|ran|meant|became|lost|forgot|grew|fell|rose|saw|knew|found|told|said|came|learnt|
    goes|passes|reaches|touches|matches|needs|costs|
    (?:stay|remain|keep|pass|flow|chang|mov|updat|learn|sav|reach|cost|need|comput|skip|hold|get|giv|receiv|train|stop|freez|
    go|travel|leav|mak|tak|us|run|stor|mean|let|start|becom|caus|happen|rais|warn|print|count|drift|adapt|work|los|forget|
    shrink|grow|reduc|lower|drop|fall|ris|increas|decreas|depend|propagat|backpropagat|appl|affect|ignor|see|know|set|add|
    remov|find|look|put|turn|carr|arriv|end|begin|continu|call|return|requir|calculat|avoid|prevent|allow|act|serv|tell|
    show|say|com|step|spar|help|matter|treat|touch|contribut|improv|hurt|block|cut|free|protect|preserv|retain|lock|fix|
    belong|exist|differ|want|try|tr|multipl|ceas|fail|modif|adjust|influenc|speed|slow|bring|tun|copy|copi|creat|
    recompil|compil|unfreez|cross|produc|accumulat|driv|exclud|includ|expect|hid|assign|misspell|spell)
    (?:e|es|s|ed|ied|ies|y)?)""",
    re.X,
)


@dataclass(frozen=True)
class Recall:
    """What a text scored: found, a bool a concept; refused, a sentence that tells why it was not scored, or None."""

    found: tuple
    refused: str | None = None


def score(question, text):
    """Which concepts of a free-recall question a text expresses.

    question: a dict from a question file. text: the learner's, any object. Returns Recall; never raises.
    """
    none = (False,) * len(question["concepts"])
    if not isinstance(text, str):
        return Recall(none, "Give your explanation as a text between quotes.")
    if len(text) > LIMIT:
        return Recall(none, f"That is {len(text):,} characters: say it in at most {LIMIT:,}.")
    clauses = _clauses(text)
    sentences = [(clause, before) for clause, before in clauses if _is_sentence(f"{before or ''} {clause}")]
    if not sentences:
        return Recall(none, NO_SENTENCE)
    given = [question["prompt"], *(concept["hint"] for concept in question["concepts"])]
    trigrams = {gram for source in given for gram in _trigrams(_normal(source))}
    own = [clause for clause in sentences if not _is_copied(clause[0], trigrams)]
    if not own:
        return Recall(none, COPIED)
    return Recall(tuple(_has(concept, own) for concept in question["concepts"]))


def _normal(text):
    text = unicodedata.normalize("NFKC", text).casefold()
    for pattern, by in _REWRITE:
        text = pattern.sub(by, text)
    return text


def _clauses(text):
    """(clause, the one before it if it leans on that one: begins with a pronoun or a verb; else None) for each."""
    text, clauses, start = _normal(text), [], 0
    pieces = []
    for cut in [*_CUT.finditer(text), None]:
        piece = text[start : cut.start() if cut else len(text)].strip(" ,\t\n")
        start = cut.end() if cut else start
        if piece:
            pieces.append("" if cut and "?" in cut.group() else piece)  # a question states nothing
    for piece in pieces:
        if _VERDICT.fullmatch(piece) and clauses:  # "... But that is wrong."
            clauses[-1] = (clauses[-1][0] + ", NOTTRUE", None)
        elif piece and not _UNSURE.search(piece):
            # "It does not stop there but flows on": a clause that leans on the one before
            leans = _PRONOUN.match(piece) or _VERBS.fullmatch(re.match(r"\W*(\w*)", piece).group(1))
            before = clauses[-1][0] if clauses and leans else None
            clauses.append((piece, before))
    return clauses


def _is_sentence(clause):
    words = re.findall(r"\w+", clause)
    share = sum(word in _FUNCTION for word in words) / max(len(words), 1)
    # no list of verbs is complete: a longer clause with many small words passes without one
    has_verb = any(_VERBS.fullmatch(word) for word in words) or (len(words) >= 6 and share >= 0.3)
    if len(words) < 3 or not has_verb:
        return False
    chunks = [chunk.split() for chunk in re.split(r"[,/|•+&=>-]|\band\b|\bor\b", clause) if chunk.strip()]
    is_list = len(chunks) >= 3 and len(words) / len(chunks) < 2.5
    return not is_list and (len(words) < 6 or share >= 0.15)


def _trigrams(text):
    words = re.findall(r"\w+", text)
    return list(zip(words, words[1:], words[2:], strict=False))


def _is_copied(clause, given):
    grams = _trigrams(clause)
    return sum(gram in given for gram in grams) > 0.6 * len(grams)


def _has(concept, clauses):
    if any(_matches(pattern, clauses, denied=False) for pattern in concept.get("contradicts", ())):
        return False
    return any(_matches(pattern, clauses, denied=False) for pattern in concept.get("says", ())) or any(
        _matches(pattern, clauses, denied=True) for pattern in concept.get("denies", ())
    )


def _matches(pattern, clauses, denied):
    """Whether one clause matches with an odd (denied) or even number of negations, and is not hedged."""
    regex, own_words = _compiled(pattern)
    for clause, before in clauses:
        for text, offset in ((clause, 0), *([(f"{before}, {clause}", len(before))] if before else [])):
            for match in regex.finditer(text):
                if match.end() > offset and _polarity(text, match, own_words) == denied:
                    return True
    return False


def _polarity(text, match, own_words):
    """False if the match is affirmed, True if denied, None if hedged ("hardly change", "do not change much").

    Counted is the piece of the clause in which the match ends: in "gets no gradient and stays fixed" the "no" does
    not reach "stays".
    """
    end = match.end() + len(re.match(r"\w*", text[match.end() :]).group())
    start = max(
        (boundary.start() for boundary in _BOUNDARY.finditer(text, 0, end) if boundary.start() <= match.end() - 1),
        default=0,
    )
    start = min(start, match.end())
    piece, tail = text[start:end], text[end:]
    if any(hedge.group()[:4] not in own_words for hedge in _HEDGE.finditer(piece)):
        return None
    negations = sum(word.group()[:4] not in own_words for word in _NEGATION.finditer(piece))
    after = re.match(r"\W+(?:\w+ )?(not|no|none|never|nothing|nowhere)\b", tail)
    negations += bool(after) and not _BOUNDARY.search(after.group()) and after.group(1)[:4] not in own_words
    if negations % 2 and _DEGREE.match(tail):
        return None
    return (negations + text.count("NOTTRUE")) % 2 == 1


@functools.cache
def _compiled(pattern):
    """The regular expression of a pattern, and the words of negation it spells itself, by four letters."""

    def blank(found):
        if found.group().startswith("[") or found.group().endswith("?"):  # [- ] and a blank that may be missing
            return found.group()
        return r"\w*(?:\W+\w+){0,8}?\W+" if "~" in found.group() else r"\w*\W+"

    source = re.sub(r"\[(?:\\.|[^\]\\])*\]|\s\?|\s+(?:~\s+)?", blank, pattern.strip())
    spelt = re.sub(r"\W+", " ", pattern)
    own_words = {word.group()[:4] for regex in (_NEGATION, _HEDGE) for word in regex.finditer(spelt)}
    return re.compile(rf"(?<!\w)(?:{source})"), frozenset(own_words)


def pattern_fault(pattern):
    """What is wrong with a pattern of a question file: a phrase such as "is no regular expression (...)", or None."""
    if not isinstance(pattern, str) or not pattern.strip():
        return "must be text"
    if pattern != pattern.casefold() and not re.search(r"\\[A-Z]", pattern):
        return "must be in small letters, because the learner's text is"
    if re.search(r"\([^()]*[+*][^()]*\)[+*{]", pattern):
        return "repeats a repeat, which can take for ever"
    try:
        regex, _ = _compiled(pattern)
    except re.error as error:
        return f"is no regular expression ({error})"
    return "matches the empty text" if regex.fullmatch("") else None


def sample_faults(question):
    """Sample sentences of a free-recall question that do not score as they should.

    Also the prompt and each hint, which must score nothing: a hint that does gives the answer away. Returns a list of
    phrases "field: what is wrong".
    """
    faults = []
    concepts = question["concepts"]
    for text in question.get("accepted", ()):
        missing = [c["name"] for c, found in zip(concepts, score(question, text).found, strict=True) if not found]
        if missing:
            faults.append(f'accepted: "{text}" does not score: {", ".join(missing)}')
    for text in question.get("rejected", ()):
        wrongly = [c["name"] for c, found in zip(concepts, score(question, text).found, strict=True) if found]
        if wrongly:
            faults.append(f'rejected: "{text}" scores: {", ".join(wrongly)}')
    for number, concept in enumerate(concepts):
        for field, wanted in (("accepted", True), ("rejected", False)):
            for text in concept[field]:
                result = score(question, text)
                if result.found[number] != wanted:
                    why = f" ({result.refused})" if result.refused else ""
                    faults.append(
                        f'concepts.{number + 1}.{field}: "{text}" {"does not score" if wanted else "scores"}{why}'
                    )
    for source in (question["prompt"], *(concept["hint"] for concept in concepts)):
        clauses = [clause for clause in _clauses(source) if _is_sentence(clause[0])]
        for number, concept in enumerate(concepts, 1):
            if _has(concept, clauses):
                faults.append(f'concepts.{number}.hint: "{source}" gives this concept away')
    return faults
