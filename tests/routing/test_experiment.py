"""Experiments: what is compared, by which odds, and under which names."""

import re
from decimal import Decimal
from fractions import Fraction

import pytest

from proxy.evidence.layout import FIELDS, block_size
from proxy.routing.experiment import Experiment
from proxy.routing.hashing import SPACE
from proxy.routing.position import Position
from proxy.routing.table import Route, compile_table
from proxy.settings import parse

SPLIT = """
models: {a: {url: "http://127.0.0.1:1"}, b: {url: "http://127.0.0.1:2"}, c: {url: "http://127.0.0.1:3"}}
routes:
  - name: wine
    match: {path: /wine}
    unit: [header:x-user-id]
    variants:
      - {name: old, model: a, role: champion}
      - {name: new, model: b, role: canary, weight: 10}
      - {name: other, model: c, role: challenger, weight: 30}
"""
TRIED = SPLIT.replace("role: canary, weight: 10", "role: canary, rollout: {}")


def route(text: str = SPLIT, *positions: Position) -> Route:
    return compile_table(parse(text, environ={}), 1, "", positions).routes[0]


def experiment(text: str = SPLIT, *positions: Position) -> Experiment:
    found = route(text, *positions).experiment
    assert found is not None
    return found


def at(weight: str, rollout: str = "00112233aabbccdd") -> Position:
    return Position("wine", "new", rollout, Decimal(weight))


def test_names_and_shares_of_a_split() -> None:
    """Every variant has its place in the block, and the odds against the champion are those of the intervals."""
    found = experiment()
    assert [arm.name for arm in found.arms] == ["old", "new", "other"]
    assert found.champion == 0
    assert found.size == block_size(3) > 3 * FIELDS
    assert [found.base(i) for i in range(3)] == [0, FIELDS, 2 * FIELDS]
    assert [variant.slot_evidence for variant in route().variants] == [0, FIELDS, 2 * FIELDS]
    assert found.share(1) == pytest.approx(10 / 70)
    assert found.share(2) == pytest.approx(30 / 90)
    assert sum(found.probabilities) == 1.0
    assert re.fullmatch("[0-9a-f]{16}", found.rollout)
    assert re.fullmatch("[0-9a-f]{16}", found.epoch)


def test_shares_are_exact() -> None:
    """A share is the nearest float to the ratio of integers, at weights that no float can hold."""
    found = experiment(TRIED, at("0.0000000003"))
    own, rest = (route(TRIED, at("0.0000000003")).intervals.width(i) for i in (1, 0))
    assert found.share(1) == float(Fraction(own, own + rest)) > 0


@pytest.mark.parametrize(("weight", "share"), [("0", 0.0), ("70", 1.0), ("100", 1.0)])
def test_one_side_without_traffic_has_no_odds(weight: str, share: float) -> None:
    """With nothing on one side the share says so, and no division fails."""
    assert experiment(TRIED, at(weight)).share(1) == share


def test_equal_circumstances_have_equal_names() -> None:
    """An edit that changes nothing of what is compared goes on in the same epoch."""
    edited = SPLIT + "    timeout: 20s\n    log: {percent: 5}\n"
    again = SPLIT.replace("models: {", "models: {unused: {url: 'http://127.0.0.1:9'}, ")
    assert experiment() == experiment(edited) == experiment(again)


CHANGES = {
    "weight": (SPLIT.replace("weight: 10", "weight: 11"), False),
    "weight of another": (SPLIT.replace("weight: 30", "weight: 31"), False),
    "url of a model": (SPLIT.replace("127.0.0.1:2", "127.0.0.1:22"), True),
    "name of a variant": (SPLIT.replace("name: new", "name: newer"), True),
    "name of the route": (SPLIT.replace("name: wine", "name: beer"), True),
    "salt": (SPLIT + "    salt: pepper\n", True),
    "units": (SPLIT.replace("[header:x-user-id]", "[cookie:uid]"), True),
}


@pytest.mark.parametrize(("text", "is_another"), CHANGES.values(), ids=CHANGES.keys())
def test_other_circumstances_have_other_names(text: str, is_another: bool) -> None:
    """Other odds are another epoch; another comparison is another rollout too."""
    before, after = experiment(), experiment(text)
    assert before.epoch != after.epoch
    assert (before.rollout != after.rollout) is is_another


def test_a_rollout_names_its_experiment() -> None:
    """The rollout's own id counts, not what is compared: a new start of the same canary is something new."""
    first, second, third = at("5"), at("25"), at("5", "ffeeddccbbaa9988")
    assert experiment(TRIED, first).rollout == "00112233aabbccdd"
    assert experiment(TRIED, first).epoch == experiment(TRIED, at("5")).epoch
    epochs = {experiment(TRIED, each).epoch for each in (first, second, third)}
    assert len(epochs) == 3


def test_coming_back_to_the_same_odds_is_the_same_epoch() -> None:
    """5 %, then 1 %, then 5 % again: the odds have names, not the time."""
    assert experiment(TRIED, at("5")) == experiment(TRIED, at("5.0"))


def test_who_has_no_experiment() -> None:
    """Where one variant gets everything there is nothing to compare; a rollout is measured before it begins."""
    alone = re.sub(r"(?m)^ +- \{name: (new|other).*\n", "", SPLIT)
    assert route(alone).experiment is None
    assert (
        route(SPLIT.replace("weight: 10", "weight: 0").replace("weight: 30", "weight: 0")).experiment is None
    )
    assert (
        route(SPLIT.replace("weight: 10", "weight: 0").replace("weight: 30", "weight: 100")).experiment
        is None
    )
    idle = re.sub(r"(?m)^ +- \{name: other.*\n", "", TRIED)
    assert route(idle, at("0")).experiment is not None
    assert sum(arm.width for arm in experiment(idle, at("100")).arms) == SPACE
    assert experiment(idle, at("100")).probabilities == (0.0, 1.0)
