"""What a payload record is, read again: from lines and files of every version into one shape.

``record`` is a line as values (pure) → ``selection`` says which are wanted (pure) → ``files`` finds files and cuts them
into lines → ``reading`` gives the records of many files in the order of time. Nothing here raises for what a file
holds: what cannot be read is counted and told.
"""

__all__: list[str] = []
