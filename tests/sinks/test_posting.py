"""Messages to an HTTP server, from a thread."""

import asyncio
import socket

import pytest

from proxy.sinks.posting import Message, Posted, Poster
from tests.sinks.receivers import http_receiver


def messages(*bodies: bytes) -> list[Message]:
    return [Message({"content-type": "text/plain"}, body) for body in bodies]


async def post(poster: Poster, *bodies: bytes) -> list[Posted]:
    return await asyncio.to_thread(poster.post, messages(*bodies))


async def test_all_are_posted() -> None:
    """Every message arrives with its own and the common headers, over few connections; each has its answer."""
    async with http_receiver() as receiver:
        receiver.answer = b"fine"
        poster = Poster(f"{receiver.url}/a?b=c", {"authorization": "Bearer x y"}, 5.0)
        bodies = [b"%d" % number for number in range(50)]
        assert await post(poster, *bodies) == [Posted("", body=b"fine")] * 50
        assert sorted(body for _, _, body in receiver.got) == sorted(bodies)
        path, headers, _ = receiver.got[0]
        assert path == "/a?b=c"
        assert (headers["authorization"], headers["content-type"]) == ("Bearer x y", "text/plain")
        assert headers["accept-encoding"] == "identity"  # answers are not decompressed
        await asyncio.to_thread(poster.close)


async def test_a_message_that_cannot_be_sent() -> None:
    """A header that HTTP does not have costs its own message alone."""
    async with http_receiver() as receiver:
        poster = Poster(receiver.url, {}, 5.0)
        given = [*messages(b"a"), Message({"content-type": "a\nb: c"}, b"b"), *messages(b"c")]
        answers = await asyncio.to_thread(poster.post, given)
        assert answers == [Posted(""), Posted("a header that cannot be sent"), Posted("")]
        assert sorted(body for _, _, body in receiver.got) == [b"a", b"c"]
        await asyncio.to_thread(poster.close)


ANSWERS = {
    "taken": (202, Posted("")),
    "a redirect": (307, Posted("status 307")),
    "refused": (400, Posted("status 400", is_bad=True)),
    "refused for what it says": (422, Posted("status 422", is_bad=True)),
    "not for us": (401, Posted("status 401")),
    "gone": (410, Posted("status 410")),
    "too long": (413, Posted("status 413", is_too_large=True)),
    "timeout": (408, Posted("status 408", is_retryable=True)),
    "too many": (429, Posted("status 429", is_retryable=True, pause_s=7.0)),
    "broken": (500, Posted("status 500", is_retryable=True)),
    "busy": (503, Posted("status 503", is_retryable=True, pause_s=7.0)),
}


@pytest.mark.parametrize(("status", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_answers(status: int, expected: Posted) -> None:
    """4xx and redirects are final, 408, 429 and 5xx are not; a pause that is asked for is told."""
    async with http_receiver() as receiver:
        receiver.statuses = [status]
        receiver.answer_headers = (
            {"retry-after": "7"} if expected.pause_s else {"location": "http://127.0.0.1:1/"}
        )
        poster = Poster(receiver.url, {}, 5.0)
        assert await post(poster, b"x") == [expected]
        await asyncio.to_thread(poster.close)


@pytest.mark.parametrize(
    ("asked", "pause_s"), [("3600", 60.0), ("x", 0.0), ("-1", 0.0), ("1" * 30, 0.0), ("½", 0.0)]
)
async def test_pauses_are_bounded(asked: str, pause_s: float) -> None:
    """A receiver cannot silence a sink for longer than a minute at a time; nonsense asks for nothing."""
    async with http_receiver() as receiver:
        receiver.statuses, receiver.answer_headers = [503], {"retry-after": asked}
        poster = Poster(receiver.url, {}, 5.0)
        assert (await post(poster, b"x"))[0].pause_s == pause_s
        await asyncio.to_thread(poster.close)


async def test_nobody_there() -> None:
    """Where nobody listens a message may be sent again, and its URL is not told."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        poster = Poster(f"http://127.0.0.1:{taken.getsockname()[1]}/hunter2", {}, 5.0)
        (posted,) = await post(poster, b"x")
        assert posted.is_retryable
        assert posted.problem == "ClientConnectorError"
        await asyncio.to_thread(poster.close)


async def test_a_receiver_that_does_not_answer() -> None:
    """After its time a message may be sent again."""
    async with http_receiver() as receiver:
        receiver.gate.clear()
        poster = Poster(receiver.url, {}, 0.05)
        assert await post(poster, b"x") == [Posted("no answer within 0.05 s", is_retryable=True)]
        await asyncio.to_thread(poster.close)


async def test_an_endless_answer() -> None:
    """Of a long answer only the beginning is read."""
    async with http_receiver() as receiver:
        receiver.answer = b"x" * (10 << 20)
        poster = Poster(receiver.url, {}, 5.0)
        (posted,) = await post(poster, b"x")
        assert (posted.problem, len(posted.body)) == ("", 64 << 10)
        receiver.answer = b""
        assert await post(poster, b"x") == [Posted("")]
        await asyncio.to_thread(poster.close)
