"""What a comparison may come to: the words for it, and how each is made.

`DISAGREEMENTS` and `UNCOMPARABLES` are the whole vocabulary of ``Comparison.reason``; metrics may count by it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, Final

from proxy.compare.documents import render
from proxy.compare.values import Comparison, Confusion, Difference, Json, Read, Scores, Undecodable

__all__ = [
    "CONFUSION_LIMIT",
    "DISAGREEMENTS",
    "OTHER_MATCH",
    "OTHER_MISTAKE",
    "UNCOMPARABLES",
    "breaks_client",
    "by_rows",
    "confusion_of",
    "disagree_whole",
    "label_word",
    "path_of",
    "scores_of",
    "shadow_undecodable",
    "uncomparable",
    "word_of",
]

DISAGREEMENTS: Final = (
    "status",  # one is 2xx, the other not
    "format",  # the shadow's is broken, or has not what the primary has
    "rows",  # another number of rows
    "names",  # outputs of other names
    "datatype",
    "shape",
    "label_type",  # names for numbers
    "refusal",  # one refuses to answer
    "schema",  # one fits the rule's schema, the other not
    "tool_calls",
    "not_finite",  # NaN or an infinity where the other has a number
    "top",  # another first of a ranking
    "label",
    "boxes",  # a box without its like
    "threshold",  # the other side of the rule's threshold
    "fields",  # a leaf of a document differs
    "bytes",
    "finish_reason",
    "overlap",  # others among the first k of a ranking
    "length",  # less than half as long, or more than twice
    "text",  # other words
    "tolerance",  # numbers further apart than allowed
)
"""Why two answers disagree, the gravest first: where rows differ in several ways, the first of these is said."""

UNCOMPARABLES: Final = (
    "both_failed",  # neither is 2xx: there is no prediction, and alike or not, errors say nothing of the model
    "truncated",
    "unsupported_encoding",
    "unsupported_type",
    "bad_encoding",
    "decoded_too_large",
    "invalid_json",
    "bad_tensor",
    "cut",
    "stream_error",
    "not_json",
    "no_label",
    "no_probabilities",
    "no_value",
    "no_tensor",
    "no_ranking",
    "no_boxes",
    "too_many_boxes",
    "no_text",
    "no_embedding",
    "linked",  # what was made stands behind a link, of its own for every call
    "not_wanted",  # the method is none
    "assembled",  # byte by byte, but only what a stream added up to was kept
    # What the observer adds, which knows more than two answers.
    "client_left",
    "fallback",
    "error",
)
"""Why two answers cannot be compared."""

CONFUSION_LIMIT: Final = 64
"""Pairs of labels kept per comparison: mistakes before labels that are the same, of these the most frequent, then in
the order of their first row. The rows of all others are counted together, as `OTHER_MISTAKE` and `OTHER_MATCH`."""

OTHER_MATCH: Final = ("(other)", "(other)")
OTHER_MISTAKE: Final = ("(other)", "(another)")

LABEL_LIMIT: Final = 64
"""Characters of a label that are kept."""

_CLIENT_WOULD_BREAK: Final = frozenset({"bad_encoding", "invalid_json", "bad_tensor", "cut", "stream_error"})
"""Failures to decode that a client would meet too; the others are limits of ours."""

_GRAVITY: Final = {reason: at for at, reason in enumerate(DISAGREEMENTS)}


def breaks_client(answer: Undecodable) -> bool:
    """Tell whether a client could not have read the answer either."""
    return answer.reason in _CLIENT_WOULD_BREAK


def uncomparable(reason: str, method: str) -> Comparison:
    """Say that a pair cannot be compared, and why."""
    return Comparison("uncomparable", None, reason, method, 0, 0)


def disagree_whole(
    reason: str, method: str, rows: int, primary: str, shadow: str, read: Any = None
) -> Comparison:
    """Report answers that differ as a whole: every row of the primary's counts.

    Args:
        reason: of them all.
        method: that judged.
        rows: of the primary's.
        primary: what is said of it.
        shadow: what is said of the other.
        read: what the judge read of the primary's rows.
    """
    return Comparison(
        "disagree",
        1.0,
        reason,
        method,
        rows,
        rows,
        (Difference("", primary, shadow),),
        read=Read(read, None, range(rows)),
    )


def shadow_undecodable(shadow: Undecodable, method: str, rows: int, read: Any = None) -> Comparison:
    """Report a shadow's answer that cannot be read beside a primary's that can."""
    if breaks_client(shadow):
        return disagree_whole("format", method, rows, "readable", shadow.reason, read)
    return uncomparable(shadow.reason, method)


def by_rows(
    method: str,
    reasons: Sequence[str | None],
    distance: float,
    differences: Sequence[Difference] = (),
    scores: Scores = (),
    confusion: Confusion = (),
    read: Read | None = None,
) -> Comparison:
    """Say what a pair comes to whose rows were judged one by one.

    Args:
        method: that judged.
        reasons: of each row, ``None`` where it agrees.
        distance: of the whole, clipped to [0, 1] here: means of floats may be a rounding error beyond.
        differences: the first of them.
        scores: secondary figures.
        confusion: pairs of labels.
        read: what the rows say, but for the reasons.
    """
    read = Read(None, None, reasons=reasons) if read is None else read._replace(reasons=reasons)
    found = [reason for reason in reasons if reason is not None]
    distance = min(1.0, max(0.0, distance))
    if not found:
        return Comparison("agree", distance, None, method, len(reasons), 0, (), confusion, scores, read)
    gravest = min(found, key=_GRAVITY.__getitem__)
    return Comparison(
        "disagree",
        distance,
        gravest,
        method,
        len(reasons),
        len(found),
        tuple(differences),
        confusion,
        scores,
        read,
    )


def scores_of(figures: Iterable[tuple[str, float]]) -> Scores:
    """Return the finite ones among ``figures``."""
    return tuple((name, value) for name, value in figures if isfinite(value))


def confusion_of(primary: Sequence[Json], shadow: Sequence[Json]) -> Confusion:
    """Return how often which label stood against which, the most frequent first; every row is counted."""
    if len(primary) == 1:
        label, other = primary[0], shadow[0]
        # Most labels are numbers and most rows agree.
        if label is other:
            word = str(label) if type(label) is int else word_of(label)
            return ((word, word, 1),)
        return ((*_words_of(label, other), 1),)
    pairs: Counter[tuple[str, str]] = Counter()
    for (label, other), rows in Counter(zip(primary, shadow, strict=True)).items():
        pairs[_words_of(label, other)] += rows
    kept = pairs.most_common()
    if len(kept) > CONFUSION_LIMIT:
        kept = _capped(kept)
    return tuple((*words, rows) for words, rows in kept)


def _words_of(label: Json, other: Json) -> tuple[str, str]:
    """Return the words of two labels, which are not the same where only what is not kept of them differs."""
    word, second = word_of(label), word_of(other)
    if word == second and len(word) == LABEL_LIMIT and label_word(label) != label_word(other):
        second = second[:-1] + "…"
    return word, second


def _capped(pairs: list[tuple[tuple[str, str], int]]) -> list[tuple[tuple[str, str], int]]:
    """Return what is kept of pairs that are too many, and the rows of the others."""
    # Right answers of a hundred classes are more frequent than any mistake, and say less.
    ranked = sorted(pairs, key=lambda pair: pair[0][0] == pair[0][1])
    left: Counter[tuple[str, str]] = Counter()
    for words, rows in ranked[CONFUSION_LIMIT:]:
        left[OTHER_MATCH if words[0] == words[1] else OTHER_MISTAKE] += rows
    kept = sorted(ranked[:CONFUSION_LIMIT], key=lambda pair: -pair[1])
    return [*kept, *left.items()]


def word_of(label: Json) -> str:
    """Return a label's word as it is kept."""
    return label_word(label)[:LABEL_LIMIT]


def label_word(label: Json) -> str:
    """Write a label as a person would: text without quotes, a whole number without a point, as it equals one."""
    if type(label) is int:
        return str(label)
    if type(label) is str:
        return label
    if type(label) is float and label.is_integer():
        return str(int(label))
    if type(label) is tuple:
        return f"[{', '.join(map(render, label[:LABEL_LIMIT]))}]"
    return render(label)


def path_of(source: str) -> str:
    """Return the path of one output: its pointer, or its name as a segment."""
    return source if source.startswith("/") else "/" + source.replace("~", "~0").replace("/", "~1")
