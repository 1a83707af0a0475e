"""The whole road in about a minute: real models, real data, and every number checked.

``models`` (what is trained) and ``oip`` (the Open Inference Protocol, as values) make a ``server``;
``processes`` starts and ends processes, ``stage`` sets up the servers and the proxy; ``story`` says what
happens when. Two parts follow each other: ``play`` steers a canary by hand, ``releases`` puts builds with a rollout
into the file and watches. ``traffic`` drives requests, ``pulse`` looks at them; ``admin`` and ``metrics`` read what the
proxy claims; ``collect`` gathers everything that was seen into ``facts`` and ``trials``; ``checks`` and
``trial_checks`` judge it without input or output; ``view`` and ``trial_view`` show it, ``report`` and
``trial_report`` sum it up, ``paper`` has it written up; ``run`` conducts, and ``command`` is its place on the
command line.
"""

__all__: list[str] = []
