"""What the judge of answers says."""

import pytest

from tests.hostile.answers import judge
from tests.hostile.line import End

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"

CASES = {
    "whole": (OK, End.OPEN, 1, "200 whole, kept"),
    "whole and closed": (OK, End.CLOSED, 1, "200 whole, closed"),
    "two": (OK + OK.replace(b"200", b"404"), End.OPEN, 2, "200 whole, 404 whole, kept"),
    "surplus": (OK + b"x", End.OPEN, 1, "200 whole, surplus, kept"),
    "an answer too many": (OK + OK, End.CLOSED, 1, "200 whole, surplus, closed"),
    "interim": (b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK, End.OPEN, 1, "200 whole, kept"),
    "cut by length": (OK[:-1], End.CLOSED, 1, "200 cut, closed"),
    "cut in a chunk": (CHUNKED, End.CLOSED, 1, "200 cut, closed"),
    "reset in a chunk": (CHUNKED, End.RESET, 1, "200 cut, reset"),
    "not ended": (CHUNKED, End.OPEN, 1, "200 unfinished, kept"),
    "chunks": (CHUNKED + b"0\r\n\r\n", End.OPEN, 1, "200 whole, kept"),
    "to the end": (TO_THE_END, End.CLOSED, 1, "200 whole, closed"),
    "to a reset": (TO_THE_END, End.RESET, 1, "200 cut, reset"),
    "a tunnel": (b"HTTP/1.1 101 Ok\r\n\r\npong", End.CLOSED, 1, "101 then 'pong', closed"),
    "a loud tunnel": (b"HTTP/1.1 101 Ok\r\n\r\n" + bytes(999), End.RESET, 1, "101 then many bytes, reset"),
    "nothing": (b"", End.CLOSED, 1, "none, closed"),
    "half a head": (OK[:20], End.CLOSED, 1, "junk, closed"),
    "no HTTP": (b"\x00\x01\r\n\r\n", End.OPEN, 1, "junk, kept"),
    "the second is cut": (OK + OK[:-1], End.CLOSED, 2, "200 whole, 200 cut, closed"),
    "the second is missing": (OK, End.CLOSED, 2, "200 whole, closed"),
}


@pytest.mark.parametrize(("data", "end", "requests", "words"), CASES.values(), ids=CASES)
def test_judgement(data: bytes, end: End, requests: int, words: str) -> None:
    """Each answer is whole or not, and the last word is what became of the connection."""
    assert judge(data, end, [b"POST"] * requests) == words


def test_head() -> None:
    """An answer to HEAD has no body, whatever it announces."""
    assert judge(OK.removesuffix(b"ok"), End.OPEN, [b"HEAD"]) == "200 whole, kept"
