"""Where the observer's counts lie."""

from proxy.routing.outcome_fields import LABEL_FIELDS, LABEL_ROW_FIELDS
from proxy.routing.outcome_layout import outcome_layout
from tests.observer.exchanges import BASE_CONFIG, table_of


def test_labels_have_places_where_they_are_wanted() -> None:
    """Each route counts labels, and rows by variant and shadow where it remembers what was predicted."""
    plain, wanted = (
        table_of(text) for text in (BASE_CONFIG, BASE_CONFIG.replace("as: cl", "labels: 1h, as: cl"))
    )
    for table in (plain, wanted):
        assert outcome_layout(table.routes).section("label", "wine").fields == LABEL_FIELDS
    assert not any(section.kind == "label_rows" for section in plain.observer_layout.sections)
    found = [section for section in wanted.observer_layout.sections if section.kind == "label_rows"]
    assert [section.labels for section in found] == [
        ("wine", variant, shadow) for variant in ("v1", "v2") for shadow in ("wine-v4", "wine-v5")
    ]
    assert {section.fields for section in found} == {LABEL_ROW_FIELDS}


def test_no_two_counts_share_a_place() -> None:
    """Sections follow each other without a gap."""
    layout = table_of(BASE_CONFIG.replace("as: cl", "labels: 1h, as: cl")).observer_layout
    end = 0
    for section in layout.sections:
        assert section.base == end
        end += len(section.fields)
    assert layout.size == end
