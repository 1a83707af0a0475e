"""What is wrong between sinks."""

import sys

import pytest

from tests.settings.settings_world import problems_of
from tests.settings.sink_cases import SINK_PROBLEMS, sinks


@pytest.mark.parametrize("name", SINK_PROBLEMS)
def test_problems(name: str) -> None:
    """Each is told once, at its place, with what was expected."""
    text, path, expected = SINK_PROBLEMS[name]
    (problem,) = problems_of(text)
    assert problem.path == path
    assert expected in f"{problem.found}, expected {problem.expected}"


VALID = {
    "one": sinks({"kind": "jsonl"}),
    "two in two places": sinks({"kind": "jsonl"}, {"kind": "jsonl", "name": "b", "dir": "payloads-b"}),
    "the log's directory and the usual one": sinks(
        {"kind": "jsonl"}, {"kind": "jsonl", "name": "b", "dir": "payloads"}, dir="a"
    ),
    "as old as a file": sinks({"kind": "jsonl"}, keep_age="1h"),
    "one of each": sinks(
        {"kind": "jsonl"},
        {
            "kind": "cloudevents",
            "url": "http://h/x?y=z",
            "headers": {"authorization": "Bearer a b"},
            "mode": "batch",
        },
        {"kind": "parquet", "compression": "snappy", "roll_every": "10s"},
        {
            "kind": "kafka",
            "brokers": ["a:9092", "[::1]:9092"],
            "topic": "t.1",
            "acks": "1",
            "options": {"security.protocol": "SASL_SSL", "sasl.password": "a b"},
        },
        {"kind": "otlp", "url": "https://h", "timeout": "1s", "queue": "1MiB"},
    ),
    "null is nothing": sinks(
        {"kind": "jsonl", "name": None, "compression": None, "dir": None, "queue": None}
    ),
}


@pytest.mark.parametrize("name", VALID)
def test_what_is_right(name: str) -> None:
    """No rule refuses what can be done."""
    assert problems_of(VALID[name]) == ()


@pytest.mark.parametrize(("kind", "extra"), [("parquet", "parquet"), ("kafka", "kafka")])
def test_a_missing_library(kind: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind whose library is not installed is refused, with what to install; others are not looked at."""
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["proxy.settings.load"], "find_spec", lambda _: None)
    entry = {"kind": kind} | ({"brokers": ["h:1"], "topic": "t"} if kind == "kafka" else {})
    (problem,) = problems_of(sinks({"kind": "jsonl"}, entry))
    assert problem.path == "payload_log.sinks[1].kind"
    assert f"pip install 'modelproxy[{extra}]'" in problem.expected
    assert problems_of(sinks({"kind": "jsonl"})) == ()
