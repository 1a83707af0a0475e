"""What is read from the run directory: evidence of every source, and what copies have shown."""

from pathlib import Path

import pytest

from proxy.engine.readings import read_evidence, read_shadow
from proxy.engine.store import ShadowCounts
from proxy.evidence.blocks import adopt, open_evidence
from proxy.evidence.counts import Counts, read_all
from proxy.evidence.layout import FIELDS, REQUEST_EVENTS
from proxy.routing.table import Table, compile_table
from proxy.settings import parse
from proxy.tally import block_path, follow, open_block

CONFIG = """
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
  three: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/*"}
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: three, role: challenger, weight: 10}
      - {name: v3, model: two, role: canary, weight: 5}
    shadows:
      - {model: two, percent: 50}
"""
EPOCH = "0123456789abcdef"


def table(compare: str = "{}") -> Table:
    return compile_table(parse(f"{CONFIG}    compare: {compare}\n", environ={}), 4)


def fill(run_dir: Path, worker: int, first: int, epoch: str = EPOCH) -> None:
    block = open_evidence(run_dir, epoch, worker, 2 * FIELDS)
    block.slots[REQUEST_EVENTS], block.slots[FIELDS + REQUEST_EVENTS] = first, first + 1
    block.close()


def test_workers_add_up_and_sources_do_not(tmp_path: Path) -> None:
    """Workers of a source are added up; the program before is a source of its own; other epochs are left out."""
    ours, before = tmp_path / "ours", tmp_path / "before"
    for place in (ours, before):
        place.mkdir()
    fill(ours, 0, 5)
    fill(ours, 1, 7)
    fill(ours, 0, 9, "f" * 16)
    fill(before, 0, 100)
    assert [each.source for each in read_evidence(ours, {EPOCH: 2})] == ["ours"]
    follow(ours, before)
    readings = {each.source: each for each in read_evidence(ours, {EPOCH: 2, "0" * 16: 2})}
    assert readings.keys() == {"ours", "before"}
    assert {each.epoch for each in readings.values()} == {EPOCH}
    assert readings["ours"].counts[:, REQUEST_EVENTS].tolist() == [12, 14]
    assert readings["before"].counts[:, REQUEST_EVENTS].tolist() == [100, 101]


def test_a_source_that_is_adopted_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that may be half deleted while it is read tells nothing; its numbers are found where they are now."""
    ours, before = tmp_path / "ours", tmp_path / "before"
    for place in (ours, before):
        place.mkdir()
        fill(place, 0, 5)
        fill(place, 1, 7)
    follow(ours, before)

    def read_late(source: Path, epoch: str, variants: int) -> tuple[Counts, dict[int, Counts]]:
        if source == before.resolve():
            adopt(ours, before)
            (before / f"evidence-{EPOCH}-w0.block").unlink()
        return read_all(source, epoch, variants)

    with monkeypatch.context() as patch:
        patch.setattr("proxy.engine.readings.read_all", read_late)
        assert [each.source for each in read_evidence(ours, {EPOCH: 2})] == ["ours"]
    readings = {each.source: each for each in read_evidence(ours, {EPOCH: 2})}
    assert readings["before"].counts[:, REQUEST_EVENTS].tolist() == [12, 14]


def test_copies(tmp_path: Path) -> None:
    """Copies are those to the canary's model; of the comparisons only those with the champion's answers count."""
    compiled = table()
    route = compiled.routes[0]
    for worker, number in ((0, 10), (1, 20)):
        block = open_block(block_path(tmp_path, f"w{worker}", 4), compiled.layout.size)
        sent = compiled.layout.section("shadow", "wine", "two")
        block.slots[sent.slot("answered")], block.slots[sent.slot("failed")] = number, 3
        block.close()
        own = open_block(block_path(tmp_path, f"o{worker}", 4), compiled.observer_layout.size)
        for variant, agree in (("v1", 5), ("v2", 100), ("v3", 100)):
            judged = compiled.observer_layout.section("comparison", "wine", variant, "two")
            own.slots[judged.slot("agree")], own.slots[judged.slot("disagree")] = agree, 2
            own.slots[judged.slot("uncomparable")] = 50
        own.close()
    assert read_shadow(tmp_path, compiled, route, "v3") == ShadowCounts(30, 6, 14, 4)
    assert read_shadow(tmp_path, compiled, route, "v2") is None
    assert read_shadow(tmp_path, compiled, route, "v9") is None


def test_copies_beside_which_the_champion_was_asked_twice(tmp_path: Path) -> None:
    """Triples of the canary's model are read of every worker; those that say nothing are none."""
    compiled = table("{noise: 20}")
    route = compiled.routes[0]
    section = compiled.observer_layout.section("triple", "wine", "two", route.shadows[0].stretch)
    for worker in (0, 1):
        block = open_block(block_path(tmp_path, f"o{worker}", 4), compiled.observer_layout.size)
        for number, name in enumerate(section.fields, 1):
            block.slots[section.slot(name)] = number
        block.close()
    found = read_shadow(tmp_path, compiled, route, "v3")
    assert section.fields[:4] == ("same", "candidate", "champion", "both")
    assert found == ShadowCounts(0, 0, 0, 0, triples=20, candidate_odd=4, champion_odd=6, both_odd=8)


def test_nothing_yet(tmp_path: Path) -> None:
    """Before anybody has counted there is nothing, and a file that is still short counts as far as it goes."""
    compiled = table()
    assert read_evidence(tmp_path, {EPOCH: 2}) == []
    assert read_shadow(tmp_path, compiled, compiled.routes[0], "v3") == ShadowCounts()
    block_path(tmp_path, "w0", 4).write_bytes(b"\0" * 8)
    assert read_shadow(tmp_path, compiled, compiled.routes[0], "v3") == ShadowCounts()
