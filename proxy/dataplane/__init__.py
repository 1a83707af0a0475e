"""The hot path: bytes in from clients, bytes out to models, and back. Knows tables and sockets, nothing of answers.

``client`` and ``upstream`` are the two ends, ``inflight`` is one request between them, ``mirror`` its copies,
``shipper`` the pipe to the observer, ``worker`` the process. Lines marked ``HOT`` give up beauty for the figure
they name.
"""

__all__: list[str] = []
