"""Hours of bad luck in minutes: mixed traffic, reloads, killed processes, and books that must agree at the end.

``python -m tests.soak --seconds 600`` runs a proxy with two workers in front of five model servers that keep books of
their own, lets clients of every temper talk to it, changes its configuration every few seconds, and kills what can be
killed. Then it compares three sets of books: the clients', the models', and the proxy's own (metrics and records).

What counts as a failure: any request that no model failed and no kill of ours interrupted. What else must hold: counts
that agree exactly, or within bounds that follow from the kills alone; flat memory; a flat number of open files.

* pure: :mod:`~tests.soak.mix` (which request comes next), :mod:`~tests.soak.configurations` (which settings come next),
  :mod:`~tests.soak.books` (what was noted), :mod:`~tests.soak.excuses`, :mod:`~tests.soak.verdict`,
  :mod:`~tests.soak.records`, :mod:`~tests.soak.growth` (what it means);
* running: :mod:`~tests.soak.client`, :mod:`~tests.soak.model`, :mod:`~tests.soak.trouble`,
  :mod:`~tests.soak.processes`, :mod:`~tests.soak.run`.
"""
