"""What routes say about comparing."""

from typing import Any

import pytest

from proxy.replay.rules import compile_rules, matched_prefix, one_rule
from proxy.settings import parse
from tests.observer.exchanges import BASE_CONFIG


def test_the_rules_of_a_configuration() -> None:
    """Each route has its own rule and prefix; what has no route is left alone."""
    rules = compile_rules(parse(BASE_CONFIG, environ={}), {})
    wine = rules.find("wine")
    assert wine is not None
    assert (wine.compare.as_, wine.matched_prefix, wine.shows_values) == (
        "classification",
        b"/v2/models/wine",
        True,
    )
    assert rules.find("beer") is None


def test_changes_stand_in_place_of_keys() -> None:
    """What is named changes, what is not stays."""
    text = BASE_CONFIG.replace("{as: classification}", "{as: classification, label: /x}")
    wine = compile_rules(parse(text, environ={}), {"as": "json", "rtol": 0.5}).find("wine")
    assert wine is not None
    assert (wine.compare.as_, wine.compare.rtol, wine.compare.label) == ("json", 0.5, "/x")


@pytest.mark.parametrize("more", ["redact: [{json: /a}]", "redact: [{detect: email}]", "content: false"])
def test_values_of_redacted_routes_stay_hidden(more: str) -> None:
    """Where something must not be written, a new answer's values are not shown either."""
    text = BASE_CONFIG.replace("body: 1KiB}", f"body: 1KiB, {more}}}")
    wine = compile_rules(parse(text, environ={}), {}).find("wine")
    assert wine is not None
    assert not wine.shows_values


REDACTED = {
    "[]": (True, False),
    "[{header: x-a}]": (True, False),
    "[{json: /a}, {header: x-a}]": (False, True),
}


@pytest.mark.parametrize("redact", REDACTED)
def test_what_is_redacted_in_bodies_is_told_nobody(redact: str) -> None:
    """As live: what is redacted in headers alone keeps neither values nor texts back."""
    text = BASE_CONFIG.replace("body: 1KiB}", f"body: 1KiB, content: true, redact: {redact}}}")
    wine = compile_rules(parse(text, environ={}), {}).find("wine")
    assert wine is not None
    assert (wine.shows_values, wine.withholds_meaning) == REDACTED[redact]


def test_one_rule_for_all() -> None:
    """Without a configuration every route has the default rule, or what is said of it."""
    rule = one_rule({}, None).find("any")
    assert rule is not None
    assert (rule.compare.as_, rule.matched_prefix) == ("auto", b"")
    rule = one_rule({"as": "exact"}, "/a/*").find("any")
    assert rule is not None
    assert (rule.compare.as_, rule.matched_prefix) == ("exact", b"/a")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a key that there is not": ({"rtoll": 1}, "rtoll is no key of compare; there are: as, "),
    "a method that there is not": ({"as": "magic"}, "as: expected one of"),
    "out of range": ({"rtol": -1}, "rtol: expected"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_changes(name: str) -> None:
    """A change that a file could not say is refused as the file would be."""
    changes, sentence = WRONG[name]
    with pytest.raises(ValueError, match=sentence):
        one_rule(changes, None)


def test_matched_prefixes() -> None:
    """The part of a path that a model's own path replaces, as the table compiles it."""
    assert [matched_prefix(p) for p in ("/a/b/*", "/a/b", "*", "/a/*")] == [b"/a/b", b"/a/b", b"", b"/a"]
