"""Evidence that may be looked at at any time: pure functions from integer counts to log e-values. Knows no other room.

One idea covers almost everything: bet on the assignment coin. The proxy itself flips the coin that sends a
unit to canary or champion, with a known probability. If the canary is no worse, an outcome says nothing about
its coin, and a bettor on coins cannot grow rich: the chance that the wealth, an *e-process*, ever reaches
1/alpha is at most alpha (Ville's inequality), however often and for however long one looks.

``special`` and ``exact`` are the arithmetic → ``events``, ``proportion``, ``bounded``, ``latency`` (over
``histogram``), ``anychange``, ``paired`` and ``allocation`` are bets, each on another kind of outcome, and exact;
``normal`` and ``blocks`` need a variance, and are not → ``mixtures`` and ``multiple`` join them; ``quantiles`` and
``means`` are what is shown beside them, ``planning`` says beforehand how long they take.

All log e-values are natural logarithms. Counts are int64; a slice is a stretch of constant share.
"""

__all__: list[str] = []
