"""What workers leave behind, taken in and made into counts, records, comparisons and spans.

One road: ``intake`` (frames from the socket) → ``pairing`` (which parts belong together) → ``outcomes``
(judge, count, hand on) → :mod:`proxy.sinks` and ``tracing``. ``blocks`` holds the counts, ``record`` and
``redact`` are pure. ``accounting``, ``metrics`` and ``status`` read. Whatever is slow here, or fails here,
no client notices: a worker never waits for this process.
"""

__all__: list[str] = []
