"""What must not be written is not there afterwards, and everything else is."""

import base64
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.privacy.actions import Action, Treatment, keyed_hash, treat_value
from proxy.privacy.redact import Redactor, Rule

KEY = b"k" * 32
H_ADA = keyed_hash(KEY, b"ada")

CASES: dict[str, tuple[list[tuple[str, Action]], Any, Any]] = {
    "member": ([("/a", "drop")], {"a": 1, "b": 2}, {"b": 2}),
    "nested member": ([("/a/b", "drop")], {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
    "absent": ([("/x/y", "drop")], {"a": 1}, {"a": 1}),
    "list element leaves its place": ([("/a/1", "drop")], {"a": [1, 2, 3]}, {"a": [1, None, 3]}),
    "index beyond the end": ([("/a/7", "drop")], {"a": [1]}, {"a": [1]}),
    "no index": ([("/a/x", "drop")], {"a": [1]}, {"a": [1]}),
    "star over a list": ([("/a/*/n", "drop")], {"a": [{"n": 1, "m": 1}, {"n": 2}]}, {"a": [{"m": 1}, {}]}),
    "star over an object": (
        [("/*/n", "drop")],
        {"a": {"n": 1}, "b": {"n": 2}, "c": 3},
        {"a": {}, "b": {}, "c": 3},
    ),
    "closing star": ([("/a/*", "drop")], {"a": {"x": 1, "y": 2}}, {"a": {}}),
    "closing star over a list": ([("/a/*", "drop")], {"a": [1, 2]}, {"a": [None, None]}),
    "any depth": ([("/**/n", "drop")], {"n": 1, "a": [{"n": 2, "b": {"n": 3}}]}, {"a": [{"b": {}}]}),
    "closing any depth": ([("/a/**", "drop")], {"a": {"x": 1}, "b": 1}, {"a": {}, "b": 1}),
    "escaped": ([("/a~1b/c~0d", "drop")], {"a/b": {"c~d": 1}}, {"a/b": {}}),
    "empty key": ([("/", "drop")], {"": 1, "a": 2}, {"a": 2}),
    "key that is a star": ([("/a/*", "drop")], {"a": {"*": 1}}, {"a": {}}),
    "hash of text": ([("/u", "hash")], {"u": "ada"}, {"u": H_ADA}),
    "hash of a number": ([("/u", "hash")], {"u": 42}, {"u": keyed_hash(KEY, b"42")}),
    "hash of an object is by value": (
        [("/u", "hash")],
        {"u": {"b": 1, "a": 2}},
        {"u": keyed_hash(KEY, b'{"a":2,"b":1}')},
    ),
    "hash of null": ([("/u", "hash")], {"u": None}, {"u": keyed_hash(KEY, b"null")}),
    "hash in a list": ([("/u/*", "hash")], {"u": ["ada", "ada"]}, {"u": [H_ADA, H_ADA]}),
    "drop wins over hash": ([("/u", "hash"), ("/u", "drop")], {"u": "ada"}, {}),
    "drop below a hash": ([("/u", "hash"), ("/u/p", "drop")], {"u": {"p": 1}}, {"u": keyed_hash(KEY, b"{}")}),
    "into a scalar": ([("/a/b/c", "drop")], {"a": "text"}, {"a": "text"}),
    "list at the root": ([("/0/n", "drop")], [{"n": 1}], [{}]),
    "scalar at the root": ([("/a", "drop")], "text", "text"),
    "the whole document": ([("", "drop")], {"a": 1}, None),
}


def pointers(*named: tuple[str, Action]) -> Redactor:
    return Redactor.of(KEY, [Rule("json", pointer, Treatment(action)) for pointer, action in named])


@pytest.mark.parametrize("name", CASES)
def test_documents(name: str) -> None:
    """What the pointers name is dropped or hashed, the rest is as it was, and it is told whether anything was."""
    named, document, expected = CASES[name]
    shown, is_changed = pointers(*named).redact_document(orjson.loads(orjson.dumps(document)))
    assert shown == expected
    assert is_changed == (expected != document)


ROWS = [{"age": 3, "ssn": "078-05-1120"}, {"age": 4, "ssn": "219-09-9999"}]
KEPT_ROWS = [{"age": 3}, {"age": 4}]
TENSOR = {"name": "ssn", "datatype": "BYTES", "shape": [2], "data": ["078-05-1120", "219-09-9999"]}
NUMBERS = {"name": "ssn", "datatype": "FP32", "shape": [1, 2], "data": [[1.5, 78051120.0]]}
BARE = {"name": "ssn", "datatype": "BYTES", "shape": [2]}
OTHER = {"name": "age", "datatype": "INT64", "shape": [2], "data": [3, 4]}

TENSORS: dict[str, tuple[Action, Any, Any]] = {
    "an input": ("drop", {"inputs": [TENSOR, OTHER]}, {"inputs": [BARE, OTHER]}),
    "an output": ("drop", {"outputs": [OTHER, TENSOR]}, {"outputs": [OTHER, BARE]}),
    "masked": ("mask", {"inputs": [TENSOR]}, {"inputs": [{**TENSOR, "data": ["***", "***"]}]}),
    "numbers stay numbers": ("mask", {"inputs": [NUMBERS]}, {"inputs": [{**NUMBERS, "data": [[0.0, 0.0]]}]}),
    "hashed, each value": (
        "hash",
        {"inputs": [NUMBERS]},
        {
            "inputs": [
                {
                    **NUMBERS,
                    "datatype": "BYTES",
                    "data": [[keyed_hash(KEY, b"1.5"), keyed_hash(KEY, b"78051120.0")]],
                }
            ]
        },
    ),
    "the end of each": (
        "keep_last",
        {"inputs": [TENSOR]},
        {"inputs": [{**TENSOR, "data": ["***1120", "***9999"]}]},
    ),
    "rows that are objects": ("drop", {"instances": ROWS}, {"instances": KEPT_ROWS}),
    "rows of an answer": ("drop", {"predictions": ROWS}, {"predictions": KEPT_ROWS}),
    "a bare list of rows": ("drop", ROWS, KEPT_ROWS),
    "columns": ("drop", {"inputs": {"ssn": ["078"], "age": [3]}}, {"inputs": {"age": [3]}}),
    "a member of the document": ("drop", {"ssn": "078", "age": 3}, {"age": 3}),
    "records of a frame": ("drop", {"dataframe_records": ROWS}, {"dataframe_records": KEPT_ROWS}),
    "a column of a frame": (
        "mask",
        {"dataframe_split": {"columns": ["age", "ssn"], "data": [[3, "078"], [4, "219"]]}},
        {"dataframe_split": {"columns": ["age", "ssn"], "data": [[3, "***"], [4, "***"]]}},
    ),
    "not there": ("drop", {"inputs": [OTHER]}, {"inputs": [OTHER]}),
    "a column of a bare frame": (
        "mask",
        {"columns": ["age", "ssn"], "data": [[3, "078"]]},
        {"columns": ["age", "ssn"], "data": [[3, "***"]]},
    ),
    "a column of an array with names": (
        "mask",
        {"data": {"names": ["age", "ssn"], "ndarray": [[3, "078"]]}},
        {"data": {"names": ["age", "ssn"], "ndarray": [[3, "***"]]}},
    ),
    "names that are none": ("mask", {"data": {"names": 1, "ndarray": [[3]]}, "columns": "ssn"}, None),
    "of another form": ("drop", {"inputs": "ssn", "predictions": 7, "dataframe_split": []}, None),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str) -> None:
    """A tensor is found by its name wherever a format puts tensors and columns, and others are left alone."""
    action, document, expected = TENSORS[name]
    redactor = Redactor.of(KEY, [Rule("tensor", "ssn", Treatment(action))])
    shown, is_changed = redactor.redact_document(orjson.loads(orjson.dumps(document)))
    assert shown == (document if expected is None else expected)
    assert is_changed == (shown != document)


def detecting(*kinds: str, action: Action = "mask") -> Redactor:
    return Redactor.of(KEY, [Rule("detect", kind, Treatment(action)) for kind in kinds])


MAIL = "ada@example.com"
ENCODED = base64.b64encode(f"mail {MAIL} now".encode()).decode()

DETECTED: dict[str, tuple[Any, Any]] = {
    "a text": (MAIL, "***"),
    "in a text": ({"q": f"ask {MAIL}, or 4111 1111 1111 1111"}, {"q": "ask ***, or ***"}),
    "in a list": (["x", [MAIL]], ["x", ["***"]]),
    "a key": ({MAIL: {"a": 1}}, {"***": {"a": 1}}),
    "two keys": ({MAIL: 1, "b@example.org": 2}, {"***": 1, "****": 2}),
    "a card as a number": ({"n": 4111111111111111, "m": 7}, {"n": 0, "m": 7}),
    "a card among numbers": ([1, 4111111111111111, 2.5], [1, 0, 2.5]),
    "a card as a float": ([4111111111111111.0], [0.0]),
    "JSON in a text": (
        {"arguments": '{"to": "ada\\u0040example.com", "n": 1}'},
        {"arguments": '{"to":"***","n":1}'},
    ),
    "base64 in a text": ({"b64": ENCODED}, {"b64": "***"}),
    "base64 for URLs, without padding": ({"b64": ENCODED.rstrip("=")}, {"b64": "***"}),
    "a data URL": ({"url": f"data:text/plain;base64,{ENCODED}"}, {"url": "***"}),
    "characters of one byte": (
        {"inputs": [{"name": "t", "datatype": "UINT8", "shape": [1, 15], "data": [list(MAIL.encode())]}]},
        {"inputs": [{"name": "t", "datatype": "UINT8", "shape": [1, 15], "data": [[0] * 15]}]},
    ),
    "characters among bytes that are none": (
        {"inputs": [{"name": "t", "datatype": "UINT8", "shape": [1, 16], "data": [[1, *MAIL.encode()]]}]},
        {"inputs": [{"name": "t", "datatype": "UINT8", "shape": [1, 16], "data": [[0] * 16]}]},
    ),
    "numbers that are no bytes": (
        {"inputs": [{"name": "t", "datatype": "INT32", "shape": [1, 16], "data": [[1, *MAIL.encode()]]}]},
        None,
    ),
    "bytes that are none": (
        {
            "inputs": [
                3,
                *({"name": "t", "datatype": "UINT8", "data": data} for data in (7, [1.5, "a"], [[1], 2])),
            ]
        },
        None,
    ),
    "a text once more, token by token": (
        {"text": MAIL, "logprobs": {"tokens": ["ada", "@", "example.com"]}},
        {"text": "***", "logprobs": None},
    ),
    "nothing": (
        {
            "a": [1, 2.5, None, True, "text", 10**18, {"b": ""}],
            "c": "eyJhIjoxfQ==",
            "d": "{no json",
            "e": "A" * 40,
        },
        None,
    ),
}


@pytest.mark.parametrize("name", DETECTED)
def test_detected(name: str) -> None:
    """What a detector finds in any text, key or number of a document is not there afterwards."""
    document, expected = DETECTED[name]
    shown, is_changed = detecting("email", "card").redact_document(orjson.loads(orjson.dumps(document)))
    assert shown == (document if expected is None else expected)
    assert is_changed == (expected is not None)


@pytest.mark.parametrize(
    ("parts", "is_shared"),
    [
        (("to ada@exa", "mple.com now"), True),
        (("to ", f"{MAIL} now"), False),
        ((f"to {MAIL}", " now"), False),
        (("a ", "b ", MAIL, " c"), False),
        (("a", "da@", "example.com", "c"), True),
    ],
)
def test_what_texts_share(parts: tuple[str, ...], is_shared: bool) -> None:
    """Two texts share what begins in one and ends in another, not what ends where one ends."""
    redactor = detecting("email")
    assert redactor.is_shared(parts, [redactor.redact_text(part) for part in parts]) is is_shared


def test_a_secret_that_only_its_name_gives_away() -> None:
    """A member of an object is seen with its name, and left alone under another one."""
    secret = "aB3/" * 10
    document = {"AWS_SECRET_ACCESS_KEY": secret, "digest": secret, "secretAccessKey": "short"}
    assert detecting("token").redact_document(dict(document)) == (
        {**document, "AWS_SECRET_ACCESS_KEY": "***"},
        True,
    )


ACTIONS: dict[Action, str] = {
    "mask": "to *** now",
    "drop": "to  now",
    "hash": f"to {keyed_hash(KEY, MAIL.encode())} now",
    "keep_last": "to ***.com now",
}


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_on_what_is_detected(action: Action) -> None:
    """Only what was found is treated; the text around it stays."""
    assert detecting("email", action=action).redact_text(f"to {MAIL} now") == ACTIONS[action]


def test_headers() -> None:
    """A header is kept, hashed, masked or dropped by its name; the stronger counts where two are asked for."""
    named: list[tuple[str, Action]] = [
        ("X-User", "hash"), ("cookie", "drop"), ("cookie", "hash"), ("a", "hash"), ("a", "drop"), ("m", "mask"),
    ]  # fmt: skip
    redactor = Redactor.of(KEY, [Rule("header", name, Treatment(action)) for name, action in named])
    assert redactor.redact_header("accept", "*/*") == "*/*"
    assert redactor.redact_header("x-user", "ada") == H_ADA
    assert redactor.redact_header("m", "ada") == "***"
    assert redactor.redact_header("cookie", "s=1") is None
    assert redactor.redact_header("a", "b") is None


def test_detectors_look_into_headers() -> None:
    """A header that nobody named is looked through."""
    redactor = detecting("email", "token")
    assert redactor.redact_header("from", f"Ada <{MAIL}>") == "Ada <***>"
    assert redactor.redact_header("authorization", "Bearer abcDEF0123456789") == "Bearer ***"


PATHS = {
    f"/users/{MAIL}/predict": "/users/***/predict",
    "/users/ada%40example.com/predict": "/users/***/predict",
    "/a%20b/4111111111111111": "/a%20b/***",
    "/v2/models/wine/infer": "/v2/models/wine/infer",
    "/fetch/https://ada:hunter2@db/x y": "/fetch/https://ada:***@db/x%20y",
    "/fetch/https%3A%2F%2Fada:hunter2@db/x": "/fetch/https:%2F%2Fada:***@db/x",
    "/to/hooks.slack.com/services/T012AB/B012AB/abcdefghijklmnop": "/to/***",
    f"/{MAIL}/https://ada:hunter2@db/x": "/***/https://ada:***@db/x",
    "/pay/4111/1111/1111/1111": "/pay/***",
    "*": "*",
}


@pytest.mark.parametrize("path", PATHS)
def test_paths(path: str) -> None:
    """Segments of a path are looked through as they are meant, not as they are escaped, and so are all together."""
    assert detecting("email", "card", "token").redact_path(path) == PATHS[path]
    assert pointers(("/a", "drop")).redact_path(path) == path


def test_key_is_not_shown() -> None:
    """The key is not in the redactor's text."""
    assert "kkk" not in repr(pointers(("/a", "drop")))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["n", "m", "a"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def find_key(document: Any, key: str) -> bool:
    if isinstance(document, dict):
        return key in document or any(find_key(value, key) for value in document.values())
    return isinstance(document, list) and any(find_key(value, key) for value in document)


@given(JSON)
def test_any_depth_means_any_depth(document: Any) -> None:
    """After ``/**/n`` no object anywhere has a member ``n``."""
    assert not find_key(pointers(("/**/n", "drop")).redact_document(document)[0], "n")


@given(JSON, st.data())
def test_what_is_not_named_stays(document: Any, data: st.DataObject) -> None:
    """A document in which no rule finds anything is the document that it was."""
    redactor = Redactor.of(
        KEY,
        [
            Rule("json", "/**/nowhere", Treatment(data.draw(st.sampled_from(["drop", "mask"])))),
            Rule("tensor", "nowhere", Treatment("mask")),
            Rule("detect", "email", Treatment("mask")),
        ],
    )
    assert redactor.redact_document(orjson.loads(orjson.dumps(document))) == (document, False)


@given(JSON, st.sampled_from([MAIL, "4111 1111 1111 1111"]), st.data())
def test_wherever_it_stands(document: Any, secret: str, data: st.DataObject) -> None:
    """Put in the place of any text or key of a document, what the detectors know is found."""
    text = orjson.dumps(document).decode()
    places = [
        at for at in range(len(text)) if text.startswith('"', at) and not text.startswith('\\"', at - 1)
    ]
    if len(places) < 2:
        return
    at = places[2 * data.draw(st.integers(0, len(places) // 2 - 1))] + 1
    planted = orjson.loads(f"{text[:at]}{secret} {text[at:]}")
    shown, is_changed = detecting("email", "card").redact_document(planted)
    assert is_changed
    assert secret not in orjson.dumps(shown).decode()


def named_by(value: Any, segments: tuple[str, ...]) -> Any:
    """Return ``value`` masked where a pointer names something: as the words of the rule say it, and slowly."""
    if not segments:
        return treat_value(Treatment("mask"), KEY, value)
    head, rest = segments[0], segments[1:]
    if not isinstance(value, dict | list):
        return value
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    shown: Any = value.copy()
    if head == "**" and rest:
        shown = named_by(shown, rest)
    for key in keys:
        inner = shown[key]
        if head == "**":
            shown[key] = named_by(inner, segments) if rest else named_by(inner, ())
        elif head in ("*", str(key)):
            shown[key] = named_by(inner, rest)
    return shown


@given(JSON, st.lists(st.sampled_from(["*", "**", "n", "m", "0", "1"]), min_size=1, max_size=4).map(tuple))
def test_pointers_name_what_their_words_say(document: Any, segments: tuple[str, ...]) -> None:
    """Whatever stars a pointer has, it names what each star by itself names."""
    expected = named_by(orjson.loads(orjson.dumps(document)), segments)
    redactor = pointers(("/" + "/".join(segments), "mask"))
    named = redactor.names_nothing_in(document).pointers == ()
    shown, is_changed = redactor.redact_document(document)
    assert shown == expected
    assert is_changed == named


def test_stars_take_linear_time() -> None:
    """A pointer of many stars goes through each value once, however deep a document is nested."""
    document: Any = {"x": MAIL}
    for _ in range(300):
        document = {"a": [document, 1]}
    redactor = pointers(("/**/**/**/*/**/**/x", "mask"), ("/**/a/**/a/**/a/**/y", "drop"))
    began = time.process_time()
    shown, is_changed = redactor.redact_document(document)
    assert time.process_time() - began < 1.0
    assert is_changed
    assert MAIL not in repr(shown)


SPELT: dict[str, Any] = {
    "parts of a message": {"messages": [{"content": [{"type": "text", "text": x} for x in ("ada@", "example.com")]}]},
    "parts, the first of which is enough": {"parts": [{"type": "text", "text": x} for x in ("a@example.co", "m.org")]},
    "bytes": {"data": list(MAIL.encode())},
    "bytes with a sign, and an end": {"data": [-61, -87, 32, *MAIL.encode(), 0, 0]},
    "letters as numbers": {"data": [281, *MAIL.encode()]},
    "numbers with a point": {"data": [float(code) for code in MAIL.encode()]},
    "letters": {"data": list(MAIL)},
    "tokens as texts": {"tokens": ["ada", "@", "exam", "ple.com"]},
    "tokens beside a text": {
        "choices": [{"message": {"content": MAIL}}],
        "prompt_token_ids": [109, 46, 111],
        "output_token_logprobs": [[-0.5, 1, "ada"]],
    },
    "tokens beside what a pointer takes": {"generated_text": "x", "secret": 1, "details": {"tokens": ["m.org"]}},
    "log probabilities": {"logprobs": {"tokens": ["m.org"]}},
    "half of a JSON text": {"arguments": r'{"to": "ada\u0040example.com'},
    "JSON amid words": {"q": r'so: {"to": "ada\u0040example.com"}'},
    "base64 amid words": {"q": "see YWRhQGV4YW1wbGUuY29t here"},
    "a key in base64": {"YWRhQGV4YW1wbGUuY29t": 1},
    "an address, and one that is hidden": {"q": "m@x.org, ada%40example%2Ecom"},
}  # fmt: skip


@pytest.mark.parametrize("name", SPELT)
def test_what_is_spelt_otherwise(name: str) -> None:
    """What stands in a document in parts, as numbers or in another spelling is not there afterwards either."""
    rules = [Rule("detect", "email", Treatment("mask")), Rule("json", "/secret", Treatment("drop"))]
    shown, is_changed = Redactor.of(KEY, rules).redact_document(orjson.loads(orjson.dumps(SPELT[name])))
    written = orjson.dumps(shown).decode()
    assert is_changed
    told = (
        "example.com",
        "m.org",
        "YWRh",
        "u0040",
        "%40",
        "97,100",
        "[109,",
        '"ada"',
        "97.0,100.0",
        '"a","d"',
    )
    assert [each for each in told if each in written] == []


KEPT: dict[str, Any] = {
    "features that are called tokens": {"instances": [{"input_ids": [101, 7592], "tokens": [3]}], "context": {"a": 1}},
    "rows of texts": {"instances": [{"text": "hello ada"}, {"text": "@home"}]},
    "ages": {"data": [55, 68, 64, 83, 50, 55, 46, 90, 74, 28, 40, 34]},
    "numbers as large as bytes": {"data": list(range(9, 200)), "pixels": [0.0, 64.0] * 50, "odd": [0.5] * 20},
    "words of a row": {"tokens": ["Ada", "lives", "@", "home"]},
    "letters of something else": {"data": list("abcdefghijklmnopqrstuvwxyz")},
    "an answer without a secret": {"choices": [{"message": {"content": "x"}}], "prompt_token_ids": [1, 2]},
    "base64 of something else": {"image": "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4"},
    "a hash": {"sha": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    "marks": {"q": "50% of a & b, C:\\users\\x and more words"},
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept(name: str) -> None:
    """What looks like a disguise and hides nothing stays as it was."""
    document = KEPT[name]
    assert detecting("email", "card", "token", "phone").redact_document(
        orjson.loads(orjson.dumps(document))
    ) == (
        document,
        False,
    )
