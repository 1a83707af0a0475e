"""Settings as a worker has them: the same values under the same names, and nothing it has no use for."""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConfigError
from proxy.model import Announced, Inconclusive, Metric
from proxy.rollout.plan import plan_of
from proxy.routing.table import compile_table
from proxy.settings import Settings, UnitSource
from proxy.settings.fields import Section
from proxy.settled import SHAPE, WITHHELD, Secret, Settled, names_of, read_settled, settle
from tests.settings.rollout_cases import ROLLED
from tests.settings.settings_cases import FULL
from tests.settings.settings_world import MINIMAL, minimal, read

TEXTS = pytest.mark.parametrize("text", [MINIMAL, FULL, ROLLED], ids=["minimal", "full", "rolled"])


def sections(kind: type, found: dict[str, type] | None = None) -> dict[str, type]:
    """Return the classes of everything that may stand in a section, by name."""
    found = {} if found is None else found
    if kind.__name__ not in found:
        found[kind.__name__] = kind
        for hint in get_type_hints(kind).values():
            for inner in classes(hint):
                sections(inner, found)
    return found


def classes(hint: Any) -> Iterator[type]:
    """Yield the sections that a type speaks of."""
    if get_origin(hint) is None:
        if (
            isinstance(hint, type)
            and hint is not Section
            and (issubclass(hint, Section) or is_dataclass(hint))
        ):
            yield hint
    elif get_origin(hint) in (Union, UnionType, tuple) or isinstance(get_origin(hint), type):
        for inner in get_args(hint):
            yield from classes(inner)


def same(settled: Any, value: Any, withheld: frozenset[str] = frozenset()) -> None:
    """Compare what was settled with what it was made of, name by name."""
    if isinstance(settled, Settled):
        names = set(names_of(type(value))) - withheld
        assert {name for name in vars(settled) if name} == names
        for name in names:
            same(getattr(settled, name), getattr(value, name))
    elif isinstance(value, Mapping):
        assert list(settled) == list(value)
        for name in value:
            same(settled[name], value[name])
    elif isinstance(value, tuple | list):
        assert isinstance(settled, tuple)
        for one, other in zip(settled, value, strict=True):
            same(one, other)
    elif isinstance(settled, Secret):
        assert settled.get_secret_value() == value.get_secret_value()
    else:
        assert settled == value
        # Words are words: an enumeration's are compared with, and looked up by, their text.
        assert type(settled) is type(value) or (type(settled) is str and isinstance(value, str))


@TEXTS
def test_every_value_is_there(text: str) -> None:
    """Each attribute of each section has the same value and the same type, but for what is withheld."""
    settings = read(text, TOKEN="s3cret-s3cret")
    same(read_settled(settle(settings)), settings)
    same(read_settled(settle(settings, WITHHELD)), settings, WITHHELD)


@TEXTS
def test_it_makes_the_same_plans(text: str) -> None:
    """The observer's plan of a rollout is the supervisor's, to the digest, and its words are the same words."""
    settings = read(text, TOKEN="s3cret-s3cret")
    settled = read_settled(settle(settings))
    plans = 0
    for ours, theirs in zip(settled.routes, settings.routes, strict=True):
        plan, other = plan_of(settled, ours), plan_of(settings, theirs)
        assert plan == other
        if plan is not None and other is not None:
            plans += 1
            assert plan.digest() == other.digest()
            assert type(plan.on_inconclusive) is Inconclusive
            assert all(type(guardrail.metric) is Metric for guardrail in plan.guardrails)
    assert plans == sum(route.rollout_variant is not None for route in settings.routes)


def test_webhooks_are_sent_to_the_observer_whole() -> None:
    """It gets the URL, the key and the verdicts to tell of."""
    (hook,) = read_settled(settle(read(FULL, TOKEN="s3cret-s3cret"))).webhooks
    assert hook.url.get_secret_value() == "https://hooks.example/T0/b?c=d"
    assert hook.key == b"012345678901234567890123"
    assert hook.on == (Announced.HOLD,)


@TEXTS
def test_it_makes_the_same_table(text: str) -> None:
    """A worker's table has the layout and the intervals of the supervisor's: their counters are the same places."""
    settings = read(text, TOKEN="s3cret-s3cret")
    theirs, ours = compile_table(settings, 1), compile_table(read_settled(settle(settings)), 1)
    assert ours.layout == theirs.layout
    assert ours.observer_layout == theirs.observer_layout
    for one, other in zip(ours.routes, theirs.routes, strict=True):
        assert (one.intervals, one.experiment) == (other.intervals, other.experiment)
        assert (one.retry_faults, one.retry_codes) == (other.retry_faults, other.retry_codes)
        assert (one.force_secret, one.log_limit) == (other.force_secret, other.log_limit)


@given(
    weight=st.decimals(0, 100, places=6),
    salt=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20),
)
def test_any_values(weight: Decimal, salt: str) -> None:
    """Percents stay exact, and no text is taken for anything else."""
    variants: list[dict[str, Any]] = [
        {"name": "v1", "model": "one", "role": "champion"},
        {"name": "v2", "model": "two", "role": "canary", "weight": float(weight)},
    ]
    settings = read(minimal(route={"variants": variants, "salt": salt.replace("$", "$$")}))
    same(read_settled(settle(settings)), settings)


def test_nothing_that_is_not_for_workers() -> None:
    """The process that meets the world does not know the secrets of the admin address, of webhooks and of records."""
    settings = read(FULL, TOKEN="s3cret-s3cret")
    data = settle(settings, WITHHELD).decode()
    (hook,) = settings.webhooks
    sinks = [
        each for sink in settings.payload_log.sinks for each in (sink.url, *(sink.headers or {}).values())
    ]
    for secret in (
        settings.admin_token,
        settings.payload_log.unit_key,
        hook.url,
        hook.secret,
        *filter(None, sinks),
    ):
        assert secret is not None
        assert secret.get_secret_value() not in data


def test_secrets_do_not_show() -> None:
    """Whoever prints settings prints no secret."""
    settings = read_settled(settle(read(FULL, TOKEN="s3cret-s3cret")))
    secrets = [route.force_secret for route in settings.routes if route.force_secret]
    assert secrets
    for secret in secrets:
        assert secret.get_secret_value() not in f"{settings!r} {secret} {secret!r}"


def test_equal_sections_are_equal() -> None:
    """A table finds what the one before has opened by the settings it was opened for."""
    first, second = (read_settled(settle(read(FULL, TOKEN="s3cret-s3cret"))) for _ in range(2))
    other = read_settled(settle(read(FULL.replace("http://h:7", "http://h:8"), TOKEN="s3cret-s3cret")))
    assert first.routes == second.routes
    assert first.models == second.models
    assert [hash(route) for route in first.routes] == [hash(route) for route in second.routes]
    assert first.models != other.models


def test_they_do_not_change() -> None:
    """Settings are as immutable here as they were."""
    settings = read_settled(settle(read(MINIMAL)))
    with pytest.raises(AttributeError, match="do not change: workers"):
        settings.workers = 3
    with pytest.raises(AttributeError):
        settings.limits.body = 3


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b"\xff", b"null", orjson.dumps({"shape": SHAPE}),
        orjson.dumps({"shape": SHAPE, "settings": {"": "Decimal", "value": "x"}}),
        orjson.dumps({"shape": SHAPE, "settings": {"": "Role"}}),
        settle(read(MINIMAL)).replace(SHAPE.encode(), b"0" * len(SHAPE)),
    ],
)  # fmt: skip
def test_other_data(data: bytes) -> None:
    """Data of something else, or of a program with other settings, is refused, and not quoted."""
    with pytest.raises(ConfigError, match="settings written by the same version"):
        read_settled(data)


def test_paths_are_paths() -> None:
    """What names a file is a path."""
    settings = read_settled(settle(read(MINIMAL + "tls: {certificate: a.pem}\n")))
    assert settings.tls.certificate == Path("a.pem")


def test_the_shape_is_that_of_the_settings() -> None:
    """Who adds, drops or renames a setting writes the new shape into ``proxy/settled.py``, as the failure shows it."""
    known = sections(Settings)
    assert {"Settings", "Route", "Guardrail", "ModelTls", UnitSource.__name__} <= known.keys()
    names = sorted((name, names_of(kind)) for name, kind in known.items())
    assert sha256(repr(names).encode()).hexdigest()[:16] == SHAPE
