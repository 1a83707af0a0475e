"""Pairs of answers are judged as a person reading them would judge."""

import gzip
import struct
import zlib
from typing import Any

import orjson
import pytest

from proxy.compare import Answer, ComparisonRule, compare


def _answer(document: Any, *, status: int = 200, **fields: Any) -> Answer:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return Answer(status, b"application/json", None, body, **fields)


def _oip(*outputs: tuple[str, str, list[int], list[Any]], model: str = "wine-v1", **fields: Any) -> Answer:
    named = [{"name": n, "datatype": d, "shape": s, "data": v} for n, d, s, v in outputs]
    return _answer({"model_name": model, "outputs": named, **fields})


def _v1(*rows: Any) -> Answer:
    return _answer({"predictions": list(rows)})


def _text(body: bytes, encoding: bytes | None = None) -> Answer:
    return Answer(200, b"text/plain", encoding, body)


UUID = "9f1c6b9e-3f5e-4a8b-8f55-0d3b1f1f6d2a"
AUTO = ComparisonRule()
EXACT = ComparisonRule(as_="exact")
AS_JSON = ComparisonRule(as_="json")
CLASSES = ComparisonRule(as_="classification")
VALUES = ComparisonRule(as_="regression")


def _predict(*labels: Any, model: str = "wine-v1") -> Answer:
    return _oip(("predict", "INT64", [len(labels), 1], list(labels)), model=model)


def _with_proba(label: int, *proba: float) -> Answer:
    return _oip(("predict", "INT64", [1], [label]), ("proba", "FP64", [1, len(proba)], list(proba)))


# rule, primary, shadow → result, distance, reason, method, rows, rows disagreeing
CASES: dict[
    str, tuple[ComparisonRule, Answer, Answer, tuple[str, float | None, str | None, str, int, int]]
] = {
    # What auto picks
    "auto: same labels, other model": (
        AUTO,
        _predict(0, 2),
        _predict(0, 2, model="wine-v4"),
        ("agree", 0.0, None, "classification", 2, 0),
    ),
    "auto: one of four flipped": (
        AUTO,
        _predict(0, 1, 2, 0),
        _predict(0, 1, 1, 0),
        ("disagree", 0.25, "label", "classification", 4, 1),
    ),
    "auto: text labels": (AUTO, _v1("cat"), _v1("dog"), ("disagree", 1.0, "label", "classification", 1, 1)),
    "auto: probabilities": (
        AUTO,
        _v1([0.1, 0.9], [0.6, 0.4]),
        _v1([0.3, 0.7], [0.6, 0.4]),
        ("agree", 0.1, None, "classification", 2, 0),
    ),
    "auto: one float per row": (
        AUTO,
        _v1(2.0, 4.5),
        _v1(1.0, 4.5),
        ("disagree", 0.25, "tolerance", "regression", 2, 1),
    ),
    "auto: a column of floats": (AUTO, _v1([2.5]), _v1([2.5]), ("agree", 0.0, None, "regression", 1, 0)),
    "auto: embeddings": (AUTO, _v1([3.0, 4.0]), _v1([3.0, 4.5]), ("disagree", 0.5, "fields", "json", 1, 1)),
    "auto: mean and deviation": (
        AUTO,
        _oip(("mean", "FP32", [1], [1.5]), ("std", "FP32", [1], [0.5])),
        _oip(("mean", "FP32", [1], [1.5]), ("std", "FP32", [1], [0.9])),
        ("disagree", 0.5, "tolerance", "tensor", 1, 1),
    ),
    "auto: plain JSON": (
        AUTO,
        _answer({"a": 1, "b": 2}),
        _answer({"a": 1, "b": 3}),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
    "auto: text": (AUTO, _text(b"hello"), _text(b"Hello!"), ("agree", 0.0, None, "text", 1, 0)),
    "auto: other text": (AUTO, _text(b"hello"), _text(b"wurst"), ("disagree", 1.0, "text", "text", 1, 1)),
    "auto: two empty answers": (AUTO, _answer(b""), _answer(b""), ("agree", 0.0, None, "exact", 1, 0)),
    "auto: the label names a value": (
        ComparisonRule(label="std"),
        _oip(("predict", "INT64", [1], [0]), ("std", "FP32", [1], [0.5])),
        _oip(("predict", "INT64", [1], [1]), ("std", "FP32", [1], [0.5])),
        ("agree", 0.0, None, "regression", 1, 0),
    ),
    "auto: the label names a class": (
        ComparisonRule(label="/y"),
        _answer({"y": "a", "score": 0.5}),
        _answer({"y": "a", "score": 0.7}),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "auto: the label names nothing": (
        ComparisonRule(label="/z"),
        _answer({"y": "a"}),
        _answer({"y": "a"}),
        ("uncomparable", None, "no_label", "classification", 0, 0),
    ),
    # Status
    "shadow failed": (AUTO, _v1(1), _answer({}, status=503), ("disagree", 1.0, "status", "auto", 1, 1)),
    "primary failed": (AUTO, _answer({}, status=422), _v1(1), ("disagree", 1.0, "status", "auto", 1, 1)),
    "both failed alike": (
        AUTO,
        _answer({}, status=400),
        _answer({}, status=400),
        ("uncomparable", None, "both_failed", "auto", 0, 0),
    ),
    "both failed differently": (
        EXACT,
        _answer({}, status=400),
        _answer({}, status=500),
        ("uncomparable", None, "both_failed", "exact", 0, 0),
    ),
    "two kinds of success": (
        AUTO,
        _v1(1),
        _v1(1)._replace(status=201),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    # Exact
    "exact: one compressed": (
        EXACT,
        _text(b"hello"),
        _text(gzip.compress(b"hello"), b"gzip"),
        ("agree", 0.0, None, "exact", 1, 0),
    ),
    "exact: compressed in two ways": (
        EXACT,
        _text(zlib.compress(b"hello"), b"deflate"),
        _text(gzip.compress(b"hello"), b"gzip"),
        ("agree", 0.0, None, "exact", 1, 0),
    ),
    "exact: JSON in another order": (
        EXACT,
        _answer(b'{"a":1,"b":2}'),
        _answer(b'{"b":2,"a":1}'),
        ("disagree", 1.0, "bytes", "exact", 1, 1),
    ),
    "exact: binary": (EXACT, _answer(b"\x00\xff"), _answer(b"\x00\xff"), ("agree", 0.0, None, "exact", 1, 0)),
    # JSON
    "json: last digit": (
        AS_JSON,
        _answer({"score": 0.7312}),
        _answer({"score": 0.73120001}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "json: model and call are not compared": (
        AS_JSON,
        _oip(("y", "FP32", [1], [1.0]), id="a", model_version="1", parameters={"ms": 3}),
        _oip(("y", "FP32", [1], [1.0]), id="b", model="wine-v4"),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "json: the identity of a plain document counts": (
        AS_JSON,
        _answer({"id": 1}),
        _answer({"id": 2}),
        ("disagree", 1.0, "fields", "json", 1, 1),
    ),
    "auto: what is of the call alone is not compared": (
        AUTO,
        _answer({"id": UUID, "timestamp": "2026-01-01T00:00:00Z", "latency_ms": 3.1, "y": {"a": 0.5}}),
        _answer(
            {
                "id": UUID.replace("9", "a"),
                "timestamp": "2026-01-02T00:00:00Z",
                "latency_ms": 9.9,
                "y": {"a": 0.5},
            }
        ),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "auto: what may be the answer is compared": (
        AUTO,
        _answer({"id": "B00X", "y": {"a": 0.5}}),
        _answer({"id": "B00Y", "y": {"a": 0.5}}),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
    "json: a moment counts where it is asked for": (
        AS_JSON,
        _answer({"timestamp": 1, "y": 2}),
        _answer({"timestamp": 2, "y": 2}),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
    "auto: an envelope that lies about its shape": (
        AUTO,
        _answer({"id": UUID, "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1, 2]}]}),
        _answer(
            {
                "id": UUID.replace("9", "a"),
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1, 2]}],
            }
        ),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "auto: Vertex AI": (
        AUTO,
        _answer({"predictions": [{"value": 2.5, "low": 1.5}], "deployedModelId": "1", "model": "a"}),
        _answer({"predictions": [{"value": 2.5, "low": 1.5}], "deployedModelId": "2", "model": "b"}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "auto: Hugging Face's classes, all of each text": (
        AUTO,
        _answer([[{"label": "a", "score": 0.6}, {"label": "b", "score": 0.4}]] * 2),
        _answer([[{"label": "b", "score": 0.5}, {"label": "a", "score": 0.5}]] * 2),
        ("disagree", 0.1, "label", "classification", 2, 2),
    ),
    "auto: Hugging Face's classes, the best of each text": (
        AUTO,
        _answer([{"label": "a", "score": 0.9}, {"label": "b", "score": 0.8}]),
        _answer([{"label": "a", "score": 0.7}, {"label": "a", "score": 0.6}]),
        ("disagree", 0.5, "label", "classification", 2, 1),
    ),
    "auto: Hugging Face's classes, all of one image": (
        AUTO,
        _answer([{"label": "a", "score": 0.6}, {"label": "b", "score": 0.3}]),
        _answer([{"label": "a", "score": 0.5}, {"label": "c", "score": 0.3}]),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "auto: zero-shot": (
        AUTO,
        _answer({"sequence": "x", "labels": ["a", "b"], "scores": [0.9, 0.1]}),
        _answer({"sequence": "x", "labels": ["b", "a"], "scores": [0.6, 0.4]}),
        ("disagree", 0.5, "label", "classification", 1, 1),
    ),
    "auto: TorchServe": (
        AUTO,
        _answer({"a": 0.4, "b": 0.3, "c": 0.1, "d": 0.05, "e": 0.01}),
        _answer({"a": 0.4, "c": 0.3, "b": 0.1, "f": 0.05, "e": 0.01}),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "auto: a class and its score": (
        AUTO,
        _answer({"prediction": "a", "probability": 0.9}),
        _answer({"prediction": "a", "probability": 0.8}),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "auto: a class, its number and its score": (
        AUTO,
        _answer({"class": "a", "class_id": 1, "confidence": 0.9}),
        _answer({"class": "b", "class_id": 2, "confidence": 0.8}),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "auto: two classes and a score": (
        AUTO,
        _answer({"label": "a", "category": "x", "score": 0.9}),
        _answer({"label": "a", "category": "y", "score": 0.9}),
        ("disagree", 1 / 3, "fields", "json", 1, 1),
    ),
    "auto: a class, its score and something else": (
        AUTO,
        _answer({"prediction": "a", "probability": 0.9, "limit": 500.0}),
        _answer({"prediction": "a", "probability": 0.9, "limit": 700.0}),
        ("disagree", 1 / 3, "fields", "json", 1, 1),
    ),
    "auto: SageMaker's labels are floats": (
        AUTO,
        _v1({"score": 0.31, "predicted_label": 0.0}),
        _v1({"score": 0.71, "predicted_label": 1.0}),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "auto: a text is no label": (
        AUTO,
        _v1("The capital of France is Paris, a city on the Seine, and has been so for long."),
        _v1("the capital of France is Paris, a city on the Seine and has been so for long"),
        ("agree", 0.0, None, "text", 1, 0),
    ),
    "auto: Triton's text": (
        AUTO,
        _oip(("text_output", "BYTES", [1], ["It is Paris."])),
        _oip(("text_output", "BYTES", [1], ["it is paris"])),
        ("agree", 0.0, None, "text", 1, 0),
    ),
    "auto: Cohere's reranking": (
        AUTO,
        _answer(
            {
                "id": "a",
                "results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
            }
        ),
        _answer(
            {
                "id": "b",
                "results": [{"index": 0, "relevance_score": 0.2}, {"index": 2, "relevance_score": 0.8}],
            }
        ),
        ("agree", 0.0, None, "ranking", 1, 0),
    ),
    "auto: text-embeddings-inference's reranking": (
        AUTO,
        _answer([{"index": 2, "score": 0.9}, {"index": 0, "score": 0.1}]),
        _answer([{"index": 0, "score": 0.9}, {"index": 2, "score": 0.1}]),
        ("disagree", 0.1, "top", "ranking", 1, 1),
    ),
    "auto: Hugging Face's boxes": (
        AUTO,
        _answer([{"score": 0.9, "label": "a", "box": {"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 10}}]),
        _answer([{"score": 0.8, "label": "a", "box": {"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 9}}]),
        ("agree", 0.1, None, "detection", 1, 0),
    ),
    "auto: Roboflow's boxes": (
        AUTO,
        _v1(
            {"x": 5, "y": 5, "width": 10, "height": 10, "class": "a", "confidence": 0.9, "detection_id": "1"}
        ),
        _v1(
            {"x": 50, "y": 5, "width": 10, "height": 10, "class": "a", "confidence": 0.9, "detection_id": "2"}
        ),
        ("disagree", 1.0, "boxes", "detection", 1, 1),
    ),
    "auto: boxes of integers": (
        AUTO,
        _answer({"boxes": [[0, 0, 10, 10]], "labels": [1]}),
        _answer({"boxes": [[0, 0, 10, 9]], "labels": [1]}),
        ("agree", 0.1, None, "detection", 1, 0),
    ),
    "auto: no boxes": (
        AUTO,
        _answer({"boxes": [], "labels": []}),
        _answer({"boxes": [[0, 0, 10, 9]], "labels": [1]}),
        ("disagree", 1.0, "boxes", "detection", 1, 1),
    ),
    "auto: Seldon": (
        AUTO,
        _answer({"data": {"names": ["a", "b"], "ndarray": [[0.9, 0.1]]}, "meta": {"puid": "x"}}),
        _answer({"data": {"names": ["a", "b"], "tensor": {"shape": [1, 2], "values": [0.8, 0.2]}}}),
        ("agree", 0.1, None, "classification", 1, 0),
    ),
    "auto: one word is a label": (
        AUTO,
        _text(b"class_1"),
        _text(b"class_2"),
        ("disagree", 0.265476, "text", "text", 1, 1),
    ),
    "text: one word, as near as one asks for": (
        ComparisonRule(as_="text", tolerance=0.4),
        _text(b"class_1"),
        _text(b"class_2"),
        ("agree", 0.265476, None, "text", 1, 0),
    ),
    "auto: OpenAI's moderation": (
        AUTO,
        _answer(
            {"id": "modr-9f3b2c7d1e0a", "model": "a", "results": [{"flagged": False, "scores": {"x": 0.1}}]}
        ),
        _answer(
            {"id": "modr-0a9f3b2c7d1e", "model": "b", "results": [{"flagged": True, "scores": {"x": 0.1}}]}
        ),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
    "json: the next integer is another one": (
        AS_JSON,
        _answer({"item": 1234567, "items": [1234567, 2]}),
        _answer({"item": 1234568, "items": [1234567, 3]}),
        ("disagree", 2 / 3, "fields", "json", 1, 1),
    ),
    "json: integers within a tolerance that is asked for": (
        ComparisonRule(as_="json", rtol=1e-5),
        _answer({"item": 1234567}),
        _answer({"item": 1234568}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "json: tokens used are not compared": (
        AS_JSON,
        _answer({"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 1}}),
        _answer({"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 2}}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "auto: vectors of length 1 without a name": (
        AUTO,
        _answer([[0.1] * 99 + [-0.1]]),
        _answer([[0.1] * 99 + [0.1]]),
        ("disagree", 0.02, "tolerance", "embedding", 1, 1),
    ),
    "auto: Ollama's embeddings": (
        AUTO,
        _answer({"embeddings": [[0.6, -0.8]], "total_duration": 7}),
        _answer({"embeddings": [[0.8, -0.6]], "total_duration": 8}),
        ("disagree", 0.04, "tolerance", "embedding", 1, 1),
    ),
    "json: flat and nested data are the same": (
        AS_JSON,
        _answer({"outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}]}),
        _oip(("y", "FP32", [2, 2], [1, 2, 3, 4])),
        ("agree", 0.0, None, "json", 2, 0),
    ),
    "json: order of outputs has no meaning": (
        AS_JSON,
        _oip(("a", "FP32", [1], [1]), ("b", "FP32", [1], [2])),
        _oip(("b", "FP32", [1], [2]), ("a", "FP32", [1], [1])),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "json: other datatype": (
        AS_JSON,
        _oip(("y", "FP32", [1], [1])),
        _oip(("y", "FP64", [1], [1])),
        ("disagree", 0.25, "fields", "json", 1, 1),
    ),
    "json: rows of a tensor": (
        AS_JSON,
        _oip(("y", "FP32", [3, 2], [1, 2, 3, 4, 5, 6])),
        _oip(("y", "FP32", [3, 2], [1, 2, 0, 0, 5, 0])),
        ("disagree", 0.5, "fields", "json", 3, 2),
    ),
    "json: rows of objects": (
        AS_JSON,
        _v1({"y": 1}, {"y": 2}),
        _v1({"y": 1}, {"y": 3}),
        ("disagree", 0.5, "fields", "json", 2, 1),
    ),
    "json: columns": (
        AS_JSON,
        _answer({"outputs": {"a": [1, 2, 3], "b": [1, 2, 3]}}),
        _answer({"outputs": {"a": [1, 0, 0], "b": [1, 0, 3]}}),
        ("disagree", 0.5, "fields", "json", 3, 2),
    ),
    "json: fewer rows": (AS_JSON, _v1(1, 2), _v1(1), ("disagree", 1.0, "rows", "json", 2, 2)),
    "json: shadow is text": (AS_JSON, _v1(1), _text(b"oops"), ("disagree", 1.0, "format", "json", 1, 1)),
    "json: shadow is broken": (AS_JSON, _v1(1), _answer(b"{"), ("disagree", 1.0, "format", "json", 1, 1)),
    "json: primary is text": (
        AS_JSON,
        _text(b"oops"),
        _v1(1),
        ("uncomparable", None, "not_json", "json", 0, 0),
    ),
    "json: primary is broken": (
        AS_JSON,
        _answer(b"{"),
        _v1(1),
        ("uncomparable", None, "invalid_json", "json", 0, 0),
    ),
    "json: ignored": (
        ComparisonRule(as_="json", ignore=("/took_ms", "/hits/*/ts")),
        _answer({"took_ms": 3, "hits": [{"ts": 1, "y": 1}]}),
        _answer({"took_ms": 4, "hits": [{"ts": 2, "y": 1}]}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "json: NaN tokens": (
        AS_JSON,
        _answer(b"[NaN, 1]"),
        _answer(b"[NaN, 1.0]"),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    # Classification
    "classes: same label, other probabilities": (
        AUTO,
        _with_proba(2, 0.1, 0.2, 0.7),
        _with_proba(2, 0.1, 0.3, 0.6),
        ("agree", 0.1, None, "classification", 1, 0),
    ),
    "classes: flipped by little": (
        AUTO,
        _with_proba(0, 0.51, 0.49),
        _with_proba(1, 0.49, 0.51),
        ("disagree", 0.02, "label", "classification", 1, 1),
    ),
    "classes: nothing in common": (
        AUTO,
        _with_proba(0, 1.0, 0.0),
        _with_proba(1, 0.0, 1.0),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "classes: probabilities on one side only": (
        AUTO,
        _with_proba(0, 0.9, 0.1),
        _predict(1),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "classes: other number of classes": (
        AUTO,
        _with_proba(0, 0.9, 0.1),
        _with_proba(0, 0.8, 0.1, 0.1),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "classes: maps in another order": (
        CLASSES,
        _v1({"p": {"cat": 0.8, "dog": 0.2}}),
        _v1({"p": {"dog": 0.3, "cat": 0.7}}),
        ("agree", 0.1, None, "classification", 1, 0),
    ),
    "classes: maps of other classes": (
        CLASSES,
        _v1({"p": {"cat": 0.8, "dog": 0.2}}),
        _v1({"p": {"cat": 0.7, "cow": 0.3}}),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "classes: whole floats are labels": (
        AUTO,
        _v1(1, 0),
        _v1(1.0, 0.0),
        ("agree", 0.0, None, "classification", 2, 0),
    ),
    "classes: one envelope or the other": (
        AUTO,
        _predict(1, 0),
        _v1(1, 0),
        ("agree", 0.0, None, "classification", 2, 0),
    ),
    "classes: sigmoid": (CLASSES, _v1([0.6]), _v1([0.4]), ("disagree", 0.2, "label", "classification", 1, 1)),
    "classes: names for numbers": (
        AUTO,
        _v1(1, 0),
        _v1("a", "b"),
        ("disagree", 1.0, "label_type", "classification", 2, 2),
    ),
    "classes: no answer for one row": (
        AUTO,
        _v1("a", "b"),
        _v1("a", None),
        ("disagree", 1.0, "format", "classification", 2, 2),
    ),
    "classes: fewer rows": (AUTO, _v1(1, 0), _v1(1), ("disagree", 1.0, "rows", "classification", 2, 2)),
    "classes: no rows": (
        AUTO,
        _oip(("predict", "INT64", [0], [])),
        _oip(("predict", "INT64", [0], []), model="b"),
        ("agree", 0.0, None, "classification", 0, 0),
    ),
    "classes: several labels per row": (
        CLASSES,
        _v1([0, 1], [1, 1]),
        _v1([0, 1], [1, 0]),
        ("disagree", 0.5, "label", "classification", 2, 1),
    ),
    "classes: primary has none": (
        CLASSES,
        _v1(3.7),
        _v1(1),
        ("uncomparable", None, "no_label", "classification", 0, 0),
    ),
    "classes: primary has none, same bytes": (
        CLASSES,
        _v1(3.7),
        _v1(3.7),
        ("uncomparable", None, "no_label", "classification", 0, 0),
    ),
    "classes: shadow has none": (
        CLASSES,
        _v1(1),
        _v1(3.7),
        ("disagree", 1.0, "format", "classification", 1, 1),
    ),
    "classes: shadow is broken": (
        AUTO,
        _v1(1),
        _answer(b"{"),
        ("disagree", 1.0, "format", "classification", 1, 1),
    ),
    "classes: scores with NaN on both sides": (
        CLASSES,
        _answer(b'{"predictions": [[NaN, 0.5]]}'),
        _answer(b'{"predictions": [[NaN, 0.7]]}'),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "classes: NaN on one side": (
        CLASSES,
        _answer(b'{"predictions": [[0.2, 0.5]]}'),
        _answer(b'{"predictions": [[NaN, 0.5]]}'),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "classes: label by name": (
        ComparisonRule(as_="classification", label="vote"),
        _oip(("predict", "INT64", [1], [0]), ("vote", "INT64", [1], [1])),
        _oip(("predict", "INT64", [1], [2]), ("vote", "INT64", [1], [1])),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "classes: label by pointer": (
        ComparisonRule(as_="classification", label="/items/*/y"),
        _answer({"items": [{"y": "a"}, {"y": "b"}]}),
        _answer({"items": [{"y": "a"}, {"y": "c"}]}),
        ("disagree", 0.5, "label", "classification", 2, 1),
    ),
    # Regression
    "values: within tolerance": (
        AUTO,
        _v1(100.5),
        _v1(100.5001),
        ("agree", 9.95024e-7, None, "regression", 1, 0),
    ),
    "values: outside": (AUTO, _v1(100.5), _v1(50.25), ("disagree", 0.5, "tolerance", "regression", 1, 1)),
    "values: opposite": (AUTO, _v1(1.5), _v1(-1.5), ("disagree", 1.0, "tolerance", "regression", 1, 1)),
    "values: wide tolerance": (
        ComparisonRule(rtol=0.6),
        _v1(100.5),
        _v1(50.25),
        ("agree", 0.5, None, "regression", 1, 0),
    ),
    "values: several per row": (
        VALUES,
        _v1([1.0, 2.0], [3.0, 4.0]),
        _v1([1.0, 1.0], [3.0, 2.0]),
        ("disagree", 0.25, "tolerance", "regression", 2, 2),
    ),
    "values: a null for NaN": (
        VALUES,
        _oip(("y", "FP32", [1], [None])),
        _oip(("y", "FP32", [1], [1.0])),
        ("disagree", 1.0, "tolerance", "regression", 1, 1),
    ),
    "values: more per row": (
        VALUES,
        _v1([1.5, 2.0]),
        _v1([1.5]),
        ("disagree", 1.0, "shape", "regression", 1, 1),
    ),
    "values: fewer rows": (AUTO, _v1(1.5, 2.5), _v1(1.5), ("disagree", 1.0, "rows", "regression", 2, 2)),
    "values: shadow answers text": (
        AUTO,
        _v1(1.5),
        _v1("high"),
        ("disagree", 1.0, "format", "regression", 1, 1),
    ),
    "values: shadow is broken": (
        AUTO,
        _v1(1.5),
        _answer(b"{"),
        ("disagree", 1.0, "format", "regression", 1, 1),
    ),
    "values: primary has none": (
        VALUES,
        _v1("high"),
        _v1(1.5),
        ("uncomparable", None, "no_value", "regression", 0, 0),
    ),
    "values: integers will do": (VALUES, _v1(2), _v1(1), ("disagree", 0.5, "tolerance", "regression", 1, 1)),
    "values: the usual name among others": (
        VALUES,
        _oip(("std", "FP32", [1], [0.1]), ("mean", "FP32", [1], [2.0])),
        _oip(("std", "FP32", [1], [0.9]), ("mean", "FP32", [1], [2.0])),
        ("agree", 0.0, None, "regression", 1, 0),
    ),
    "values: by name": (
        ComparisonRule(as_="regression", label="std"),
        _oip(("std", "FP32", [1], [0.1]), ("mean", "FP32", [1], [2.0])),
        _oip(("std", "FP32", [1], [0.2]), ("mean", "FP32", [1], [2.0])),
        ("disagree", 0.5, "tolerance", "regression", 1, 1),
    ),
    "values: a name that is text": (
        ComparisonRule(as_="regression", label="/y"),
        _answer({"y": "high"}),
        _answer({"y": 1.0}),
        ("uncomparable", None, "no_value", "regression", 0, 0),
    ),
    "values: no rows": (
        VALUES,
        _v1(),
        _answer({"predictions": [], "x": 1}),
        ("agree", 0.0, None, "regression", 0, 0),
    ),
    # What cannot be seen
    "primary truncated": (
        AUTO,
        _answer(b"[1", truncated=True),
        _v1(1),
        ("uncomparable", None, "truncated", "auto", 0, 0),
    ),
    "shadow truncated": (
        AUTO,
        _v1(1),
        _answer(b"[1", truncated=True),
        ("uncomparable", None, "truncated", "auto", 0, 0),
    ),
    "both truncated alike": (
        EXACT,
        _answer(b"x", truncated=True),
        _answer(b"x", truncated=True),
        ("uncomparable", None, "truncated", "exact", 0, 0),
    ),
    "unknown coding alike": (
        EXACT,
        _text(b"x", b"compress"),
        _text(b"x", b"compress"),
        ("uncomparable", None, "unsupported_encoding", "exact", 0, 0),
    ),
    "shadow in an unknown coding": (
        EXACT,
        _text(b"x"),
        _text(b"x", b"compress"),
        ("uncomparable", None, "unsupported_encoding", "exact", 0, 0),
    ),
    "primary unreadable, shadow's gzip broken": (
        AS_JSON,
        _answer(b"{"),
        _text(b"x", b"gzip"),
        ("uncomparable", None, "invalid_json", "json", 0, 0),
    ),
    "labels, shadow's gzip broken": (
        AUTO,
        _v1(1, 0),
        _text(b"x", b"gzip"),
        ("disagree", 1.0, "format", "classification", 2, 2),
    ),
    "json: other number of outputs": (
        AS_JSON,
        _oip(("a", "FP32", [1], [1])),
        _oip(("a", "FP32", [1], [1]), ("b", "FP32", [1], [1])),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
    "shadow's gzip is broken": (
        EXACT,
        _text(b"x"),
        _text(b"x", b"gzip"),
        ("disagree", 1.0, "format", "exact", 1, 1),
    ),
    "a bomb for an answer": (
        EXACT,
        _text(b"x"),
        _text(gzip.compress(bytes(20_000_000)), b"gzip"),
        ("uncomparable", None, "decoded_too_large", "exact", 0, 0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_compare(name: str) -> None:
    """Result, distance, reason, method and rows of one pair."""
    rule, primary, shadow, expected = CASES[name]
    found = compare(rule, primary, shadow)
    result, distance, reason, method, rows, disagreeing = expected
    assert (result, reason, method, rows, disagreeing) == (
        found.result,
        found.reason,
        found.method,
        found.rows,
        found.rows_disagreeing,
    )
    assert found.distance == (None if distance is None else pytest.approx(distance, rel=1e-5))
    assert (result == "disagree") is bool(found.differences)


PATHS: dict[str, tuple[ComparisonRule, Answer, Answer, list[tuple[str, str, str]]]] = {
    "status": (AUTO, _v1(1), _answer({}, status=503), [("", "status 200", "status 503")]),
    "label": (AUTO, _predict(0, 1), _predict(0, 2), [("/predict/1", "1", "2")]),
    "label by pointer": (
        ComparisonRule(as_="classification", label="/y"),
        _answer({"y": "a"}),
        _answer({"y": "b"}),
        [("/y/0", '"a"', '"b"')],
    ),
    "several labels": (CLASSES, _v1([0, 1]), _v1([0, 0]), [("/predictions/0", "[0, 1]", "[0, 0]")]),
    "value": (AUTO, _v1(1.5, 2.5), _v1(1.5, 3.5), [("/predictions/1", "2.5", "3.5")]),
    "one of several values": (VALUES, _v1([1.5, 2.5]), _v1([1.5, 3.5]), [("/predictions/0/1", "2.5", "3.5")]),
    "field of a tensor": (
        AS_JSON,
        _oip(("a", "FP32", [1], [1.5]), ("b", "FP32", [2], [1.5, 2.5])),
        _oip(("b", "FP32", [2], [1.5, 3.5]), ("a", "FP32", [1], [1.5])),
        [("/outputs/1/data/1", "2.5", "3.5")],
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_where_answers_part(name: str) -> None:
    """A difference names its place in the primary and both values."""
    rule, primary, shadow, expected = PATHS[name]
    assert expected == [(d.path, d.primary, d.shadow) for d in compare(rule, primary, shadow).differences]


@pytest.mark.parametrize("rule", [AUTO, VALUES, AS_JSON], ids=lambda rule: rule.as_)
def test_differences_are_bounded(rule: ComparisonRule) -> None:
    """A large batch that differs everywhere keeps sixteen differences and counts every row."""
    for first, second in ((1.5, 2.5), (1, 2)):
        found = compare(rule, _v1(*[first] * 300), _v1(*[second] * 300))
        assert (len(found.differences), found.rows, found.rows_disagreeing) == (16, 300, 300)


def test_binary_and_json_tensors_are_one_answer() -> None:
    """Triton's binary form is compared with the JSON form by value."""
    head = orjson.dumps(
        {
            "model_name": "m",
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
            ],
        }
    )
    body = head + struct.pack("<2f", 0.5, 2.5)
    binary = Answer(200, b"application/octet-stream", None, body, inference_header_length=len(head))
    plain = _oip(("y", "FP32", [2], [0.5, 2.5]))
    for rule in (AUTO, AS_JSON):
        assert compare(rule, binary, plain).result == "agree"
        assert compare(rule, plain, binary).result == "agree"


def test_the_cap_is_the_callers() -> None:
    """A smaller cap refuses what the default would read."""
    answer = _text(gzip.compress(b"x" * 2_000), b"gzip")
    assert compare(EXACT, answer, answer).result == "agree"
    assert compare(EXACT, answer, answer, cap_bytes=1_000).reason == "decoded_too_large"


def test_deep_nesting_is_judged() -> None:
    """As deep as the parser goes: no recursion anywhere behind it."""
    deep = b"[" * 1_000 + b"1" + b"]" * 1_000
    other = b"[" * 1_000 + b"2" + b"]" * 1_000
    for rule in (AUTO, AS_JSON, CLASSES, VALUES):
        assert compare(rule, _answer(deep), _answer(b" " + deep)).result in ("agree", "uncomparable")
        assert compare(rule, _answer(deep), _answer(other)).result in ("disagree", "uncomparable")


def test_nothing_is_compared_by_the_method_none() -> None:
    """With ``none`` equal answers do not agree, nor do different ones disagree: nobody looked."""
    one, other = _v1(1), _v1(2)
    for pair in ((one, one), (one, other)):
        found = compare(ComparisonRule(as_="none"), *pair)
        assert (found.result, found.reason, found.distance) == ("uncomparable", "not_wanted", None)
