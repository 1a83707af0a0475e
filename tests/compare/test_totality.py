"""Any bytes of any format: no exception, no more memory than the cap allows, and time that grows as the bytes do."""

import gc
import gzip
import subprocess
import sys
import tracemalloc
import zlib
from array import array
from collections.abc import Callable
from time import process_time

import brotli
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import monotonic
from proxy.compare import decode, decode_request
from proxy.compare.content import decode_content
from proxy.compare.pace import measure_pace
from proxy.compare.values import DECODED_CAP_BYTES, Undecodable
from tests.compare.bodies import BODIES, Body, event_stream, zstd
from tests.compare.fuzz import CODINGS, KINDS, check, fuzz

JSON, EVENTS, LINES, CSV = b"application/json", b"text/event-stream", b"application/x-ndjson", b"text/csv"
MIB = 1024 * 1024
SIZE = DECODED_CAP_BYTES // 8
"""Of dense bodies: what is measured takes a hundred times as long while it is measured."""


@pytest.mark.slow
def test_mutated_bodies() -> None:
    """Twenty thousand bodies with something wrong with them; a million by ``make fuzz``."""
    outcomes = fuzz(20_000, seed=20261121)
    wanted = {
        "openai",
        "oip_v2",
        "v1",
        "csv",
        "ndjson",
        "json",
        "text",
        "bytes",
        "cut",
        "bad_tensor",
        "bad_encoding",
    }
    assert wanted <= outcomes.keys(), "mutations do not reach what they are about"


@given(
    st.binary(max_size=80),
    st.sampled_from(KINDS),
    st.sampled_from(CODINGS),
    st.none() | st.integers(-1, 90),
    st.randoms(),
)
def test_any_bytes(
    data: bytes, kind: bytes | None, coding: bytes | None, header: int | None, random: object
) -> None:
    """Under any type, coding and header length."""
    check(Body(data, kind, coding, header), random)  # type: ignore[arg-type]  # Hypothesis's own Random


@pytest.mark.parametrize("name", BODIES)
def test_each_body_cut_anywhere(name: str) -> None:
    """Every beginning of a real body is read or has a reason, and the whole of it is read."""
    body = BODIES[name]
    step = max(1, len(body.data) // 200)
    for end in range(0, len(body.data), step):
        decode(200, body.kind, body.coding, body.data[:end], body.header_length)
    if not name.endswith("request"):
        found = decode(200, body.kind, body.coding, body.data, body.header_length)
        assert not isinstance(found, Undecodable)


BOMBS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": lambda data: brotli.compress(data, quality=5),
    b"zstd": zstd.compress,
}

WEIGHED = """
import resource, sys
from proxy.compare.decode import decode
from proxy.compare.content import decode_content
decode_content(b"", b"br", 1), decode_content(b"", b"zstd", 1)  # what is imported is no part of it
bomb = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(3):
    assert decode(200, b"application/json", sys.argv[2].encode(), bomb).reason == "decoded_too_large"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("coding", BOMBS)
def test_a_bomb_does_not_go_off(coding: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """100 MiB in some KiB take a process few MiB more than the cap of 4: libraries' own memory included."""
    bomb = tmp_path_factory.mktemp("bomb") / "body"
    bomb.write_bytes(BOMBS[coding](b'{"a": "' + bytes(100 * MIB)))
    script = [sys.executable, "-c", WEIGHED, str(bomb), coding.decode()]
    told = subprocess.run(script, capture_output=True, text=True, check=True)
    grown_kib = int(told.stdout) // (1024 if sys.platform == "darwin" else 1)
    assert grown_kib < 48 * 1024


DENSE: dict[str, tuple[bytes, bytes]] = {
    "empty lists": (JSON, b"[%s[]]" % (b"[]," * (SIZE // 3 - 1))),
    "empty lists, a line each": (LINES, b"[]\n" * (SIZE // 3)),
    "empty events": (EVENTS, b"data:[]\n\n" * (SIZE // 9)),
    "a chat of small pieces": (
        EVENTS,
        b'data:{"choices":[{"delta":{"content":"a"}}]}\n\n' * (SIZE // 46),
    ),
    "fields": (CSV, b"1,1\n" * (SIZE // 4)),
    "texts": (CSV, b"aa,bb\n" * (SIZE // 6)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_many_small_values_are_bounded(name: str) -> None:
    """What is densest of each format takes so many times its bytes as objects at most; of CSV, fields are bounded."""
    kind, body = DENSE[name]
    tracemalloc.start()
    try:
        decode(200, kind, None, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < (64 if kind == CSV else 40) * SIZE


def test_100_mib_that_were_cut_are_not_looked_at() -> None:
    """A body over ``limits.copy`` comes as its head, and that is reason enough."""
    tracemalloc.start()
    try:
        assert decode(200, JSON, b"gzip", b"[" * MIB, truncated=True) == Undecodable("truncated")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB


def _choice(**more: object) -> dict[str, object]:
    return {"choices": [more]}


def _binary_texts(n: int) -> bytes:
    head = orjson.dumps(
        {
            "outputs": [
                {"name": "t", "datatype": "BYTES", "shape": [n], "parameters": {"binary_data_size": 4 * n}}
            ]
        }
    )
    return head.ljust(200) + bytes(4 * n)


def _numbered(make: Callable[[int], object]) -> Callable[[int], bytes]:
    """Return what makes a stream of so many different events."""
    return lambda n: event_stream(*map(make, range(n)))


def _call(index: int) -> object:
    return _choice(delta={"tool_calls": [{"index": index, "function": {"name": "f"}}]})


def _block(index: int) -> object:
    if not index:
        return {"type": "message_start", "message": {}}
    return {"type": "content_block_delta", "index": index, "delta": {"text": "a"}}


def _key(index: int) -> object:
    if not index:
        return {"type": "message_start", "message": {}}
    return {"type": "message_delta", "delta": {f"k{index}": 1}}


def _part(index: int) -> object:
    return {f"k{index}": 1, "candidates": [{"content": {"parts": [{"text": "a"}]}, "index": index % 2}]}


def _grown(_index: int) -> object:
    return {"text": "ab", "meta_info": {}}


def _cohere(index: int) -> object:
    if not index:
        return {"type": "message-start"}
    return {
        "type": "content-delta",
        "delta": {"message": {"content": {"text": "a"}, "tool_calls": {f"k{index}": 1}}},
    }


def _named(index: int) -> object:
    return _choice(delta={"tool_calls": [{"index": 0, "function": {"name": f"f{index}"}}]})


def _listed(name: str, make: Callable[[int], object], **more: object) -> Callable[[int], bytes]:
    """Return what makes an answer with a list of so many things."""
    return lambda n: orjson.dumps({**more, name: [make(i) for i in range(n)]})


LONG: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
    "an event of many lines": (EVENTS, lambda n: b"data: x\n" * n + b"\n"),
    "a line without an end": (EVENTS, lambda n: b"data:" + b"x" * 9 * n),
    "carriage returns": (EVENTS, lambda n: b"\r" * 9 * n),
    "events of rows": (EVENTS, lambda n: b"data: {}\n\n" * n),
    "a chat": (EVENTS, _numbered(lambda _: _choice(delta={"content": "a"}))),
    "a chat of many choices": (EVENTS, _numbered(lambda i: _choice(index=i, delta={"content": "a"}))),
    "a chat of many calls": (EVENTS, _numbered(_call)),
    "a chat of a name in many pieces": (EVENTS, _numbered(_named)),
    "many candidates' parts": (EVENTS, _numbered(_part)),
    "a list of candidates' parts": (JSON, lambda n: orjson.dumps(list(map(_part, range(n))))),
    "a text that is set up to grow": (EVENTS, _numbered(_grown)),
    "Cohere's pieces": (EVENTS, _numbered(_cohere)),
    "halves of emoji": (JSON, lambda n: b'["' + b"\\ud83d" * n + b'"]'),
    "no type": (b"", lambda n: b"{}\n" * n),
    "a message of many keys": (EVENTS, _numbered(_key)),
    "a message of many blocks": (EVENTS, _numbered(_block)),
    "lines of rows": (LINES, lambda n: b'{"a": 1}\n' * n),
    "blank lines": (LINES, lambda n: b"\n" * 9 * n),
    "fields": (CSV, lambda n: b"1,2,x,4\n" * n),
    "fields of one row": (CSV, lambda n: b"1," * n),
    "quotes": (CSV, lambda n: b'"' * n),
    "blanks around a number": (CSV, lambda n: (b" " * 500 + b"1" + b" " * 500 + b"x\n") * (n // 100)),
    "digits": (CSV, lambda n: b"1" * 100_000 + b"\n" + b"1,\n" * n),
    "nested": (JSON, lambda n: b'{"predictions": ' + b"[[[1], [2]]," * n + b"1" + b"]" * n + b"}"),
    "embeddings": (JSON, _listed("data", lambda i: {"index": i, "embedding": [1.0]}, object="list")),
    "choices": (JSON, _listed("choices", lambda i: {"index": -i, "message": {"content": "a"}})),
    "generated texts": (JSON, lambda n: orjson.dumps([{"generated_text": "a"}] * n)),
    "binary texts": (b"application/octet-stream", _binary_texts),
}


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize("name", LONG)
def test_time_grows_with_length(name: str) -> None:
    """Eight times the body takes about eight times as long; where something is quadratic it takes 64 times."""
    kind, make = LONG[name]
    header = 200 if name == "binary texts" else None

    def taken(n: int) -> float:
        best = 1e9
        for more in range(3):
            body = make(n + more)  # what was put together before is remembered: another one each time
            blob = array("Q", (1, len(body))).tobytes()
            gc.collect()
            started = process_time()
            decode(200, kind, None, body, header)
            decode_request(kind, body, header)
            measure_pace(blob, body, kind, limit=4096)
            best = min(best, process_time() - started)
        return best

    gc.disable()  # it looks at all that the tests before have left as well
    try:
        assert taken(16_000) < 28 * taken(2_000) + 0.05
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
def test_members_take_time_by_their_number(coding: bytes) -> None:
    """So many members as are read at all take less than a moment."""
    started = monotonic()
    assert decode_content(BOMBS[coding](b"") * 10_000, coding, MIB) == b""
    assert decode_content(BOMBS[coding](b"") * 200_000, coding, MIB) == Undecodable("unsupported_encoding")
    assert monotonic() - started < 5
