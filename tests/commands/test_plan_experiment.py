"""``modelproxy plan-experiment``: what is taken from where, and with which exit code it ends."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.commands import plan_experiment as module
from tests.commands.serving import answering

CONFIG = """
models:
  wine-v1: {url: "http://127.0.0.1:9001"}
  wine-v3: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/wine/*"}
    variants:
      - {name: v1, model: wine-v1, role: champion}
      - {name: v3, model: wine-v3, role: canary, rollout: {ROLLOUT}}
    shadows: [{model: wine-v3, percent: 50}]
  - name: beer
    match: {path: "/*"}
    variants: [{name: v1, model: wine-v1, role: champion}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write(tmp_path, "")


def write(place: Path, rollout: str) -> Path:
    path = place / "modelproxy.yaml"
    path.write_text(CONFIG.replace("ROLLOUT", rollout), encoding="utf-8")
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["plan-experiment", *map(str, arguments)])


def document(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = orjson.loads(result.stdout)
    return found


def test_by_hand(config: Path) -> None:
    """With a rate the outlook is written, and what was not given is named as assumed."""
    result = run(config, "wine", "--rate", "200/s", "--error-rate", "1%")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("# Outlook of the rollout of v3 on route wine")
    assert "Assumed: v1 has 1 % of client_errors" in result.stdout
    assert "Assumed: v1 has 1 % of errors" not in result.stdout


def test_for_machines(config: Path) -> None:
    """JSON has the same figures; what never comes is null."""
    found = document(
        config, "wine", "--rate", "12000/min", "--error-rate", "2", "--units", "900000", "--detect", "+1%"
    )
    assert found["requests_per_second"] == 200
    assert found["champion_rates"]["errors"] == pytest.approx(0.02)
    assert (found["units"], found["detect"]) == (900000, {"factor": 2.0, "added": 0.01})
    assert [each["weight"] for each in found["steps"]] == [1, 5, 25, 50]
    assert {each["guardrail"] for each in found["rolled_back"]} == {"errors", "client_errors", "latency"}
    assert found["within_max_duration"]
    never = document(config, "wine", "--rate", "200/s", "--detect", "1.05x")
    assert {each["mean_s"] for each in never["rolled_back"]} == {None}


def test_copies_count(tmp_path: Path) -> None:
    """Of disagreement the shadows of the file say how fast it is known."""
    path = write(tmp_path, "guardrails: [{metric: errors}, {metric: disagreement, tolerance: 2%}]")
    found = document(path, "wine", "--rate", "200/s")
    shown = {each["guardrail"]: each["mean_s"] for each in found["shown"]}
    assert shown["disagreement"] is not None
    assert any("disagrees half as often" in each for each in found["assumed"])


def test_from_a_running_proxy(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Error rates and spread are the champion's; a route without requests just now needs --rate."""
    monkeypatch.setattr(module, "MEASURE_S", 0.0)
    variant = {
        "name": "v1", "role": "champion", "requests": 10_000, "errors": 50,
        "codes": {"200": 9650, "404": 300, "499": 20, "500": 30}, "latency_ms": {"p50": 20.0, "p95": 60.0, "p99": 90.0},
    }  # fmt: skip
    status = {"routes": [{"name": "wine", "variants": [variant]}]}
    with answering(200, orjson.dumps(status)) as asked:
        result = run(config, "wine", "--admin", asked.url)
        found = document(config, "wine", "--admin", asked.url, "--rate", "50/s")
    assert result.exit_code == 2
    assert "give --rate" in result.stderr
    assert found["champion_rates"]["errors"] == pytest.approx(0.005)
    assert found["champion_rates"]["client_errors"] == pytest.approx(0.03)
    assert found["assumed"] == []


def test_rates_are_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate is what was added between two readings, over the time between them."""
    monkeypatch.setattr(module, "MEASURE_S", 0.05)
    readings = iter([100, 150])
    route = {"name": "wine", "variants": [{"name": "v1", "role": "champion", "requests": 0}]}

    def status(admin: str, name: str) -> dict[str, Any]:
        return {"routes": [{**route, "variants": [{**route["variants"][0], "requests": next(readings)}]}]}  # type: ignore[dict-item]

    monkeypatch.setattr(module, "fetch_status", status)
    monkeypatch.setattr(module, "ask", lambda *a, **k: (404, {"error": "none"}))
    observed = module._observe("http://x", "wine")
    assert observed.rate is not None
    assert 100 < observed.rate <= 1000
    assert observed.errors is None  # too few requests to tell


def test_units_are_told_from_how_often_they_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where 1,000 users have sent 10,000 requests there are about so many; without repeats there is no telling."""

    def evidence(requests: int, units: int) -> Any:
        variants = [{"requests": requests, "units": units}]
        return lambda *a, **k: (200, {"evidence": {"epochs": [{"variants": variants}]}})

    monkeypatch.setattr(module, "ask", evidence(10_000, 1_000))
    assert module._units("http://x", "wine") == pytest.approx(1000, rel=0.01)
    monkeypatch.setattr(module, "ask", evidence(10_000, 5_000))
    assert module._units("http://x", "wine") == pytest.approx(6273, rel=0.01)
    monkeypatch.setattr(module, "ask", evidence(10_000, 10_000))
    assert module._units("http://x", "wine") is None


WRONG = [
    (["wine"], 2, "give --rate"),
    (["wine", "--rate", "fast"], 2, "expected a rate above 0 such as 200/s"),
    (["wine", "--rate", "0/s"], 2, "expected a rate above 0"),
    (["wine", "--rate", "1/s", "--error-rate", "100%"], 2, "expected a percent from 0 to 99"),
    (["wine", "--rate", "1/s", "--detect", "1x"], 2, "how much worse"),
    (["wine", "--rate", "1/s", "--detect", "+0%"], 2, "how much worse"),
    (["wine", "--rate", "1/s", "--units", "0"], 2, "x>=1"),
    (["cider", "--rate", "1/s"], 1, "no route is called cider; there are: wine, beer"),
    (["beer", "--rate", "1/s"], 1, "route beer has no rollout"),
]


@pytest.mark.parametrize(("arguments", "code", "sentence"), WRONG)
def test_wrong(config: Path, arguments: list[str], code: int, sentence: str) -> None:
    """Each mistake is one sentence that says what to do."""
    result = run(config, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert sentence in result.stderr


def test_everything_at_once(tmp_path: Path) -> None:
    """A switch of everything at once has no steps to foresee."""
    result = run(write(tmp_path, "steps: [100], bake: 10m, switch_back: 10m"), "wine", "--rate", "1/s")
    assert result.exit_code == 1
    assert "there are no steps to foresee" in result.stderr


def test_feedback_is_planned(tmp_path: Path) -> None:
    """How much is judged and how much is bad can be said; else it is assumed, and named."""
    path = write(tmp_path, "guardrails: [{metric: errors}, {metric: feedback}]")
    found = document(path, "wine", "--rate", "200/s")
    assert found["champion_rates"]["feedback"] == pytest.approx(0.1)
    assert [each for each in found["assumed"] if "feedback" in each or "judged" in each] == [
        "Assumed: there is feedback on 10 % of answers; --judged says otherwise.",
        "Assumed: 10 % of the judged answers of v1 are bad; --bad-answers says otherwise.",
        "Assumed: feedback comes at once; one that comes hours later takes hours more.",
    ]
    slow = next(each["mean_s"] for each in found["shown"] if each["guardrail"] == "feedback")
    said = document(path, "wine", "--rate", "200/s", "--judged", "100%", "--bad-answers", "20%")
    assert said["champion_rates"]["feedback"] == pytest.approx(0.2)
    assert len([each for each in said["assumed"] if "feedback" in each]) == 1
    assert next(each["mean_s"] for each in said["shown"] if each["guardrail"] == "feedback") < slow
    assert "bad answers 20 %" in run(path, "wine", "--rate", "9/s", "--bad-answers", "20").stdout
    assert run(path, "wine", "--rate", "9/s", "--judged", "0%").exit_code == 2
