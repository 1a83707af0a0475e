"""What of requests and answers is written down, and what is left out of it."""

from typing import Annotated, Literal

from pydantic import ConfigDict

from proxy.settings import grammar
from proxy.settings.fields import Section, setting
from proxy.settings.grammar import size, whole
from proxy.settings.keeping import Keep, keep_rule
from proxy.settings.kinds import HeaderName, Percent, Pointer, Salt, TensorName

__all__ = ["Log", "Redaction"]


Action = Literal["drop", "hash", "mask", "keep_last"]
Detector = Literal["email", "card", "token", "phone"]


class Redaction(Section):
    """What must not be written, and what is written instead. It names one of json, tensor, header and detect."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                for name in ("json", "tensor", "header", "detect")
            ]
        }
    )

    pointer: Pointer | None = setting(
        None,
        "JSON pointer into bodies; '*' stands for one key or index, '**' for any number of them.",
        alias="json",
    )
    tensor: TensorName | None = setting(
        None, "Name of an input or output tensor, of a column, or of a member of the document itself."
    )
    header: HeaderName | None = setting(None, "Name of a request or response header.")
    detect: Annotated[Detector, grammar.choice(Detector)] | None = setting(
        None,
        "What is looked for in every text of bodies, in logged headers, in the path and in the request's id. email: "
        "addresses; card: numbers of payment cards; token: JSON Web Tokens, API keys of known issuers, credentials, "
        "private keys; phone: numbers in international form.",
    )
    action: Annotated[Action, grammar.choice(Action)] | None = setting(
        None,
        "drop: leave it out; hash: write a keyed hash (unit_key), so that equal values stay equal; mask: write *** "
        "(of a number 0, of true false); keep_last: write *** and the end; null: drop, of what is detected mask.",
    )
    keep: Annotated[int, whole(1, 64)] = setting(
        4, "Characters at the end that keep_last keeps; of a text that is not twice as long it keeps none."
    )


class Log(Section):
    """Which requests and answers of a route are written to the payload log."""

    percent: Percent = setting(0, "Percent of the route's units whose requests are logged.")
    body: Annotated[int, size("0B", "1GiB")] = setting(
        "64KiB", "Longest logged body; a longer one is cut and marked truncated."
    )
    content: Annotated[bool | Literal["auto"], grammar.yes_no_or("auto")] = setting(
        "auto",
        "Whether bodies are written. auto: not those of free text, that is of requests to generating and embedding "
        "models and what they answer, streams, text other than CSV; instead a keyed hash of what is said and the "
        "tokens that it took.",
    )
    rows: Annotated[int, whole(0, 1000)] = setting(
        64,
        "Compared rows of a batch that a record tells one by one, with what both answers said: of all shadows, "
        "those that disagree first. What is left out is counted. 0: none.",
    )
    headers: tuple[HeaderName, ...] = setting(
        [], "Request and response headers that are logged; all others are not.", max_length=128
    )
    redact: tuple[Redaction, ...] = setting([], "What is left out of records, or hashed.", max_length=256)
    salt: Salt | None = setting(
        None, "Text that is hashed with the unit to pick the percent; null: ROUTE/log."
    )
    keep: tuple[Annotated[Keep, keep_rule()], ...] = setting(
        [],
        "What is logged whatever the percent: errors (5xx, a fault, or answered by the champion instead), disagreement "
        "(of a shadow's answer), {slow: DURATION} (took longer), {when: JMESPATH} (true of the record, as it would be "
        "written). Such a route copies the bodies of all its requests on the side.",
        max_length=16,
    )
    budget: Annotated[int, grammar.whole(0, 1_000_000)] = setting(
        0,
        "Records per second, about: of more a share that is drawn is left out, and the others say how likely they "
        "were. 0: no limit.",
    )

    @property
    def keeps_errors(self) -> bool:
        """Whether errors are kept."""
        return any(rule.kind == "errors" for rule in self.keep)

    @property
    def keeps_disagreement(self) -> bool:
        """Whether disagreements are kept."""
        return any(rule.kind == "disagreement" for rule in self.keep)

    @property
    def keeps_slow(self) -> int | None:
        """What takes more nanoseconds is kept; None: nothing for that."""
        return min((rule.slow for rule in self.keep if rule.kind == "slow"), default=None)

    @property
    def keeps_when(self) -> tuple[str, ...]:
        """The expressions by which records are kept."""
        return tuple(rule.when for rule in self.keep if rule.kind == "when")
