"""Who is asked how far texts are apart in meaning."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import SecretStr

from proxy.settings import grammar
from proxy.settings.fields import REQUIRED, RESTART, Section, setting
from proxy.settings.grammar import duration, size, text
from proxy.settings.kinds import HeaderName

__all__ = ["Embedder"]


class Embedder(Section):
    """A server of embeddings, asked for texts of the routes that say so (compare.embedder)."""

    url: Annotated[SecretStr, grammar.hidden_url()] = setting(
        REQUIRED,
        "Where to: OpenAI's dialect, such as http://127.0.0.1:8081/v1/embeddings. Its path and query are not shown "
        "again.",
        RESTART,
    )
    model: Annotated[str, text(str, "1 to 256 characters", longest=256)] = setting(
        REQUIRED, "Name of the model there.", RESTART
    )
    headers: Mapping[HeaderName, Annotated[SecretStr, grammar.hidden_text()]] = setting(
        {},
        "Headers of every request, such as authorization: Bearer ${KEY}. Values are not shown again.",
        RESTART,
    )
    timeout: Annotated[int, duration("10ms", "5m")] = setting(
        "10s",
        "One request, to the whole answer. Then the figure is left out, and counted as failed.",
        RESTART,
    )
    max_in_flight: Annotated[int, grammar.whole(1, 256)] = setting(
        4, "Requests at a time; further ones wait.", RESTART
    )
    max_text: Annotated[int, size("64B", "1MiB")] = setting(
        "8KiB", "Of a longer text its head is sent.", RESTART
    )
    queue: Annotated[int, size("64KiB", "1GiB")] = setting(
        "8MiB",
        "Memory for texts that wait. What has no place is not asked for, which is counted as dropped.",
        RESTART,
    )
    cache: Annotated[int, size("0B", "1GiB")] = setting(
        "16MiB", "Memory for vectors: texts that come again are not asked for again.", RESTART
    )
