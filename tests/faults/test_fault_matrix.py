"""The fault matrix: what goes wrong, when, on which side; a test a row, all played by one running proxy."""

import asyncio

import pytest

from tests.faults.all_cells import CELLS, PRODUCTS
from tests.faults.matrix import Outcome, Run, play_all

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole matrix, played once."""
    return asyncio.run(play_all(tmp_path_factory.mktemp("faults"), CELLS))


@pytest.fixture(scope="module")
def outcomes(played: Run) -> dict[str, Outcome]:
    """What has happened, by title."""
    return {outcome.cell.title: outcome for outcome in played.outcomes}


@pytest.mark.parametrize("title", [cell.title for cell in CELLS])
def test_cell(outcomes: dict[str, Outcome], title: str) -> None:
    """The client gets what it must, the model's connections end as they must, and the counters say so."""
    assert outcomes[title].problems == []


def test_nothing_is_left_and_the_sums_hold(played: Run) -> None:
    """Afterwards nothing is open, every sum that README states holds, and the log names no bug."""
    assert played.problems == []


def test_titles_are_unique() -> None:
    """No row hides another."""
    titles = [cell.title for cell in CELLS]
    assert sorted(set(titles)) == sorted(titles)


@pytest.mark.parametrize("side", PRODUCTS)
def test_the_product_is_complete(side: str) -> None:
    """Every deed at every moment is a row or has its reason why not, and none has both."""
    moments, deeds, excused = PRODUCTS[side]
    played = {(cell.when, cell.what.split(":")[0]) for cell in CELLS if cell.side == side}
    every = {(moment, deed) for moment in moments for deed in deeds}
    assert every - played - set(excused) == set()
    assert played & set(excused) == set()
    assert played | set(excused) <= every
