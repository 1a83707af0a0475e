"""The whole road in about a minute: real models, real data, and every number checked.

``models`` (what is trained) and ``oip`` (the Open Inference Protocol, as values) make a ``server``;
``processes`` starts four of them and the proxy; ``story`` says what happens when; ``traffic`` drives
requests; ``admin`` and ``metrics`` read what the proxy claims; ``facts`` holds everything that was seen;
``checks`` judges it without input or output; ``view`` and ``report`` show it; ``run`` conducts.
"""

__all__: list[str] = []
