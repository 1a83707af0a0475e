"""Where records go: each sink has a bounded queue, a thread and counts of its own, and touches no other.

``sinks`` (all of them, as the observer sees them) → ``sink`` (queue and thread) → a writer: ``jsonl`` (over ``rolling``
files), or ``delivering`` (over ``posting``) of what ``cloudevents`` and ``otlp`` make of records, or ``parquet``, or
``kafka``. ``build`` makes them of the settings, ``counts`` keeps what became of their records.

A sink gets a record as the line of JSON that it is everywhere: made once, redacted before, and the only thing that
leaves the observer's memory.
"""

__all__: list[str] = []
