"""Answers as services document them are judged as what they are: the method that is picked, and what it says."""

from typing import Any

import orjson
import pytest

from proxy.compare import Answer, ComparisonRule, Prediction, Undecodable, compare, decode
from tests.compare.answers import json_answer
from tests.compare.bodies import event_stream
from tests.compare.test_graded import moderated

DETECTED = {"pred_boxes": [[0, 0, 10, 10], [20, 20, 30, 30]], "scores": [0.9, 0.8], "pred_classes": [1, 2]}
NEAR = {**DETECTED, "pred_boxes": [[0, 0, 10, 9], [20, 20, 30, 30]]}


def _events(*documents: Any) -> Answer:
    return Answer(200, b"text/event-stream; charset=utf-8", None, event_stream(*documents, end=b""))


def _infer(text: str, identity: str = "a") -> dict[str, Any]:
    """Return a piece of MLServer's stream."""
    output = {
        "name": "output",
        "datatype": "BYTES",
        "shape": [1, 1],
        "data": [text],
        "parameters": {"content_type": "str"},
    }
    return {"model_name": "text-model", "model_version": "v0.1.0", "id": identity, "outputs": [output]}


def _numbers(*values: float, shape: list[int], model: str = "m") -> dict[str, Any]:
    return {
        "model_name": model,
        "outputs": [{"name": "y", "datatype": "FP32", "shape": shape, "data": list(values)}],
    }


def _vertex(boxes: Any) -> Answer:
    rows = [{"ids": ["1", "2"], "displayNames": ["cat", "dog"], "bboxes": boxes, "confidences": [0.7, 0.5]}]
    return json_answer({"predictions": rows, "deployedModelId": "1", "model": "m", "modelDisplayName": "d"})


def _named(*classes: tuple[str, float], at: int) -> Answer:
    """Return what Vertex AI says of an image's class."""
    names, scores = zip(*classes, strict=True)
    row = {
        "ids": [str(at + place) for place in range(len(names))],
        "displayNames": names,
        "confidences": scores,
    }
    return json_answer(
        {"predictions": [row], "deployedModelId": str(at), "model": "m", "modelDisplayName": "d"}
    )


def _tagged(*tags: tuple[str, float], at: str = "2026-01-01", **more: Any) -> Answer:
    """Return what Custom Vision says of an image."""
    listed = [{"probability": p, "tagId": t, "tagName": t, "tagType": "Regular", **more} for t, p in tags]
    return json_answer({"id": at, "project": "p", "iteration": at, "created": at, "predictions": listed})


def _classified(score: float, identity: str) -> Answer:
    row = {"index": 0, "label": "a", "probs": [score, 1 - score], "num_classes": 2}
    return json_answer(
        {"id": identity, "object": "list", "created": 1, "data": [row], "usage": {"prompt_tokens": 1}}
    )


def _scored(score: float, identity: str) -> Answer:
    rows = [{"index": 0, "object": "score", "score": score}]
    return json_answer({"id": identity, "object": "list", "created": 1, "data": rows, "usage": {}})


def _masked(other: str) -> Answer:
    listed = [("a", 0.9), (other, 0.05)]
    return json_answer([{"score": p, "token": 1, "token_str": t, "sequence": f"x {t}"} for t, p in listed])


def _reranked(*scores: tuple[int, float], identity: str) -> Answer:
    return json_answer(
        [{"score": p, "document": "d", "index": at, "meta_info": {"id": identity}} for at, p in scores]
    )


def _heard(*pieces: str) -> Answer:
    deltas = [{"type": "transcript.text.delta", "delta": piece} for piece in pieces]
    return _events(
        *deltas, {"type": "transcript.text.done", "text": "".join(pieces), "usage": {"output_tokens": 3}}
    )


def _lines(*documents: Any) -> Answer:
    return Answer(
        200, b"application/x-ndjson", None, b"".join(orjson.dumps(each) + b"\n" for each in documents)
    )


def _label(word: str) -> dict[str, Any]:
    return {"outputs": [{"name": "label", "datatype": "BYTES", "shape": [1], "data": [word]}]}


def _entities(*named: tuple[str, int, int], score: float = 0.9) -> list[dict[str, Any]]:
    """Return what Hugging Face's token classification says of a text."""
    return [
        {"entity_group": group, "score": score, "word": "x" * (end - start), "start": start, "end": end}
        for group, start, end in named
    ]


def _pooled(*values: float, identity: str) -> Answer:
    rows = [{"index": 0, "object": "pooling", "data": list(values)}]
    return json_answer({"id": identity, "object": "list", "created": 1, "data": rows, "usage": {}})


def _sparse(**values: float) -> Answer:
    """Return what text-embeddings-inference says of one text: a value for each term that matters in it."""
    return json_answer([[{"index": int(name[1:]), "value": value} for name, value in values.items()]])


DIRECTION = [(-1.0) ** at for at in range(128)]
TURNED = [*DIRECTION[:127], 3.0]

# primary, shadow → result, distance, reason, method, rows
PAIRS: dict[str, tuple[Answer, Answer, tuple[str, float | None, str | None, str, int]]] = {
    "MLServer's stream, cut elsewhere": (
        _events(_infer("What"), _infer(" is")),
        _events(_infer("What is", "b")),
        ("agree", 0.0, None, "text", 1),
    ),
    "MLServer's stream, other words": (
        _events(_infer("What"), _infer(" is")),
        _events(_infer("Who"), _infer(" was")),
        ("disagree", 0.855556, "text", "text", 1),
    ),
    "MLServer's stream and one answer": (
        _events(_infer("What"), _infer(" is")),
        json_answer(_infer("What is")),
        ("agree", 0.0, None, "text", 1),
    ),
    "MLServer's stream of numbers": (
        _events(_numbers(0.5, 2.5, shape=[1, 2]), _numbers(1.5, 3.5, shape=[1, 2])),
        json_answer(_numbers(0.5, 2.5, 1.5, 4.5, shape=[2, 2], model="n")),
        ("disagree", 0.25, "tolerance", "tensor", 2),
    ),
    "Vertex AI's classes, whose ids are of the model": (
        _named(("cat", 0.7), ("dog", 0.3), at=1),
        _named(("cat", 0.6), ("dog", 0.4), at=5),
        ("agree", 0.0, None, "classification", 1),
    ),
    "Vertex AI's classes, another": (
        _named(("cat", 0.7), ("dog", 0.3), at=1),
        _named(("dog", 0.6), ("cat", 0.4), at=1),
        ("disagree", 1.0, "label", "classification", 1),
    ),
    "Vertex AI's first class": (
        _named(("cat", 0.7), at=1),
        _named(("cat", 0.6), at=5),
        ("agree", 0.0, None, "classification", 1),
    ),
    "Vertex AI's boxes": (
        _vertex([[0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.4, 0.5]]),
        _vertex([[0.1, 0.2, 0.3, 0.38], [0.2, 0.3, 0.4, 0.5]]),
        ("agree", 0.1, None, "detection", 1),
    ),
    "Vertex AI, nothing found": (
        _vertex([]),
        _vertex([]),
        ("uncomparable", None, "no_boxes", "detection", 0),
    ),
    "Detectron2": (
        json_answer({"instances": DETECTED}),
        json_answer({"instances": NEAR}),
        ("agree", 0.05, None, "detection", 1),
    ),
    "Detectron2, a row for each image": (
        json_answer({"predictions": [{"instances": DETECTED}] * 2}),
        json_answer({"predictions": [{"instances": NEAR}] * 2}),
        ("agree", 0.05, None, "detection", 2),
    ),
    "Detectron2, as COCO has it": (
        json_answer({"instances": [{"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 10], "score": 0.9}]}),
        json_answer({"instances": [{"image_id": 1, "category_id": 4, "bbox": [0, 0, 10, 10], "score": 0.9}]}),
        ("disagree", 0.0, "label", "detection", 1),
    ),
    "Custom Vision": (
        _tagged(("a", 0.9), ("b", 0.1)),
        _tagged(("a", 0.8), ("b", 0.2), at="2026-01-02"),
        ("agree", 0.1, None, "classification", 1),
    ),
    "Custom Vision, one tag": (
        _tagged(("a", 0.9)),
        _tagged(("b", 0.9)),
        ("disagree", 1.0, "label", "classification", 1),
    ),
    "Custom Vision, several that are true": (
        _tagged(("a", 0.9), ("b", 0.8)),
        _tagged(("a", 0.9), ("b", 0.8)),
        ("agree", 0.0, None, "json", 2),
    ),
    "Custom Vision's boxes": (
        _tagged(("a", 0.9), boundingBox={"left": 0.1, "top": 0.1, "width": 0.5, "height": 0.5}),
        _tagged(("a", 0.7), boundingBox={"left": 0.1, "top": 0.1, "width": 0.45, "height": 0.5}),
        ("agree", 0.1, None, "detection", 1),
    ),
    "vLLM, classify": (
        _classified(0.75, "classify-1"),
        _classified(0.65, "classify-2"),
        ("agree", 0.1, None, "classification", 1),
    ),
    "vLLM, score": (
        _scored(1.0, "score-1"),
        _scored(0.5, "score-2"),
        ("disagree", 0.5, "tolerance", "regression", 1),
    ),
    "SGLang, score": (
        json_answer({"object": "scoring", "scores": [[0.9, 0.1], [0.2, 0.8]]}),
        json_answer({"object": "scoring", "scores": [[0.8, 0.2], [0.6, 0.4]]}),
        ("disagree", 0.25, "label", "classification", 2),
    ),
    "SGLang, rerank": (
        _reranked((1, 0.99), (0, 0.01), identity="a"),
        _reranked((1, 0.98), (0, 0.02), identity="b"),
        ("agree", 0.0, None, "ranking", 1),
    ),
    "moderation, other scores": (
        json_answer({"id": "modr-1", "model": "m", "results": [moderated(True, "hate", score=0.5)]}),
        json_answer({"id": "modr-2", "model": "m", "results": [moderated(True, "hate", score=0.6)]}),
        ("agree", 0.0, None, "classification", 1),
    ),
    "moderation, another category": (
        json_answer({"id": "modr-1", "model": "m", "results": [moderated(True, "hate")]}),
        json_answer({"id": "modr-2", "model": "m", "results": [moderated(True, "hate", "violence")]}),
        ("disagree", 1.0, "label", "classification", 1),
    ),
    "a transcription, streamed": (
        _heard("I see", " skies"),
        json_answer({"text": "I see skies."}),
        ("agree", 0.0, None, "text", 1),
    ),
    "a mask that is filled": (_masked("b"), _masked("c"), ("agree", 0.0, None, "classification", 1)),
    "lines of answers": (
        _lines(_label("cat"), _label("dog")),
        _lines(_label("cat"), _label("cow")),
        ("disagree", 0.5, "label", "classification", 2),
    ),
    "lines of answers and a batch": (
        _lines(_label("cat")),
        json_answer(_label("cat")),
        ("agree", 0.0, None, "classification", 1),
    ),
    "lines of answers, another cut": (
        _lines(_label("cat"), _label("dog")),
        _lines(_label("ca"), _label("tdog")),
        ("disagree", 1.0, "label", "classification", 2),
    ),
    "entities, other scores": (
        json_answer(_entities(("PER", 0, 3), ("LOC", 9, 15))),
        json_answer(_entities(("PER", 0, 3), ("LOC", 9, 15), score=0.7)),
        ("agree", 0.0, None, "detection", 1),
    ),
    "entities, another class": (
        json_answer(_entities(("PER", 0, 3), ("LOC", 9, 15))),
        json_answer(_entities(("PER", 0, 3), ("ORG", 9, 15))),
        ("disagree", 0.0, "label", "detection", 1),
    ),
    "entities, another end": (
        json_answer(_entities(("PER", 0, 3), ("LOC", 9, 22))),
        json_answer(_entities(("PER", 0, 3), ("LOC", 9, 21))),
        ("disagree", 2 / 3, "boxes", "detection", 1),
    ),
    "entities of two texts": (
        json_answer([_entities(("PER", 0, 3)), []]),
        json_answer([_entities(("PER", 0, 3)), _entities(("LOC", 0, 3))]),
        ("disagree", 0.5, "boxes", "detection", 2),
    ),
    "no entities any more": (
        json_answer(_entities(("PER", 0, 3))),
        json_answer([]),
        ("disagree", 1.0, "boxes", "detection", 1),
    ),
    "vLLM, pooled": (
        _pooled(*DIRECTION, identity="pool-1"),
        _pooled(*(2.0 * value for value in DIRECTION), identity="pool-2"),
        ("agree", 0.0, None, "embedding", 1),
    ),
    "vLLM, pooled, another direction": (
        _pooled(*DIRECTION, identity="pool-1"),
        _pooled(*TURNED, identity="pool-2"),
        ("disagree", 1 - 124 / (128 * 136) ** 0.5, "tolerance", "embedding", 1),
    ),
    "vLLM, a reward": (
        _pooled(1.5, identity="pool-1"),
        _pooled(1.0, identity="pool-2"),
        ("disagree", 1 / 3, "tolerance", "regression", 1),
    ),
    "sparse vectors": (
        _sparse(t12=1.0, t700=0.5, t9=0.25),
        _sparse(t700=0.51, t12=1.01, t9=0.25, t30000=0.01),
        ("agree", 4.7876e-05, None, "embedding", 1),
    ),
    "sparse vectors, other terms": (
        _sparse(t12=3.0, t700=4.0),
        _sparse(t12=3.0, t701=4.0),
        ("disagree", 1 - 9 / 25, "tolerance", "embedding", 1),
    ),
    "a sparse vector and another": (
        _sparse(t12=3.0, t700=4.0),
        json_answer([[0.25, 0.5]]),
        ("disagree", 1.0, "shape", "embedding", 1),
    ),
    "SageMaker JumpStart's chat": (
        json_answer([{"generation": {"role": "assistant", "content": "Hey"}}]),
        json_answer([{"generation": {"role": "assistant", "content": "hey."}}]),
        ("agree", 0.0, None, "text", 1),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str) -> None:
    """Result, distance, reason, method and rows."""
    primary, shadow, (result, distance, reason, method, rows) = PAIRS[name]
    found = compare(ComparisonRule(), primary, shadow)
    assert (found.result, found.reason, found.method, found.rows) == (result, reason, method, rows)
    assert found.distance == (None if distance is None else pytest.approx(distance, abs=1e-6))


@pytest.mark.parametrize("rows", [1, 2])
def test_a_few_classes_where_one_asks_for_them(rows: int) -> None:
    """TorchServe's first three are measures of anything else as well: they are classes by the rule alone."""
    first, same, other = (
        json_answer(document if rows == 1 else [document] * rows)
        for document in (
            {"tabby": 0.4, "tiger": 0.3, "cat": 0.1},
            {"tabby": 0.35, "cat": 0.2, "tiger": 0.1},
            {"tiger": 0.4, "tabby": 0.3, "cat": 0.1},
        )
    )
    rule = ComparisonRule("classification")
    assert compare(rule, first, same).result == "agree"
    found = compare(rule, first, other)
    assert (found.rows, found.rows_disagreeing, found.confusion) == (rows, rows, (("tabby", "tiger", rows),))
    assert compare(ComparisonRule(), first, same).method == "json"


def test_pieces_of_two_types_are_two_outputs() -> None:
    """A name that changes its type is two outputs; an error among the pieces ends them."""
    word = {"name": "y", "datatype": "BYTES", "shape": [], "data": ["a"]}
    number = {"name": "y", "datatype": "INT8", "shape": [2], "data": [1, 2]}
    found = decode(
        200, b"text/event-stream", None, event_stream({"outputs": [word]}, {"outputs": [number]}, end=b"")
    )
    assert isinstance(found, Prediction)
    assert [(tensor.datatype, tensor.data) for tensor in found.tensors] == [
        ("BYTES", ["a"]),
        ("INT8", [1, 2]),
    ]
    failed = event_stream({"outputs": [word]}, {"error": "x"}, end=b"")
    assert decode(200, b"text/event-stream", None, failed) == Undecodable("stream_error")


def test_a_stream_that_is_no_text_is_rows() -> None:
    """What cannot be put one behind the other is still there."""
    pieces = _numbers(0.5, shape=[1]), _numbers(0.5, 1.5, shape=[1, 2]), {"outputs": [{"name": "y"}]}
    answer = Answer(
        200, b"text/event-stream", None, b"".join(b"data: %s\n\n" % orjson.dumps(each) for each in pieces)
    )
    assert compare(ComparisonRule(), answer, answer).result == "agree"
