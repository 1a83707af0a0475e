"""Triples in the observer: counted exactly, told by field, kept over a restart."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from proxy.exchange import Flag, ShadowPart
from proxy.model import Fault
from proxy.observer.noise import NoiseBook
from proxy.observer.noise_files import path_of
from proxy.tally import EARLIER, Key
from tests.observer.exchanges import BASE_CONFIG, agreeing, primary_part, shadow_part, table_of
from tests.observer.test_outcomes import Bench

CONFIG = BASE_CONFIG.replace("as: classification", "as: classification, noise: 100")
NOISE = 2
"""Index of the champion's second answer, behind two shadows."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path, CONFIG)
    made.outcomes.noise = book_in(made, tmp_path)
    return made


def book_in(bench: Bench, run_dir: Path) -> NoiseBook:
    """Return a book that counts for the bench's table and keeps fields in ``run_dir``."""
    book = NoiseBook(bench.blocks, run_dir)
    book.admit(bench.table)
    return book


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
    before = sum(counted(bench, "triple").values())
    bench.settle(primary_part(flags=Flag.MIRRORED, shadows_sent=5, **changes), *shadows)
    found = counted(bench, "triple")
    assert {key[1] for key in found} == {"left_out"}
    assert sum(found.values()) == before + 1


def test_no_triple(bench: Bench) -> None:
    """Without two judgements it is left out, whichever is missing; who was not asked for is not even that."""
    for sent in (0, 1, 4):
        bench.settle(primary_part(flags=Flag.MIRRORED, shadows_sent=sent), shadow_part())
    assert not counted(bench, "triple")
    first, second = shadow_part(), shadow_part(shadow=NOISE)
    without(bench, first)
    without(bench, second)
    without(bench, shadow_part(fault=1), second)
    without(bench, first, shadow_part(shadow=NOISE, fault=1))
    without(bench, first, shadow_part(shadow=NOISE, flags=Flag.RESPONSE_TRUNCATED))
    without(bench, shadow_part(flags=Flag.RESPONSE_TRUNCATED), second)
    before = sum(counted(bench, "triple").values())
    bench.settle(primary_part(flags=Flag.MIRRORED, shadows_sent=5), first, second, shed=True)
    assert sum(counted(bench, "triple").values()) == before + 1


def stretch_in(bench: Bench) -> str:
    """Return what evidence about the first shadow is for."""
    return bench.table.routes[0].shadows[0].stretch


def test_a_kill_takes_no_field(bench: Bench, tmp_path: Path) -> None:
    """Counts by field are there for the next life though nobody saved them, and it goes on with them."""
    triple(bench, 1, 2)
    triple(bench, 2, 1)
    assert path_of(tmp_path, stretch_in(bench)).stat().st_mode & 0o777 == 0o600
    successor = book_in(bench, tmp_path)
    assert successor.fields(stretch_in(bench)) == {"/label/*": [1, 1, 0]}
    bench.outcomes.noise = successor
    triple(bench, 2, 2)
    assert book_in(bench, tmp_path).fields(stretch_in(bench)) == {"/label/*": [1, 1, 1]}
    assert bench.outcomes.noise.fields("another") == {}


def test_upgrades_lose_no_field(bench: Bench, tmp_path: Path) -> None:
    """Each program counts on beside its successor to its last exchange, and nothing is forgotten or counted twice."""
    stretch, before, books = stretch_in(bench), tmp_path, [bench.outcomes.noise]
    for number in range(3):
        after = tmp_path / f"after-{number}"
        after.mkdir()
        (after / EARLIER).symlink_to(before)
        books.append(book_in(bench, after))
        # The program before still judges what it had in hand; so does a killed and restarted successor.
        for book in books[-2:]:
            bench.outcomes.noise = book
            triple(bench, 1, 2)
        # The one that has it open sees it too, the field that the program before has found since among it.
        for book in (books[-1], book_in(bench, after)):
            assert book.fields(stretch) == {"/label/*": [2 * number + 2, 0, 0]}
        before = after
    (before / EARLIER).unlink()
    assert book_in(bench, before).fields(stretch) == {"/label/*": [6, 0, 0]}


def test_stretches_are_bounded(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fields of what no table has for long are forgotten, and so are their files."""
    monkeypatch.setattr("proxy.observer.noise.KEPT_STRETCHES", 2)
    book = book_in(bench, tmp_path)
    other = table_of(CONFIG.replace("as: classification", "as: json"), 2)
    paths = [path_of(tmp_path, stretch_in(bench), is_earlier=is_earlier) for is_earlier in (False, True)]
    paths[1].touch()
    book.admit(other)
    assert not any(path.exists() for path in paths)
    assert path_of(tmp_path, other.routes[0].shadows[0].stretch).exists()
    book.close()


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
    bench.outcomes.noise = book_in(bench, tmp_path / "json")
    bench.settle(
        primary_part(flags=Flag.MIRRORED, shadows_sent=5, response_body=body % 1),
        shadow_part(response_body=body % 2),
        shadow_part(shadow=NOISE, response_body=body % 1),
    )
    assert list(bench.outcomes.noise.fields(bench.table.routes[0].shadows[0].stretch)) == ["/a\ufffd"]
    assert list(book_in(bench, tmp_path / "json").fields(stretch_in(bench))) == ["/a\ufffd"]


def test_a_file_that_says_something_else(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be read, or not be made, is said once; fields are counted in memory then."""
    path_of(tmp_path, stretch_in(bench)).write_bytes(b"\xff" * 60_000)
    path_of(tmp_path, bench.table.routes[0].shadows[1].stretch).unlink()
    path_of(tmp_path, bench.table.routes[0].shadows[1].stretch).mkdir()
    bench.outcomes.noise = book_in(bench, tmp_path)
    assert caplog.text.count("cannot keep which fields differ") == 1
    triple(bench, 1, 2)
    assert bench.outcomes.noise.fields(stretch_in(bench)) == {"/label/*": [1, 0, 0]}


LONG, SHORT = 3_000_000_000, 1_000_000_000


def test_different_timeouts_choose_alike(tmp_path: Path) -> None:
    """Two models that are the same, and say something else when they think long, are odd equally often although one of
    them is given up sooner: all cases of two answers are gone through.
    """
    config = CONFIG.replace("{model: wine-v4, percent: 100}", "{model: wine-v4, timeout: 2s}")
    config = config.replace("{model: wine-v5, percent: 100}", "{model: wine-v5, timeout: 4s}")
    bench = Bench(tmp_path, config)
    answers = [(label, took) for label in (1, 2) for took in (SHORT, LONG)]
    for number, (mine, second) in enumerate(product(answers, repeat=2)):
        # A long thought is another answer with the weight 3 to 1: the cases are counted as often as they come.
        weight = (3 if (mine[0] == 2) == (mine[1] == LONG) else 1) * (
            3 if (second[0] == 2) == (second[1] == LONG) else 1
        )
        fault = int(Fault.TIMEOUT) if mine[1] == LONG else 0
        for _ in range(weight):
            bench.settle(
                primary_part(number=number, flags=Flag.MIRRORED, shadows_sent=5),
                shadow_part(response_body=agreeing(mine[0]), duration_ns=mine[1], fault=fault),
                shadow_part(shadow=NOISE, response_body=agreeing(second[0]), duration_ns=second[1]),
            )
    found = {key[1]: number for key, number in counted(bench, "triple").items()}
    assert found["candidate"] == found["champion"] == 3
    assert found["left_out"] == 64 - 16


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_an_overloaded_champion_blames_nobody(bench: Bench, status: int) -> None:
    """While the champion refuses what clients and the second call ask, a candidate that answers is not the odd one."""
    bench.settle(
        primary_part(status=status, flags=Flag.MIRRORED, shadows_sent=5),
        shadow_part(),
        shadow_part(shadow=NOISE, status=status),
    )
    assert list(counted(bench, "triple").values()) == [1]
    assert next(iter(counted(bench, "triple")))[1] == "left_out"


def test_refusals_of_one_answer_count(bench: Bench) -> None:
    """A candidate that fails where the champion answers twice is the odd one."""
    bench.settle(
        primary_part(flags=Flag.MIRRORED, shadows_sent=5),
        shadow_part(status=503),
        shadow_part(shadow=NOISE),
    )
    assert {key[1] for key in counted(bench, "triple")} == {"candidate", "candidate_farther"}
