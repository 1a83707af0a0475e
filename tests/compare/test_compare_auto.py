"""What ``auto`` picks for an answer, and what it says of a pair."""

from typing import Any

import pytest

from proxy.compare import Answer, ComparisonRule
from tests.compare.answers import bare, json_answer, oip, v1
from tests.compare.pairs import Pair, judge

UUID = "9f1c6b9e-3f5e-4a8b-8f55-0d3b1f1f6d2a"
AUTO = ComparisonRule()


def _predict(*labels: Any, model: str = "wine-v1") -> Answer:
    return oip(("predict", "INT64", [len(labels), 1], list(labels)), model_name=model)


CASES: dict[str, Pair] = {
    "same labels, other model": (
        AUTO,
        _predict(0, 2),
        _predict(0, 2, model="wine-v4"),
        ("agree", 0.0, None, "classification", 2, 0),
    ),
    "one of four flipped": (
        AUTO,
        _predict(0, 1, 2, 0),
        _predict(0, 1, 1, 0),
        ("disagree", 0.25, "label", "classification", 4, 1),
    ),
    "text labels": (AUTO, v1("cat"), v1("dog"), ("disagree", 1.0, "label", "classification", 1, 1)),
    "probabilities": (
        AUTO,
        v1([0.1, 0.9], [0.6, 0.4]),
        v1([0.3, 0.7], [0.6, 0.4]),
        ("agree", 0.1, None, "classification", 2, 0),
    ),
    "probabilities that are written as integers": (
        AUTO,
        v1([0.0, 1.0], [1.0, 0.0]),
        v1([0, 1], [0, 1]),
        ("disagree", 0.5, "label", "classification", 2, 1),
    ),
    "the same beside a threshold": (
        ComparisonRule(threshold=0.5),
        v1([0.0, 1.0], [1.0, 0.0]),
        v1([0, 1], [0, 1]),
        ("disagree", 0.5, "label", "probabilities", 2, 1),
    ),
    "a class and how sure it is": (
        AUTO,
        json_answer({"class": 0, "confidence": 0.9995}),
        json_answer({"class": 0, "confidence": 0.75}),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "another class, as sure": (
        AUTO,
        json_answer({"class": 0, "confidence": 0.9995}),
        json_answer({"class": 1, "confidence": 0.9995}),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "one float per row": (
        AUTO,
        v1(2.0, 4.5),
        v1(1.0, 4.5),
        ("disagree", 0.25, "tolerance", "regression", 2, 1),
    ),
    "a column of floats": (AUTO, v1([2.5]), v1([2.5]), ("agree", 0.0, None, "regression", 1, 0)),
    "embeddings": (AUTO, v1([3.0, 4.0]), v1([3.0, 4.5]), ("disagree", 0.5, "fields", "json", 1, 1)),
    "mean and deviation": (
        AUTO,
        oip(("mean", "FP32", [1], [1.5]), ("std", "FP32", [1], [0.5])),
        oip(("mean", "FP32", [1], [1.5]), ("std", "FP32", [1], [0.9])),
        ("disagree", 0.5, "tolerance", "tensor", 1, 1),
    ),
    "plain JSON": (
        AUTO,
        json_answer({"a": 1, "b": 2}),
        json_answer({"a": 1, "b": 3}),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
    "text": (AUTO, bare(b"hello"), bare(b"Hello!"), ("agree", 0.0, None, "text", 1, 0)),
    "other text": (AUTO, bare(b"hello"), bare(b"wurst"), ("disagree", 1.0, "text", "text", 1, 1)),
    "two empty answers": (
        AUTO,
        json_answer(b""),
        json_answer(b""),
        ("agree", 0.0, None, "exact", 1, 0),
    ),
    "the label names a value": (
        ComparisonRule(label="std"),
        oip(("predict", "INT64", [1], [0]), ("std", "FP32", [1], [0.5])),
        oip(("predict", "INT64", [1], [1]), ("std", "FP32", [1], [0.5])),
        ("agree", 0.0, None, "regression", 1, 0),
    ),
    "the label names a class": (
        ComparisonRule(label="/y"),
        json_answer({"y": "a", "score": 0.5}),
        json_answer({"y": "a", "score": 0.7}),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "the label names nothing": (
        ComparisonRule(label="/z"),
        json_answer({"y": "a"}),
        json_answer({"y": "a"}),
        ("uncomparable", None, "no_label", "classification", 0, 0),
    ),
    "what is of the call alone is not compared": (
        AUTO,
        json_answer({"id": UUID, "timestamp": "2026-01-01T00:00:00Z", "latency_ms": 3.1, "y": {"a": 0.5}}),
        json_answer(
            {
                "id": UUID.replace("9", "a"),
                "timestamp": "2026-01-02T00:00:00Z",
                "latency_ms": 9.9,
                "y": {"a": 0.5},
            }
        ),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "what may be the answer is compared": (
        AUTO,
        json_answer({"id": "B00X", "y": {"a": 0.5}}),
        json_answer({"id": "B00Y", "y": {"a": 0.5}}),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
    "an envelope that lies about its shape": (
        AUTO,
        json_answer(
            {"id": UUID, "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1, 2]}]}
        ),
        json_answer(
            {
                "id": UUID.replace("9", "a"),
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1, 2]}],
            }
        ),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "Vertex AI": (
        AUTO,
        json_answer({"predictions": [{"value": 2.5, "low": 1.5}], "deployedModelId": "1", "model": "a"}),
        json_answer({"predictions": [{"value": 2.5, "low": 1.5}], "deployedModelId": "2", "model": "b"}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "Hugging Face's classes, all of each text": (
        AUTO,
        json_answer([[{"label": "a", "score": 0.6}, {"label": "b", "score": 0.4}]] * 2),
        json_answer([[{"label": "b", "score": 0.5}, {"label": "a", "score": 0.5}]] * 2),
        ("disagree", 0.1, "label", "classification", 2, 2),
    ),
    "Hugging Face's classes, the best of each text": (
        AUTO,
        json_answer([{"label": "a", "score": 0.9}, {"label": "b", "score": 0.8}]),
        json_answer([{"label": "a", "score": 0.7}, {"label": "a", "score": 0.6}]),
        ("disagree", 0.5, "label", "classification", 2, 1),
    ),
    "Hugging Face's classes, all of one image": (
        AUTO,
        json_answer([{"label": "a", "score": 0.6}, {"label": "b", "score": 0.3}]),
        json_answer([{"label": "a", "score": 0.5}, {"label": "c", "score": 0.3}]),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "zero-shot": (
        AUTO,
        json_answer({"sequence": "x", "labels": ["a", "b"], "scores": [0.9, 0.1]}),
        json_answer({"sequence": "x", "labels": ["b", "a"], "scores": [0.6, 0.4]}),
        ("disagree", 0.5, "label", "classification", 1, 1),
    ),
    "TorchServe": (
        AUTO,
        json_answer({"a": 0.4, "b": 0.3, "c": 0.1, "d": 0.05, "e": 0.01}),
        json_answer({"a": 0.4, "c": 0.3, "b": 0.1, "f": 0.05, "e": 0.01}),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "a class and its score": (
        AUTO,
        json_answer({"prediction": "a", "probability": 0.9}),
        json_answer({"prediction": "a", "probability": 0.8}),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "a class, its number and its score": (
        AUTO,
        json_answer({"class": "a", "class_id": 1, "confidence": 0.9}),
        json_answer({"class": "b", "class_id": 2, "confidence": 0.8}),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "two classes and a score": (
        AUTO,
        json_answer({"label": "a", "category": "x", "score": 0.9}),
        json_answer({"label": "a", "category": "y", "score": 0.9}),
        ("disagree", 1 / 3, "fields", "json", 1, 1),
    ),
    "a class, its score and something else": (
        AUTO,
        json_answer({"prediction": "a", "probability": 0.9, "limit": 500.0}),
        json_answer({"prediction": "a", "probability": 0.9, "limit": 700.0}),
        ("disagree", 1 / 3, "fields", "json", 1, 1),
    ),
    "SageMaker's labels are floats": (
        AUTO,
        v1({"score": 0.31, "predicted_label": 0.0}),
        v1({"score": 0.71, "predicted_label": 1.0}),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "a text is no label": (
        AUTO,
        v1("The capital of France is Paris, a city on the Seine, and has been so for long."),
        v1("the capital of France is Paris, a city on the Seine and has been so for long"),
        ("agree", 0.0, None, "text", 1, 0),
    ),
    "Triton's text": (
        AUTO,
        oip(("text_output", "BYTES", [1], ["It is Paris."])),
        oip(("text_output", "BYTES", [1], ["it is paris"])),
        ("agree", 0.0, None, "text", 1, 0),
    ),
    "Cohere's reranking": (
        AUTO,
        json_answer(
            {
                "id": "a",
                "results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
            }
        ),
        json_answer(
            {
                "id": "b",
                "results": [{"index": 0, "relevance_score": 0.2}, {"index": 2, "relevance_score": 0.8}],
            }
        ),
        ("agree", 0.0, None, "ranking", 1, 0),
    ),
    "text-embeddings-inference's reranking": (
        AUTO,
        json_answer([{"index": 2, "score": 0.9}, {"index": 0, "score": 0.1}]),
        json_answer([{"index": 0, "score": 0.9}, {"index": 2, "score": 0.1}]),
        ("disagree", 0.1, "top", "ranking", 1, 1),
    ),
    "Hugging Face's boxes": (
        AUTO,
        json_answer([{"score": 0.9, "label": "a", "box": {"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 10}}]),
        json_answer([{"score": 0.8, "label": "a", "box": {"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 9}}]),
        ("agree", 0.1, None, "detection", 1, 0),
    ),
    "Roboflow's boxes": (
        AUTO,
        v1({"x": 5, "y": 5, "width": 10, "height": 10, "class": "a", "confidence": 0.9, "detection_id": "1"}),
        v1(
            {"x": 50, "y": 5, "width": 10, "height": 10, "class": "a", "confidence": 0.9, "detection_id": "2"}
        ),
        ("disagree", 1.0, "boxes", "detection", 1, 1),
    ),
    "boxes of integers": (
        AUTO,
        json_answer({"boxes": [[0, 0, 10, 10]], "labels": [1]}),
        json_answer({"boxes": [[0, 0, 10, 9]], "labels": [1]}),
        ("agree", 0.1, None, "detection", 1, 0),
    ),
    "no boxes": (
        AUTO,
        json_answer({"boxes": [], "labels": []}),
        json_answer({"boxes": [[0, 0, 10, 9]], "labels": [1]}),
        ("disagree", 1.0, "boxes", "detection", 1, 1),
    ),
    "Seldon": (
        AUTO,
        json_answer({"data": {"names": ["a", "b"], "ndarray": [[0.9, 0.1]]}, "meta": {"puid": "x"}}),
        json_answer({"data": {"names": ["a", "b"], "tensor": {"shape": [1, 2], "values": [0.8, 0.2]}}}),
        ("agree", 0.1, None, "classification", 1, 0),
    ),
    "one word is a label": (
        AUTO,
        bare(b"class_1"),
        bare(b"class_2"),
        ("disagree", 0.265476, "text", "text", 1, 1),
    ),
    "as text: one word, as near as one asks for": (
        ComparisonRule(as_="text", tolerance=0.4),
        bare(b"class_1"),
        bare(b"class_2"),
        ("agree", 0.265476, None, "text", 1, 0),
    ),
    "OpenAI's moderation": (
        AUTO,
        json_answer(
            {"id": "modr-9f3b2c7d1e0a", "model": "a", "results": [{"flagged": False, "scores": {"x": 0.1}}]}
        ),
        json_answer(
            {"id": "modr-0a9f3b2c7d1e", "model": "b", "results": [{"flagged": True, "scores": {"x": 0.1}}]}
        ),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
    "vectors of length 1 without a name": (
        AUTO,
        json_answer([[0.1] * 99 + [-0.1]]),
        json_answer([[0.1] * 99 + [0.1]]),
        ("disagree", 0.02, "tolerance", "embedding", 1, 1),
    ),
    "Ollama's embeddings": (
        AUTO,
        json_answer({"embeddings": [[0.6, -0.8]], "total_duration": 7}),
        json_answer({"embeddings": [[0.8, -0.6]], "total_duration": 8}),
        ("disagree", 0.04, "tolerance", "embedding", 1, 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs(name: str) -> None:
    """Result, distance, reason, method and rows of one pair."""
    judge(CASES[name])
