from tests.settings.settings_cases import FULL
from tests.settings.settings_world import read


def test_compare() -> None:
    """The comparison of a route holds what the file says."""
    compare = read(FULL, TOKEN="12345678").routes[0].compare
    assert (compare.as_, compare.rtol, compare.atol) == ("json", 0.0, 1e-3)
    assert (compare.ignore, compare.label) == (("/a/*", "/b/**/c"), "/l")
