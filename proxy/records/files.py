"""Files of lines: found in directories, undone if compressed, cut into lines, never more than a piece in memory.

Rules
    * A file that is being written ends in half a line, or in half a compressed frame. It is read up to its last whole
      line; what follows is unfinished, not damaged.
    * A line is at most ``MAX_LINE_BYTES`` long; a longer one is passed over without being held.
"""

import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Final

from proxy.errors import ProxyError

__all__ = ["MAX_LINE_BYTES", "PARQUET", "SUFFIXES", "LineFile", "LogError", "find_files"]

MAX_LINE_BYTES: Final = 256 << 20
"""Bodies are capped far below (``limits.copy``); a file without line breaks is something else."""

PARQUET: Final = ".parquet"

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst", PARQUET)
"""Ends of the names of files that are read."""

_CHUNK_BYTES: Final = 1 << 20


class LogError(ProxyError):
    """A log that cannot be read at all; the text says what to do."""


def find_files(places: Iterable[Path]) -> list[Path]:
    """Return the files to read, sorted by name within each directory: a directory stands for those in and below it.

    Raises:
        LogError: a place does not exist or cannot be looked into, there is no file in any of them, or there are files
            of lines and Parquet files: two sinks may have written the same records.
    """
    found: list[Path] = []
    places = list(places)
    for place in places:
        if place.is_dir():
            # What begins with a dot is not whole yet.
            found += sorted(
                path
                for path in _walk(place)
                if path.name.endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()
            )
        elif place.is_file():
            found.append(place)
        elif place.exists():
            raise LogError(f"{place}: no file that can be read twice, such as a pipe; write it to one first")
        else:
            raise LogError(f"{place}: no such file or directory")
    named = ", ".join(map(str, places))
    if len({path.name.endswith(PARQUET) for path in found}) > 1:
        raise LogError(
            f"{named}: both lines of JSON and Parquet files, perhaps of the same records; name one kind's directory"
        )
    found = list({path.resolve(): path for path in reversed(found)}.values())[::-1]
    if not found:
        raise LogError(f"{named}: no payload log there; expected files that end in {', '.join(SUFFIXES)}")
    return found


def _walk(directory: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise LogError(f"{error.filename}: {(error.strerror or 'cannot be read').lower()}")

    for folder, _, names in os.walk(directory, onerror=refuse):
        yield from (Path(folder, name) for name in names)


@dataclass(slots=True)
class LineFile:
    """One file, read line by line.

    After the lines are read through, ``problem`` says what broke, and ``is_unfinished`` whether there was half a line.
    """

    path: Path
    max_line_bytes: int = MAX_LINE_BYTES
    problem: str | None = None
    is_unfinished: bool = False
    overlong: list[int] = field(default_factory=list)
    """Numbers of the lines that were passed over for their length."""
    read_bytes: int = 0
    """Bytes of the file that were taken in so far, as they lie on the disk."""

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield each whole line with its number, from 1, without its line break; stop where the file breaks."""
        number, rest = 0, bytearray()
        is_overlong = False
        for chunk in self._chunks():
            at = 0
            while (end := chunk.find(b"\n", at)) >= 0:
                number += 1
                if is_overlong or len(rest) + end - at > self.max_line_bytes:
                    self.overlong.append(number)
                    is_overlong = False
                elif rest:
                    rest += chunk[at:end]
                    yield number, bytes(rest)
                else:
                    yield number, chunk[at:end]
                rest.clear()
                at = end + 1
            if is_overlong or len(rest) + len(chunk) - at > self.max_line_bytes:
                is_overlong = True
                rest.clear()
            else:
                rest += chunk[at:]
        self.is_unfinished = self.is_unfinished or is_overlong or bool(rest)

    def _chunks(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                if self.path.name.endswith(".gz"):
                    yield from self._gunzipped(file)
                elif self.path.name.endswith(".zst"):
                    yield from self._unzstd(file)
                else:
                    while chunk := file.read(_CHUNK_BYTES):
                        self.read_bytes += len(chunk)
                        yield chunk
        except OSError as error:
            self.problem = (error.strerror or str(error)).lower()

    def _gunzipped(self, file: BinaryIO) -> Iterator[bytes]:
        """Undo gzip (RFC 1952), member by member."""
        decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        is_begun = False
        while raw := file.read(_CHUNK_BYTES):
            self.read_bytes += len(raw)
            while raw:
                if decoder.eof:
                    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                is_begun = True
                try:
                    chunk = decoder.decompress(raw, _CHUNK_BYTES)
                except zlib.error:
                    self.problem = "damaged gzip"
                    return
                raw = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
                if chunk:
                    yield chunk
        self.is_unfinished = is_begun and not decoder.eof

    def _unzstd(self, file: BinaryIO) -> Iterator[bytes]:
        """Undo zstd (RFC 8878), frame by frame."""
        zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        decoder, is_begun = zstd.ZstdDecompressor(), False
        while raw := file.read(_CHUNK_BYTES):
            self.read_bytes += len(raw)
            while raw or not (decoder.needs_input or decoder.eof):
                if decoder.eof:
                    decoder = zstd.ZstdDecompressor()
                is_begun = True
                try:
                    chunk = decoder.decompress(raw, _CHUNK_BYTES)
                except zstd.ZstdError:
                    self.problem = "damaged zstd"
                    return
                raw = decoder.unused_data if decoder.eof else b""
                if chunk:
                    yield chunk
        self.is_unfinished = is_begun and not decoder.eof
