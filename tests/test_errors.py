import pytest

from proxy.errors import (
    BadFraming,
    BadHead,
    ConfigError,
    HeadTooLarge,
    Problem,
    ProxyError,
    StateError,
    UnsupportedFeature,
    WireError,
)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("f.yaml", 3, 5, "a[0].b", "1", "2"), "f.yaml:3:5: a[0].b: found 1, expected 2"),
        (Problem("f.yaml", 0, 0, "a", "1", "2"), "f.yaml: a: found 1, expected 2"),
        (Problem("f.yaml", 3, 5, "", "1", "2"), "f.yaml:3:5: found 1, expected 2"),
    ],
)
def test_problem_is_one_line(problem: Problem, line: str) -> None:
    """A problem says file, line, column, path, what was found and what was expected, as far as they are known."""
    assert line == str(problem)


def test_config_error_holds_all() -> None:
    """A configuration error shows each of its problems on a line of its own."""
    one, two = Problem("f", 1, 1, "a", "1", "2"), Problem("f", 2, 1, "b", "3", "4")
    error = ConfigError((one, two))
    assert error.problems == (one, two)
    assert str(error) == f"{one}\n{two}"


@pytest.mark.parametrize(
    ("kind", "status"),
    [(WireError, 400), (BadHead, 400), (BadFraming, 400), (HeadTooLarge, 431), (UnsupportedFeature, 501)],
)
def test_wire_errors_know_their_status(kind: type[WireError], status: int) -> None:
    """Each wire error hints at the status for the peer, and one error may know better."""
    assert status == kind("bad").status_hint
    assert kind("bad", 417).status_hint == 417
    assert str(kind("bad")) == "bad"


@pytest.mark.parametrize("kind", [ConfigError, WireError, StateError])
def test_one_tree(kind: type[Exception]) -> None:
    """Whatever is raised on purpose is a ProxyError."""
    assert issubclass(kind, ProxyError)
