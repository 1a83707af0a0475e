"""The program on disk knows whether it can take over, and says why not."""

from pathlib import Path

import pytest

from proxy import preflight
from proxy.handover import FORMAT

CONFIG = """
models: {m: {url: "http://127.0.0.1:9001"}}
routes: [{name: r, match: {path: "*"}, variants: [{name: v, model: m, role: champion}]}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A good file."""
    path = tmp_path / "a.yaml"
    path.write_text(CONFIG)
    return path


def test_it_can(config: Path) -> None:
    """The right format, a good file, a whole program."""
    assert preflight.check(str(FORMAT), config) == ()
    assert preflight.main([str(FORMAT), str(config)]) == 0


def test_another_format_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A document that it would misunderstand is refused before it is written."""
    assert preflight.main(["99", str(config)]) == 1
    assert "takes over from format 1, the running program has 99" in capsys.readouterr().err


def test_every_problem_of_the_file_is_named(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ``validate`` does."""
    config.write_text(CONFIG.replace("model: m,", "model: x,").replace("champion", "king"))
    assert preflight.main([str(FORMAT), str(config)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """There is nothing to serve."""
    assert len(preflight.check(str(FORMAT), tmp_path / "gone.yaml")) == 1


def test_half_a_program_is_found_out(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that cannot be imported ends the preflight, not the traffic."""
    monkeypatch.setattr(preflight, "_PROGRAM", ("proxy.not_installed",))
    with pytest.raises(ModuleNotFoundError):
        preflight.check(str(FORMAT), config)
