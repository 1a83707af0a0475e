"""What holds for every rule and every pair of answers, readable or not."""

import gzip
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Answer, Comparison, ComparisonRule, compare
from proxy.compare.verdicts import DISAGREEMENTS, UNCOMPARABLES
from proxy.methods import BOX_FORMS, METHODS
from tests.compare.answers import json_answer

SYMMETRIC = [
    ComparisonRule(as_=method)
    for method in METHODS
    # chrF weighs what is missing more than what is added; the others with auto depend on which is first.
    if method not in ("auto", "text", "none")
]

number = st.integers(-3, 3) | st.sampled_from([0.5, 0.25, 0.75, 1.0, float("nan"), float("inf")])
row = number | st.sampled_from(["a", "b"]) | st.lists(number, max_size=3) | st.none() | st.booleans()
rows = st.lists(row, max_size=3) | st.lists(number, min_size=1, max_size=3)


texts = st.sampled_from(
    ["", "Paris", "paris.", "Rome", "Paris Paris Paris", "[1, 2]", "[1, 3]", "{"]
) | st.text(max_size=8)
boxes = st.lists(st.integers(0, 4), min_size=4, max_size=4)


def _with_nan(value: Any) -> bytes:
    """Write JSON with the bare words for NaN and infinity, as Python's own writer does."""
    text = (
        repr(value)
        .replace("'", '"')
        .replace("None", "null")
        .replace("True", "true")
        .replace("False", "false")
    )
    return text.replace("nan", "NaN").replace("inf", "Infinity").encode()


documents = (
    rows.map(lambda r: {"predictions": r})
    | st.dictionaries(st.sampled_from(["label", "scores", "x"]), row).map(lambda r: {"predictions": [r]})
    | st.tuples(st.sampled_from(["INT64", "FP32", "BYTES", "BOOL"]), rows).map(
        lambda t: {"outputs": [{"name": "y", "datatype": t[0], "shape": [len(t[1])], "data": t[1]}]}
    )
    | rows
    | st.lists(st.tuples(st.sampled_from(["stop", "length", None]), texts), max_size=2).map(
        lambda choices: {
            "object": "chat.completion",
            "choices": [
                {"index": at, "finish_reason": why, "message": {"role": "assistant", "content": text}}
                for at, (why, text) in enumerate(choices)
            ],
        }
    )
    | st.lists(boxes, max_size=3).map(lambda found: {"boxes": found, "labels": list(range(len(found)))})
    | st.lists(st.lists(st.sampled_from(["a", "b", "c", 1, 2]), max_size=4), max_size=3)
    | st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=2).map(
        lambda v: {"data": [{"object": "embedding", "index": 0, "embedding": v}], "object": "list"}
    )
)
bodies = documents.map(_with_nan) | st.binary(max_size=30)
answers = st.builds(
    Answer,
    st.sampled_from([200, 200, 200, 200, 204, 404, 503]),
    st.sampled_from([b"application/json", b"application/json", b"text/plain", None]),
    st.sampled_from([None, None, None, b"gzip", b"br"]),
    bodies,
    st.sampled_from([False, False, False, True]),
    st.none() | st.none() | st.integers(-1, 40),
)
places = st.sampled_from(
    [None, "y", "label", "/predictions", "/predictions/*", "/outputs/0/data", "/boxes", "/choices"]
)
shares = st.none() | st.sampled_from([0.0, 0.3, 1.0])
rules = st.builds(
    ComparisonRule,
    st.sampled_from(METHODS),
    st.sampled_from([None, 0.0, 1e-5, 0.5]),
    st.sampled_from([None, 0.0, 1e-8, 1.0]),
    st.sampled_from([(), ("/predictions/*",), ("/**/data",)]),
    at=places,
    tolerance=shares,
    threshold=shares,
    scale=st.sampled_from([None, 0.5]),
    k=st.sampled_from([None, 1, 3]),
    iou=st.sampled_from([None, 0.1, 1.0]),
    boxes=st.sampled_from(BOX_FORMS),
    schema=st.sampled_from([None, '{"type": "array"}']),
    costs=st.sampled_from([(), (("1", "0", 0.25), ("a", "b", 0.0))]),
)


def _check(found: Comparison) -> None:
    if found.result == "uncomparable":
        assert (found.distance, found.rows, found.rows_disagreeing, found.differences) == (None, 0, 0, ())
    else:
        assert found.distance is not None
        assert 0.0 <= found.distance <= 1.0
        assert 0 <= found.rows_disagreeing <= found.rows
    assert (found.result == "agree") is (found.reason is None)
    assert len(found.differences) <= 16
    assert found.result != "agree" or (found.rows_disagreeing, found.differences) == (0, ())


@given(rules, answers, answers)
def test_any_pair_is_judged(rule: ComparisonRule, primary: Answer, shadow: Answer) -> None:
    """Never an exception, always a consistent verdict."""
    _check(compare(rule, primary, shadow))


@given(rules, answers)
def test_an_answer_never_disagrees_with_itself(rule: ComparisonRule, answer: Answer) -> None:
    """It agrees at distance 0, or it could not be compared with anything."""
    found = compare(rule, answer, answer)
    assert found.result != "disagree"
    assert found.distance in (None, 0.0)


@given(rules, answers, answers)
def test_comparable_does_not_depend_on_agreement(
    rule: ComparisonRule, primary: Answer, shadow: Answer
) -> None:
    """A primary that cannot be compared with itself is compared with nothing: else agreement would be biased."""
    if compare(rule, primary, primary).result == "uncomparable":
        found = compare(rule, primary, shadow)
        assert found.result == "uncomparable" or found.reason == "status"


@given(rules, answers)
def test_the_short_way_for_equal_bytes_changes_nothing(rule: ComparisonRule, answer: Answer) -> None:
    """Another spelling of the same content type takes the long way to the same verdict."""
    if answer.content_type is not None:
        respelt = answer._replace(content_type=answer.content_type.upper())
        assert compare(rule, answer, answer) == compare(rule, answer, respelt)


@given(st.sampled_from(SYMMETRIC), answers, answers)
def test_methods_are_symmetric(rule: ComparisonRule, a: Answer, b: Answer) -> None:
    """Where both directions can be compared, verdict and distance are the same."""
    one, two = compare(rule, a, b), compare(rule, b, a)
    if "uncomparable" not in (one.result, two.result):
        assert one.result == two.result
        assert one.distance == pytest.approx(two.distance)


EXACTLY = [
    ComparisonRule("json", 0.0, 0.0),
    ComparisonRule("exact"),
    ComparisonRule("tensor", 0.0, 0.0),
    ComparisonRule("regression", 0.0, 0.0),
]


@given(st.sampled_from(EXACTLY), answers, answers)
def test_no_distance_is_agreement(rule: ComparisonRule, primary: Answer, shadow: Answer) -> None:
    """Without a tolerance, answers agree just where there is no distance between them."""
    found = compare(rule, primary, shadow)
    if found.distance is not None:
        assert (found.distance == 0.0) is (found.result == "agree")


def _renamed(value: Any, names: dict[Any, Any]) -> Any:
    if isinstance(value, list):
        return [_renamed(part, names) for part in value]
    return names.get(value, value)


items = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1, max_size=3)


@given(items, items, st.permutations("abc"))
def test_what_items_are_called_means_nothing(
    first: list[list[str]], second: list[list[str]], order: list[str]
) -> None:
    """Rankings and labels compare as they do under other names."""
    names = dict(zip("abc", order, strict=True))
    for rule in (ComparisonRule("ranking"), ComparisonRule("classification")):
        one, two = (
            compare(rule, json_answer({"predictions": a}), json_answer({"predictions": b}))
            for a, b in ((first, second), (_renamed(first, names), _renamed(second, names)))
        )
        assert one[:6] == two[:6]
        assert sum(rows for *_, rows in one.confusion) == sum(rows for *_, rows in two.confusion)


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=3), min_size=2, max_size=2),
    st.permutations(range(3)),
)
def test_the_order_of_classes_means_nothing(counts: list[list[int]], order: list[int]) -> None:
    """Distributions are as far apart with their classes in another order."""
    rows = [[count / sum(row) for count in row] for row in counts]
    shuffled = [[row[at] for at in order] for row in rows]
    rule = ComparisonRule("probabilities", threshold=0.4)
    one, two = (
        compare(rule, json_answer({"predictions": [p]}), json_answer({"predictions": [q]}))
        for p, q in (rows, shuffled)
    )
    assert one.distance == pytest.approx(two.distance)
    # Of equal highest ones the first is taken, which is another class in another order.
    if all(len(set(row)) == 3 for row in counts):
        assert one.result == two.result


@given(rules, answers, answers)
def test_more_tolerance_never_disagrees_more(rule: ComparisonRule, primary: Answer, shadow: Answer) -> None:
    """What agrees with a tolerance agrees with a wider one."""
    strict, wide = (compare(replace(rule, tolerance=share), primary, shadow) for share in (0.1, 0.9))
    assert strict.rows_disagreeing >= wide.rows_disagreeing


classes = st.sampled_from("abc")


@given(st.lists(st.tuples(classes, classes), min_size=1))
def test_the_confusion_counts_every_row(labels: list[tuple[str, str]]) -> None:
    """The table of labels has each row once, and off its diagonal the rows that disagree."""
    rule = ComparisonRule("classification")
    one, other = (json_answer({"predictions": side}) for side in zip(*labels, strict=True))
    found = compare(rule, one, other)
    assert sum(rows for *_, rows in found.confusion) == found.rows == len(labels)
    assert sum(rows for a, b, rows in found.confusion if a != b) == found.rows_disagreeing


@given(rules, answers, answers)
def test_what_is_told_adds_up(rule: ComparisonRule, primary: Answer, shadow: Answer) -> None:
    """Scores are finite, and reasons are known words."""
    found = compare(rule, primary, shadow)
    assert all(math.isfinite(value) for _, value in found.scores)
    known = {"disagree": DISAGREEMENTS, "uncomparable": UNCOMPARABLES, "agree": (None,)}
    assert found.reason in known[found.result]
    assert found.method in METHODS


def _event(document: Any, how: tuple[bytes, bytes, bytes]) -> bytes:
    """Write one event with the given name, end of line, and what stands before it."""
    name, end, before = how
    lines = orjson.dumps(document, option=orjson.OPT_INDENT_2 if before else 0).split(b"\n")
    return before + b"".join(name + line + end for line in lines) + end


def _streamed(pieces: list[str], how: tuple[bytes, bytes, bytes], **head: Any) -> Answer:
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in pieces]
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in (*((delta, None) for delta in deltas), ({}, "stop"))
    ]
    body = b"".join(_event(chunk, how) for chunk in chunks) + how[0] + b"[DONE]" + how[1] * 2
    return Answer(200, b"text/event-stream", None, body)


ways = st.tuples(
    st.sampled_from([b"data: ", b"data:"]),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.sampled_from([b"", b": alive\n\n", b"event: message\nid: 7\nretry: 9\n"]),
)
spoken = st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=5)


@given(spoken, st.lists(st.integers(0, 25), max_size=4), ways, ways, st.booleans())
def test_the_way_a_stream_is_cut_means_nothing(
    pieces: list[str],
    cuts: list[int],
    one: tuple[bytes, bytes, bytes],
    other: tuple[bytes, bytes, bytes],
    is_compressed: bool,
) -> None:
    """Nor do its spelling, its head, its coding, a mark at its front, and whether it is one at all."""
    text = "".join(pieces)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    again = [text[start:end] for start, end in pairwise(places)]
    first = _streamed(pieces, one, id="a", created=1, system_fingerprint="x")
    second = _streamed(again, other, id="b", created=2, system_fingerprint="y")
    second = second._replace(body=b"\xef\xbb\xbf" + second.body)
    if is_compressed:
        second = second._replace(body=gzip.compress(second.body), content_encoding=b"gzip")
    whole = json_answer(
        {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}], "usage": {}}
    )
    for shadow in (second, whole, first._replace(content_type=b"text/plain") if not one[2] else whole):
        found = compare(ComparisonRule(), first, shadow)
        assert (found.result, found.distance, found.method) == ("agree", 0.0, "text")
    changed = compare(ComparisonRule(), first, _streamed([*again, " and more than that"], other))
    assert changed.distance != 0.0


def _respelt(value: Any) -> Any:
    """Put the keys of every object in the other order."""
    if isinstance(value, dict):
        return {key: _respelt(value[key]) for key in reversed(value)}
    return [_respelt(part) for part in value] if isinstance(value, list) else value


@given(rules, documents, st.booleans())
def test_the_order_of_keys_and_white_space_mean_nothing(
    rule: ComparisonRule, document: Any, is_wide: bool
) -> None:
    """JSON written in another way agrees with itself wherever it can be compared, but byte by byte."""
    if rule.as_ == "exact":
        return
    answer = json_answer(_with_nan(document))
    body = _with_nan(_respelt(document))
    found = compare(rule, answer, answer._replace(body=body.replace(b", ", b" ,\n") if is_wide else body))
    assert found.result != "disagree"
    assert found.distance in (None, 0.0)


def _sides(rows: list[tuple[Any, Any]]) -> tuple[Answer, Answer]:
    first, second = ([row[side] for row in rows] for side in (0, 1))
    return json_answer({"predictions": first}), json_answer({"predictions": second})


cells = st.sampled_from([0.25, 0.5, 1.5]) | st.integers(0, 2)
tables = st.integers(1, 4).flatmap(
    lambda size: st.lists(
        st.tuples(*[st.lists(cells, min_size=2, max_size=2)] * 2), min_size=size, max_size=size
    )
)


@given(
    st.sampled_from(["json", "classification", "regression", "tensor", "ranking", "embedding", "auto"]),
    tables,
    st.randoms(),
)
def test_the_order_of_rows_means_nothing(method: str, table: list[tuple[Any, Any]], random: Any) -> None:
    """Rows that are put in another order on both sides compare as before."""
    shuffled = list(table)
    random.shuffle(shuffled)
    rule = ComparisonRule(method)
    one, two = (compare(rule, *_sides(rows)) for rows in (table, shuffled))
    assert (one.result, one.reason, one.method, one.rows, one.rows_disagreeing) == (
        (two.result, two.reason, two.method, two.rows, two.rows_disagreeing)
    )
    assert one.distance == pytest.approx(two.distance)
