"""The report says what was found, and README.md shows what the report says."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.simulation.__main__ import RESULTS, main
from benchmarks.simulation.cell import Alarms, Cell, Claim, Delay, Errs, Figure, Kept, Samples, Share, Verdict
from benchmarks.simulation.report import Result, markdown, rows_of, tally

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def no_draw(_rng: np.random.Generator, _runs: int) -> Samples:
    raise AssertionError("nothing is drawn here")


def share_of(hits: int, runs: int) -> Samples:
    return {"x": np.arange(runs) < hits}  # type: ignore[dict-item]


JUDGED: dict[str, tuple[Claim, Samples, Verdict]] = {
    "an error rate well below": (Errs("x", ""), {"x": np.full(10_000, -9.0)}, Verdict.MET),
    "an error rate too few runs know": (Errs("x", ""), {"x": np.full(1000, -9.0)}, Verdict.OPEN),
    "an error rate above": (Errs("x", ""), {"x": np.repeat([9.0, -9.0], [30, 9970])}, Verdict.MISSED),
    "a share that is at most": (Share("x", "", most=0.1), share_of(50, 1000), Verdict.MET),
    "a share that may be at most": (Share("x", "", most=0.1), share_of(99, 1000), Verdict.OPEN),
    "a share that is more": (Share("x", "", most=0.1), share_of(150, 1000), Verdict.MISSED),
    "a share that is at least": (Share("x", "", least=0.9), share_of(950, 1000), Verdict.MET),
    "a share that is less": (Share("x", "", least=0.9), share_of(850, 1000), Verdict.MISSED),
    "a share without a goal": (Share("x", ""), share_of(850, 1000), Verdict.NONE),
    "an interval that keeps": (Kept("x", ""), share_of(1, 1000), Verdict.MET),
    "an interval that does not": (Kept("x", ""), share_of(90, 1000), Verdict.MISSED),
    "another rule": (Alarms("x", ""), share_of(90, 1000), Verdict.NONE),
    "soon enough": (Delay("x", "", 100.0, 1.5), {"x": np.full(9, 149.0)}, Verdict.MET),
    "perhaps soon enough": (Delay("x", "", 100.0, 1.5), {"x": np.array([20.0, 300.0])}, Verdict.OPEN),
    "too late": (Delay("x", "", 100.0, 1.5), {"x": np.full(9, 151.0)}, Verdict.MISSED),
    "too often never": (Delay("x", "", 100.0, 1.5), {"x": np.array([9.0, np.inf])}, Verdict.MISSED),
    "no bound": (Delay("x", ""), {"x": np.array([9.0, np.inf])}, Verdict.NONE),
    "a figure that is low": (Figure(("x",), "", np.max, most=3), {"x": np.array([1.0, 3.0])}, Verdict.MET),
    "a figure that is high": (
        Figure(("x",), "", np.max, most=2),
        {"x": np.array([1.0, 3.0])},
        Verdict.MISSED,
    ),
    "a figure that is too low": (Figure(("x",), "", np.max, least=4), {"x": np.ones(1)}, Verdict.MISSED),
}


@pytest.mark.parametrize("name", JUDGED)
def test_verdict(name: str) -> None:
    """A goal is met, open or missed as the samples say, and the row is one of the report."""
    claim, samples, verdict = JUDGED[name]
    result = Result(Cell("name", "the setting", 1, no_draw, (claim,)), samples)
    assert [row.verdict for row in rows_of([result])] == [verdict]
    text = markdown([result], 7)
    assert "| the setting | " in text
    assert "seed 7" in text
    assert tally(rows_of([result])).get(verdict, 1) == 1
    widths = {
        line.count("|") for line in text.split("| the setting")[0].rsplit("\n\n", 1)[1].splitlines() if line
    }
    assert widths <= {text.splitlines()[-2].count("|")}


@pytest.mark.slow
@pytest.mark.parametrize("taken", [100.0, 151.0])
def test_why_a_goal_is_missed(taken: float) -> None:
    """Is told where it is missed, and only there."""
    claims: tuple[Claim, ...] = (
        Delay("x", "", 100.0, 1.5, why="time flies"),
        Figure(("x",), "", np.max, most=150, why="time flies"),
    )
    text = markdown([Result(Cell("name", "the setting", 1, no_draw, claims), {"x": np.full(9, taken)})], 7)
    assert text.count("| missed: time flies |") == (2 if taken > 150 else 0)


def test_command(tmp_path: Path) -> None:
    """A few runs of one cell print its claims and write a report where asked; the kept one is not touched."""
    kept = RESULTS.read_bytes()
    output = tmp_path / "out.md"
    done = CliRunner().invoke(
        main, ["--only", "split", "--runs", "20", "--jobs", "1", "--output", str(output)]
    )
    assert done.exit_code == 0, done.output
    assert "sample ratio mismatch" in done.output
    assert "| 20 |" in output.read_text(encoding="utf-8")
    assert CliRunner().invoke(main, ["--only", "split", "--runs", "20", "--jobs", "1"]).exit_code == 0
    assert RESULTS.read_bytes() == kept


def test_unknown_cell() -> None:
    """A name that no cell has is refused with all that there are."""
    done = CliRunner().invoke(main, ["--only", "nonsense"])
    assert done.exit_code == 2
    assert "nonsense" in done.output
    assert "sticky-0.1" in done.output


def test_readme_shows_the_report() -> None:
    """The short tables of README.md are those of SIMULATION.md, and no promise there was missed."""
    report = RESULTS.read_text(encoding="utf-8")
    short = report.split("## In short\n\n", 1)[1].split("\n\n## ", 1)[0]
    assert short.count("\n") >= 15
    for table in short.split("\n\n"):
        assert table in README
    promises = report.split("## Nothing is wrong", 1)[1].split("## How many requests", 1)[0]
    assert "| missed |" not in promises
