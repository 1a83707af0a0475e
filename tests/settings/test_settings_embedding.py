"""The embedder is what the file says, and its secrets are shown to nobody."""

import pytest

from proxy.settings import parse
from proxy.settled import WITHHELD
from tests.settings.settings_cases import FULL
from tests.settings.settings_world import minimal, read


def test_embedder() -> None:
    """Every key of the section, and the key of the route that asks for it."""
    settings = read(FULL, TOKEN="12345678")
    embedder = settings.embedder
    assert embedder is not None
    assert embedder.url.get_secret_value() == "http://e:8081/v1/embeddings?k=hidden-part"
    assert embedder.headers["authorization"].get_secret_value() == "Bearer hidden-key"
    assert (embedder.model, embedder.timeout, embedder.max_in_flight) == ("minilm", 2_000_000_000, 8)
    assert (embedder.max_text, embedder.queue, embedder.cache) == (1024, 1 << 20, 0)
    assert [route.compare.embedder for route in settings.routes[:2]] == [True, False]
    assert "hidden" not in str(settings.public["embedder"])
    assert "hidden" not in repr(settings)


def test_workers_are_not_told() -> None:
    """It meets the world, and the workers have no use for it."""
    assert "embedder" in WITHHELD


def test_nobody_is_asked_unless_somebody_says_so() -> None:
    """Off by default."""
    settings = parse(minimal(), environ={})
    assert settings.embedder is None
    assert not settings.routes[0].compare.embedder


@pytest.mark.parametrize("content", ["auto", True])
def test_content_of_records_is_another_question(content: object) -> None:
    """Records may leave free text out: nobody said that it may not be told."""
    text = minimal(
        embedder={"url": "http://e/", "model": "m"},
        route={"compare": {"embedder": True}, "log": {"content": content}},
    )
    assert parse(text, environ={}).routes[0].compare.embedder
