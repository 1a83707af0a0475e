from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter, ValidationError

from proxy.settings import grammar
from proxy.settings.document import Expanded
from proxy.settings.grammar import EXPECTED, Grammar


class Fruit(StrEnum):
    APPLE = "apple"
    PEAR = "pear"


KINDS: dict[str, Grammar] = {
    "text": grammar.text(str.lower, "a word", longest=5),
    "duration": grammar.duration("1s", "1h"),
    "size": grammar.size("1KiB", "1MiB"),
    "whole": grammar.whole(1, 9),
    "whole or": grammar.whole_or("auto", 1, 9),
    "real": grammar.real(0, 1e6),
    "percent": grammar.percent(),
    "choice": grammar.choice(Literal["red", "blue"]),
    "enum": grammar.choice(Fruit),
    "secret": grammar.secret(8),
    "one or more": grammar.one_or_more(grammar.whole(1, 9), 3),
    "yes or no": grammar.yes_or_no(),
    "tls version": grammar.tls_version(),
    "rate": grammar.rate(0, 1000),
    "rate above": grammar.rate(0, 50, above=True),
    "hidden url": grammar.hidden_url(),
    "signing secret": grammar.signing_secret(),
}


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        ("text", "WORD", "word"),
        ("text", Expanded("12"), "12"),
        ("duration", "1m30s", 90 * 10**9),
        ("duration", "1s", 10**9),
        ("duration", "1h", 3600 * 10**9),
        ("size", "1KiB", 1024),
        ("size", "1024KiB", 1 << 20),
        ("whole", 1, 1),
        ("whole", Decimal("9.0"), 9),
        ("whole", Expanded("3"), 3),
        ("whole or", "auto", "auto"),
        ("whole or", 3, 3),
        ("real", 0, 0.0),
        ("real", Decimal("1e-5"), 1e-5),
        ("real", 0.1, 0.1),
        ("percent", 0.1, Decimal("0.1")),
        ("percent", Decimal("33.333333"), Decimal("33.333333")),
        ("percent", Expanded("5"), Decimal(5)),
        ("choice", "red", "red"),
        ("enum", "pear", Fruit.PEAR),
        ("one or more", 1, (1,)),
        ("one or more", [1, 2], (1, 2)),
        ("one or more", [], ()),
        ("yes or no", True, True),
        ("yes or no", Expanded("false"), False),
        ("tls version", Decimal("1.2"), "1.2"),
        ("tls version", 1.3, "1.3"),
        ("tls version", Expanded("1.3"), "1.3"),
        ("rate", "10%", Decimal(10)),
        ("rate", "0.5%", Decimal("0.5")),
        ("rate", "0%", Decimal(0)),
        ("rate", 1000, Decimal(1000)),
        ("rate", 0.1, Decimal("0.1")),
        ("rate", Decimal("100e-1"), Decimal(10)),
        ("rate", Expanded("5"), Decimal(5)),
        ("rate", Expanded("5%"), Decimal(5)),
        ("rate above", "0.000001%", Decimal("0.000001")),
        ("rate above", 50, Decimal(50)),
    ],
)
def test_reads_and_writes(kind: str, written: Any, value: Any) -> None:
    """What is read is a plain value, and what is written reads back as the same."""
    g = KINDS[kind]
    read = g.read(written)
    assert (value, type(value)) == (read, type(read))
    assert value == g.read(g.write(value))


@pytest.mark.parametrize(
    ("kind", "written", "expected"),
    [
        ("text", "", "a word"),
        ("text", None, "a word"),
        ("text", 5, "text: a word (a number in quotes)"),
        ("text", ["a"], "text: a word (a number in quotes)"),
        ("text", "abcdef", "at most 5 characters"),
        ("duration", "0s", "1s to 1h"),
        ("duration", "61m", "1s to 1h"),
        ("duration", 5, "a duration with its unit: write 5s or 5ms, not 5"),
        ("duration", Expanded("5"), "a duration with its unit: write 5s or 5ms, not 5"),
        ("duration", True, "text: a duration such as 5s (a number in quotes)"),
        ("size", "2MiB", "1KiB to 1MiB"),
        ("size", 5, "a size with its unit: write 5KiB or 5MiB, not 5"),
        ("whole", 0, "a whole number from 1 to 9"),
        ("whole", 10, "a whole number from 1 to 9"),
        ("whole", True, "a whole number from 1 to 9"),
        ("whole", "3", "a whole number from 1 to 9"),
        ("whole", Expanded("true"), "a whole number from 1 to 9"),
        ("whole", Decimal("1.5"), "a whole number from 1 to 9"),
        ("whole or", "all", "a whole number from 1 to 9, or auto"),
        ("real", -1, "a number from 0 to 1e+06"),
        ("real", "1", "a number from 0 to 1e+06"),
        ("real", Decimal("sNaN"), "a number from 0 to 1e+06"),
        ("real", float("nan"), "a number from 0 to 1e+06"),
        ("percent", float("inf"), "a percent from 0 to 100"),
        ("percent", "5", "a percent from 0 to 100"),
        ("choice", "rad", "one of red, blue (did you mean red?)"),
        ("choice", "x", "one of red, blue"),
        ("enum", "pera", "one of apple, pear (did you mean pear?)"),
        ("secret", "1234567", "8 to 4096 visible ASCII characters"),
        ("secret", "1234 5678", "8 to 4096 visible ASCII characters"),
        ("secret", "1234567ä", "8 to 4096 visible ASCII characters"),
        (
            "secret",
            12345678,
            "text: 8 to 4096 visible ASCII characters, in quotes or, better, as ${VARIABLE}",
        ),
        ("one or more", [1, 2, 3, 4], "at most 3 of them"),
        ("one or more", ["a"], "a whole number from 1 to 9"),
        ("yes or no", "yes", "true or false"),
        ("yes or no", 1, "true or false"),
        ("tls version", Decimal("1.1"), "1.2 or 1.3: what is older is broken (RFC 8996)"),
        ("tls version", 1, "1.2 or 1.3: what is older is broken (RFC 8996)"),
        ("tls version", None, "1.2 or 1.3: what is older is broken (RFC 8996)"),
        ("rate", "1001%", "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", -1, "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", "-0.5%", "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", "0.5 %", "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", "%", "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", "1%%", "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", "١%", "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", "5", "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", True, "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", float("nan"), "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", None, "a percent from 0 to 1000, such as 2% or 0.5"),
        ("rate", "0.0000001%", "a percent with at most 6 decimals"),
        ("rate above", 0, "a percent above 0 and at most 50, such as 2% or 0.5"),
        ("rate above", "0%", "a percent above 0 and at most 50, such as 2% or 0.5"),
        ("rate above", "50.000001%", "a percent above 0 and at most 50, such as 2% or 0.5"),
        ("hidden url", "ftp://h", "a URL such as https://hooks.example/modelproxy"),
        ("hidden url", "https://u:p@h/", "a URL without a user name or password"),
        ("hidden url", "https://h/#part", "a URL without a query (?) or fragment (#)"),
        ("hidden url", f"https://h/{'x' * 2048}", "at most 2048 characters"),
        ("hidden url", 5, "text: http[s]://host[:port][/path][?query] (a number in quotes)"),
        (
            "signing secret",
            "x" * 23,
            "whsec_ and a key in base64, or 24 to 4096 visible ASCII characters",
        ),
        ("signing secret", "whsec_AAAA", "whsec_ and then the base64 of a key of 24 to 64 bytes"),
        (
            "signing secret",
            5,
            f"text: {KINDS['signing secret'].allowed}, in quotes or, better, as ${{VARIABLE}}",
        ),
    ],
)
def test_refuses(kind: str, written: Any, expected: str) -> None:
    """What is refused is answered with the expectation, in full."""
    with pytest.raises(ValueError, match=r".") as caught:
        KINDS[kind].read(written)
    assert expected == str(caught.value)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(max_size=8).map(Expanded)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(KINDS)), ANYTHING)
def test_total(kind: str, written: object) -> None:
    """Every grammar takes anything and fails only with a ValueError."""
    try:
        value = KINDS[kind].read(written)
    except ValueError:
        return
    written = KINDS[kind].write(value)
    if isinstance(value, SecretStr):
        assert str(written).endswith("***")
    else:
        assert value == KINDS[kind].read(written)


def test_as_a_field_type() -> None:
    """Beside a type it reads, writes and describes a pydantic field, and its refusal carries the expectation."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[int, KINDS["duration"]] | None)
    assert adapter.validate_python("5s") == 5 * 10**9
    assert adapter.validate_python(None) is None
    assert adapter.dump_python(5 * 10**9, mode="json") == "5s"
    assert adapter.dump_python(None) is None
    assert adapter.json_schema()["anyOf"][0]["x-allowed"] == "1s to 1h"
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python("5")
    (error,) = caught.value.errors()
    assert (error["type"], error["ctx"][EXPECTED]) == (
        EXPECTED,
        "a duration with its unit: write 5s or 5ms, not 5",
    )


def test_secrets_are_never_written() -> None:
    """A secret is stars in every serialization."""
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[Any, KINDS["secret"]])
    secret = adapter.validate_python("hunter2-hunter2")
    assert "hunter2" not in repr(secret)
    assert adapter.dump_python(secret) == "***"
    assert adapter.dump_json(secret) == b'"***"'


def test_a_url_shows_its_server_alone() -> None:
    """Of a URL that may hold a token nothing is written but whom it calls."""
    url = KINDS["hidden url"].read("https://H.example:8443/T0/hunter2?t=hunter2")
    assert "hunter2" not in repr(url)
    assert url.get_secret_value() == "https://h.example:8443/T0/hunter2?t=hunter2"
    assert KINDS["hidden url"].write(url) == "https://h.example:8443/***"


def test_a_signing_secret_is_not_shown() -> None:
    """What webhooks are signed with is stars."""
    secret = KINDS["signing secret"].read("hunter2" * 4)
    assert secret.get_secret_value() == "hunter2" * 4
    assert KINDS["signing secret"].write(secret) == "***"


def test_did_you_mean() -> None:
    """The nearest known word is offered when one is near."""
    assert grammar.did_you_mean("wine-v2", ["wine-v1", "beer"]) == " (did you mean wine-v1?)"
    assert grammar.did_you_mean("zzz", ["wine-v1", "beer"]) == ""
    assert grammar.did_you_mean("x" * 10_000, ["x"] * 10_000) == ""
