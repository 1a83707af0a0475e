"""Microseconds of a processor per comparison, for the pairs the observer sees most and for each method.

Run from the project's folder: ``python -m benchmarks.micro_compare``.
"""

import gzip
import platform
import sys
import timeit
from time import process_time

import orjson

from proxy.compare import Answer, ComparisonRule, compare

__all__ = ["main"]


def _oip(*outputs: tuple[str, str, list[int], list[float]], model: str = "wine-v1") -> bytes:
    named = [{"name": n, "datatype": d, "shape": s, "data": v} for n, d, s, v in outputs]
    return orjson.dumps({"model_name": model, "model_version": "1", "id": "4f2c", "outputs": named})


def _answer(body: bytes, encoding: bytes | None = None) -> Answer:
    return Answer(200, b"application/json", encoding, body)


def _pairs() -> dict[str, tuple[ComparisonRule, Answer, Answer]]:
    auto = ComparisonRule()
    label = _answer(_oip(("predict", "INT64", [1, 1], [2])))
    other = _answer(_oip(("predict", "INT64", [1, 1], [0]), model="wine-v4"))
    proba = ("predict_proba", "FP64", [1, 3])
    both = _answer(_oip(("predict", "INT64", [1, 1], [2]), (*proba, [0.1, 0.2, 0.7])))
    both_other = _answer(_oip(("predict", "INT64", [1, 1], [2]), (*proba, [0.1, 0.3, 0.6]), model="wine-v4"))
    values = [index / 7 for index in range(10_000)]
    big = _answer(_oip(("mean", "FP64", [10_000], values)))
    near = _answer(_oip(("mean", "FP64", [10_000], [value + 1e-9 for value in values])))
    price = _answer(_oip(("y", "FP32", [1], [0.5])))
    price_other = _answer(_oip(("y", "FP32", [1], [0.6])))
    batch = _answer(orjson.dumps({"predictions": [[0.1, 0.2, 0.7]] * 100}))
    batch_other = _answer(orjson.dumps({"predictions": [[0.1, 0.3, 0.6]] * 100}))
    zipped = _answer(gzip.compress(both.body), b"gzip")
    zipped_other = _answer(gzip.compress(both_other.body), b"gzip")
    chat = _answer(
        orjson.dumps({"rows": [{"id": n, "score": n / 3, "tags": ["a", "b"]} for n in range(100)]})
    )
    chat_other = _answer(
        orjson.dumps({"rows": [{"id": n, "score": n / 3.1, "tags": ["a"]} for n in range(100)]})
    )
    small = _answer(b'{"a": 0.5, "b": "x", "c": 3}')
    small_other = _answer(b'{"a": 0.5, "c": 3, "b": "x"}')
    called = _answer(
        b'{"id": "9f1c6b9e-3f5e-4a8b-8f55-0d3b1f1f6d2a", "y": 0.53, "latency_ms": 3.2, "items": [1, 2]}'
    )
    called_other = _answer(
        b'{"id": "0d3b1f1f-3f5e-4a8b-8f55-9f1c6b9e6d2a", "y": 0.54, "latency_ms": 4.2, "items": [1, 2]}'
    )
    ignoring = ComparisonRule(as_="json", ignore=("/rows/*/score", "/**/tags"))
    return {
        "OIP label, same bytes": (auto, label, label),
        "OIP label, agree": (auto, label, _answer(_oip(("predict", "INT64", [1, 1], [2]), model="wine-v4"))),
        "OIP label, disagree": (auto, label, other),
        "OIP label + 3 probabilities": (auto, both, both_other),
        "the same, gzip": (auto, zipped, zipped_other),
        "OIP regression, 1 row": (auto, price, price_other),
        "OIP regression, 10,000 rows": (auto, big, near),
        "V1 100 x 3 probabilities": (auto, batch, batch_other),
        "JSON of 3 members, auto": (auto, small, small_other),
        "JSON with an id, a time and a list, auto": (auto, called, called_other),
        "JSON, 400 leaves, 200 differ": (ComparisonRule(as_="json"), chat, chat_other),
        "JSON, the same, 2 ignored": (ignoring, chat, chat_other),
        **_more_pairs(),
    }


def _more_pairs() -> dict[str, tuple[ComparisonRule, Answer, Answer]]:
    """Return a pair for each of the methods that ``auto`` does not pick for the ones above."""
    probabilities = ComparisonRule("probabilities", threshold=0.5)
    batch = _answer(orjson.dumps({"predictions": [[0.1, 0.2, 0.7]] * 100}))
    batch_other = _answer(orjson.dumps({"predictions": [[0.1, 0.3, 0.6]] * 100}))
    logits = [index / 7 for index in range(10_000)]
    tensor = _answer(_oip(("logits", "FP32", [100, 100], logits)))
    tensor_other = _answer(_oip(("logits", "FP32", [100, 100], [*logits[:-1], 0.0])))
    hits = [{"id": f"doc-{n}", "score": 1 / (n + 1)} for n in range(100)]
    found = _answer(orjson.dumps({"hits": hits}))
    found_other = _answer(orjson.dumps({"hits": [*hits[:5], *reversed(hits[5:])]}))
    boxes = [[7 * n % 500, 11 * n % 500, 7 * n % 500 + 40, 11 * n % 500 + 40] for n in range(300)]
    seen = {"boxes": boxes, "labels": [n % 7 for n in range(300)]}
    seen_other = {**seen, "boxes": [[x + 2, y, right + 2, bottom] for x, y, right, bottom in boxes]}
    vector = [((n * 37) % 101 - 50) / 50 for n in range(1536)]
    vector_other = [value + 0.001 * (n % 3) for n, value in enumerate(vector)]
    return {
        "100 x 3 probabilities, threshold": (probabilities, batch, batch_other),
        "tensor, 100 x 100 FP32": (ComparisonRule("tensor"), tensor, tensor_other),
        "ranking of 100": (ComparisonRule("ranking", at="/hits/*/id"), found, found_other),
        "300 boxes": (
            ComparisonRule("detection"),
            _answer(orjson.dumps(seen)),
            _answer(orjson.dumps(seen_other)),
        ),
        "embedding, 1536 wide": (ComparisonRule(), _embedding(vector), _embedding(vector_other)),
        "chat, 60 characters": (ComparisonRule(), _chat(60), _chat(60, "city")),
        "chat, 1,000 characters": (ComparisonRule(), _chat(1000), _chat(1000, "city")),
        "chat, 8,192 characters": (ComparisonRule(), _chat(8192), _chat(8192, "city")),
        "chat, 200,000 characters": (ComparisonRule(), _chat(200_000), _chat(200_000, "city")),
    }


def _embedding(vector: list[float]) -> Answer:
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    return _answer(orjson.dumps({"object": "list", "model": "e", "data": data}))


def _chat(characters: int, word: str = "town") -> Answer:
    """Return a chat completion of so many characters."""
    text = "".join(
        f"Sentence {n} says that the {word if n % 3 else 'place'} of {n * n} people is old. "
        for n in range(characters // 50 + 1)
    )[:characters]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return _answer(orjson.dumps({"object": "chat.completion", "model": "m", "choices": [choice]}))


def main() -> None:
    """Print the median of seven rounds for each pair."""
    print(f"{platform.machine()} python {sys.version.split()[0]} orjson {orjson.__version__}")
    for name, (rule, primary, shadow) in _pairs().items():
        timer = timeit.Timer(
            lambda r=rule, p=primary, s=shadow: compare(r, p, s),  # type: ignore[misc]
            timer=process_time,
        )
        number, _ = timer.autorange()
        number = max(1, number // 5)
        micros = sorted(seconds / number * 1e6 for seconds in timer.repeat(7, number))[3]
        found = compare(rule, primary, shadow)
        print(f"{micros:10.1f} µs  {name:32} {found.method}: {found.result}, distance {found.distance}")


if __name__ == "__main__":
    main()
