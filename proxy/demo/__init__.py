"""The whole road in about a minute: real models, real data, and every number checked.

``models`` (what is trained) and ``oip`` (the Open Inference Protocol, as values) make a ``server``;
``processes`` starts and ends processes, ``stage`` sets up four servers and the proxy; ``story`` says what
happens when, ``play`` makes it happen; ``traffic`` drives requests; ``admin`` and ``metrics`` read what the
proxy claims; ``collect`` gathers everything that was seen into ``facts``; ``checks`` judges it without
input or output; ``view`` and ``report`` show it; ``run`` conducts, and ``command`` is its place on the
command line.
"""

__all__: list[str] = []
