"""What other people's libraries say: questions as lines of JSON on stdin, answers on stdout.

Runs in the oracles' own environment and knows nothing of the project. A question is ``[name, arguments]``.
"""

import json
import sys

import numpy as np
import statsmodels.api as sm
from gbstats.frequentist.tests import (
    FrequentistConfig,
    SequentialConfig,
    SequentialTwoSidedTTest,
    TwoSidedTTest,
)
from gbstats.models.statistics import SampleMeanStatistic
from gbstats.utils import check_srm
from pycocotools import mask
from rbo import RankingSimilarity
from rouge_score import rouge_scorer
from sacrebleu.metrics import CHRF
from scipy import special, stats
from scipy.spatial import distance
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

Arm = list[float]
"""Number of observations, their sum, the sum of their squares."""


def sequential(canary: Arm, champion: Arm, alpha: float, tuned_at: float) -> list[float]:
    """Return GrowthBook's confidence sequence of the difference of means (eq. 9 of arXiv 2103.06476v7)."""
    config = SequentialConfig(alpha=alpha, difference_type="absolute", sequential_tuning_parameter=tuned_at)
    test = SequentialTwoSidedTTest(_arm(champion), _arm(canary), config)
    return [*test.confidence_interval, test.point_estimate, test.variance, test.rho]


def welch(canary: Arm, champion: Arm) -> float:
    """Return GrowthBook's standardised difference of means."""
    test = TwoSidedTTest(_arm(champion), _arm(canary), FrequentistConfig(difference_type="absolute"))
    return float(test.point_estimate / np.sqrt(test.variance))


def _arm(arm: Arm) -> SampleMeanStatistic:
    return SampleMeanStatistic(n=int(arm[0]), sum=arm[1], sum_squares=arm[2])


def srm(units: list[int], shares: list[float]) -> float:
    """Return GrowthBook's p value of a sample ratio mismatch."""
    return float(check_srm(units, shares))


def dirichlet(units: list[int], shares: list[float], k: float) -> float:
    """Return the log Bayes factor of a Dirichlet against fixed shares, by scipy's two distributions."""
    n, theta = sum(units), np.array(shares)
    mixture = stats.dirichlet_multinomial(k * theta, n).logpmf(units)
    return float(mixture - stats.multinomial(n, theta).logpmf(units))


def beta_binomial(count: int, total: int, p: float, k: float) -> float:
    """Return the log Bayes factor of a beta against a fixed probability."""
    mixture = stats.betabinom(total, k * p, k * (1 - p)).logpmf(count)
    return float(mixture - stats.binom(total, p).logpmf(count))


def special_functions(x: float) -> list[float]:
    """Return log Phi(x), Phi^-1(e^x) for negative x, and log Gamma of its size."""
    return [
        float(special.log_ndtr(x)),
        float(special.ndtri_exp(min(x, -1e-3))),
        float(special.gammaln(abs(x))),
    ]


def clopper_pearson(hits: int, runs: int) -> list[float]:
    """Return both one-sided limits of 99 %."""
    return [float(each) for each in proportion_confint(hits, runs, alpha=0.02, method="beta")]


def two_proportions(one: int, n1: int, other: int, n0: int) -> float:
    """Return the z of two proportions with pooled variance."""
    return float(proportions_ztest([one, other], [n1, n0])[0])


def rank_sum(one: list[int], other: list[int]) -> float:
    """Return the p value of Mann and Whitney's U, one-sided, of two histograms over the same ordered values."""
    samples = [np.repeat(np.arange(len(counts)), counts) for counts in (one, other)]
    return float(
        stats.mannwhitneyu(*samples, alternative="greater", use_continuity=False, method="asymptotic").pvalue
    )


def normal_survival(z: float) -> float:
    """Return P(Z > z)."""
    return float(stats.norm.sf(z))


def clustered(units: list[int], sums: list[float]) -> list[float]:
    """Return the ratio of sums to units with its robust standard error: a weighted regression through 0."""
    n, y = np.array(units, float), np.array(sums)
    fitted = sm.WLS(y, n, weights=1.0 / n).fit(cov_type="HC1")
    return [float(fitted.params[0]), float(fitted.bse[0] ** 2)]


def newey_west(series: list[float], lag: int) -> list[float]:
    """Return the mean of a series and its variance with Bartlett weights, without correction."""
    fitted = sm.OLS(np.array(series), np.ones(len(series))).fit(
        cov_type="HAC", cov_kwds={"maxlags": lag, "use_correction": False}
    )
    return [float(fitted.params[0]), float(fitted.cov_params()[0, 0])]


def holm(p_values: list[float]) -> list[float]:
    """Return p values adjusted by Holm."""
    return [float(each) for each in multipletests(p_values, method="holm")[1]]


def chrf(pairs: list[list[str]]) -> list[float]:
    """Return sacrebleu's sentence chrF2 of each candidate against its reference."""
    metric = CHRF()
    return [float(metric.sentence_score(candidate, [reference]).score) for candidate, reference in pairs]


def rouge(pairs: list[list[str]]) -> list[float]:
    """Return the F measure of ROUGE-1 of each pair: that of the words they share, each as often as in both."""
    scorer = rouge_scorer.RougeScorer(["rouge1"])
    return [float(scorer.score(one, other)["rouge1"].fmeasure) for one, other in pairs]


def rank_biased_overlap(pairs: list[list[list[int]]], persistence: float) -> list[float]:
    """Return RBO_ext of each pair of rankings."""
    return [float(RankingSimilarity(one, other).rbo_ext(p=persistence)) for one, other in pairs]


def jensen_shannon(pairs: list[list[list[float]]]) -> list[float]:
    """Return scipy's Jensen-Shannon distance of each pair, in bits."""
    return [float(distance.jensenshannon(p, q, base=2)) for p, q in pairs]


def cosine(pairs: list[list[list[float]]]) -> list[float]:
    """Return scipy's cosine of each pair of vectors."""
    return [1.0 - float(distance.cosine(a, b)) for a, b in pairs]


def iou(pairs: list[list[list[list[float]]]]) -> list[list[list[float]]]:
    """Return COCO's overlaps of each pair of lists of boxes (corner, width, height)."""
    return [mask.iou(np.array(one), np.array(other), [0] * len(other)).tolist() for one, other in pairs]


def main() -> None:
    """Answer one question a line."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(globals()[name](*arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
