"""What a client has got, in words, judged by a parser that is not ours (h11)."""

from collections.abc import Sequence

import h11

from tests.hostile.line import End

__all__ = ["judge"]


def judge(data: bytes, end: End, methods: Sequence[bytes] = (b"POST",)) -> str:
    """Return the answers in ``data`` as ``"200 whole, 502 whole, closed"``.

    Each final answer is ``whole`` or ``cut``; the last word says what became of the connection: ``kept``, ``closed`` or
    ``reset``. An answer is cut when the connection ended before its announced end, or in a reset, and ``unfinished``
    when neither has happened. ``none`` stands for no final answer. Interim answers are not named. What is not HTTP at
    all is ``junk``; bytes behind the last answer are ``surplus``. Behind a 101 comes what was said in the tunnel.

    Args:
        data: everything that came from the proxy.
        end: how it ended.
        methods: of the requests sent, in their order.
    """
    last = {End.OPEN: "kept", End.CLOSED: "closed", End.RESET: "reset"}[end]
    if data.startswith(b"HTTP/1.1 101 "):
        said = data.partition(b"\r\n\r\n")[2]
        return f"101 then {'many bytes' if len(said) > 100 else repr(said.decode('latin-1'))}, {last}"
    words: list[str] = []
    connection = h11.Connection(h11.CLIENT)
    rest = data
    for method in methods:
        if not rest and words:
            break
        word, rest, is_last = _judge_one(connection, rest, end, method)
        words.append(word)
        if is_last:
            break
        connection = h11.Connection(h11.CLIENT)
    if rest and words[-1].endswith("whole"):
        words.append("surplus")
    return ", ".join([*words, last])


def _judge_one(connection: h11.Connection, data: bytes, end: End, method: bytes) -> tuple[str, bytes, bool]:
    """Return the word for the first answer, what is behind it, and whether nothing can follow."""
    connection.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    status = 0
    try:
        connection.receive_data(data)
        if end is End.CLOSED:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.EndOfMessage):
                return f"{status} whole", connection.trailing_data[0], connection.their_state is not h11.DONE
            elif event is h11.NEED_DATA:
                return _unfinished(status, end), b"", True
            elif isinstance(event, h11.ConnectionClosed):
                return "none", b"", True
    except h11.RemoteProtocolError:
        if status:
            return f"{status} cut", b"", True
        return ("none" if not data else "junk"), b"", True


def _unfinished(status: int, end: End) -> str:
    if not status:
        return "none"
    return f"{status} cut" if end is End.RESET else f"{status} unfinished"
