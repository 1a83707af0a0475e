"""A disagreement in words: both answers and the request, and nothing that a record of the route would not hold."""

from typing import Any

import orjson
import pytest

from proxy.compare import Answer, Comparison, Difference, compare
from proxy.exchange import Flag, Primary, ShadowPart
from proxy.observer.route_rules import RouteRules
from proxy.observer.showing import MAX_PATH_CHARACTERS, example_document, example_id, example_of, strip
from tests.observer.exchanges import BASE_CONFIG, agreeing, primary_part, shadow_part, table_of

KEY = b"k" * 32
JSON = BASE_CONFIG.replace("as: classification", "as: json")


def rules_of(text: str = BASE_CONFIG) -> RouteRules:
    return RouteRules(table_of(text).routes[0], KEY)


def judged(rules: RouteRules, primary: Primary, part: ShadowPart) -> Comparison:
    kind = b"application/json"
    return compare(
        rules.compare,
        Answer(primary.status, kind, None, primary.response_body),
        Answer(part.status, kind, None, part.response_body),
    )


def shown(
    text: str = BASE_CONFIG, answer: bytes = agreeing(1), other: bytes = agreeing(2), **changes: Any
) -> dict[str, Any]:
    """Return the document of a pair with these answers."""
    rules = rules_of(text)
    primary = primary_part(**{"flags": Flag.MIRRORED | Flag.SHOWN, "response_body": answer, **changes})
    part = shadow_part(response_body=other)
    example = example_of(rules, primary, part, judged(rules, primary, part), {"tier": "gold"})
    return example_document(example.what)


def test_an_example() -> None:
    """Who asked, what was asked, both answers, and where they part."""
    document = shown()
    assert document["differences"] == [{"path": "/label/0", "primary": "1", "shadow": "2"}]
    assert document["request"]["body"] == '{"inputs":[]}'
    assert document["request"]["path"] == "/v2/models/wine/infer"
    assert orjson.loads(document["response"]["body"])["outputs"][0]["data"] == [1]
    assert orjson.loads(document["shadow_response"]["body"])["outputs"][0]["data"] == [2]
    facts = {
        name: document[name]
        for name in ("variant", "shadow", "method", "reason", "distance", "rows", "slices")
    }
    assert facts == {
        "variant": "v1",
        "shadow": "wine-v4",
        "method": "classification",
        "reason": "label",
        "distance": 1.0,
        "rows": 1,
        "slices": {"tier": "gold"},
    }
    assert orjson.dumps(document)


def test_what_is_never_shown() -> None:
    """The raw unit, the query and headers that nobody asked for stay where they are."""
    text = orjson.dumps(shown())
    assert not [word for word in (b"ada", b"hunter2", b"set-cookie", b"user=") if word in text]


def test_a_request_that_did_not_come_along() -> None:
    """Both answers are shown without it."""
    document = shown(details=None)
    assert document["request"] is None
    assert document["response"]["size"] == len(agreeing(1))
    assert document["differences"]


def test_headers_are_those_of_records() -> None:
    """What the log names is shown of the request, and hashed where it hashes it."""
    text = BASE_CONFIG.replace("body: 1KiB", "body: 1KiB, headers: [x-user-id, content-type]")
    headers = shown(text)["request"]["headers"]
    assert headers["content-type"] == "application/json"
    assert headers["x-user-id"] == shown()["unit"]


def test_bodies_are_cut_as_in_records() -> None:
    """A long body is cut; the differences were found before."""
    document = shown(BASE_CONFIG.replace("body: 1KiB", "body: 16B"))
    assert (len(document["response"]["body"]), document["response"]["truncated"]) == (16, True)
    assert document["differences"]


def secretive(redact: str) -> dict[str, Any]:
    """Return an example whose answers differ in a secret, in the name of a key, and in something harmless."""
    text = JSON.replace("body: 1KiB", f"body: 1KiB, redact: [{redact}]")
    answer = b'{"who": "ada", "keys": {"ada@x": 1}, "label": 1}'
    other = b'{"who": "bob", "keys": {"bob@x": 1}, "label": 2}'
    return shown(text, answer, other)


def test_differences_hold_no_more_than_the_bodies() -> None:
    """What is dropped differs no more, and neither its value nor the name of its place is told."""
    document = secretive("{json: /who}, {json: /keys}")
    assert document["differences"] == [{"path": "/label", "primary": "1", "shadow": "2"}]
    text = orjson.dumps(document)
    assert not [word for word in (b"ada", b"bob") if word in text]


def test_a_hash_differs_as_its_value_did() -> None:
    """What is hashed still differs, and shows its hashes."""
    document = secretive("{json: /who, action: hash}, {json: /keys}")
    assert [each["path"] for each in document["differences"]] == ["/who", "/label"]
    assert len(document["differences"][0]["primary"]) == 34
    assert b"ada" not in orjson.dumps(document)


UNREADABLE = {
    "no JSON": b"<ada>",
    "not text": b"\xffada",
    "cut": b'{"who": "ada", "pad": "' + b"x" * 2000 + b'"}',
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_redacted_is_not_shown(answer: bytes) -> None:
    """Where the promise cannot be kept there is neither body nor difference."""
    text = JSON.replace("body: 1KiB", "body: 1KiB, redact: [{json: /who}]")
    document = shown(text, answer, b'{"who": "bob"}')
    assert document["differences"] == []
    assert b"ada" not in orjson.dumps(document)


def test_an_error_against_an_answer() -> None:
    """That one is an error is no secret."""
    text = JSON.replace("body: 1KiB", "body: 1KiB, redact: [{json: /who}]")
    rules = rules_of(text)
    primary, part = primary_part(), shadow_part(status=500, response_body=b"ada")
    example = example_of(rules, primary, part, judged(rules, primary, part), {})
    document = example_document(example.what)
    assert document["differences"] == [{"path": "", "primary": "status 200", "shadow": "status 500"}]
    assert b"ada" not in orjson.dumps(document["shadow_response"])


CHAT = BASE_CONFIG.replace("as: classification", "as: text")
SAID = b'{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"%b"}}]}'


def test_free_text_is_not_shown() -> None:
    """Of what generating models were asked and answered, sizes and places are told unless it is asked for."""
    document = shown(
        CHAT, SAID % b"my name is ada", SAID % b"not a word like it", request_body=b'{"messages":[]}'
    )
    assert document["differences"]
    assert {each["primary"] for each in document["differences"]} == {"(withheld)"}
    assert (document["response"]["body"], document["response"]["withheld"]) == (None, True)
    assert document["shadow_response"]["size"] == len(SAID % b"not a word like it")
    text = orjson.dumps(document)
    assert not [word for word in (b"my name", b"not a word") if word in text]
    asked_for = CHAT.replace("body: 1KiB", "body: 1KiB, content: true")
    document = shown(asked_for, SAID % b"my name is ada", SAID % b"not a word like it")
    assert b"my name is" in orjson.dumps(document["differences"])


def test_stripped_free_text_is_not_shown() -> None:
    """What may not be shown of a whole example may not be shown of what is left of it."""
    rules = rules_of(CHAT)
    primary = primary_part(response_body=SAID % b"my name is ada", request_body=b"{}")
    part = shadow_part(response_body=SAID % b"not a word like it")
    example = strip(example_of(rules, primary, part, judged(rules, primary, part), {}))
    document = example_document(example.what)
    assert {each["primary"] for each in document["differences"]} == {"(withheld)"}
    assert b"my name" not in orjson.dumps(document)


def test_an_example_that_was_too_heavy() -> None:
    """What was stripped says so, and still tells who, when, where and how far."""
    rules = rules_of()
    primary, part = primary_part(request_id=b"i" * 5000), shadow_part(response_body=agreeing(2))
    whole = example_of(rules, primary, part, judged(rules, primary, part), {"tier": "gold"})
    light = strip(whole)
    assert light.weight < whole.weight
    document = example_document(light.what)
    assert document["omitted"]
    assert (document["request"], document["response"]) == (None, {"status": 200})
    assert document["differences"] == [{"path": "/label/0", "primary": "1", "shadow": "2"}]
    assert document["unit"] == example_document(whole.what)["unit"]
    assert document["id"] == example_id(whole.what)
    assert len(document["request_id"]) == 256


def test_a_stripped_one_of_a_redacted_route() -> None:
    """Without bodies to compare again there are no differences to show."""
    rules = rules_of(BASE_CONFIG.replace("body: 1KiB", "body: 1KiB, redact: [{json: /a}]"))
    primary, part = primary_part(), shadow_part(response_body=agreeing(2))
    example = strip(example_of(rules, primary, part, judged(rules, primary, part), {}))
    assert example_document(example.what)["differences"] == []


def test_places_are_bounded() -> None:
    """A key of a document may have any length, the name of a place may not."""
    rules = rules_of()
    long = Comparison("disagree", 1.0, "fields", "json", 1, 1, (Difference("/" + "k" * 10**6, "1", "2"),))
    example = example_of(rules, primary_part(), shadow_part(), long, {})
    (difference,) = example.what.comparison.differences
    assert len(difference.path) == MAX_PATH_CHARACTERS


def test_ids_tell_pairs_apart() -> None:
    """Another exchange or another shadow is another example; the same one never is."""
    rules = rules_of()
    comparison = judged(rules, primary_part(), shadow_part())
    ids = {
        example_id(
            example_of(rules, primary_part(number=number), shadow_part(shadow=shadow), comparison, {}).what
        )
        for number in (1, 2, 1)
        for shadow in (0, 1, 0)
    }
    assert len(ids) == 4


def test_a_stream_of_a_redacted_route() -> None:
    """Two streams are shown as what they add up to, redacted, and so are the places where they part."""
    text = BASE_CONFIG.replace("as: classification", "as: text").replace(
        "body: 1KiB", "body: 1KiB, content: true, redact: [{detect: email}]"
    )
    lines = b"content-type: text/event-stream\r\n"
    bodies = [
        b"".join(
            b'data: {"choices":[{"delta":{"content":"%b"},"finish_reason":"stop"}]}\n\n' % piece
            for piece in (b"ask ada@", b"example.com ", said)
        )
        for said in (b"tomorrow or never", b"and be quick about all of it")
    ]
    rules = rules_of(text)
    primary = primary_part(flags=Flag.MIRRORED | Flag.SHOWN, response_lines=lines, response_body=bodies[0])
    part = shadow_part(response_lines=lines, response_body=bodies[1])
    first, second = (Answer(200, b"text/event-stream", None, body) for body in bodies)
    document = example_document(
        example_of(rules, primary, part, compare(rules.compare, first, second), {}).what
    )
    assert document["response"]["assembled"]
    assert '"content":"ask *** tomorrow or never"' in document["response"]["body"]
    (difference,) = document["differences"]
    assert difference["primary"] == '"ask *** tomorrow or never"'
    assert b"ada@" not in orjson.dumps(document)


def test_rows_to_be_labelled() -> None:
    """Where true answers are waited for an example says which rows differ; elsewhere none are named."""
    body = b'{"outputs":[{"name":"label","datatype":"INT64","shape":[4],"data":%b}]}'
    primary = primary_part(response_body=body % b"[1,2,3,4]")
    part = shadow_part(response_body=body % b"[1,9,3,9]")
    for text, expected in ((BASE_CONFIG, []), (BASE_CONFIG.replace("as: cl", "labels: 1h, as: cl"), [1, 3])):
        rules = rules_of(text)
        example = example_of(rules, primary, part, judged(rules, primary, part), {})
        assert example.what.comparison.predicted is None
        assert example_document(example.what)["differing_rows"] == expected
