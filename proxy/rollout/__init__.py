"""Rollouts: from counts to evidence, from evidence to a verdict, from a verdict to the next weight.

Pure: counts and times come in, values go out. The road, one module each:

    slices ──► assemble ──► evidence ──► decide ──► decision ──► transitions ──► state ──► weight
    (counts)   (bets)      (log e)      (law)      (verdict)     (who may do      (what the table
                                                                  what)            is made of)

:mod:`plan` is what the file asks for, :mod:`record` writes a decision down so that it can be decided again, and
:mod:`sentences` says it to people.
"""

__all__: list[str] = []
