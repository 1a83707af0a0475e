"""Are decisions made again the same, byte for byte? Ten thousand of them, of many kinds.

Run from the project's folder: ``python -m benchmarks.replays``. Each decision is made, written down with all that it
was made from, and made again from what was written, in another process with another hash seed. Exit code 1 when one
differs.
"""

import os
import subprocess
import sys
from collections import Counter

import click
import orjson

from proxy.rollout import record
from proxy.rollout.assemble import assemble
from proxy.rollout.decide import decide
from tests.rollout.cases import case

__all__ = ["main"]

_AGAIN = """
import sys
from proxy.rollout import record
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(record.digest(record.recompute(bytes.fromhex(line.decode()))).encode() + b"\\n")
    sys.stdout.buffer.flush()
"""


@click.command()
@click.option("--decisions", type=click.IntRange(1), default=10_000, show_default=True)
def main(decisions: int) -> None:
    """Make decisions, and make them again from what was written down."""
    different, reasons = 0, Counter[str]()
    again = subprocess.Popen(
        [sys.executable, "-c", _AGAIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONHASHSEED": "1"},
    )
    assert again.stdin is not None
    assert again.stdout is not None
    with again:
        for number in range(decisions):
            world = case(number)
            slices = world.slices()
            written = record.snapshot(world.plan, world.state, slices, world.now_ns)
            evidence = assemble(world.plan, world.state, slices, world.now_ns)
            made = record.decision_bytes(decide(world.plan, world.state, evidence, world.now_ns))
            again.stdin.write(written.hex().encode() + b"\n")
            again.stdin.flush()
            different += again.stdout.readline().decode().strip() != record.digest(made)
            reasons[orjson.loads(made)["reason"]] += 1
        again.stdin.close()
    kinds = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    click.echo(f"{decisions:,} decisions made again: {different:,} differ\n{kinds}")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
