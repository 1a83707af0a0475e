"""Which settings come next: a pure function of a number. What never changes is what the books rely on."""

from collections.abc import Mapping
from pathlib import Path

from tests.soak.mix import FORCE_SECRET

__all__ = ["BROKEN_EVERY", "MODELS", "STALL_MS", "configuration", "is_broken"]

MODELS = ("v1", "v2", "v3", "shade", "flaky")
"""The model servers."""

STALL_MS = 500
"""Patience with the flaky model."""

BROKEN_EVERY = 7
"""So often the file cannot be used."""


def is_broken(number: int) -> bool:
    """Tell whether configuration ``number`` is one that must be refused."""
    return number % BROKEN_EVERY == BROKEN_EVERY - 1


def configuration(number: int, urls: Mapping[str, str], state: Path) -> str:
    """Return the text of configuration ``number``: other weights, timeouts, limits and shadows each time."""
    second = "      - {model: v3-copy, percent: 40}\n" if number % 3 == 1 else ""
    champion = "emperor" if is_broken(number) else "champion"
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: 2
state_dir: {state}
log_level: {("info", "warning")[number % 2]}
timeouts:
  {{client_head: {8 + number % 5}s, client_body: {9 + number % 4}s, keep_alive: {60 + number % 9}s, drain: 10s,
   tunnel: {20 + number % 7}s}}
limits: {{copy: {("1MiB", "512KiB")[number % 5 == 4]}}}
observer: {{pair_timeout: {10 + number % 3}s}}
payload_log: {{roll_size: 8MiB, keep_size: 64GiB}}
models:
  v1: {{url: "{urls["v1"]}", timeout: {20 + number % 4}s, keep_alive: {5 + number % 20}s}}
  v2: {{url: "{urls["v2"]}", timeout: 20s, max_connections: {256 + number % 3}}}
  v3: {{url: "{urls["v3"]}", timeout: 20s}}
  v3-copy: {{url: "{urls["v3"]}", timeout: 20s}}
  shade: {{url: "{urls["shade"]}", timeout: 20s}}
  flaky: {{url: "{urls["flaky"]}", timeout: {STALL_MS}ms}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    unit: [header:x-user-id]
    force_secret: {FORCE_SECRET}
    variants:
      - {{name: v1, model: v1, role: {champion}}}
      - {{name: v2, model: v2, role: challenger, weight: {5 + number * 7 % 36}}}
      - {{name: v3, model: v3, role: canary, weight: {number * 3 % 21}}}
    shadows:
      - {{model: shade, percent: {(100, 60, 100, 85)[number % 4]}}}
{second}    compare: {{as: classification}}
    log: {{percent: 100, body: 256B}}
  - name: chat
    match: {{path: "/v1/chat/*"}}
    unit: ["json:/user", header:x-user-id]
    variants:
      - {{name: v1, model: v1, role: champion}}
      - {{name: v2, model: v2, role: challenger, weight: {50 - number * 5 % 30}}}
    log: {{percent: 100, body: 256B}}
  - name: flaky
    match: {{path: "/flaky/*"}}
    variants: [{{name: only, model: flaky, role: champion}}]
"""
