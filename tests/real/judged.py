"""What the proxy says of a model and its shadow, held against what their answers say by themselves.

What is expected comes from what unmodified clients made of the answers of both servers, asked directly, by formulas
that share no code with the comparison.
"""

import http.client
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import orjson
import pytest

from tests.real.processes import eventually, proxy

__all__ = [
    "Array",
    "Judging",
    "Pair",
    "hold",
    "judging",
    "of_chances",
    "of_numbers",
    "of_rankings",
    "of_rows",
    "of_texts",
    "of_vectors",
]

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Ask: TypeAlias = Callable[[str, int], Any]
"""Ask the server at a URL the question of that number; return what the client program made of the answer."""

_CONFIG = """
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
models:
  one: {{url: "http://127.0.0.1:{champion}"}}
  other: {{url: "http://127.0.0.1:{shadow}"}}
routes:
  - name: judged
    match: {{path: "*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: other}}]
    log: {{percent: 100}}
"""


class Pair(NamedTuple):
    """What is expected of two answers to one question."""

    differs: list[bool]
    """Of each row."""
    distance: float
    """Of the pair, as the README defines it for the method."""


@dataclass
class Judging:
    """A proxy before two servers, that compares all they say by ``auto``."""

    champion: int
    shadow: int
    listen: int
    admin: int
    directory: Path
    asked: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def judge(self, ask: Ask, questions: int) -> tuple[list[tuple[Any, Any]], list[dict[str, Any]]]:
        """Ask everything directly and through the proxy; return both servers' answers and what was said of them."""
        answers = []
        for number in range(questions):
            one, other = (ask(f"http://127.0.0.1:{port}", number) for port in (self.champion, self.shadow))
            assert ask(f"http://127.0.0.1:{self.listen}", number) == one, "the client saw something else"
            answers.append((one, other))
        self.asked += questions
        records = eventually(lambda: self._records(), f"{self.asked} records", 60)
        said = [record["shadows"][0]["comparison"] for record in records[-questions:]]
        self._hold_counts(said)
        return answers, said

    def _records(self) -> list[dict[str, Any]]:
        lines = [
            line
            for file in (self.directory / "state" / "payloads").glob("*.jsonl")
            for line in file.read_bytes().splitlines(keepends=True)
        ]
        found = [orjson.loads(line) for line in lines if line.endswith(b"\n")]
        assert len(found) <= self.asked
        return sorted(found, key=lambda each: each["ts"]) if len(found) == self.asked else []

    def _hold_counts(self, said: Sequence[dict[str, Any]]) -> None:
        """Require that what the admin address counts went up by what the records say."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=30)
        connection.request("GET", "/api/v1/disagreements?route=judged")
        (shadow,) = orjson.loads(connection.getresponse().read())["routes"][0]["shadows"]
        connection.close()
        now = {
            name: shadow[name] for name in ("agree", "disagree", "uncomparable", "rows", "rows_disagreeing")
        }
        risen = {name: count - self.counts.get(name, 0) for name, count in now.items()}
        self.counts = now
        results = Counter(each["result"] for each in said)
        assert risen == {
            **{name: results[name] for name in ("agree", "disagree", "uncomparable")},
            **{name: sum(each[name] for each in said) for name in ("rows", "rows_disagreeing")},
        }


@contextmanager
def judging(champion: int, shadow: int, directory: Path) -> Iterator[Judging]:
    """Run a proxy before the server on one port; copies go to that on the other."""
    config = _CONFIG.format(directory=directory, champion=champion, shadow=shadow)
    with proxy(config, directory) as (listen, admin):
        yield Judging(champion, shadow, listen, admin, directory)


def hold(
    stand: Judging, ask: Ask, questions: int, method: str, expected: Callable[[Any, Any], Pair]
) -> list[dict[str, Any]]:
    """Ask, and require of each pair the method, the rows that differ and the distance; return what was said."""
    answers, said = stand.judge(ask, questions)
    pairs = [expected(one, other) for one, other in answers]
    methods = {each["method"] for each in said}
    assert methods == {method}, methods
    wrong = [
        f"{one!r:.300} and {other!r:.300}: expected {pair!r:.300}, {each}"
        for (one, other), pair, each in zip(answers, pairs, said, strict=True)
        if (each["rows"], each["rows_disagreeing"]) != (len(pair.differs), sum(pair.differs))
        or (each["result"] == "disagree") != any(pair.differs)
        or each["distance"] != pytest.approx(pair.distance, abs=1e-6)
    ]
    assert not wrong, "\n".join(wrong)
    differing = sum(any(pair.differs) for pair in pairs)
    assert 0 < differing < questions, f"{differing} of {questions} differ: such a pair proves little"
    return said


def of_rows(one: Array, other: Array) -> Pair:
    """Labels: a row each."""
    differs = (one != other).ravel()
    return Pair(differs.tolist(), float(differs.mean()))


def of_chances(one: Array, other: Array) -> Pair:
    """Rows of probabilities, whose labels are the likeliest classes."""
    differs = one.argmax(axis=1) != other.argmax(axis=1)
    return Pair(differs.tolist(), float(np.abs(one - other).sum(axis=1).mean() / 2))


def of_numbers(one: Array, other: Array) -> Pair:
    """A float a row: 1e-3 of the larger one is tolerated, and 1e-8."""
    apart, size = np.abs(one - other).ravel(), np.maximum(np.abs(one), np.abs(other)).ravel()
    relative = np.divide(apart, size, out=np.zeros_like(apart), where=size > 0)
    return Pair((apart > 1e-8 + 1e-3 * size).tolist(), float(relative.mean()))


def of_vectors(one: Array, other: Array) -> Pair:
    """Embeddings, a row each: 1 - cosine of 0.01 is tolerated."""
    cosines = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return Pair((1 - cosines > 0.01).tolist(), float((1 - cosines).mean()))


def of_rankings(one: list[int], other: list[int]) -> Pair:
    """One ranking of all items: extrapolated RBO of persistence 0.9, equation 32 of Webber, Moffat and Zobel 2010."""
    shared = [len({*one[:depth]} & {*other[:depth]}) / depth for depth in range(1, len(one) + 1)]
    weights = 0.9 ** np.arange(1, len(one) + 1)
    alike = shared[-1] * weights[-1] + 0.1 / 0.9 * float(np.dot(shared, weights))
    return Pair([one[0] != other[0] or {*one[:10]} != {*other[:10]}], float(1 - alike))


def of_texts(one: str, other: str) -> Pair:
    """Two texts: equal, or of more than one word, chrF2 of 60 and lengths within twice."""
    figure = chrf2(one, other)
    is_word = len(one.split()) < 2 and len(other.split()) < 2
    short, long = sorted((len(_bare(one)), len(_bare(other))))
    is_like = _bare(one) == _bare(other) or (not is_word and figure >= 60 and long <= 2 * short)
    return Pair([not is_like], 0.0 if _bare(one) == _bare(other) else 1 - figure / 100)


def _bare(text: str) -> str:
    """Return a text in small letters and digits, with single spaces."""
    return " ".join(
        "".join(letter for letter in text.casefold() if letter.isalnum() or letter.isspace()).split()
    )


def chrf2(one: str, other: str) -> float:
    """Return chrF2 of two texts: Popović 2015, character n-grams of 1 to 6, spaces left out, orders that both have."""
    texts = ["".join(text.split()) for text in (one, other)]
    found = []
    for order in range(1, 7):
        first, second = (
            Counter(text[at : at + order] for at in range(len(text) - order + 1)) for text in texts
        )
        if first and second:
            common = sum((first & second).values())
            found.append((common / sum(second.values()), common / sum(first.values())))
    if not found:
        return 0.0
    precision, recall = (math.fsum(part) / len(found) for part in zip(*found, strict=True))
    return 0.0 if not precision + recall else 500 * precision * recall / (4 * precision + recall)
