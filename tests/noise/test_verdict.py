"""What counts of triples are said to show."""

import math
from itertools import product

import numpy as np
import pytest

from proxy.noise.triples import Triples
from proxy.noise.verdict import ALPHA, Judgement, judge, sentence
from proxy.stats.events import harm_by_start
from proxy.stats.paired import triples


def counted(candidate: int, champion: int, rest: int = 0) -> Triples:
    """Return counts in which who is odd is also farther, as with 0 or 1 for distances."""
    return Triples(rest, candidate, champion, 0, candidate, champion)


@pytest.mark.parametrize("noise", [0.02, 0.3, 0.9])
def test_the_bet_is_fair(noise: float) -> None:
    """Over all outcomes of six triples of a candidate that is as noisy as the champion, E[e] is exactly 1.

    Every answer is the client's, or another one at one of two distances.
    """
    one = ((False, 0.0), 1 - noise), ((True, 0.5), noise / 3), ((True, 1.0), 2 * noise / 3)
    chances: dict[tuple[int, ...], float] = {}
    for (mine, p), (second, q) in product(one, repeat=2):
        odd = ("same", "candidate", "champion", "both")[mine[0] + 2 * second[0]]
        counts = Triples(**{odd: 1})._asdict()
        del counts["left_out"]
        if mine[1] != second[1]:
            counts["candidate_farther" if mine[1] > second[1] else "champion_farther"] += 1
        key = tuple(counts.values())
        chances[key] = chances.get(key, 0.0) + p * q
    sums: dict[tuple[int, ...], float] = {(0,) * 6: 1.0}
    for _ in range(6):
        grown: dict[tuple[int, ...], float] = {}
        for (before, p), (step, q) in product(sums.items(), chances.items()):
            key = tuple(a + b for a, b in zip(before, step, strict=True))
            grown[key] = grown.get(key, 0.0) + p * q
        sums = grown
    assert math.fsum(sums.values()) == pytest.approx(1.0, abs=1e-12)
    expected = math.fsum(p * math.exp(judge(Triples(*counts)).log_e) for counts, p in sums.items())
    assert expected == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_the_bet_is_fair_at_the_tolerance(tolerance: float) -> None:
    """Over all outcomes of forty triples with an odd one, at the tolerated odds, E[e] is 1."""
    p = (1 + tolerance) / (2 + tolerance)
    chances = [math.comb(40, k) * p**k * (1 - p) ** (40 - k) for k in range(41)]
    expected = math.fsum(
        chance * math.exp(judge(counted(k, 40 - k), tolerance).log_e) for k, chance in enumerate(chances)
    )
    assert expected == pytest.approx(1.0, abs=1e-12)


def test_either_bet_finds() -> None:
    """Text that is never the same twice is found by distances, labels by who is odd; each with half of the money."""
    never_the_same = Triples(both=100, candidate_farther=90, champion_farther=10)
    assert judge(never_the_same).is_more
    assert judge(never_the_same).log_e == pytest.approx(triples(90, 10) - math.log(2), abs=1e-6)
    assert judge(counted(40, 5)).log_e == pytest.approx(triples(40, 5))


def test_rates() -> None:
    """The excess is the difference of both rates, and lies in its interval."""
    judged = judge(Triples(900, 50, 20, 30, 60, 40))
    assert (judged.triples, judged.candidate_rate, judged.noise_rate) == (1000, 0.08, 0.05)
    assert judged.excess == pytest.approx(0.03)
    assert -1 <= judged.low < judged.excess < judged.high <= 1
    assert judge(Triples()) == Judgement(0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0, 0)


def test_from_when_on_it_is_shown() -> None:
    """An e-value of 100 is asked for: eight odd ones give 63, nine 118."""
    assert [judge(counted(odd, 0)).is_more for odd in (8, 9)] == [False, True]


WORDS = {
    "nothing": (Triples(left_out=3), 0.0, "no answer could be set beside a second one of the champion yet"),
    "no difference": (
        Triples(same=1000),
        0.0,
        (
            "0 % of answers differ, and the champion never differs from itself: no evidence of a difference, 0.669 % "
            "above noise at most"
        ),
    ),
    "as noisy": (
        Triples(200, 170, 165, 465, 170, 165),
        0.0,
        (
            "63.5 % of answers differ, and the champion differs from itself as often (63 %): no evidence of a "
            "difference, 6.68 % above noise at most"
        ),
    ),
    "another model": (
        counted(80, 10, 910),
        0.0,
        (
            "8 % of answers differ, and the champion differs from itself in 1 %: it differs more, by 4.07 % at least "
            "(by chance once in 1,000,000 at most)"
        ),
    ),
    "nearly as noisy": (
        Triples(200, 200, 150, 450),
        0.0,
        (
            "65 % of answers differ, and the champion differs from itself as often (60 %): no evidence of a "
            "difference, 11.3 % above noise at most"
        ),
    ),
    "tolerated": (
        counted(80, 45, 875),
        1.0,
        (
            "8 % of answers differ, and the champion differs from itself in 4.5 %: no evidence of more than is "
            "tolerated, 7.38 % above noise at most"
        ),
    ),
    "never the same": (
        Triples(both=100, candidate_farther=90, champion_farther=10),
        0.0,
        (
            "100 % of answers differ, and the champion differs from itself as often (100 %): but 90 % of those that "
            "differ in distance are farther away than it (by chance once in 1,000,000 at most)"
        ),
    ),
    "barely": (
        counted(20, 4, 10_000),
        0.0,
        (
            "0.2 % of answers differ, and the champion differs from itself in 0.0399 %: no evidence of a difference, "
            "0.359 % above noise at most"
        ),
    ),
}


@pytest.mark.parametrize("name", WORDS)
def test_sentence(name: str) -> None:
    """A verdict says both rates, and what is known of the difference."""
    counts, tolerance, expected = WORDS[name]
    assert sentence(judge(counts, tolerance)) == expected


def money(candidate: float, champion: float, looks: int, rng: np.random.Generator) -> np.ndarray:
    """Return the log e after each triple of models that differ so often, each in 0 or 1."""
    mine, second = rng.random(looks) < candidate, rng.random(looks) < champion
    odd = (mine & ~second).astype(np.int64), (second & ~mine).astype(np.int64)
    back = slice(None, None, -1)
    found: np.ndarray = harm_by_start(odd[0][back], odd[1][back], np.full(looks, 0.5), 0.0)[back]
    assert judge(counted(int(odd[0].sum()), int(odd[1].sum()))).log_e == pytest.approx(found[-1], abs=1e-9)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_looking_after_every_triple(noise: float) -> None:
    """Of 200 candidates that are as noisy as the champion, looked at 10,000 times, at most 1 % are ever blamed."""
    rng = np.random.default_rng(7)
    blamed = sum(bool(money(noise, noise, 10_000, rng).max() >= -math.log(ALPHA)) for _ in range(200))
    assert blamed <= 6  # with 1 % exactly 99.6 % of such experiments have at most 6


@pytest.mark.slow
def test_power() -> None:
    """A candidate that differs in 4 % of answers where the champion does in 2 % is found after some 1,700 triples."""
    rng = np.random.default_rng(11)
    needed = []
    for _ in range(300):
        reached = money(0.04, 0.02, 8_000, rng) >= -math.log(ALPHA)
        assert reached.any()
        needed.append(int(reached.argmax()) + 1)
    assert 1_400 < np.mean(needed) < 1_950
