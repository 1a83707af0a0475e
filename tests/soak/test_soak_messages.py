"""Reading of messages: whole ones whole, and an early end is noticed wherever it comes."""

import asyncio

import pytest

from tests.soak.messages import BrokenOffError, chunk, read_body, read_head

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"hel") + chunk(b"lo") + b"0\r\n\r\n"
)


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def read_message(reader: asyncio.StreamReader) -> bytes:
    head = await read_head(reader)
    assert head is not None
    return await read_body(reader, head)


@pytest.mark.parametrize("data", [ANSWER, CHUNKED], ids=["length", "chunked"])
async def test_reads_whole_messages(data: bytes) -> None:
    """Both framings give the same body, and nothing is left over."""
    reader = reader_of(data)
    head = await read_head(reader)
    assert head is not None
    assert head.status == 200
    assert await read_body(reader, head) == b"hello"
    assert await read_head(reader) is None


@pytest.mark.parametrize("data", [ANSWER, CHUNKED], ids=["length", "chunked"])
async def test_notices_every_early_end(data: bytes) -> None:
    """A message cut anywhere is not taken for a whole one."""
    for end in range(1, len(data)):
        reader = reader_of(data[:end])
        with pytest.raises(BrokenOffError):
            await read_message(reader)


@pytest.mark.parametrize(
    "data", [b"what\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"HTTP/9 1 2\r\n\r\n"]
)
async def test_refuses_what_is_not_http(data: bytes) -> None:
    """Junk is not read as an answer."""
    with pytest.raises(BrokenOffError):
        await read_head(reader_of(data))
