"""Two llamas that say the same for a part of the prompts: what differs is what clients' own parsers say."""

from collections.abc import Callable, Iterator

import numpy as np
import orjson
import pytest

from tests.real.judged import Judging, Pair, hold, judging, of_rankings, of_texts, of_vectors
from tests.real.llamas import llamas
from tests.real.processes import Driver

pytestmark = [pytest.mark.slow, pytest.mark.long]

QUESTIONS = 20

DIALECTS = {
    "openai": (
        "chat",
        "chat, streamed",
        "completions",
        "completions, streamed",
        "responses",
        "responses, streamed",
    ),
    "anthropic": ("messages", "messages, streamed"),
}


@pytest.fixture(scope="module")
def stand(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    """Weights, and the same a little moved."""
    with (
        llamas(tmp_path_factory.mktemp("llama"), ("1", "0"), ("1", "0.04")) as (one, other),
        judging(one, other, tmp_path_factory.mktemp("proxy")) as ready,
    ):
        yield ready


@pytest.mark.parametrize(
    ("client", "dialect"), [(client, each) for client, dialects in DIALECTS.items() for each in dialects]
)
def test_texts(stand: Judging, drivers: Callable[[str], Driver], client: str, dialect: str) -> None:
    """Which answers disagree, and how far apart they are, follows from the texts that the client's parser gave."""

    def ask(url: str, number: int) -> str:
        told = drivers(client).call("answered", url, dialect=dialect, prompt=f"question {number}", tokens=8)
        assert "gave" in told, told
        text: str = told["gave"]
        return text

    hold(stand, ask, QUESTIONS, "text", of_texts)


@pytest.fixture(scope="module")
def embedders(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    """The same weights, asked for embeddings."""
    with (
        llamas(tmp_path_factory.mktemp("llama"), ("1", "0"), ("1", "0.04"), mode="embeddings") as (
            one,
            other,
        ),
        judging(one, other, tmp_path_factory.mktemp("proxy")) as ready,
    ):
        yield ready


def test_embeddings(embedders: Judging, drivers: Callable[[str], Driver]) -> None:
    """Cosines are those of the lists that ``openai`` made of what it was sent in base64."""

    def ask(url: str, number: int) -> list[list[float]]:
        prompts = [f"question {number} {each}" for each in "abc"]
        vectors: list[list[float]] = drivers("openai").call("embedded", url, prompts=prompts)["gave"]
        return vectors

    def expected(one: list[list[float]], other: list[list[float]]) -> Pair:
        return of_vectors(np.array(one), np.array(other))

    hold(embedders, ask, QUESTIONS, "embedding", expected)


@pytest.fixture(scope="module")
def rankers(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    """Weights that rank, and the same a little moved."""
    with (
        llamas(tmp_path_factory.mktemp("llama"), ("1", "0"), ("1", "0.01"), mode="ranks") as (one, other),
        judging(one, other, tmp_path_factory.mktemp("proxy")) as ready,
    ):
        yield ready


def test_rankings(rankers: Judging, drivers: Callable[[str], Driver]) -> None:
    """Texts in the order of their scores: the same first one and the same ten, and 1 - RBO of all twelve."""

    def ask(url: str, number: int) -> list[int]:
        texts = [f"text {number * place} {'abcdefghijkl'[place]}" for place in range(12)]
        asked = {"model": "m", "query": f"question {number}", "documents": texts}
        told = drivers("httpx").call("plain", url, method="POST", path="/v1/rerank", json=asked)
        assert "gave" in told, told
        results = orjson.loads(told["gave"][0]["text"])["results"]
        return [each["index"] for each in sorted(results, key=lambda each: -each["relevance_score"])]

    hold(rankers, ask, QUESTIONS, "ranking", of_rankings)
