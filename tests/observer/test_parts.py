"""What an observer is made of."""

from pathlib import Path

from proxy.clock import wall_ns
from proxy.control.label_items import LabelItem
from proxy.observer.blocks import Blocks
from proxy.observer.parts import NullTracer, Parts, make_tracer
from proxy.observer.predictions import NOTHING_HIDDEN
from proxy.privacy.actions import key_id
from proxy.settings import parse
from proxy.unit_keys import rotate
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


async def test_predictions_are_hidden_as_records_are(tmp_path: Path) -> None:
    """What must not stand in a route's records stands nowhere else; what was hidden under an earlier key can still be
    held against a label, until that key is gone."""
    settings = parse(f"state_dir: {tmp_path}/state\n{BASE_CONFIG}", environ={})
    parts = Parts(tmp_path, Blocks(tmp_path), settings, lambda *_: None, _ask)
    parts.outcomes.admit(table_of())
    parts.outcomes.admit(table_of(BASE_CONFIG.replace("body: 1KiB", "body: 1KiB, content: false"), 2))
    assert parts._hiding_of(1, "wine") == NOTHING_HIDDEN
    assert parts._hiding_of(3, "wine") is None
    hiding = parts._hiding_of(2, "wine")
    assert hiding is not None
    assert hiding.hide is not None
    assert hiding.key_id == key_id(parts.keys.key)
    rotate(tmp_path / "state", wall_ns())
    parts.keys.refresh(wall_ns(), None, None)
    parts.outcomes.rekey(parts.keys.key)
    again = parts._hiding_of(2, "wine")
    assert again is not None
    assert again.key_id != hiding.key_id
    earlier = parts._hide_of(hiding.key_id)
    assert earlier is not None
    assert earlier(b"x") == hiding.hide(b"x")
    (tmp_path / "state/unit.key").unlink()
    assert parts._hide_of(hiding.key_id) is None
    assert parts._hide_of(again.key_id) is not None
    assert parts.log.close(5.0) == []
    await parts.labelling.close(1.0)
