"""One request on the road: what the model gets, what the client gets, what is counted."""

import pytest

from tests.dataplane.road import Road, request, response


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    return Road(monkeypatch)


def test_request_and_response_pass(road: Road) -> None:
    """A request reaches the model with its lines in order, and the answer comes back with ours added."""
    road.feed(request(body=b"{}", X_User_Id="alice", Accept="*/*"))
    model = road.connect()
    assert model.take() == (
        b"POST /v2/models/wine/infer HTTP/1.1\r\n"
        b"Host: proxy.test\r\n"
        b"X-User-Id: alice\r\n"
        b"Accept: */*\r\n"
        b"Content-Length: 2\r\n"
        b"x-forwarded-for: 192.0.2.7\r\n"
        b"x-forwarded-proto: http\r\n"
        b"x-forwarded-host: proxy.test\r\n"
        b"via: 1.1 modelproxy\r\n"
        b"x-request-id: id-1\r\n"
        b"\r\n"
        b"{}"
    )
    road.answer(model, response(b"[1]", Server="m"))
    assert road.received() == (
        b"HTTP/1.1 200 OK\r\nServer: m\r\nContent-Length: 3\r\n"
        b"x-request-id: id-1\r\nx-modelproxy-variant: v1\r\n\r\n[1]"
    )
    assert road.count("variant", "started", "wine", "v1", "one") == 1
    assert road.count("variant", "code_200", "wine", "v1", "one") == 1
