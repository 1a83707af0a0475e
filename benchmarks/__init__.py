"""What a request costs: modelproxy next to its peers, on one machine, in one run (``make bench``).

============================  ========================================================================
``run``                       the command: rounds, cells, what is written where
``cells``                     what is measured, as data: entrants, loads, goals
``contenders``                who takes part, how each is configured and started
``payloads``                  what is sent and answered
``backends``                  who plays the models; ``large_models`` those that nginx cannot play
``cell``                      one entrant started, checked, put under load, measured and ended
``loads``                     each kind of load: wrk, ``open_loop`` (a fixed rate), ``streams`` (events)
``measure``                   CPU and memory of a process tree
``calm``                      the kernel's own work in the background, last
``goals``                     readings → ratios within a round, and whether goals are reached
``report``                    tables and ``RESULTS.md``
``tools``                     finds or installs what the contenders need
``aiohttp_proxy``             the peer that has to be written: aiohttp on both sides
``instructions``              the noise-free guard: instructions of a request (``make instructions``)
``bytecodes``                 the same, looked at closer: what a request executes, by function
``sinks``                     records a second and core that each kind of sink writes
``waits``                     how long a worker waits for its core beside a busy observer
``micro_*``                   one part alone, without sockets: figures that a busy machine moves less
``peers/``                    one configuration per contender, ``@name`` filled in at start
``NOTES.md``                  what was tried, measured, kept and dropped
============================  ========================================================================
"""
