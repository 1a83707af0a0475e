"""Asking an admin address: what goes there, and what is said when no answer comes."""

import socket

import click
import pytest

from proxy.commands.asking import ask
from tests.commands.serving import answering


def test_a_question() -> None:
    """The path is below the address; nothing is sent that was not asked for."""
    with answering(200, b'{"a": 1}') as asked:
        assert ask(asked.url + "/below/", "/api", timeout_s=5) == (200, {"a": 1})
    assert asked.requests == [("GET", "/below/api", b"", None)]


def test_a_write() -> None:
    """Body and token go along; any status is the caller's to judge."""
    with answering(409, b'{"error": "no"}') as asked:
        answer = ask(asked.url, "/x", timeout_s=5, method="POST", document={"reason": "é"}, token="s3cret")
    assert answer == (409, {"error": "no"})
    assert asked.requests == [("POST", "/x", '{"reason":"é"}'.encode(), "Bearer s3cret")]


def test_no_json() -> None:
    """What is no JSON is no document, and no failure."""
    with answering(200, b"<html>") as asked:
        assert ask(asked.url, "/", timeout_s=5) == (200, None)


@pytest.mark.parametrize("admin", ["ftp://127.0.0.1", "http://", "127.0.0.1:http", "http://[::1"])
def test_what_is_no_address(admin: str) -> None:
    """It is wrong usage."""
    with pytest.raises(click.BadParameter, match="expected an address"):
        ask(admin, "/", timeout_s=1)


@pytest.mark.parametrize("token", ["a\r\nb: c", "é", "\x7f"])
def test_what_is_no_token(token: str) -> None:
    """A token cannot forge a header, and what HTTP cannot carry is said."""
    with pytest.raises(click.BadParameter, match="printable ASCII"):
        ask("127.0.0.1:1", "/", timeout_s=1, token=token)


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """A closed port and a silent server are told apart."""
    with answering(200, b"") as asked:
        pass
    with pytest.raises(click.exceptions.Exit):
        ask(asked.url, "/", timeout_s=1)
    assert "nothing listens on" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(click.exceptions.Exit):
            ask(address, "/", timeout_s=0.05)
        assert capsys.readouterr().err == f"{address} did not answer within 0.05 seconds\n"
