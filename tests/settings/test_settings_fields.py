import pytest
from pydantic import ValidationError

from proxy.settings.fields import (
    NEXT_CONNECTION,
    NEXT_REQUEST,
    NOW,
    REQUIRED,
    RESTART,
    Section,
    reload_of,
    section,
    setting,
)
from proxy.settings.schema import Settings


class Inner(Section):
    size: int = setting("7", "A number.", NOW)


class Outer(Section):
    name: str = setting(REQUIRED, "A name.", RESTART)
    inner: Inner = section("A mapping.")


def test_defaults_are_read_like_the_file() -> None:
    """A default is written as the file would write it and becomes a value in the same way."""
    assert Outer(name="a").inner.size == 7


def test_required_fields_have_no_default() -> None:
    """A required field must be given."""
    with pytest.raises(ValidationError, match="Field required"):
        Outer()


def test_unknown_keys_are_refused() -> None:
    """A section does not swallow a key that it does not know, nor does its error show the value."""
    with pytest.raises(ValidationError, match="extra_forbidden") as caught:
        Outer.model_validate({"name": "a", "nmae": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_sections_are_immutable() -> None:
    """A section cannot be changed."""
    with pytest.raises(ValidationError, match="frozen"):
        Outer(name="a").name = "b"


def test_reload_of() -> None:
    """A field says when it changes; a mapping leaves that to its fields."""
    words = [reload_of(field) for field in (*Outer.model_fields.values(), *Inner.model_fields.values())]
    assert words == [RESTART, None, NOW]


def sections(kind: type[Section]) -> list[type[Section]]:
    """Return ``kind`` and every section below it."""
    inner = [
        each
        for field in kind.model_fields.values()
        for each in (field.annotation, *getattr(field.annotation, "__args__", ()))
        if isinstance(each, type) and issubclass(each, Section)
    ]
    return [kind, *(deeper for each in inner for deeper in sections(each))]


@pytest.mark.parametrize("kind", sections(Settings))
def test_every_setting_says_when_it_changes(kind: type[Section]) -> None:
    """Each field of the settings that is no mapping itself says when a changed value takes effect."""
    for name, field in kind.model_fields.items():
        is_section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        known = {NOW, NEXT_REQUEST, NEXT_CONNECTION, RESTART} | ({None} if is_section else set())
        assert reload_of(field) in known, name
        assert (field.description or "").endswith("."), name
