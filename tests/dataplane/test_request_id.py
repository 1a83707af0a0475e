"""The client's request id: kept on every road, whatever reads it."""

import pytest

from tests.dataplane.road import CONFIG, Road, request, response

BY_REQUEST_ID = CONFIG.replace("unit: [header:x-user-id]", "unit: [header:x-request-id]")


@pytest.mark.parametrize("feed", ["whole", "byte by byte"])
@pytest.mark.parametrize("text", [CONFIG, BY_REQUEST_ID], ids=["named", "unit"])
def test_the_request_id_passes_both_ways(monkeypatch: pytest.MonkeyPatch, text: str, feed: str) -> None:
    """Model and client get the id that came, once, and a route may assign by it."""
    road = Road(monkeypatch, text)
    message = request(body=b"{}", X_Request_ID="abc-1", Accept="*/*")
    for piece in [message] if feed == "whole" else [message[i : i + 1] for i in range(len(message))]:
        road.feed(piece)
    model = road.connect()
    sent = model.take()
    assert sent.lower().count(b"x-request-id: abc-1\r\n") == 1
    assert b"Accept: */*\r\n" in sent
    road.answer(model, response())
    assert b"x-request-id: abc-1\r\n" in road.received()
    source = "header:x-request-id" if text is BY_REQUEST_ID else "missing"
    assert road.count("unit", source, "wine") == 1
