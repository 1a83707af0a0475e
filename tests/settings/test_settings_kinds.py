import pytest

from tests.settings.settings_world import minimal, told


@pytest.mark.parametrize(
    ("route", "path", "expected"),
    [
        ({"name": "a b"}, "routes[0].name", "letters, digits"),
        ({"log": {"percent": 101}}, "routes[0].log.percent", "0 to 100"),
        ({"log": {"salt": ""}}, "routes[0].log.salt", "1 to 256 characters"),
        ({"log": {"headers": ["a b"]}}, "routes[0].log.headers[0]", "a header name"),
        ({"log": {"redact": [{"json": "a"}]}}, "routes[0].log.redact[0].json", "a JSON pointer such as"),
        ({"unit": ["heeder:x"]}, "routes[0].unit[0]", "header:NAME"),
    ],
)
def test_each_kind_says_what_it_expects(route: dict[str, object], path: str, expected: str) -> None:
    """A value that is not of its kind is refused where it stands, with what should stand there."""
    assert expected in told(minimal(route=route))[path]
