"""Which examples are kept: bounded in number and bytes, the newest and the most extreme of every reason."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.observer.examples import EXTREME, MAX_REASONS, NEWEST, Example, Examples

BUDGET = 64_000

added = st.lists(
    st.tuples(
        st.sampled_from(["label", "format", "rows", "status"]),
        st.floats(0, 1),
        st.integers(1, 2 * BUDGET) | st.integers(1, 500),
    ),
    max_size=60,
)


def strip(example: Example[int]) -> Example[int]:
    """Leave out what is heavy."""
    return replace(example, weight=min(example.weight, 100))


def store(budget: int = BUDGET) -> Examples[int]:
    """Return one without examples."""
    return Examples(budget, strip)


def fill(examples: Examples[int], *each: tuple[str, float, int]) -> None:
    """Add examples that are numbered from 0."""
    for number, (reason, distance, weight) in enumerate(each):
        examples.add(Example(reason, distance, weight, number))


def test_the_newest() -> None:
    """The newest ones are kept, the very newest first."""
    examples = store()
    fill(examples, *[("label", 0.5, 10)] * (NEWEST + 9))
    assert [each.what for each in examples.newest()] == list(range(NEWEST + 8, 8, -1))


def test_the_most_extreme_of_each_reason() -> None:
    """A thousand of one kind leave room for the one of another, and of equals the newest stay."""
    examples = store()
    fill(examples, ("format", 0.3, 10), *[("label", 1.0, 10)] * 1000, ("label", 0.2, 10))
    kept = list(examples.extreme())
    assert [each.what for each in kept] == [1000, 999, 998, 997, 996, 0]
    assert [each.reason for each in kept].count("label") == EXTREME


def test_an_extreme_one_is_found_by_its_age_too() -> None:
    """Whatever is kept is among the newest, after those that are newer."""
    examples = store()
    fill(examples, ("format", 1.0, 10), *[("label", 0.1, 10)] * 100)
    assert [each.what for each in examples.newest()][-1] == 0
    assert len({each.what for each in examples.newest()}) == len(list(examples.newest()))


def test_what_is_too_heavy_is_stripped() -> None:
    """One that would take the place of many is kept without what makes it heavy."""
    examples = store()
    fill(examples, ("label", 1.0, BUDGET))
    (kept,) = examples.newest()
    assert kept.weight == 100


def test_what_cannot_be_stripped_is_not_kept() -> None:
    """A store of hardly any bytes keeps nothing rather than more than it may."""
    examples: Examples[int] = Examples(150, strip)
    fill(examples, ("label", 1.0, 5000))
    assert list(examples.newest()) == []
    assert examples.weight == 0


def test_reasons_are_bounded() -> None:
    """A comparer that makes up reasons does not fill the store."""
    examples = store()
    fill(examples, *((f"reason {number}", 1.0, 1) for number in range(1000)))
    assert len(list(examples.extreme())) == MAX_REASONS


def test_heavy_ones_of_many_reasons() -> None:
    """Where not all fit, every reason keeps its most extreme one, and those with most give first."""
    examples = store()
    reasons = ("label", "format", "rows", "status", "shape")
    fill(examples, *((reason, n / 10, BUDGET // 16) for n in range(EXTREME) for reason in reasons))
    kept = list(examples.extreme())
    assert sum(each.weight for each in kept) <= BUDGET // 2
    assert {each.reason for each in kept if each.distance == (EXTREME - 1) / 10} == set(reasons)
    assert examples.weight <= BUDGET


@given(added)
def test_never_over_the_budget(each: list[tuple[str, float, int]]) -> None:
    """After each addition the weights add up and stay below the budget, and every reason that fits has an example."""
    examples = store()
    for number, (reason, distance, weight) in enumerate(each):
        examples.add(Example(reason, distance, weight, number))
        newest, extreme = list(examples.newest()), list(examples.extreme())
        assert examples.weight <= BUDGET
        assert sum(kept.weight for kept in newest) <= BUDGET
        assert len(newest) <= NEWEST + 4 * EXTREME
        assert {kept.reason for kept in extreme} == {name for name, _, _ in each[: number + 1]}
        assert newest[0].what == number


@given(added)
def test_the_most_extreme_is_kept(each: list[tuple[str, float, int]]) -> None:
    """Of light ones the greatest distance of each reason is always there."""
    examples = store()
    light = [(reason, distance, 50) for reason, distance, _ in each]
    fill(examples, *light)
    for reason in {name for name, _, _ in light}:
        most = max(distance for name, distance, _ in light if name == reason)
        assert most in [kept.distance for kept in examples.extreme() if kept.reason == reason]
