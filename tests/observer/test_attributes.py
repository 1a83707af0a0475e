"""The value of an exchange in each slice: read from its request, and never more than a record may hold."""

import gzip

import orjson
import pytest

from proxy.observer.attributes import compile_slices, read_slices
from proxy.observer.record import compile_record_rule
from proxy.privacy.actions import keyed_hash
from tests.observer.exchanges import BASE_CONFIG, primary_part, table_of

KEY = b"k" * 32
SLICES = (
    "{tier: header:x-tier, plan: cookie:plan, region: query:region, lang: json:/lang, deep: json:/a/1/b, "
    "user: header:x-user-id, uid: cookie:uid, person: json:/parameters/user, mail: query:user}"
)
BODY = {"lang": "pt", "a": [0, {"b": 7}], "parameters": {"user": "ada"}}
HEAD = (
    b"POST /v2/models/wine/infer HTTP/1.1\r\nhost: model\r\nX-Tier: gold\r\ncookie: plan=pro; uid=ada\r\n"
    b"x-user-id: ada\r\ncontent-type: application/json\r\n%b\r\n"
)


def read(
    body: bytes = orjson.dumps(BODY),
    head: bytes = HEAD % b"",
    target: bytes = b"/v2/models/wine/infer?region=eu%20west&user=ada",
    slices: str = SLICES,
    redact: str = "[]",
) -> dict[str, str]:
    """Return the values of one exchange under a configuration."""
    text = BASE_CONFIG.replace("compare: {as: classification}", f"compare: {{slices: {slices}}}")
    route = table_of(text.replace("body: 1KiB", f"body: 1KiB, redact: {redact}")).routes[0]
    primary = primary_part(request_body=body, request_head=head, target=target)
    return dict(read_slices(compile_slices(route), compile_record_rule(route, KEY), primary))


def test_values() -> None:
    """Header, cookie, query parameter and JSON pointer give their value."""
    found = read(
        slices="{tier: header:X-Tier, plan: cookie:plan, region: query:region, lang: json:/lang, n: json:/a/1/b}"
    )
    assert found == {"tier": "gold", "plan": "pro", "region": "eu west", "lang": "pt", "n": "7"}


def test_what_the_unit_may_come_from_is_hashed() -> None:
    """The raw unit is never shown, wherever a slice finds it."""
    found = read(
        slices="{user: header:x-user-id, uid: cookie:uid, person: json:/parameters/user, tier: header:x-tier}"
    )
    assert found.pop("tier") == "gold"
    assert all(len(value) == 12 for value in found.values())
    assert found["person"] == keyed_hash(KEY, b"ada")[:12]
    assert b"ada" not in orjson.dumps(found)


ABSENT: dict[str, tuple[bytes, bytes, bytes]] = {
    "nothing there": (b"{}", b"POST / HTTP/1.1\r\n\r\n", b"/"),
    "no JSON": (b"[1,", b"POST / HTTP/1.1\r\n\r\n", b"/"),
    "other types": (
        b'{"lang": {"x": 1}, "a": [1, {"b": null}]}',
        HEAD.replace(b"X-Tier", b"x"),
        b"/?region=",
    ),
    "unknown coding": (orjson.dumps(BODY), b"POST / HTTP/1.1\r\ncontent-encoding: rot13\r\n\r\n", b"/"),
    "no text": (b"\xff\xfe", b"POST / HTTP/1.1\r\n\r\n", b"/"),
}


@pytest.mark.parametrize("name", ABSENT)
def test_what_is_absent(name: str) -> None:
    """A request without the attribute, or one that cannot be read, is none."""
    body, head, target = ABSENT[name]
    slices = "{tier: header:x-tier, region: query:region, lang: json:/lang, deep: json:/a/1/b}"
    assert set(read(body, head, target, slices).values()) == {"none"}


def test_bodies_are_decoded() -> None:
    """A compressed body is read, and of one with binary tensors behind it the JSON alone."""
    body, slices = orjson.dumps(BODY), "{lang: json:/lang}"
    assert read(gzip.compress(body), HEAD % b"Content-Encoding: GZIP\r\n", slices=slices) == {"lang": "pt"}
    length = b"inference-header-content-length: %d\r\n" % len(body)
    assert read(body + b"\x00\x01\xff", HEAD % length, slices=slices) == {"lang": "pt"}


REDACTED: dict[str, tuple[str, str, str]] = {
    "dropped header": ("{tier: header:x-tier}", "[{header: X-Tier}]", "none"),
    "hashed header": ("{tier: header:x-tier}", "[{header: x-tier, action: hash}]", keyed_hash(KEY, b"gold")),
    "dropped cookies": ("{plan: cookie:plan}", "[{header: cookie}]", "none"),
    "dropped field": ("{lang: json:/lang}", "[{json: /lang}]", "none"),
    "hashed field": ("{lang: json:/lang}", "[{json: /*, action: hash}]", keyed_hash(KEY, b"pt")),
    "dropped around it": ("{deep: json:/a/1/b}", "[{json: /a}]", "none"),
    "dropped elsewhere": ("{lang: json:/lang}", "[{json: /a}]", "pt"),
}


@pytest.mark.parametrize(("slices", "redact", "value"), REDACTED.values(), ids=REDACTED)
def test_redaction(slices: str, redact: str, value: str) -> None:
    """What records leave out or hash, slices do."""
    assert list(read(slices=slices, redact=redact).values()) == [value]


def test_values_are_fit_to_be_shown() -> None:
    """Control characters and length are the client's no more."""
    head = HEAD.replace(b"gold", b"\x1b[31m" + b"x" * 5000) % b""
    found = read(slices="{tier: header:x-tier}", head=head)
    assert found["tier"].startswith("\\x1b[31mxxx")
    assert len(found["tier"]) == 64


@pytest.mark.parametrize("word", ["none", "other"])
def test_words_that_mean_something_here(word: str) -> None:
    """A client that says so is neither counted with those that say nothing nor with later values."""
    head = HEAD.replace(b"gold", word.encode()) % b""
    assert read(slices="{tier: header:x-tier}", head=head) == {"tier": f'"{word}"'}
    assert read(orjson.dumps({"lang": word}), slices="{lang: json:/lang}") == {"lang": f'"{word}"'}


def test_a_request_that_did_not_come_along() -> None:
    """Without the request there are no values, not even none."""
    route = table_of(BASE_CONFIG.replace("as: classification", "slices: {tier: header:x-tier}")).routes[0]
    found = read_slices(compile_slices(route), compile_record_rule(route, KEY), primary_part(details=None))
    assert found == {}
