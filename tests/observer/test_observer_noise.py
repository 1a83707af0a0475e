"""Triples in the observer: counted exactly, told by field, kept over a restart."""

from pathlib import Path
from typing import Any

import pytest

from proxy.exchange import Flag, ShadowPart
from proxy.observer.noise import FILE_NAME, NoiseBook
from proxy.tally import EARLIER, Key
from tests.observer.exchanges import BASE_CONFIG, agreeing, primary_part, shadow_part
from tests.observer.test_outcomes import Bench

CONFIG = BASE_CONFIG.replace("as: classification", "as: classification, noise: 100")
NOISE = 2
"""Index of the champion's second answer, behind two shadows."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path, CONFIG)
    made.outcomes.noise = NoiseBook(made.blocks, tmp_path)
    return made


def triple(bench: Bench, second: int, *candidates: int, **changes: Any) -> None:
    """Settle an exchange that the client got label 1 for."""
    shadows = [shadow_part(shadow=i, response_body=agreeing(label)) for i, label in enumerate(candidates)]
    sent = (1 << len(candidates)) - 1 | 1 << NOISE
    shadows.append(shadow_part(shadow=NOISE, response_body=agreeing(second)))
    bench.settle(primary_part(flags=Flag.MIRRORED, shadows_sent=sent, **changes), *shadows)


def counted(bench: Bench, kind: str) -> dict[Key, int]:
    return {key: number for key, number in bench.counts().items() if key[0] == kind}


def test_triples(bench: Bench) -> None:
    """Each candidate makes a triple of its own with the champion's second answer."""
    route = bench.table.routes[0]
    triple(bench, 1, 1, 2)
    triple(bench, 2, 1, 2)
    triple(bench, 3, 2)
    one, two = (("wine", shadow.model.name, shadow.stretch) for shadow in route.shadows)
    assert counted(bench, "triple") == {
        ("triple", "same", *one): 1,
        ("triple", "champion", *one): 1,
        ("triple", "champion_farther", *one): 1,
        ("triple", "both", *one): 1,
        ("triple", "candidate", *two): 1,
        ("triple", "candidate_farther", *two): 1,
        ("triple", "both", *two): 1,
    }


def test_public_counts_know_nothing_of_it(bench: Bench) -> None:
    """The champion's second answer is compared and counted, but is no shadow's, no record's and no disagreement."""
    triple(bench, 2, 1, 1)
    assert {key[1:]: n for key, n in counted(bench, "noise_comparison").items()} == {
        ("disagree", "wine", "v1", "wine-v1"): 1
    }
    assert {key[1]: n for key, n in counted(bench, "comparison").items()} == {"agree": 1}
    primary = primary_part(flags=Flag.MIRRORED | Flag.LOGGED, shadows_sent=5)
    bench.settle(primary, shadow_part(), shadow_part(shadow=NOISE))
    (record,) = bench.sink.records
    assert [shadow["model"] for shadow in record["shadows"]] == ["wine-v4"]


def without(bench: Bench, *shadows: ShadowPart, **changes: Any) -> None:
    bench.settle(primary_part(flags=Flag.MIRRORED, shadows_sent=5, **changes), *shadows)
    assert not counted(bench, "triple")


def test_no_triple(bench: Bench) -> None:
    """Without two judgements there is none, whichever is missing."""
    first, second = shadow_part(), shadow_part(shadow=NOISE)
    without(bench, first)
    without(bench, second)
    without(bench, shadow_part(fault=1), second)
    without(bench, first, shadow_part(shadow=NOISE, fault=1))
    without(bench, first, shadow_part(shadow=NOISE, flags=Flag.RESPONSE_TRUNCATED))
    without(bench, shadow_part(flags=Flag.RESPONSE_TRUNCATED), second)
    bench.settle(primary_part(flags=Flag.MIRRORED, shadows_sent=5), first, second, shed=True)
    assert not counted(bench, "triple")


def test_fields_are_kept(bench: Bench, tmp_path: Path) -> None:
    """Which fields differ is on the disk after a save, for the next life and for the program after an upgrade."""
    stretch = bench.table.routes[0].shadows[0].stretch
    triple(bench, 1, 2)
    expected = {"/label/*": [1, 0, 0]}
    assert bench.outcomes.noise.fields(stretch) == expected
    bench.outcomes.noise.save()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert NoiseBook(bench.blocks, tmp_path).fields(stretch) == expected
    after = tmp_path / "after"
    after.mkdir()
    (after / EARLIER).symlink_to(tmp_path)
    assert NoiseBook(bench.blocks, after).fields(stretch) == expected
    assert bench.outcomes.noise.fields("another") == {}


def test_what_never_arrived(bench: Bench) -> None:
    """Second answers that were handed over and have no outcome are dropped, once; those that have one are not."""
    triple(bench, 1, 1)
    triple(bench, 2, 1)
    shipped = {"1\nnoise\nwine\nwine-v1": 10, "1\nshadow\nwine\nwine-v4": 2}
    assert bench.blocks.reconcile(0, shipped) == 8
    assert bench.blocks.reconcile(0, shipped) == 0
    found = {key[1]: number for key, number in counted(bench, "noise_comparison").items()}
    assert found == {"agree": 1, "disagree": 1, "dropped": 8}


def test_redacted_routes_tell_no_fields(tmp_path: Path) -> None:
    """Where something in the bodies must not be written, the names of places are not either; triples are counted."""
    log = "log: {percent: 50, redact: [{json: /outputs/0/data}], body: 1KiB}"
    bench = Bench(tmp_path, CONFIG.replace("log: {percent: 50, body: 1KiB}", log))
    triple(bench, 1, 2)
    assert bench.outcomes.noise.fields(bench.table.routes[0].shadows[0].stretch) == {}
    assert len(counted(bench, "triple")) == 2


def test_a_name_without_utf_8(tmp_path: Path) -> None:
    """A key that no text can hold is a field all the same, and can be kept."""
    body = b'{"a\\ud800": %d, "b": NaN}'  # the parser that takes NaN takes the other as well
    config = CONFIG.replace("as: classification", "as: json")
    (tmp_path / "json").mkdir()
    bench = Bench(tmp_path / "json", config)
    bench.outcomes.noise = NoiseBook(bench.blocks, tmp_path / "json")
    bench.settle(
        primary_part(flags=Flag.MIRRORED, shadows_sent=5, response_body=body % 1),
        shadow_part(response_body=body % 2),
        shadow_part(shadow=NOISE, response_body=body % 1),
    )
    assert list(bench.outcomes.noise.fields(bench.table.routes[0].shadows[0].stretch)) == ["/a?"]
    bench.outcomes.noise.save()
    assert (tmp_path / "json" / FILE_NAME).exists()


@pytest.mark.parametrize("text", [b"", b"[]", b'{"a": 1}', b'{"a": {"/b": ["x"]}}', b'{"a": {"/b": null}}'])
def test_a_file_that_says_nothing(
    bench: Bench, tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be read is said, and begun anew."""
    (tmp_path / FILE_NAME).write_bytes(text)
    assert NoiseBook(bench.blocks, tmp_path).fields("a") == {}
    assert "counts by field begin anew" in caplog.text


def test_a_disk_that_refuses(bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, and tried again with the next save."""
    triple(bench, 1, 2)
    (tmp_path / f"{FILE_NAME}.new").mkdir()
    bench.outcomes.noise.save()
    bench.outcomes.noise.save()
    assert caplog.text.count("cannot keep which fields differ") == 1
    (tmp_path / f"{FILE_NAME}.new").rmdir()
    bench.outcomes.noise.save()
    assert (tmp_path / FILE_NAME).exists()
