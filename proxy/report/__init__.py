"""Reports about rollouts, for people: what was decided, why, what was not looked at; and plans before one begins.

Pure: documents and counts come in, text goes out. The road, one module each:

    facts ──► headline, evidence_part, story, caveats ──► pages ──► markdown
    (what is    (words about it, in :mod:`words`)         (blocks)  html ◄── figures ◄── svg
     known)

:mod:`split` writes about variants with fixed weights, :mod:`verify` decides again what was decided, and
:mod:`experiment` says beforehand how long a rollout takes and who meets a bad canary meanwhile.
"""

__all__: list[str] = []
