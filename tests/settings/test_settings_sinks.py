"""The sinks of the payload log as the file says them."""

import pytest

from proxy.settings.sinks import (
    COMMON_KEYS,
    COMPRESSIONS,
    DIRECTORIES,
    KEYS,
    LIBRARIES,
    REQUIRED_KEYS,
    PayloadSink,
)
from tests.settings.settings_world import MINIMAL, read
from tests.settings.sink_cases import sinks


def test_the_default() -> None:
    """Without a word about them there is one: lines."""
    log = read(MINIMAL).payload_log
    assert [(each.kind, each.label, each.queue) for each in log.sinks] == [("jsonl", "jsonl", None)]


def test_names() -> None:
    """A sink is called by its name, else by its kind."""
    log = read(sinks({"kind": "jsonl"}, {"kind": "jsonl", "name": "b", "dir": "b"})).payload_log
    assert [each.label for each in log.sinks] == ["jsonl", "b"]


def test_the_tables_speak_of_the_same_keys() -> None:
    """Every key of a kind is a field, every field is a key of some kind, and no table names a kind of its own."""
    fields = PayloadSink.model_fields.keys()
    assert COMMON_KEYS.union(*KEYS.values()) == fields
    assert REQUIRED_KEYS.keys() == KEYS.keys()
    for kind, keys in KEYS.items():
        assert not keys & COMMON_KEYS
        assert keys >= set(REQUIRED_KEYS[kind])
        assert ("compression" in keys) == (kind in COMPRESSIONS)
        assert ("dir" in keys) == (kind in DIRECTORIES)
    assert KEYS.keys() >= LIBRARIES.keys()


def test_secrets_are_not_shown() -> None:
    """Credentials may stand in a URL's path and query, in headers and in options: none of them is shown again."""
    http = {
        "kind": "otlp",
        "url": "https://h/hunter2?hunter2=1",
        "headers": {"authorization": "Bearer hunter2"},
    }
    kafka = {"kind": "kafka", "brokers": ["h:1"], "topic": "t", "options": {"sasl.password": "hunter2"}}
    settings = read(sinks(http, kafka))
    shown = str(settings.public) + repr(settings)
    assert "hunter2" not in shown
    assert "https://h/***" in shown


@pytest.mark.parametrize("kind", KEYS)
def test_every_kind_is_explained(kind: str) -> None:
    """What a kind is, and each key that it alone has, stands in the field's meaning."""
    assert f"{kind}: " in (PayloadSink.model_fields["kind"].description or "")
    for key in KEYS[kind]:
        assert kind in (PayloadSink.model_fields[key].description or "")
