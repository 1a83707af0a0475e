"""Words: the method ``text``.

A row is a text: a choice of a completion, an element at ``at``, or the whole answer. What a client acts on is
looked at before the words are: whether the model refused, its tool calls (name and arguments as documents), whether
the text fits the rule's ``schema``, whether it is JSON where the primary's is, why it ended. Two texts that are JSON
are compared as documents. Two others agree when they are equal but for case, punctuation and white space; else, unless
both are a single word (``class_1``, a number, a token: labels, of which nothing may differ), when chrF2 is at least 60
(``tolerance`` .4) and neither is more than twice as long. The distance is 1 - chrF2/100.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from proxy.compare.content import parse_json
from proxy.compare.documents import DocumentDifference, differ, render
from proxy.compare.judge import Judge
from proxy.compare.places import select_value
from proxy.compare.pointers import compile_patterns
from proxy.compare.rules import ComparisonRule
from proxy.compare.tolerance import exceeds
from proxy.compare.trees import ATOL, RTOL
from proxy.compare.values import (
    DIFFERENCE_LIMIT,
    Choice,
    Comparison,
    Difference,
    Json,
    Prediction,
    Read,
    ToolCall,
    Undecodable,
)
from proxy.compare.verdicts import by_rows, path_of, scores_of
from proxy.compare.wording import TEXT_LIMIT, chrf, normalise, token_f1
from proxy.schemas import fits

__all__ = ["TEXTS", "is_prose"]

TOLERANCE: Final = 0.4
"""1 - chrF2/100 that still agrees where the rule names none."""

LONGEST_RATIO: Final = 2.0
"""How many times as long one text may be as the other."""

_TEXT_NAMES: Final = (
    "text_output",
    "generated_text",
    "output_text",
    "text",
    "content",
    "response",
    "completion",
)
"""Keys and outputs that hold a model's text (Triton and KServe, TGI, Ollama, …)."""


class _Texts(NamedTuple):
    """What a model said, and where."""

    source: str
    choices: Sequence[Choice]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.choices)


class _Row(NamedTuple):
    """How two texts compare."""

    reason: str | None
    distance: float
    differences: tuple[Difference, ...]
    scores: tuple[tuple[str, float], ...]


def _judge_texts(rule: ComparisonRule, first: _Texts, second: _Texts) -> Comparison:
    """Compare what two models said, choice by choice."""
    found = [
        _judge(rule, f"{first.source}/{row}", a, b)
        for row, (a, b) in enumerate(zip(first.choices, second.choices, strict=True))
    ]
    differences = [difference for row in found for difference in row.differences][:DIFFERENCE_LIMIT]
    distances = [row.distance for row in found]
    distance = sum(distances) / len(found) if found else 0.0
    reasons, read = [row.reason for row in found], Read(None, None, distances=distances)
    return by_rows("text", reasons, distance, differences, _mean_scores(found), read=read)


def _mean_scores(rows: Sequence[_Row]) -> tuple[tuple[str, float], ...]:
    """Return the mean of each figure over the rows that have it."""
    figures: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.scores:
            figures.setdefault(name, []).append(value)
    return scores_of((name, sum(values) / len(values)) for name, values in figures.items())


def _judge(rule: ComparisonRule, path: str, a: Choice, b: Choice) -> _Row:
    """Compare two choices: the gravest reason is the row's, the words are measured in any case."""
    if (a.refusal is None) != (b.refusal is None):
        said = Difference(path, _refusal(a), _refusal(b))
        return _Row("refusal", 1.0, (said,), ())
    if a.tool_calls or b.tool_calls:
        called = _judge_calls(rule, path, a.tool_calls, b.tool_calls)
        if called is not None:
            return called
    text, other = a.refusal or a.text, b.refusal or b.text
    words = _judge_words(rule, path, text, other)
    if words.reason in (None, "length", "text") and a.finish_reason != b.finish_reason:
        ended = Difference(f"{path}/finish_reason", render(a.finish_reason), render(b.finish_reason))
        return words._replace(reason="finish_reason", differences=(ended, *words.differences))
    return words


def _refusal(choice: Choice) -> str:
    return "an answer" if choice.refusal is None else render(f"refusal: {choice.refusal}")


def _judge_calls(
    rule: ComparisonRule, path: str, calls: Sequence[ToolCall], others: Sequence[ToolCall]
) -> _Row | None:
    """Compare the tools two models call, ``None`` where both call the same in the same way.

    In a rule's ``ignore`` a call is ``/tool_calls/0``, with ``name`` and ``arguments``.
    """
    found = _walk(rule, {"tool_calls": _documents(calls)}, {"tool_calls": _documents(others)})
    if not found.differing:
        return None
    return _Row("tool_calls", found.distance, _below(path, found.differences), ())


def _documents(calls: Sequence[ToolCall]) -> list[Json]:
    return [{"name": call.name, "arguments": call.arguments} for call in calls]


def _judge_words(rule: ComparisonRule, path: str, text: str, other: str) -> _Row:
    document, second = _as_json(text), _as_json(other)
    if rule.schema is not None:
        valid, also_valid = (
            not isinstance(parsed, Undecodable) and fits(rule.schema, parsed) for parsed in (document, second)
        )
        if valid != also_valid:
            shown = Difference(path, _validity(valid), _validity(also_valid))
            return _Row("schema", 1.0, (shown,), ())
    if not isinstance(document, Undecodable):
        if isinstance(second, Undecodable):
            return _Row("format", 1.0, (Difference(path, "JSON", render(other)),), ())
        found = _walk(rule, document, second)
        reason = "fields" if found.differing else None
        return _Row(reason, found.distance, _below(path, found.differences), ())
    return _judge_prose(rule, path, text, other)


def _validity(is_valid: bool) -> str:
    return "fits the schema" if is_valid else "does not fit the schema"


def is_prose(text: str) -> bool:
    """Whether a text is compared as words: it is no object or list."""
    return isinstance(_as_json(text), Undecodable)


def _as_json(text: str) -> Json | Undecodable:
    """Return the object or list a text is; a lone number or word is prose."""
    if text.lstrip()[:1] not in ("{", "["):
        return _PROSE
    return parse_json(text.encode(errors="replace"))


_PROSE: Final = Undecodable("not_json")


def _judge_prose(rule: ComparisonRule, path: str, text: str, other: str) -> _Row:
    plain, second = normalise(text), normalise(other)
    if text == other or plain == second:
        return _Row(None, 0.0, (), (("chrf", 100.0), ("token_f1", 1.0), ("length_ratio", 1.0)))
    short, long = sorted((len(plain), len(second)))
    head, other_head = text[:TEXT_LIMIT], other[:TEXT_LIMIT]
    likeness = chrf(other_head, head)
    scores = [("chrf", likeness), ("token_f1", token_f1(head, other_head))]
    if plain:
        scores.append(("length_ratio", len(second) / len(plain)))
    if len(head) < len(text) or len(other_head) < len(other):
        scores.append(("characters_compared", float(TEXT_LIMIT)))
    distance = 1.0 - likeness / 100.0
    tolerance = TOLERANCE if rule.tolerance is None else rule.tolerance
    if long > LONGEST_RATIO * short:
        reason: str | None = "length"
    else:
        is_other = _is_word(plain) and _is_word(second) and rule.tolerance is None
        reason = "text" if is_other or exceeds(distance, tolerance) else None
    shown = () if reason is None else (Difference(path, render(text), render(other)),)
    return _Row(reason, distance, shown, tuple(scores))


def _is_word(text: str) -> bool:
    """Whether a normalised text is one word; scripts that do without spaces are not ASCII."""
    return text.isascii() and " " not in text


def _walk(rule: ComparisonRule, document: Json, other: Json) -> DocumentDifference:
    return differ(
        document,
        other,
        patterns=compile_patterns(rule.ignore),
        rtol=RTOL if rule.rtol is None else rule.rtol,
        atol=ATOL if rule.atol is None else rule.atol,
        has_exact_integers=rule.rtol is None and rule.atol is None,
    )


def _below(path: str, differences: Sequence[Difference]) -> tuple[Difference, ...]:
    return tuple(
        Difference(path + difference.path, difference.primary, difference.shadow)
        for difference in differences
    )


def _find_texts(rule: ComparisonRule, prediction: Prediction, _beside: _Texts | None = None) -> _Texts | None:
    """Return what a model said: at the rule's place, else a completion's choices, else the text that the answer is,
    else the outputs of a usual name, else the first output that holds texts."""
    if rule.place is not None:
        return _texts_of(rule.place, select_value(prediction, rule.place))
    if prediction.completion is not None:
        return _Texts("/choices", prediction.completion.choices)
    if prediction.format == "text":
        return _texts_of("", prediction.document)
    texts = [tensor for tensor in prediction.tensors if tensor.kind == "bytes" and tensor.width == 1]
    if not texts:
        return None
    known = {name: at for at, name in enumerate(_TEXT_NAMES)}
    best = min(texts, key=lambda tensor: known.get(tensor.name, len(known)))
    return _texts_of(best.name, best.data)


def _texts_of(source: str, value: Json | None) -> _Texts | None:
    """Read one text, or a list of them."""
    texts: list[Json] = value if type(value) is list else [value]
    while texts and all(type(text) is list and len(text) == 1 for text in texts):
        texts = [text[0] for text in texts]  # a tensor with a dimension of one
    if not all(type(text) is str for text in texts):
        return None
    return _Texts(path_of(source) if source else "", [_choice(at, text) for at, text in enumerate(texts)])


def _choice(at: int, text: str) -> Choice:
    return Choice(at, text, None, None, ())


TEXTS: Final = Judge("text", "texts", "no_text", _find_texts, _judge_texts, noun="texts")
