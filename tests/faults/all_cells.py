"""Every cell of the fault matrix, and the vocabularies whose product it is."""

from tests.faults.cells import Cell
from tests.faults.client_side import CLIENT_CELLS, CLIENT_DEEDS, CLIENT_MOMENTS, CLIENT_NOT_CELLS
from tests.faults.derived import CHALLENGER_CELLS, SHADOW_CELLS
from tests.faults.model_side import MODEL_CELLS, MODEL_DEEDS, MODEL_MOMENTS, MODEL_NOT_CELLS
from tests.faults.tunnel_side import IN_A_TUNNEL, TUNNEL_CELLS, TUNNEL_NOT_CELLS

__all__ = ["CELLS", "PRODUCTS"]

CELLS: tuple[Cell, ...] = (
    *CLIENT_CELLS,
    *MODEL_CELLS,
    *TUNNEL_CELLS,
    *CHALLENGER_CELLS,
    *SHADOW_CELLS,
)

PRODUCTS = {
    "client": ((*CLIENT_MOMENTS, IN_A_TUNNEL), CLIENT_DEEDS, {**CLIENT_NOT_CELLS, **TUNNEL_NOT_CELLS}),
    "model": ((*MODEL_MOMENTS, IN_A_TUNNEL), MODEL_DEEDS, MODEL_NOT_CELLS),
}
"""By side: every moment, every deed, and the pairs that are no cells, each with its reason. The other sides do what a
model does."""
