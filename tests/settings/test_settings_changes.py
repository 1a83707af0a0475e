from typing import Any

import pytest

from proxy.settings import restart_needed
from tests.settings.settings_world import minimal, read


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"listen": "127.0.0.1:1"}, "listen: changed from 127.0.0.1:8080 to 127.0.0.1:1; needs a restart"),
        ({"admin": "[::1]:1"}, "admin: changed from 127.0.0.1:9090 to [::1]:1; needs a restart"),
        ({"workers": "auto"}, "workers: changed from 1 to auto; needs a restart"),
        ({"state_dir": "/var/x"}, "state_dir: changed from modelproxy-state to /var/x; needs a restart"),
        ({"admin_token": "hunter2-hunter2"}, "admin_token: changed; needs a restart"),
        ({"observer": {"queue": "1MiB"}}, "observer.queue: changed from 64MiB to 1MiB; needs a restart"),
        (
            {"tracing": {"otlp": "http://c"}},
            "tracing.otlp: changed from nothing to http://c; needs a restart",
        ),
        (
            {"payload_log": {"sinks": [{"kind": "otlp", "url": "http://h/hunter2"}]}},
            "payload_log.sinks: changed from [{'kind': 'jsonl'}] to "  # noqa: ISC004 - one sentence
            "[{'kind': 'otlp', 'url': 'http://h/***'}]; needs a restart",
        ),
        ({"payload_log": {"unit_key": "hunter2-hunter2-"}}, "payload_log.unit_key: changed; needs a restart"),
    ],
)
def test_needs_a_restart(change: dict[str, Any], sentence: str) -> None:
    """A change that a running proxy cannot take up is one sentence, in both directions, without the secret."""
    assert (sentence,) == restart_needed(read(minimal()), read(minimal(**change)))
    (back,) = restart_needed(read(minimal(**change)), read(minimal()))
    assert "hunter2" not in back


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"log_level": "debug", "trusted": ["::1"]},
        {"timeouts": {"drain": "1s"}, "limits": {"connections": 1, "body": "1KiB"}},
        {"payload_log": {"roll_size": "1KiB"}, "tracing": {"percent": 5}, "observer": {"pair_timeout": "5s"}},
        {"model": {"url": "http://elsewhere", "timeout": "1s", "max_connections": 3}},
        {"route": {"name": "other", "salt": "x", "unit": ["client_ip"], "shadows": [{"model": "two"}]}},
        {"route": {"compare": {"as": "json"}, "log": {"percent": 3}, "force_secret": "12345678"}},
        {"admin": "127.0.0.1:9090"},
    ],
)
def test_a_reload_is_enough(change: dict[str, Any]) -> None:
    """Routes, models, shadows, logging, comparison, timeouts and limits all reload."""
    assert restart_needed(read(minimal()), read(minimal(**change))) == ()


def test_all_changes_at_once() -> None:
    """Every such change is told, in the order of the file."""
    new = read(minimal(workers=2, listen="127.0.0.1:1", tracing={"service_name": "x"}))
    assert [sentence.partition(":")[0] for sentence in restart_needed(read(minimal()), new)] == [
        "listen",
        "workers",
        "tracing.service_name",
    ]
