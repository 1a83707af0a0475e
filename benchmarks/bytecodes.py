"""``python -m benchmarks.bytecodes [SCRIPT]``: how many bytecodes a request executes, by function.

Traced, so neither the machine's load nor CPython's specialising says anything in it. SCRIPT is a name of
``micro_road.SCRIPTS``; what the harness itself executes stands under ``Stage``, ``SilentTransport`` and ``SilentLoop``.
"""

import asyncio
import sys
from collections import Counter
from types import FrameType
from typing import Any

from benchmarks.micro_road import SCRIPTS, Stage

__all__ = ["main"]

WARMING, REQUESTS = 3000, 100


async def main() -> None:
    """Print the functions that execute most."""
    name = sys.argv[1] if len(sys.argv) > 1 else "split"
    stage = Stage(next(script for script in SCRIPTS if script.name == name), asyncio.get_running_loop())
    stage.run(WARMING)
    executed: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            executed[getattr(frame.f_code, "co_qualname", frame.f_code.co_name)] += 1
        return trace

    sys.settrace(trace)
    stage.run(REQUESTS)
    sys.settrace(None)
    print(f"{name}: {executed.total() / REQUESTS:,.0f} bytecodes a request")
    for function, count in executed.most_common(40):
        print(f"{count / REQUESTS:8.1f} {function}")


if __name__ == "__main__":
    asyncio.run(main())
