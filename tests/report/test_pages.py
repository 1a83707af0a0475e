"""Blocks of a report."""

import pytest

from proxy.report.pages import Table


def test_rows_have_as_many_cells_as_titles() -> None:
    """A row that lacks a cell is a fault of the writer."""
    with pytest.raises(ValueError, match="expected 2 cells"):
        Table(("a", "b"), (("1",),))
