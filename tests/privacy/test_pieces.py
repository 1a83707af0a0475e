"""Bodies in pieces: what a model said is redacted as a whole, wherever the pieces part, and in every dialect."""

import time
from collections.abc import Sequence
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.compare import decode
from proxy.compare.events import read_events, read_lines
from proxy.privacy.actions import Action, Treatment, keyed_hash
from proxy.privacy.bodies import redact_body
from proxy.privacy.pieces import is_spread, redact_pieces
from proxy.privacy.redact import Redactor, Rule, Target
from tests.compare.bodies import BODIES
from tests.e2e.planting import forms
from tests.privacy.dialects import DIALECTS, EVENTS, LINES, Dialect, body_of, chunk

KEY = b"k" * 32
SECRETS = {
    "email": "ada.Qm7@mail-kx4.example",
    "card": "4556 7375 8689 9855",
    "token": "ghp_Zk8Wq3Xv7Bn5Mt9Rc2Ld6Jf4Hs1Gp0Yy7Tt5",
    "phone": "+49 30 8675309",
    "long token": "sk-" + "aB3dE5gH7j" * 6,
}


def rules(*named: tuple[Target, str, Action]) -> Redactor:
    return Redactor.of(KEY, [Rule(target, name, Treatment(action)) for target, name, action in named])


DETECT = rules(*(("detect", name, "mask") for name in ("email", "card", "token", "phone")))


def shown_of(kind: bytes, body: bytes, redactor: Redactor = DETECT) -> bytes | None:
    """Return what may be written of a stream, which says that it was assembled."""
    shown = redact_body(redactor, kind, None, body)
    assert shown is None or shown.is_assembled
    return None if shown is None else shown.body


def parts(text: str, places: Sequence[int]) -> list[str]:
    """Return ``text`` cut at ``places``."""
    cuts = [0, *sorted(place for place in places if 0 < place < len(text)), len(text)]
    return [text[begin:end] for begin, end in pairwise(cuts)]


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_every_boundary(dialect: Dialect, secret: str) -> None:
    """A secret that two events share, wherever it is cut, is not in what is written, and what stands beside it is."""
    text = f"to {secret} now"
    for at in range(len(text) + 1):
        for is_ascii in (False, True):
            kind, documents = dialect([text[:at], text[at:]])
            shown = shown_of(kind, body_of(kind, documents, is_ascii=is_ascii))
            assert shown is not None
            assert [form for form in forms(secret) if form in shown] == []
            assert secret[-5:].encode() not in shown, "nor its end"
            assert b"***" in shown


@settings(max_examples=300)
@given(
    st.sampled_from(list(DIALECTS.values())),
    st.lists(st.sampled_from(list(SECRETS.values())), min_size=1, max_size=3),
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters='"\\'), max_size=6), min_size=4, max_size=4
    ),
    st.lists(st.integers(0, 120), max_size=40),
    st.booleans(),
)
def test_any_boundaries(
    dialect: Dialect, secrets: list[str], between: list[str], places: list[int], is_ascii: bool
) -> None:
    """However a text with secrets is cut into pieces, none of them comes out."""
    text = " ".join(part for pair in zip(between, [*secrets, ""], strict=False) for part in pair)
    kind, documents = dialect(parts(text, places))
    shown = shown_of(kind, body_of(kind, documents, is_ascii=is_ascii))
    for secret in secrets:
        assert shown is None or [form for form in forms(secret) if form in shown] == []


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_letter_by_letter(dialect: Dialect) -> None:
    """A stream of single letters says the same."""
    for secret in SECRETS.values():
        kind, documents = dialect(list(f"to {secret}"))
        shown = shown_of(kind, body_of(kind, documents))
        assert shown is not None
        assert [form for form in forms(secret) if form in shown] == []


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_arguments_that_are_escaped(dialect: Dialect) -> None:
    """An escape that is itself cut hides nothing."""
    text = r"ada.Qm7\u0040mail-kx4.example"
    for at in range(len(text)):
        kind, documents = dialect([text[:at], text[at:]])
        shown = shown_of(kind, body_of(kind, documents))
        assert shown is not None
        assert b"mail-kx4" not in shown


SECRET = SECRETS["email"]
STRAY: dict[str, tuple[bytes, bool]] = {
    "a comment": (f": {SECRET}\n\n".encode(), True),
    "an id": (f"id: {SECRET}\n".encode(), True),
    "the name of an event": (f"event: {SECRET}\n".encode(), True),
    "a field that nobody knows": (f"note: {SECRET}\n\n".encode(), True),
    "an event of another kind": (b"data: " + orjson.dumps({"note": SECRET}) + b"\n\n", True),
    "usage": (b"data: " + orjson.dumps({"choices": [], "usage": {"by": SECRET}}) + b"\n\n", True),
    "the id of the answer": (b"data: " + orjson.dumps({"id": SECRET, "choices": []}) + b"\n\n", True),
    "the model": (b"data: " + orjson.dumps({"model": SECRET, "choices": []}) + b"\n\n", True),
    "behind the end": (f"data: [DONE]\n\ndata: {SECRET}\n\n".encode(), True),
    "an error": (b"data: " + orjson.dumps({"error": {"message": SECRET}}) + b"\n\n", False),
    "no JSON": (f"data: {SECRET}\n\n".encode(), False),
}


@pytest.mark.parametrize("name", STRAY)
@pytest.mark.parametrize("at", [0, 2])
def test_what_else_a_stream_has(name: str, at: int) -> None:
    """What stands between the pieces is not written; a stream with an error, or no JSON in it, not at all."""
    stray, is_written = STRAY[name]
    head = [chunk(content="a"), chunk(content="b"), chunk("stop")]
    pieces = [b"data: " + orjson.dumps(each) + b"\n\n" for each in head]
    body = b"".join([*pieces[:at], stray, *pieces[at:], b"data: [DONE]\n\n"])
    shown = redact_body(DETECT, EVENTS, None, body)
    assert (shown is not None) == is_written or at == 0
    assert shown is None or SECRET.encode() not in shown.body
    if is_written and at == 2:
        assert shown is not None
        assert b'"content":"ab"' in shown.body


BROKEN = {
    "without its end": b"".join(b"data: " + orjson.dumps(chunk(content=x)) + b"\n\n" for x in "ab"),
    "an error first": b'data: {"error": {"message": "no"}}\n\n',
    "of a service that is not known": b'data: {"said": "ada@"}\n\ndata: {"said": "mail-kx4.example"}\n\n',
    "nothing": b": hello\n\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_put_together(name: str) -> None:
    """Of a stream that is broken, or that nobody knows how to put together, nothing is written."""
    assert redact_body(DETECT, EVENTS, None, BROKEN[name]) is None


POINTERS: dict[str, tuple[tuple[Target, str, Action], Dialect, bytes]] = {
    "where the answer in one piece has it": (
        ("json", "/choices/*/message/content", "mask"),
        DIALECTS["chat"],
        b'"content":"***"',
    ),
    "anywhere": (("json", "/**/content", "mask"), DIALECTS["chat"], b'"content":"***"'),
    "where the pieces have it": (("json", "/choices/*/delta/content", "mask"), DIALECTS["chat"], b'"content":"******"'),
    "a member of pieces, left out": (("json", "/choices/*/delta", "drop"), DIALECTS["chat"], b'"text":""'),
    "hashed once": (
        ("json", "/model", "hash"),
        DIALECTS["chat"],
        b'"model":"' + keyed_hash(KEY, b"m").encode(),
    ),
    "by the name of a member": (("tensor", "content", "mask"), DIALECTS["llama_cpp"], b'"content":"***"'),
    "a token's text": (("json", "/token/text", "mask"), DIALECTS["triton"], b'"text_output":"to secret"'),
    "arguments": (("json", "/**/arguments", "mask"), DIALECTS["arguments"], b'"arguments":"***"'),
}  # fmt: skip


@pytest.mark.parametrize("name", POINTERS)
def test_pointers(name: str) -> None:
    """A pointer names what it names in the answer in one piece; one that names nothing there is for the pieces."""
    rule, dialect, expected = POINTERS[name]
    kind, documents = dialect(["to ", "secret"])
    shown = shown_of(kind, body_of(kind, documents), rules(rule))
    assert shown is not None
    assert expected in shown
    assert (b"secret" in shown) == (
        b"secret" in expected or name == "hashed once" or dialect is DIALECTS["llama_cpp"]
    )


def test_pieces_that_are_no_answer_any_more() -> None:
    """Where a rule takes from the pieces what makes them an answer, nothing is written."""
    kind, documents = DIALECTS["chat"](["a"])
    body = body_of(kind, [*documents, {"note": 1}])
    assert redact_body(rules(("json", "/choices", "drop")), kind, None, body) is not None
    assert redact_body(rules(("json", "/choices/0/delta/content", "drop")), kind, None, body) is not None
    done = body_of(LINES, DIALECTS["ollama"](["a", "b"])[1])
    assert (
        redact_body(rules(("json", "/done/x", "drop"), ("json", "/response/0", "drop")), LINES, None, done)
        is not None
    )


@pytest.mark.parametrize("name", [name for name, body in BODIES.items() if body.kind in (EVENTS, LINES)])
def test_a_redacted_stream_is_what_the_stream_says(name: str) -> None:
    """Where nothing is found, what is written of a stream is the document that is compared."""
    body = BODIES[name]
    read = decode(200, body.kind, body.coding, body.data)
    shown = redact_body(DETECT, body.kind, None, body.data)
    if shown is not None and shown.is_assembled:
        assert getattr(read, "document", None) == orjson.loads(shown.body)
        assert not shown.is_changed


def test_lines_that_go_on() -> None:
    """Texts at one place of several documents are read one behind the other; other places are others."""
    assert is_spread(DETECT, [{"a": ["ada@"]}, {"a": ["x.example"]}])
    assert not is_spread(DETECT, [{"a": "ada@"}, {"b": "x.example"}])
    assert not is_spread(DETECT, [{"a": "ada@"}, {"a": "x.y"}, 3, None])
    assert not is_spread(rules(("json", "/a", "drop")), [{"a": "ada@"}, {"a": "x.example"}])


def test_any_cutter() -> None:
    """What cuts a body decides whether pieces are events or lines."""
    events, lines = b'data: {"a":1}\n\n', b'{"a":1}\n'
    pointer = rules(("json", "/a", "drop"))
    for body, cut, expected in ((events, read_events, b"data: {}\n\n"), (lines, read_lines, b"{}\n")):
        shown = redact_pieces(pointer, body, cut)
        assert shown is not None
        assert (shown.body, shown.is_changed) == (expected, True)


def test_linear_time() -> None:
    """Ten thousand events with a letter each are redacted at once."""
    kind, documents = DIALECTS["chat"](list("ada@x.example ") * 700)
    body = body_of(kind, documents)
    began = time.process_time()
    shown = shown_of(kind, body)
    assert time.process_time() - began < 5.0
    assert shown is not None
    assert b"@" not in shown
