"""The hot path: bytes in from clients, bytes out to models, and back. Knows tables and sockets, nothing of answers.

``client`` and ``upstream`` are the two ends, ``inflight`` is one request between them: ``assignment`` gives it its
variant, ``attempts`` says what follows a failure, ``endings`` how else it may end, ``tunnel`` what it becomes after a
switch of protocols. ``mirror`` makes its copies, ``shipper`` is the pipe to the observer. ``pool`` and ``endpoints``
have the connections to models, ``overload`` says how many requests these get; ``door``, ``tls`` and ``contexts`` secure
both sides. ``worker`` is the process. Lines marked ``HOT`` give up beauty for the figure they name.
"""

__all__: list[str] = []
