"""modelproxy: a model-serving proxy sidecar.

One road, one direction::

            worker process × N  (the hot path)                  observer process (everything derived)
    client ─► parse head ─► assign ─► upstream ─► client        ┌─► metrics
       bytes     (wire)    (routing) (dataplane)   bytes        ├─► payload log
                   ▲                    │ └─► shadows           ├─► comparison ─► disagreement
                   │ reads one          ▼                       │
             immutable table     tally + exchanges ────────────►┤  intake
                   ▲            (shared counters) (bounded pipe)├─► spans
                   │                                            └─► slices ─► evidence ─► decision
                   │                                                                         │
                   └──── publisher (the only writer) ◄──── config file (watched), admin address, engine

Rooms, and what each may import, are checked by ``tests/test_structure.py``:

========================  ==========================================================
``settings``              pure: YAML text → typed settings, all problems at once
``settled``               pure: typed settings → their values, for who has nothing to judge
``routing``               pure: units, hashing, nested intervals, the runtime table
``wire``                  pure: HTTP/1.1 law: framing, hop-by-hop, forwarding, replies
``compare``               pure: bytes → prediction → disagreement
``stats``                 pure: bets, e-values, confidence sequences, planning
``rollout``               pure: slices → evidence → decision
``tally``                 shared counters: layout, increment, read, merge
``evidence``              what a worker counts for or against a variant, in files
``exchange``              what a worker leaves behind for the observer, as bytes
``dataplane``             the hot path: downstream and upstream protocols, pools
``engine``                evidence read, kept, judged; decisions asked for and told
``observer``              intake, metrics, payload log, spans
``control``               publisher, file watch, admin address
``supervisor``            starts, watches and restarts the processes
``demo``                  real models and real data, the whole road in a minute
========================  ==========================================================
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
