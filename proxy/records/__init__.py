"""What a payload record is: its fields, why there is one, what may be concluded from many, and how they are read again.

What each field means stands in ``schema``; why a record is there and how likely that was in ``keep`` and ``budget``;
how to estimate from a sample what is true of all traffic, with an honest error, in ``weights`` (all pure).

``record`` is a line as values (pure) → ``selection`` says which are wanted (pure) → ``files`` finds files and cuts them
into lines → ``reading`` gives the records of many files in the order of time. Nothing there raises for what a file
holds: what cannot be read is counted and told.
"""

__all__: list[str] = []
