"""Who goes where: units, hashing, nested intervals, and the runtime table. Pure."""

__all__: list[str] = []
