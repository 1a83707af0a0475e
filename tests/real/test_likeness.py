"""Every kind of difference that a proxy could make is seen, and the promised ones are not."""

import re
from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.real.likeness import answer_differences, forwarded_differences, paired
from tests.real.messages import Exchange, Message

ADDED = [
    b"x-forwarded-for: 127.0.0.1",
    b"x-forwarded-proto: http",
    b"x-forwarded-host: a",
    b"via: 1.1 modelproxy",
]
DRAWN = [(re.compile(rb'"id":\d+'), b'"id":0')]


def client_side() -> Exchange:
    """What a client would see."""
    return Exchange(
        Message(
            b"POST /a HTTP/1.1", [b"Host: a", b"Connection: close", b"X-One: 1", b"Expect: x"], b"question"
        ),
        [Message(b"HTTP/1.1 103 Early Hints", [])],
        Message(
            b"HTTP/1.1 200 OK",
            [b"Server: s", b"X-Two: 2,  3", b"x-request-id: 7", b"x-modelproxy-variant: v1"],
            b'{"id":12}',
            [4, 6, 9],
        ),
    )


def server_side() -> Exchange:
    """The same exchange as the server would see it."""
    seen = deepcopy(client_side())
    seen.request.lines = [b"Host: a", b"X-One: 1", *ADDED, b"x-request-id: 7", b"Expect: x"]
    seen.response.lines = [b"Server:s", b"Connection: close", b"X-Two: 2,  3 "]
    seen.response.chunks = [4, 9]
    return seen


def alone() -> Exchange:
    """A direct call."""
    seen = deepcopy(client_side())
    seen.response.lines = [b"Server: s", b"X-Two: 2,  3", b"Date: today", b"Keep-Alive: 5"]
    return seen


def test_what_is_promised() -> None:
    """Added lines, ended lines, moved lines, blanks around values and cut chunks are no differences."""
    assert forwarded_differences(client_side(), server_side(), waits_for_body=False) == []
    assert answer_differences(alone(), client_side(), []) == []


def spell_a_name(exchange: Exchange) -> None:
    exchange.request.lines[0] = b"host: a"


def turn_the_lines(exchange: Exchange) -> None:
    exchange.response.lines.reverse()


def tidy_a_value(exchange: Exchange) -> None:
    exchange.response.lines = [line.replace(b",  ", b", ") for line in exchange.response.lines]


def say_it_otherwise(exchange: Exchange) -> None:
    exchange.response.start = b"HTTP/1.1 200 Fine"


def change_the_answer(exchange: Exchange) -> None:
    exchange.response.body = exchange.response.body.replace(b"{", b"[")


def change_the_question(exchange: Exchange) -> None:
    exchange.request.body = b"questiom"


def escape_the_path(exchange: Exchange) -> None:
    exchange.request.start = b"POST /%61 HTTP/1.1"


def add_a_trailer(exchange: Exchange) -> None:
    exchange.response.trailers = [b"x: y"]


CHANGES = (
    spell_a_name, turn_the_lines, tidy_a_value, say_it_otherwise, change_the_answer, change_the_question,
    escape_the_path, add_a_trailer,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_seen(change: Callable[[Exchange], None]) -> None:
    """A changed byte anywhere is a difference, on its way and against a direct call."""
    changed = server_side()
    change(changed)
    assert len(forwarded_differences(client_side(), changed, waits_for_body=False)) == 1
    other = alone()
    change(other)
    assert len(answer_differences(other, client_side(), [])) == 1


def test_what_a_proxy_may_not_leave_out() -> None:
    """Without what it adds, or with joined chunks or other interim answers, it is found out."""
    silent = server_side()
    silent.request.lines = [line for line in silent.request.lines if not line.startswith(b"via")]
    assert len(forwarded_differences(client_side(), silent, waits_for_body=False)) == 1
    joined = client_side()
    joined.response.chunks = [9]
    assert len(forwarded_differences(joined, server_side(), waits_for_body=False)) == 1
    final = client_side()
    final.interim = []
    assert len(forwarded_differences(final, server_side(), waits_for_body=False)) == 1
    stray = client_side()
    stray.stray = b"x"
    assert len(forwarded_differences(stray, server_side(), waits_for_body=False)) == 1


def test_what_connection_names() -> None:
    """A field that is named in ``Connection`` ends at the proxy; another one may not."""
    client = client_side()
    client.request.lines += [b"Connection: HTTP2-Settings, close", b"HTTP2-Settings: AAMA"]
    assert forwarded_differences(client, server_side(), waits_for_body=False) == []
    client.request.lines.append(b"HTTP3-Settings: AAMA")
    assert len(forwarded_differences(client, server_side(), waits_for_body=False)) == 1


def test_a_server_that_answers_too_early() -> None:
    """Of an upload that nobody read to its end, only what was read is compared."""
    client, server = client_side(), server_side()
    client.request.chunks, server.request.chunks = [3, 8], [3]
    server.request.body, server.request.left = b"que", True
    assert forwarded_differences(client, server, waits_for_body=False) == []
    server.request.chunks = []
    assert len(forwarded_differences(client, server, waits_for_body=False)) == 1
    server.request.body = b"qua"
    assert len(forwarded_differences(client, server, waits_for_body=False)) == 2


def test_what_a_server_draws() -> None:
    """A drawn value is no difference, in whatever length; without the rule it is."""
    drawn, other = alone(), client_side()
    drawn.response.body = b'{"id":123456}'
    drawn.response.lines.append(b"Content-Length: 13")
    other.response.lines.append(b"Content-Length: 9")
    assert answer_differences(drawn, other, DRAWN) == []
    assert len(answer_differences(drawn, other, [])) == 2


def test_pairs() -> None:
    """Exchanges are paired by request id; a request that nobody made is an error."""
    assert list(paired([client_side()], [server_side()])) == [(client_side(), server_side())]
    with pytest.raises(AssertionError, match="no client asked"):
        list(paired([], [server_side()]))
