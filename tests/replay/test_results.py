"""What is counted: every request as exactly one thing, in bounded space."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Comparison, Difference
from proxy.replay.judging import Asked, Outcome
from proxy.replay.results import OTHER_PAIR, Results
from tests.replay.asking import answer_of, asked, record_of

AGREE = Comparison("agree", 0.0, None, "json", 2, 0)


def disagree(distance: float = 1.0, reason: str = "fields") -> Comparison:
    return Comparison("disagree", distance, reason, "json", 2, 1, (Difference("/a", "1", "2"),))


def outcome(
    comparison: Comparison | None = AGREE,
    new: Asked | None = None,
    reference: Asked | None = None,
    number: int = 0,
    **changes: Any,
) -> Outcome:
    return Outcome(record_of(number, **changes), new or asked(), reference, 0, comparison)


FAILED = outcome(None, asked(fault="timeout"))
UNCOMPARABLE = outcome(Comparison("uncomparable", None, "both_failed", "json", 0, 0))
REFERENCE_FAILED = outcome(None, asked(), asked(fault="connect"))


@given(
    st.lists(st.sampled_from([outcome(), outcome(disagree()), FAILED, UNCOMPARABLE, REFERENCE_FAILED])),
)
def test_every_request_is_counted_once(outcomes: list[Outcome]) -> None:
    """What was sent was answered or failed; what was answered agreed, disagreed or could not be compared."""
    results = Results()
    for each in outcomes:
        results.add(each, shows_values=True)
    total = results.total()
    assert total.sent == len(outcomes) == total.answered + total.failed.total()
    assert total.answered == total.compared + total.uncomparable.total() + total.reference_failed.total()
    assert total.compared == total.methods.total()
    assert total.disagree == total.reasons.total()
    assert results.disagreeing.records == total.compared
    assert results.wrong.records == total.compared + total.failed.total()


def test_by_route_and_variant() -> None:
    """Groups are counted apart, and add up."""
    results = Results()
    results.add(outcome(), shows_values=True)
    results.add(outcome(disagree(), replace(asked(), is_second=True), variant="v2"), shows_values=True)
    results.add(outcome(FAILED.comparison, FAILED.new, route="beer"), shows_values=True)
    assert {key: group.sent for key, group in results.groups.items()} == {
        ("wine", "v1"): 1,
        ("wine", "v2"): 1,
        ("beer", "v1"): 1,
    }
    total = results.total()
    assert (total.sent, total.agree, total.disagree, total.rows, total.rows_disagreeing) == (3, 1, 1, 4, 1)
    assert total.asked_again == 1
    assert (dict(total.failed), dict(total.reasons)) == ({"timeout": 1}, {("json", "fields"): 1})


def test_a_record_stands_for_many_requests() -> None:
    """A record that was kept for its disagreement stands for itself, a sampled one for those that were not."""
    results = Results()
    kept: dict[str, Any] = {"inclusion_probability": 1.0, "kept_by": ["disagreement"]}
    sampled: dict[str, Any] = {"inclusion_probability": 0.1, "kept_by": ["sample"]}
    results.add(outcome(disagree(), **kept, unit="a"), shows_values=True)
    for number in range(9):
        results.add(outcome(number=number, **sampled, unit=f"b{number}"), shows_values=True)
    share = results.disagreeing.ratio().value
    assert share == 1 / 91
    results.add(outcome(FAILED.comparison, FAILED.new, unit="c", **sampled), shows_values=True)
    assert results.disagreeing.ratio().value == share
    assert results.wrong.ratio().value == 11 / 101


def test_latencies_are_of_the_same_requests() -> None:
    """Only requests that both answered are in either histogram."""
    results = Results()
    results.add(outcome(new=asked(duration_ns=5_000_000)), shows_values=True)
    results.add(FAILED, shows_values=True)
    results.add(REFERENCE_FAILED, shows_values=True)
    new = asked(duration_ns=7_000_000)
    results.add(outcome(new=new, reference=asked(duration_ns=9_000_000)), shows_values=True)
    assert results.latencies.new.sum() == results.latencies.reference.sum() == 2


def test_the_worst_examples() -> None:
    """Of each reason the most distant are kept, of equal ones the first; one kind does not crowd out another."""
    results = Results(examples=2)
    for number, (distance, reason) in enumerate(
        [(0.1, "fields"), (0.9, "fields"), (0.9, "fields"), (0.9, "fields"), (0.2, "label"), (1.0, "status")]
    ):
        results.add(outcome(disagree(distance, reason), number=number), shows_values=number != 1)
    kept = [(each.request_id, each.comparison.reason) for each in results.examples()]
    assert kept == [("r5", "status"), ("r1", "fields"), ("r4", "label"), ("r2", "fields")]
    assert [each.shows_values for each in results.examples()] == [True, False, True, True]
    assert results.examples()[0].status == 200


def test_the_reference_s_status_is_shown() -> None:
    """Against another model its status stands in the example, not the recorded one."""
    results = Results()
    results.add(outcome(disagree(), reference=asked(answer_of(status=503))), shows_values=True)
    assert results.examples()[0].status == 503


def test_no_examples() -> None:
    """None are kept where none are wanted."""
    results = Results(examples=0)
    results.add(outcome(disagree()), shows_values=True)
    assert results.examples() == []
    assert results.total().disagree == 1


def test_a_long_replay_takes_little_space() -> None:
    """Examples and histograms do not grow with the number of requests."""
    results = Results(examples=3)
    for number in range(2000):
        distance = number * 7919 % 2000 / 2000
        results.add(outcome(disagree(distance), number=number % 1000), shows_values=True)
    assert len(results.examples()) == 3
    assert results.latencies.new.nbytes + results.late.nbytes < 10_000


def test_labels_and_scores() -> None:
    """Which label became which is counted by row where values may be shown; scores are summed up everywhere."""
    results = Results()
    flips = AGREE._replace(confusion=(("a", "a", 3), ("a", "b", 1)), scores=(("cosine", 0.5),))
    results.add(outcome(flips), shows_values=True)
    results.add(outcome(flips._replace(scores=(("cosine", 1.0),))), shows_values=True)
    results.add(outcome(flips._replace(scores=(("chrf", 7.0),))), shows_values=False)
    assert dict(results.confusion) == {("a", "a"): 6, ("a", "b"): 2}
    cosine = results.scores["cosine"]
    assert (cosine.count, cosine.total, cosine.least, cosine.most) == (2, 1.5, 0.5, 1.0)
    assert results.scores["chrf"].count == 1


def test_pairs_of_labels_are_bounded() -> None:
    """Labels come from models: beyond so many pairs they are counted together, and none is lost."""
    results = Results()
    for number in range(1200):
        results.add(outcome(AGREE._replace(confusion=((f"a{number}", "b", 2),))), shows_values=True)
    assert len(results.confusion) == 1001
    assert results.confusion[OTHER_PAIR] == 400
    assert results.confusion.total() == 2400
