"""Calls as users of the ``anthropic`` package write them."""

import json
from typing import Any

import anthropic

from tests.real.clients.calling import serve


def _client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=30)


def _asked(prompt: str, tokens: int) -> Any:
    return {
        "model": "m",
        "system": "be brief",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        # A later version of the package may not know it, the server does.
        "extra_body": {"temperature": 0, "seed": 1},
    }


def _told(document: Any) -> str:
    return json.dumps(document.model_dump(mode="json", warnings=False), separators=(",", ":"), sort_keys=True)


def message(url: str, times: int = 1) -> Any:
    """Have a message answered, ``times`` times with one client."""
    with _client(url) as client:
        return [_told(client.messages.create(**_asked("grüß dich", 24))) for _ in range(times)]


def message_stream(url: str) -> Any:
    """Take the answer as it comes."""
    with _client(url) as client, client.messages.stream(**_asked("grüß dich", 24)) as stream:
        return [_told(event) for event in stream]


def message_wrong(url: str) -> Any:
    """Send what no server takes for messages; raises."""
    with _client(url) as client:
        return _told(client.messages.create(**{**_asked("", 1), "messages": "none"}))


def count(url: str) -> Any:
    """Have tokens counted."""
    messages: Any = [{"role": "user", "content": "grüß dich"}]
    with _client(url) as client:
        return _told(client.messages.count_tokens(model="m", messages=messages))


def missing(url: str) -> Any:
    """Ask for what is not there; raises."""
    with _client(url) as client:
        return _told(client.messages.batches.list())


def answered(url: str, dialect: str, prompt: str, tokens: int) -> Any:
    """Ask, taking the answer in one piece or as it comes; return its text."""
    with _client(url) as client:
        if dialect == "messages":
            return "".join(part.text for part in client.messages.create(**_asked(prompt, tokens)).content)
        with client.messages.stream(**_asked(prompt, tokens)) as stream:
            return "".join(stream.text_stream)


if __name__ == "__main__":
    serve(
        {call.__name__: call for call in (message, message_stream, message_wrong, count, missing, answered)}
    )
