"""Numbers of things, as a sentence says them."""

__all__ = ["count"]

_VOWELS = "aeiou"
_HISSING = ("s", "x", "ch", "sh")


def count(number: int, noun: str = "") -> str:
    """Return a whole number, thousands apart, with its noun: in the plural unless it is one.

    >>> count(1, "copy"), count(1234, "copy"), count(2, "class"), count(0, "key"), count(5)
    ('1 copy', '1,234 copies', '2 classes', '0 keys', '5')
    """
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(_HISSING) else "s")
