"""What an observer is made of."""

from pathlib import Path

from proxy.control.label_items import LabelItem
from proxy.observer.blocks import Blocks
from proxy.observer.parts import NullTracer, Parts, make_tracer
from proxy.settings import parse
from tests.observer.exchanges import BASE_CONFIG, table_of


async def _ask(*_: object) -> dict[str, object]:
    return {"ok": True}


async def test_labels_are_kept_where_there_are_records(tmp_path: Path) -> None:
    """A label of a route with a log becomes a line of its files; of one without, none; nobody counts it as a record."""
    settled: list[object] = []
    settings = parse(f"state_dir: {tmp_path}/state\n{BASE_CONFIG}", environ={})
    parts = Parts(tmp_path, Blocks(tmp_path), settings, lambda *told: settled.append(told), _ask)
    parts.outcomes.admit(table_of())
    parts.outcomes.admit(table_of(BASE_CONFIG.replace("log: {percent: 50, body: 1KiB}", ""), 2))
    item = LabelItem(1, "wine", "abc", (1,))
    for version, route in ((1, "wine"), (2, "wine"), (1, "beer"), (3, "wine")):
        parts._keep_label(version, route, item)
    assert parts.log.close(5.0) == []
    (file,) = (tmp_path / "state/payloads").glob("*.jsonl")
    (line,) = file.read_bytes().splitlines()
    assert b'"kind":"label"' in line
    assert isinstance(make_tracer(settings), NullTracer)
    await parts.labelling.close(1.0)
