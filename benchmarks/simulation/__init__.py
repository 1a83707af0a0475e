"""How often the engine errs, and how long it takes: simulated traffic through the functions that decide.

``make simulate`` (``python -m benchmarks.simulation``) runs every cell and writes ``benchmarks/SIMULATION.md``.

============================  ========================================================================
``cell``                      a cell: a setting, a way to draw runs of it, claims about what comes out
``binomial``                  exact limits of a share of runs
``run``                       cells → chunks of runs → processes → samples; the same for any number of jobs
``report``                    samples → rows → ``SIMULATION.md``
``cells``                     all of them, in the order of the report
``traffic``                   counts per look: errors, ramps, latency, noise of hosts, users
``stretches``                 counts of errors as slices, for what judges slices
``looks``                     evidence at every look of a run, from the functions that decide
``classic``                   what others do with the same counts: thresholds, repeated tests, a canary judge
``aa_*``                      nothing is wrong: how often is a canary rolled back all the same
``promotion``                 a canary exactly at its margin: how often is it promoted all the same
``coverage``                  how often a confidence sequence ever leaves the truth out
``delay_*``                   something is wrong (or fine): how many requests until it is known
``engine``                    one rollout over virtual time: evidence, ruling, the law of transitions
``rollouts``                  canaries that are the same, too bad, slower, dead, and what became of them
``twice``                     a champion that is asked twice: candidates as noisy as it, and noisier
============================  ========================================================================

A look is a moment at which somebody reads the evidence and would act. Every rate is that of runs in which *any* look
acted. Nothing here has formulas of its own for evidence: what is evaluated for many looks at once is what
``proxy.stats`` returns for each of them (tests/simulation/test_looks.py).
"""

__all__: list[str] = []
