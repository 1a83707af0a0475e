"""Calls as users of the ``openai`` package write them."""

import asyncio
import json
from typing import Any

import openai

from tests.real.clients.calling import serve

MESSAGES: Any = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "grüß dich"}]


def _client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30)


def _told(document: Any) -> str:
    return json.dumps(document.model_dump(), separators=(",", ":"), sort_keys=True)


def models(url: str) -> Any:
    """List the models."""
    with _client(url) as client:
        return [_told(model) for model in client.models.list()]


def chat(url: str, times: int = 1, **options: Any) -> Any:
    """Chat, ``times`` times with one client."""
    with _client(url) as client:
        return [
            _told(
                client.chat.completions.create(
                    model="m", messages=MESSAGES, max_tokens=24, temperature=0, seed=1, **options
                )
            )
            for _ in range(times)
        ]


def chat_stream(url: str, **options: Any) -> Any:
    """Chat, taking the answer as it comes."""
    with (
        _client(url) as client,
        client.chat.completions.create(
            model="m", messages=MESSAGES, max_tokens=24, temperature=0, seed=1, stream=True, **options
        ) as stream,
    ):
        return [_told(event) for event in stream]


def assembled(url: str) -> Any:
    """Stream a chat and let the package put it together."""
    with (
        _client(url) as client,
        client.chat.completions.stream(
            model="m", messages=MESSAGES, stream_options={"include_usage": True}
        ) as stream,
    ):
        return _told(stream.get_final_completion())


def chat_wrong(url: str) -> Any:
    """Chat with what no server takes for messages; raises."""
    with _client(url) as client:
        return _told(client.chat.completions.create(model="m", messages="none"))


def completion(url: str, **options: Any) -> Any:
    """Complete a prompt."""
    with _client(url) as client:
        return _told(
            client.completions.create(
                model="m", prompt="once upon", max_tokens=24, temperature=0, seed=1, **options
            )
        )


def completion_stream(url: str, **options: Any) -> Any:
    """Complete a prompt, taking the answer as it comes."""
    with _client(url) as client:
        stream = client.completions.create(
            model="m", prompt="once upon", max_tokens=24, temperature=0, seed=1, stream=True, **options
        )
        return [_told(event) for event in stream]


def response(url: str) -> Any:
    """Ask for a response."""
    with _client(url) as client:
        return _told(
            client.responses.create(model="m", input="grüß dich", max_output_tokens=24, temperature=0)
        )


def response_stream(url: str) -> Any:
    """Ask for a response, taking it as it comes."""
    with _client(url) as client:
        asked: Any = {"model": "m", "input": "grüß dich", "max_output_tokens": 24, "temperature": 0}
        return [_told(event) for event in client.responses.create(stream=True, **asked)]


def embeddings(url: str) -> Any:
    """Ask a model that has none for embeddings; raises."""
    with _client(url) as client:
        return _told(client.embeddings.create(model="m", input=["a", "b"]))


def missing(url: str) -> Any:
    """Ask for what is not there; raises."""
    with _client(url) as client:
        return _told(client.files.list())


def answered(url: str, dialect: str, prompt: str, tokens: int) -> Any:
    """Ask in one of the dialects, taking the answer in one piece or as it comes; return its text."""
    messages: Any = [{"role": "user", "content": prompt}]
    with _client(url) as client:
        match dialect:
            case "chat":
                asked: Any = {"model": "m", "messages": messages, "max_tokens": tokens, "temperature": 0}
                return client.chat.completions.create(**asked).choices[0].message.content
            case "chat, streamed":
                asked = {"model": "m", "messages": messages, "max_tokens": tokens, "temperature": 0}
                events = client.chat.completions.create(stream=True, **asked)
                return "".join(event.choices[0].delta.content or "" for event in events if event.choices)
            case "completions":
                asked = {"model": "m", "prompt": prompt, "max_tokens": tokens, "temperature": 0}
                return client.completions.create(**asked).choices[0].text
            case "completions, streamed":
                asked = {"model": "m", "prompt": prompt, "max_tokens": tokens, "temperature": 0}
                return "".join(
                    event.choices[0].text for event in client.completions.create(stream=True, **asked)
                )
            case "responses":
                asked = {"model": "m", "input": prompt, "max_output_tokens": tokens, "temperature": 0}
                return client.responses.create(**asked).output_text
            case "responses, streamed":
                asked = {"model": "m", "input": prompt, "max_output_tokens": tokens, "temperature": 0}
                events = client.responses.create(stream=True, **asked)
                return "".join(event.delta for event in events if event.type == "response.output_text.delta")
    raise ValueError(dialect)


def embedded(url: str, prompts: list[str]) -> Any:
    """Ask for the embeddings of some texts, which the package has sent in base64 and makes lists of."""
    with _client(url) as client:
        return [each.embedding for each in client.embeddings.create(model="m", input=prompts).data]


async def _in_turn(url: str) -> Any:
    options: Any = {"model": "m", "messages": MESSAGES, "max_tokens": 8, "temperature": 0, "seed": 1}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        events = [
            _told(event) async for event in await client.chat.completions.create(stream=True, **options)
        ]
        return [*events, _told(await client.chat.completions.create(**options))]


def chat_async(url: str) -> Any:
    """Stream and chat with the asynchronous client."""
    return asyncio.run(_in_turn(url))


def break_off(url: str, events: int) -> Any:
    """Begin an endless stream and leave it after some events."""
    with _client(url) as client:
        stream = client.chat.completions.create(
            model="m", messages=MESSAGES, max_tokens=60_000, temperature=0, seed=1, stream=True,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        told = [_told(event) for event, _ in zip(stream, range(events), strict=False)]
        stream.close()
        return len(told)


if __name__ == "__main__":
    serve(
        {
            call.__name__: call
            for call in (
                models, chat, chat_stream, assembled, chat_wrong, completion, completion_stream, embeddings, missing,
                chat_async, break_off, answered, embedded, response, response_stream,
            )
        }
    )  # fmt: skip
