"""The listening sockets and the sentences when they cannot be had."""

import socket

import pytest

from proxy.listening import BindError, bind, url
from proxy.settings import parse_address


def test_port_zero_takes_a_free_one() -> None:
    """The URL names the real port, and a client can connect before anybody accepts."""
    with bind(parse_address("127.0.0.1:0"), "listen") as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert url(listener) == f"http://127.0.0.1:{port}"
        assert url(listener, "https") == f"https://127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_ipv6() -> None:
    """An IPv6 address stands in brackets."""
    with bind(parse_address("[::1]:0"), "listen") as listener:
        assert url(listener).startswith("http://[::1]:")


def test_the_ipv6_wildcard_takes_ipv4_too() -> None:
    """``[::]`` means every address."""
    with bind(parse_address("[::]:0"), "listen") as listener:
        socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5).close()


def test_an_address_in_use_is_one_sentence() -> None:
    """The sentence names the setting, the address and what to do."""
    with bind(parse_address("127.0.0.1:0"), "listen") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(BindError) as caught:
            bind(parse_address(f"127.0.0.1:{port}"), "admin")
    assert str(caught.value) == (
        f"admin: cannot listen on 127.0.0.1:{port}: address already in use; "
        "another process listens there; stop it, or change the address"
    )


def test_an_address_of_another_machine() -> None:
    """An address that this machine does not have is said to be so."""
    with pytest.raises(BindError, match=r"listen: cannot listen on 192\.0\.2\.1:0.*no such address"):
        bind(parse_address("192.0.2.1:0"), "listen")


def test_an_unknown_name() -> None:
    """A name that cannot be found is an error of the same kind."""
    with pytest.raises(BindError, match="admin: cannot find the address"):
        bind(parse_address("no-such-host.invalid:80"), "admin")
