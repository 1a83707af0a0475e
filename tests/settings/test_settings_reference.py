"""config/modelproxy.yaml is the reference: complete, and true."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.fields import FieldInfo

from proxy.settings import parse, parse_with_source, warnings
from proxy.settings.document import resolve_plain
from proxy.settings.fields import NEXT_CONNECTION, NEXT_REQUEST, NOW, RESTART, Section, reload_of
from proxy.settings.schema import Settings

REFERENCE = Path(__file__).parents[2] / "config" / "modelproxy.yaml"
TEXT = REFERENCE.read_text()
UNCOMMENTED = re.sub(
    r"^# (?=- url|  (secret|on|timeout):)", "  ", TEXT.replace("webhooks: []", "webhooks:"), flags=re.M
)
UNCOMMENTED = re.sub(
    r"^# (?=(url|model|headers|timeout|max_in_flight|max_text|queue|cache): )",
    "  ",
    UNCOMMENTED.replace("embedder: null", "embedder:"),
    flags=re.M,
)
"""The reference with the webhook and the embedder that it shows in comments: a file as it stands should call nobody."""
SECRET = {"MODELPROXY_WEBHOOK_SECRET": "d" * 24}

MARKS = {NEXT_REQUEST: "[request]", NEXT_CONNECTION: "[connection]", NOW: "[now]", RESTART: "[restart]"}


def test_is_valid() -> None:
    """The reference is a valid file as it stands, in an empty environment, with nothing to warn of."""
    settings, source = parse_with_source(TEXT, environ={})
    assert warnings(settings, source) == ()


def test_its_variables_are_secrets() -> None:
    """The variables of the reference fill the keys that hold secrets."""
    names = {
        "MODELPROXY_ADMIN_TOKEN": "a" * 16,
        "MODELPROXY_UNIT_KEY": "b" * 16,
        "MODELPROXY_FORCE_SECRET": "c" * 16,
    }
    settings = parse(TEXT, environ=names)
    secrets = (settings.admin_token, settings.payload_log.unit_key, settings.routes[0].force_secret)
    assert list(names.values()) == [secret.get_secret_value() for secret in secrets if secret is not None]


def test_its_webhook_is_valid() -> None:
    """The webhook that stands in a comment is one that can be used, and so is the embedder."""
    settings = parse(UNCOMMENTED, environ=SECRET)
    assert settings.embedder is not None
    (webhook,) = settings.webhooks
    assert webhook.secret.get_secret_value() == "d" * 24


def fields(kind: type[Section] = Settings, path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every field of every section, with a path that tells keys of one name apart."""
    for name, field in kind.model_fields.items():
        key = f"{path}.{field.alias or name}".lstrip(".")
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, Section)), None)
        yield key, field
        if inner is not None:
            yield from fields(inner, key)


def lines() -> dict[str, str]:
    """Return path → comment of the first line with that key; list positions and model names left out."""
    _, source = parse_with_source(UNCOMMENTED, environ=SECRET)
    text = UNCOMMENTED.splitlines()
    found: dict[str, str] = {}
    for path, place in source.places.items():
        steps = [step for i, step in enumerate(path) if isinstance(step, str) and path[:i] != ("models",)]
        if path and isinstance(path[-1], str):
            found.setdefault(".".join(steps), text[place.key_line - 1].partition(" #")[2])
    return found


LINES = lines()
FIELDS = dict(fields())


@pytest.mark.parametrize("path", FIELDS)
def test_every_key_is_there_and_true(path: str) -> None:
    """Each key stands in the reference with its real default, or as required, and with what a reload does."""
    comment, field = LINES[path], FIELDS[path]
    reload = reload_of(field)
    if field.is_required() and path not in ("models", "routes"):
        assert "required" in comment
    if not field.is_required() and reload is not None:
        written = re.search(r"default (\[.*?\]|\{.*?\}|\S+)", comment)
        assert written is not None, comment
        assert _same(field.default, written[1]), f"{written[1]} is not the default {field.default!r}"
    scalar = not re.search(r"(match|variants|models|routes)$", path)
    if reload is not None and scalar:
        assert MARKS[reload] in comment


def test_its_values_are_the_defaults() -> None:
    """Outside models and routes the reference sets nothing to another value than the default."""
    settings = parse(TEXT, environ={})
    plain = Settings.model_validate({"models": settings.models, "routes": settings.routes})
    assert plain == settings


def _same(default: Any, written: str) -> bool:
    if isinstance(default, (list, dict)):
        return bool(yaml.safe_load(written) == default)
    meaning = resolve_plain(written)
    return (
        bool(float(default) == float(meaning))
        if isinstance(default, (int, float))
        else bool(default == meaning)
    )
