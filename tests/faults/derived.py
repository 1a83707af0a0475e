"""The deeds of model servers once more, by a challenger and by a shadow: other rules say what follows.

A challenger that fails before the first byte is answered for by the champion; a shadow's failure is nobody's business.
Only deeds that do not depend on the client are repeated: those of a single small request.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.faults.cells import ASK, Cell
from tests.faults.model_side import MODEL_CELLS
from tests.hostile.steps import Send, Serve

__all__ = ["CHALLENGER_CELLS", "SHADOW_CELLS"]

CHAMPION = "before the first byte the champion answers; the fault stays the challenger's"
NOT_SPLICED = "after the first byte nobody else goes on: never two answers in one"
NOBODY = "the client neither sees a copy's failure nor waits for it"


def _simple() -> Iterator[Cell]:
    return (c for c in MODEL_CELLS if c.client == (Send(ASK),) and isinstance(c.codes, Mapping))


def _challengers() -> Iterator[Cell]:
    for cell in _simple():
        if isinstance(cell.codes, Mapping) and set(cell.codes) & {502, 503, 504}:
            yield replace(
                cell, side="challenger", answer="200 whole, kept", why=CHAMPION, codes={200: 1}, fallbacks=1
            )
        else:
            why = NOT_SPLICED if cell.faults else cell.why
            yield replace(cell, side="challenger", why=why)
    for status in (502, 503, 504):
        reply = b"HTTP/1.1 %d No\r\ncontent-length: 2\r\nretry-after: 9\r\n\r\nno" % status
        yield Cell(
            "challenger",
            "in its head",
            f"answers {status}",
            "200 whole, kept",
            CHAMPION,
            model=((Serve(reply),),),
            lines=("kept", "left"),
            faults={"status": 1},
            fallbacks=1,
        )
    reply = b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"
    why = "an answer like any other: the champion might fail alike"
    yield Cell(
        "challenger",
        "in its head",
        "answers 500",
        "500 whole, kept",
        why,
        model=((Serve(reply),),),
        codes={500: 1},
    )


def _shadows() -> Iterator[Cell]:
    for cell in _simple():
        lines: str | tuple[str, ...]
        kinds = cell.faults if isinstance(cell.faults, Mapping) else cell.faults[0]
        has_failed = bool(kinds)
        lines = cell.lines if isinstance(cell.lines, str) else cell.lines[0]
        if "eight megabytes" in cell.what:
            # Longer than limits.copy: answered, and read no further, whatever the kernel has taken of it.
            lines = ("left", "own")
        yield replace(
            cell,
            side="shadow",
            answer="200 whole, kept",
            why=NOBODY,
            codes={200: 1},
            faults={},
            retries=0,
            lines=lines,
            shadow_counts={
                "eligible": 1,
                "sent": 1,
                "dropped": 0,
                "answered": int(not has_failed),
                "failed": int(has_failed),
            },
        )


CHALLENGER_CELLS: tuple[Cell, ...] = tuple(_challengers())
SHADOW_CELLS: tuple[Cell, ...] = tuple(_shadows())
