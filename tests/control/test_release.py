"""A numbered table and what it was made of."""

from proxy.control.book import Entry
from proxy.control.matching import match
from proxy.control.release import Outcome, Release, Result
from proxy.settled import WITHHELD, settle
from tests.control.rollout_world import START_NS, Ids, settings_of


def entries() -> dict[str, Entry]:
    """The rollouts of the file, just begun."""
    return dict(match({}, settings_of(), START_NS, Ids()).entries)


def test_the_table_has_the_weights_of_the_rollouts() -> None:
    """Settings and positions make the table, and every process is told both."""
    release = Release(settings_of(), 3, "abc", entries=entries())
    weights = {variant.name: str(variant.weight) for variant in release.table.routes[0].variants}
    assert weights == {"v1": "95", "v2": "5"}
    assert [(p["route"], p["weight"]) for p in release.positions] == [("wine", "5"), ("beer", "0")]
    assert [state["route"] for state in release.rollouts] == ["wine", "beer"]
    assert (release.table.version, release.table.digest) == (3, "abc")


def test_without_rollouts() -> None:
    """Nothing is told where there is nothing."""
    release = Release(settings_of(), 1, "abc")
    assert (release.positions, release.rollouts) == ([], ())
    assert release.for_observer == settle(release.settings).decode()
    assert release.for_workers == settle(release.settings, WITHHELD).decode()


def test_the_same_settings_elsewhere() -> None:
    """Another position makes another table of the same settings, which are not written out again."""
    first = Release(settings_of(), 1, "abc", entries=entries())
    second = first.with_rollouts(2, "abd", {})
    assert (second.version, second.digest, second.settings) == (2, "abd", first.settings)
    assert second.for_observer is first.for_observer
    assert second.for_workers is first.for_workers
    assert second.certificates is first.certificates
    assert second.positions == []


def test_an_outcome_is_json() -> None:
    """What came of it is plain values; all but a refusal is well."""
    outcome = Outcome(Result.ALREADY, 4, changes=("a",))
    assert outcome.document() == {
        "result": "already", "version": 4, "problems": [], "changes": ["a"], "warnings": [],
    }  # fmt: skip
    assert [result for result in Result if not Outcome(result, 1).ok] == [Result.REFUSED]
