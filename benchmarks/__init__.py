"""What a request costs: modelproxy next to its peers, on one machine, in one run (``make bench``).

============================  ========================================================================
``run``                       the command: rounds, contenders, what is written where
``cell``                      one contender started, checked, loaded, measured and ended
``contenders``                who takes part, how each is configured and started
``tools``                     finds or installs what the contenders need
``measure``                   CPU of a process tree, one load run, one valid sample
``report``                    samples → table, ratios within a round, ``RESULTS.md``
``aiohttp_proxy``             the peer that has to be written: aiohttp on both sides
``micro_*``                   one part alone, without sockets: figures that a busy machine moves less
``peers/``                    one configuration per contender, ``@name`` filled in at start
``NOTES.md``                  what was tried, measured, kept and dropped
============================  ========================================================================
"""
