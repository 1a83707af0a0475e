"""Two models of the same data disagree exactly as often as numpy counts it, in whatever form they answer.

The data sets are scikit-learn's, the models trained here; what is expected is computed with numpy from their
predictions, by formulas that share no code with the comparison.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import orjson
import pytest
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier

from proxy.compare import Answer, Comparison, ComparisonRule, compare
from tests.compare.answers import json_answer, oip, v1

pytestmark = pytest.mark.slow

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Write = Callable[[Array, Array], Answer]

BATCH = 16


class Predictions(NamedTuple):
    """What one model says of the held-out half of the data."""

    labels: Array
    chances: Array


LOADERS = {"wine": load_wine, "digits": load_digits, "breast_cancer": load_breast_cancer, "iris": load_iris}


@cache
def classified(name: str) -> tuple[Predictions, Predictions]:
    """Return the predictions of a tree of depth 2 and of naive Bayes."""
    data, target = LOADERS[name](return_X_y=True)
    models: list[ClassifierMixin] = [DecisionTreeClassifier(max_depth=2, random_state=0), GaussianNB()]
    found = []
    for model in models:
        model.fit(data[::2], target[::2])
        chances = model.predict_proba(data[1::2])
        found.append(Predictions(np.argmax(chances, axis=1), chances))
    return found[0], found[1]


def v2_labels(labels: Array, _: Array) -> Answer:
    return oip(("predict", "INT64", [len(labels), 1], labels.tolist()))


def v2_both(labels: Array, chances: Array) -> Answer:
    return oip(
        ("predict", "INT64", [len(labels), 1], labels.tolist()),
        ("predict_proba", "FP64", list(chances.shape), chances.ravel().tolist()),
    )


def v2_binary(labels: Array, chances: Array) -> Answer:
    shapes = {
        "datatype": "FP64",
        "shape": list(chances.shape),
        "parameters": {"binary_data_size": chances.size * 8},
    }
    head = orjson.dumps({"outputs": [{"name": "predict_proba", **shapes}]})
    body = head + chances.astype("<f8").tobytes()
    return Answer(200, b"application/octet-stream", None, body, inference_header_length=len(head))


def v1_labels(labels: Array, _: Array) -> Answer:
    return v1(*labels.tolist())


def v1_chances(_: Array, chances: Array) -> Answer:
    return v1(*chances.tolist())


def names(labels: Array, _: Array) -> Answer:
    return v1(*[f"class {label}" for label in labels])


def csv(labels: Array, _: Array) -> Answer:
    return Answer(200, b"text/csv", None, b"".join(b"%d\n" % label for label in labels))


def deep(labels: Array, _: Array) -> Answer:
    return json_answer({"result": {"items": [{"class": int(label)} for label in labels], "ms": 3}})


def v2_numbers(values: Array, _: Array) -> Answer:
    return oip(("y", "FP64", [len(values)], values.tolist()))


WRITERS: dict[str, tuple[Write, ComparisonRule]] = {
    "labels by V2": (v2_labels, ComparisonRule()),
    "labels and probabilities by V2": (v2_both, ComparisonRule()),
    "probabilities by V2, binary": (v2_binary, ComparisonRule()),
    "labels by V1": (v1_labels, ComparisonRule()),
    "probabilities by V1": (v1_chances, ComparisonRule()),
    "names by V1": (names, ComparisonRule()),
    "CSV": (csv, ComparisonRule("classification")),
    "deep in JSON": (deep, ComparisonRule("classification", at="/result/items/*/class")),
}


def batches(one: Predictions, other: Predictions, write: Write, rule: ComparisonRule) -> list[Comparison]:
    """Compare two models' answers, batch by batch."""
    found = []
    for at in range(0, len(one.labels), BATCH):
        part = slice(at, at + BATCH)
        primary, shadow = (write(each.labels[part], each.chances[part]) for each in (one, other))
        found.append(compare(rule, primary, shadow))
    return found


@pytest.mark.parametrize("how", WRITERS)
@pytest.mark.parametrize("name", LOADERS)
def test_labels(name: str, how: str) -> None:
    """Rows, disagreeing rows, disagreeing answers and the confusion matrix are numpy's."""
    one, other = classified(name)
    write, rule = WRITERS[how]
    found = batches(one, other, write, rule)
    differs = one.labels != other.labels
    assert {each.method for each in found} == {"classification"}
    assert sum(each.rows for each in found) == len(differs)
    assert sum(each.rows_disagreeing for each in found) == np.count_nonzero(differs) > 0
    wrong = [bool(differs[at : at + BATCH].any()) for at in range(0, len(differs), BATCH)]
    assert [each.result == "disagree" for each in found] == wrong
    matrix = np.zeros((one.chances.shape[1],) * 2, int)
    for comparison in found:
        for a, b, rows in comparison.confusion:
            matrix[int(a.removeprefix("class ")), int(b.removeprefix("class "))] += rows
    expected = np.zeros_like(matrix)
    np.add.at(expected, (one.labels, other.labels), 1)
    assert (matrix == expected).all()


@pytest.mark.parametrize("threshold", [None, 0.3, 0.8])
@pytest.mark.parametrize("name", LOADERS)
def test_probabilities(name: str, threshold: float | None) -> None:
    """Every row that numpy finds to differ, by class, threshold or total variation, and no other."""
    one, other = classified(name)
    rule = ComparisonRule("probabilities", threshold=threshold)
    found = [
        compare(rule, v1(p), v1(q)) for p, q in zip(one.chances.tolist(), other.chances.tolist(), strict=True)
    ]
    variation = np.abs(one.chances - other.chances).sum(axis=1) / 2
    differs = (one.labels != other.labels) | (variation > 0.05)
    if threshold is not None:
        decisive = slice(1, 2) if one.chances.shape[1] == 2 else slice(None)
        sides = [each.chances[:, decisive] >= threshold for each in (one, other)]
        differs |= (sides[0] != sides[1]).any(axis=1)
    assert [each.result == "disagree" for each in found] == differs.tolist()
    assert [each.distance for each in found] == pytest.approx(np.minimum(variation, 1).tolist(), abs=1e-12)


@cache
def regressed() -> tuple[Array, Array, Array]:
    """Return what three models say of diabetes: a line, a forest, and the nearest neighbours."""
    data, target = load_diabetes(return_X_y=True)
    line = LinearRegression().fit(data[::2], target[::2])
    forest = RandomForestRegressor(20, random_state=0).fit(data[::2], target[::2])
    neighbours = KNeighborsRegressor().fit(data[::2], target[::2])
    return line.predict(data[1::2]), forest.predict(data[1::2]), neighbours.predict(data[1::2])


TOLERANCES = [
    (None, None, None),
    (0.1, None, None),
    (0.0, 10.0, None),
    (None, None, 80.0),
    (0.2, 0.0, 80.0),
]


@pytest.mark.parametrize(("rtol", "atol", "scale"), TOLERANCES)
@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (1, 2)])
def test_numbers(pair: tuple[int, int], rtol: float | None, atol: float | None, scale: float | None) -> None:
    """The rows out of tolerance and the distances are numpy's."""
    one, other = (regressed()[at] for at in pair)
    rule = ComparisonRule("regression", rtol=rtol, atol=atol, scale=scale)
    found = batches(Predictions(one, one), Predictions(other, other), v2_numbers, rule)
    gap = np.abs(one - other)
    larger = np.maximum(np.abs(one), np.abs(other))
    least = atol if atol is not None else 1e-8 if scale is None else 1e-6 * scale
    differs = gap > least + (1e-3 if rtol is None else rtol) * larger
    assert sum(each.rows_disagreeing for each in found) == np.count_nonzero(differs)
    assert sum(each.rows for each in found) == len(one)
    each_distance = (
        np.where(gap <= least, 0.0, gap / larger) if scale is None else np.minimum(gap / scale, 1.0)
    )
    for at, comparison in enumerate(found):
        part = slice(at * BATCH, (at + 1) * BATCH)
        assert comparison.rows_disagreeing == np.count_nonzero(differs[part])
        assert comparison.distance == pytest.approx(float(each_distance[part].mean()), rel=1e-12)
        assert dict(comparison.scores)["max_abs"] == gap[part].max()


def test_tensors() -> None:
    """Probabilities as FP32 tensors: values out of tolerance, rows, cosine and largest difference are numpy's."""
    data, target = load_digits(return_X_y=True)
    forests = [RandomForestClassifier(15, random_state=seed).fit(data[::2], target[::2]) for seed in (0, 1)]
    one, other = (forest.predict_proba(data[1::2]).astype(np.float32).astype(float) for forest in forests)
    primary, shadow = (oip(("p", "FP32", list(each.shape), each.ravel().tolist())) for each in (one, other))
    found = compare(ComparisonRule("tensor"), primary, shadow)
    outside = ~(np.isclose(one, other, 1e-4, 1e-4) | np.isclose(other, one, 1e-4, 1e-4))
    assert found.distance == outside.mean()
    assert (found.rows, found.rows_disagreeing) == (len(one), int(np.count_nonzero(outside.any(axis=1))))
    cosine = (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())
    assert dict(found.scores) == pytest.approx({"max_abs": np.abs(one - other).max(), "cosine": cosine})


def test_rankings() -> None:
    """The order of the classes by probability: tops and overlaps are numpy's."""
    one, other = (np.argsort(-each.chances, axis=1, kind="stable") for each in classified("digits"))
    found = compare(ComparisonRule("ranking", k=3), v1(*one.tolist()), v1(*other.tolist()))
    tops = one[:, 0] != other[:, 0]
    shared = np.array([np.intersect1d(a[:3], b[:3]).size for a, b in zip(one, other, strict=True)])
    assert found.rows_disagreeing == np.count_nonzero(tops | (shared < 3))
    assert dict(found.scores)["overlap_at_k"] == pytest.approx(shared.mean() / 3)
