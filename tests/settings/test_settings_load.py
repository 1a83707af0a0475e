import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.settings import (
    Settings,
    load,
    load_with_source,
    parse,
)
from tests.settings.rollout_cases import ROLLED
from tests.settings.settings_cases import FULL, PROBLEMS
from tests.settings.settings_world import MINIMAL, problems_of, read, told


@pytest.mark.parametrize("name", PROBLEMS)
def test_problem(name: str) -> None:
    """Each wrong file is told with the path, what was found and what was expected."""
    text, path, sentence = PROBLEMS[name]
    assert sentence in told(text).get(path, "(no problem there)")


class TestAllAtOnce:
    def test_in_the_order_of_the_text(self) -> None:
        """Problems of every kind come in one go, each with its line, from the first line to the last."""
        text = (
            MINIMAL.replace("9001", "x").replace("weight: 10", "weight: ten")
            + "workers: 0\nlisten: 8080\nfoo: 1\n"
        )
        found = [(p.line, p.path) for p in problems_of(text)]
        assert found == [
            (2, "models.one.url"),
            (9, "routes[0].variants[1].weight"),
            (10, "workers"),
            (11, "listen"),
            (12, "foo"),
        ]

    def test_no_problem_follows_from_another(self) -> None:
        """A value that is broken in itself is told once, not again by the rules that would have used it."""
        text = MINIMAL.replace("model: two", "model: '${NOPE}'").replace("role: champion", "role: champoin")
        assert set(told(text)) == {"routes[0].variants[0].role", "routes[0].variants[1].model"}

    def test_the_sentence(self) -> None:
        """A problem is one line that an editor can jump to."""
        (problem,) = problems_of(MINIMAL.replace("weight: 10", "weight: 120"))
        expected = "f.yaml:9:58: routes[0].variants[1].weight: found 120, expected a percent from 0 to 100"
        assert expected == str(problem)


class TestSecrets:
    SECRET = "hunter2-hunter2-hunter2"

    def full(self) -> Settings:
        return read(FULL.replace("open-sesame", self.SECRET), TOKEN=self.SECRET)

    def test_not_shown(self) -> None:
        """Neither repr nor the public document holds a secret."""
        s = self.full()
        for shown in (repr(s), str(s), orjson.dumps(s.public).decode()):
            assert self.SECRET not in shown
            assert "0123456789abcdef" not in shown
            assert "c=d" not in shown
            assert "MDEyMzQ1" not in shown
        assert s.public["admin_token"] == "***"
        assert s.public["routes"][1]["force_secret"] is None
        assert s.public["webhooks"][0]["secret"] == "***"
        assert s.public["webhooks"][0]["url"] == "https://hooks.example/***"

    @pytest.mark.parametrize(
        "text",
        [
            "admin_token: {hunter2: hunter2}",
            "admin_token: [hunter2]",
            "admin_token: hun ter2",
            "admin_token: hunter2",
            "admin_tokn: hunter2",
            "admin_token: 123456789",
            "payload_log: {unit_key: hunter2}",
            "payload_log: {unit_ky: hunter2}",
            "payload_log: {sinks: [{kind: otlp, url: 'http://h/hunter2#x'}]}",
            "payload_log: {sinks: [{kind: jsonl, url: 'http://h/hunter2'}]}",
            "payload_log: {sinks: [{kind: otlp, url: 'http://h', headers: {authorization: 'hunter2\u20ac'}}]}",
            "payload_log: {sinks: [{kind: otlp, url: 'http://h', headers: hunter2}]}",
            "payload_log: {sinks: [{kind: otlp, url: 'http://h', haeders: {authorization: hunter2}}]}",
            "payload_log: {sinks: ['http://h/hunter2']}",
            "payload_log: {sinks: [{kind: kafka, brokers: ['hunter2'], topic: 't/'}]}",
            "payload_log: {sinks: [{kind: kafka, brokers: ['h:1'], topic: t, options: {sasl.passwrd: hunter2}}]}",
            "workers: ${SECRET}",
            "log_level: ${SECRET}",
            "log_level: 'x${SECRET}'",
            "listen: ${SECRET}",
            "tracing: {otlp: 'http://user:hunter2@h'}",
            "tracing: {otlp: 'http://user:hun/ter2@h'}",
            "tracing: {otlp: '${SECRET}'}",
            "admin_token: ${SHORT}",
            "admin_token: ${MISSING}hunter2",
            "webhooks: [{url: 'https://h/hunter2', secret: short}]",
            "webhooks: [{url: 'https://h/hunter2#x', secret: hunter2}]",
            "webhooks: [{url: 'https://h/', secret: 'whsec_hunter2'}]",
            "webhooks: [{url: 'https://h/', secret: 123456789}]",
            "webhooks: ['https://h/hunter2']",
            "webhooks: 'https://h/hunter2'",
            "webhooks: {url: 'https://h/hunter2', secret: hunter2}",
            "webhooks: [{url: [hunter2], secret: {hunter2: hunter2}}]",
            "webhooks: [{adress: 'https://h/hunter2'}]",
        ],
    )
    def test_not_in_problems(self, text: str) -> None:
        """No problem quotes a secret, a password in a URL, or what a variable holds."""
        problems = problems_of(f"{text}\n{MINIMAL}", SECRET="hunter2", SHORT="hunter2")
        assert problems
        for problem in problems:
            for part in ("hunter2", "hun ter2", "ter2", "123456789"):
                assert part not in str(problem).replace("${MISSING}hunter2", "")
                assert part not in repr(problem).replace("${MISSING}hunter2", "")

    def test_not_in_the_traceback(self) -> None:
        """The error has no cause that would show the rejected values."""
        with pytest.raises(ConfigError) as caught:
            read(f"admin_token: hunter2\n{MINIMAL}")
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


class TestRoundTrip:
    @pytest.mark.parametrize("text", [MINIMAL, ROLLED])
    def test_public_document_is_a_file(self, text: str) -> None:
        """The public document of settings without secrets is itself a valid file with the same meaning."""
        s = read(text)
        assert s == read(orjson.dumps(s.public).decode())


class TestLoad:
    def test_file(self, tmp_path: Path) -> None:
        """A file is read as UTF-8, with or without a byte order mark, under its own name."""
        path = tmp_path / "c.yaml"
        path.write_text("\ufeff" + MINIMAL, encoding="utf-8")
        assert read(MINIMAL) == load(path)
        settings, source = load_with_source(str(path))
        assert (read(MINIMAL), str(path)) == (settings, source.name)
        assert source.places["models", "two"].line == 3

    def test_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file sees the environment of the process."""
        path = tmp_path / "c.yaml"
        path.write_text("workers: ${MODELPROXY_TEST_WORKERS}\n" + MINIMAL)
        monkeypatch.setenv("MODELPROXY_TEST_WORKERS", "4")
        assert load(path).workers == 4
        assert "MODELPROXY_TEST_WORKERS" in os.environ

    def test_not_a_file(self, tmp_path: Path) -> None:
        """A file that is missing, a directory or not UTF-8 is one problem that says so."""
        (tmp_path / "latin").write_bytes(b"a: \xe4")
        for name, sentence in (
            ("missing", "no such file or directory"),
            (".", "is a directory"),
            ("latin", "bytes that are not UTF-8"),
        ):
            with pytest.raises(ConfigError, match=f"found {sentence}, expected a readable YAML file"):
                load(tmp_path / name)


KEYS = [
    "models",
    "routes",
    "name",
    "url",
    "match",
    "path",
    "variants",
    "role",
    "weight",
    "log",
    "compare",
    "as",
    "x",
    "unit",
    "rollout",
    "steps",
    "guardrails",
    "metric",
    "threshold",
    "webhooks",
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        ["champion", "http://h", "/a/*", "5s", "1KiB", "one", "${X}", "client_ip", "", "slow", "5%"]
    )
    | st.text(max_size=5)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=25,
)


class TestTotal:
    @given(st.text(max_size=200))
    def test_any_text(self, text: str) -> None:
        """Any text is settings or a ConfigError with problems."""
        assert _settings_or_problems(text)

    @pytest.mark.slow
    @given(TREES, TREES)
    def test_any_tree(self, models: object, routes: object) -> None:
        """Any document whatever its shape is settings or a ConfigError with problems."""
        assert _settings_or_problems(orjson.dumps({"models": models, "routes": routes}).decode())

    @pytest.mark.slow
    @given(st.data())
    def test_any_value_anywhere(self, data: st.DataObject) -> None:
        """A valid file with any one value replaced by anything is settings or a ConfigError with problems."""
        document = read(FULL, TOKEN="12345678").public
        inner: Any = document
        while isinstance(inner, dict | list) and inner:
            keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(inner[key], dict | list) or not inner[key] or data.draw(st.booleans()):
                inner[key] = data.draw(TREES)
                break
            inner = inner[key]
        assert _settings_or_problems(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode())

    @pytest.mark.slow
    @given(st.sampled_from(sorted(PROBLEMS)), st.integers(0, 2000), st.text(max_size=3))
    def test_any_edit(self, name: str, place: int, insert: str) -> None:
        """A file cut and mended anywhere is settings or a ConfigError with problems."""
        for text in (PROBLEMS[name][0], FULL):
            at = place % (len(text) + 1)
            assert _settings_or_problems(text[:at] + insert + text[at:])
            assert _settings_or_problems(text[:at] + insert)


def _settings_or_problems(text: str) -> object:
    try:
        return parse(text, environ={"TOKEN": "12345678"})
    except ConfigError as error:
        return error.problems
