"""Reads reports as a browser would, as far as a test needs it."""

from html.parser import HTMLParser

__all__ = ["Reader", "read"]

_VOID = {"meta", "path"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and knows whether every tag was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} is not the tag that is open"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """Everything that is shown."""
        return " ".join(" ".join(self.texts).split())


def read(html: str) -> Reader:
    """Return what is in a page; every tag has to be closed in its turn."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader
