"""Microseconds of the observer per exchange: from the bytes of the pipe to counts and a record's line.

Run from the project's folder: ``python -m benchmarks.micro_observer``. Socket, disk and collector are left out.
"""

import platform
import sys
import tempfile
from pathlib import Path
from time import perf_counter_ns

from proxy.exchange import Flag, Hello, parse_frames
from proxy.observer.blocks import Blocks
from proxy.observer.observer import NullTracer
from proxy.observer.outcomes import Outcomes
from proxy.observer.pairing import PairBook
from proxy.observer.payload_log import Token
from tests.observer.exchanges import BASE_CONFIG, agreeing, as_frame, primary_part, shadow_part, table_of

__all__ = ["main"]

_EXCHANGES = 2000
_ROUNDS = 7
_REDACTING = BASE_CONFIG.replace("body: 1KiB", "redact: [{json: /**/secret}, {json: /inputs, action: hash}]")


class _NoSink:
    """Takes every line and forgets it."""

    def has_room(self) -> bool:
        return True

    def submit(self, line: bytes, _token: Token) -> bool:
        return bool(line)


def _stream(label: int, flags: int) -> bytes:
    parts = []
    for number in range(_EXCHANGES):
        parts.append(as_frame(primary_part(number=number, flags=flags)))
        parts.append(as_frame(shadow_part(number=number, response_body=agreeing(label))))
    return b"".join(parts)


def _measure(run_dir: Path, config: str, stream: bytes) -> float:
    table, blocks = table_of(config), Blocks(run_dir)
    outcomes = Outcomes(blocks, _NoSink(), NullTracer(), b"k" * 32)
    blocks.admit(table, [0])
    outcomes.admit(table)
    rounds = []
    for _ in range(_ROUNDS):
        book = PairBook(max_items=1000, max_bytes=1 << 30, timeout_ns=1 << 60)
        buffer = bytearray(stream)
        started_ns = perf_counter_ns()
        for frame in parse_frames(buffer):
            assert not isinstance(frame, Hello)
            for pair in book.add(1, frame, 0):
                outcomes.settle(pair)
        rounds.append((perf_counter_ns() - started_ns) / _EXCHANGES / 1000)
    blocks.close()
    return sorted(rounds)[_ROUNDS // 2]


def main() -> None:
    """Print the median of seven rounds for each kind of exchange."""
    print(f"{platform.machine()} python {sys.version.split()[0]}")
    mirrored, both = Flag.MIRRORED, Flag.MIRRORED | Flag.LOGGED
    cases = {
        "mirrored, agree": (BASE_CONFIG, _stream(1, mirrored)),
        "mirrored, disagree": (BASE_CONFIG, _stream(2, mirrored)),
        "mirrored and logged": (BASE_CONFIG, _stream(1, both)),
        "mirrored, logged and redacted": (_REDACTING, _stream(1, both)),
    }
    for name, (config, stream) in cases.items():
        with tempfile.TemporaryDirectory() as directory:
            print(f"{_measure(Path(directory), config, stream):8.1f} µs  {name}")


if __name__ == "__main__":
    main()
