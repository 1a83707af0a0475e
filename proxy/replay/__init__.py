"""Logged traffic once more, to another model: so that a model meets last week's traffic before it meets today's.

``calls`` makes requests of records, or says why not; ``preparing`` does so by the rule of their route → ``pacing``
tells when each is due, and ``forecast`` how long they all take → ``target`` asks a model → ``judging`` compares as
live → ``results`` counts → ``document`` tells. ``rules`` is what routes say of all this, ``run`` puts it together.
Only ``target`` and ``run`` wait for anything; the rest is pure.
"""

__all__: list[str] = []
