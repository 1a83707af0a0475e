"""``promote``, ``abort``, ``pause``, ``resume``: what is asked, what is said, and with which exit code it ends."""

from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from tests.commands.serving import Asked, answering

VERBS = ("promote", "abort", "pause", "resume")
DONE = {
    "result": "published",
    "version": 7,
    "changes": ["v3: aborted, 25 % → 0 % (rolled back)"],
    "problems": [],
}


def run(asked: Asked, *arguments: str, **more: Any) -> Result:
    """Run ``modelproxy`` in this process."""
    environment = {"MODELPROXY_ADMIN": asked.url, "MODELPROXY_ADMIN_TOKEN": None, **more}
    return CliRunner().invoke(main, list(arguments), env=environment)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb(verb: str) -> None:
    """It is posted for the route, and what happens is one line."""
    with answering(200, orjson.dumps(DONE)) as asked:
        result = run(asked, verb, "wine")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "wine: v3: aborted, 25 % → 0 % (rolled back)\n"
    assert asked.requests == [("POST", f"/api/v1/routes/wine/{verb}", b"{}", None)]


def test_reason_and_token() -> None:
    """The reason is the body's, the token the header's, from an option or from the environment."""
    with answering(200, orjson.dumps(DONE)) as asked:
        run(asked, "abort", "wine", "--reason", "it is bad", "--token", "one")
        run(asked, "abort", "wine", MODELPROXY_ADMIN_TOKEN="two")
    assert [request[2:] for request in asked.requests] == [
        (b'{"reason":"it is bad"}', "Bearer one"),
        (b"{}", "Bearer two"),
    ]


def test_any_name_is_one_part_of_the_path() -> None:
    """No name of a route leads elsewhere."""
    with answering(200, orjson.dumps(DONE)) as asked:
        run(asked, "abort", "../a b?x=1#é")
    assert asked.requests[0][1] == "/api/v1/routes/..%2Fa%20b%3Fx%3D1%23%C3%A9/abort"


def test_a_warning_is_shown() -> None:
    """What is in force and could not be written down is said."""
    document = {**DONE, "warnings": ["a restart now would forget this"]}
    with answering(200, orjson.dumps(document)) as asked:
        result = run(asked, "abort", "wine")
    assert (result.exit_code, result.stderr) == (0, "wine: warning: a restart now would forget this\n")


REFUSALS = [
    (401, {"error": "no token"}, "wine: no token; give it with --token or MODELPROXY_ADMIN_TOKEN\n"),
    (404, {"error": "no route is called wine; there are: beer"}, "wine: no route is called wine; there are: beer\n"),
    (409, {"error": "v3: it is promoted already"}, "wine: v3: it is promoted already\n"),
    (503, {"error": "the supervisor did not answer"}, "wine: the supervisor did not answer\n"),
    (500, {}, "wine: refused with 500\n"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "document", "said"), REFUSALS)
def test_refused(code: int, document: dict[str, Any], said: str) -> None:
    """A refusal is one line on standard error and exit code 1."""
    with answering(code, orjson.dumps(document)) as asked:
        result = run(asked, "promote", "wine")
        as_json = run(asked, "promote", "wine", "--json")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", said)
    assert (as_json.exit_code, orjson.loads(as_json.stdout)) == (1, document)


def test_json() -> None:
    """Machines get the answer as it is."""
    with answering(200, orjson.dumps(DONE)) as asked:
        result = run(asked, "resume", "wine", "--json")
    assert (result.exit_code, orjson.loads(result.stdout)) == (0, DONE)


def test_something_else_answers() -> None:
    """What is no admin address is said to be none."""
    with answering(200, b"<html>") as asked:
        result = run(asked, "abort", "wine")
    assert result.exit_code == 1
    assert "is no admin address of modelproxy" in result.stderr


def test_hostile_answers_are_shown_not_obeyed() -> None:
    """Escape sequences of whoever answers reach no terminal."""
    with answering(200, orjson.dumps({"changes": ["a\x1b[2J"], "warnings": ["b\x1b[2J"]})) as asked:
        result = run(asked, "abort", "wine")
    assert "\x1b" not in result.output
    with answering(409, orjson.dumps({"error": "a\x1b[2J\nforged"})) as asked:
        result = run(asked, "abort", "wine")
    assert "\x1b" not in result.output


@pytest.mark.parametrize("arguments", [["abort"], ["abort", "wine", "beer"], ["abort", "wine", "--watch"]])
def test_wrong_usage(arguments: list[str]) -> None:
    """Without a route, or with what there is not, it ends with 2 and asks nobody."""
    with answering(200, orjson.dumps(DONE)) as asked:
        assert run(asked, *arguments).exit_code == 2
    assert asked.requests == []


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb: str) -> None:
    """Each says what it does and how the exit code is to be read."""
    text = CliRunner().invoke(main, [verb, "--help"]).stdout
    assert "Exit code 1" in text
    assert f"modelproxy {verb} wine" in text
