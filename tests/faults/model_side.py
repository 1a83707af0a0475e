"""What model servers do wrong: every deed at every moment, or the reason why that pair is none."""

from tests.faults.cells import Cell
from tests.faults.model_answer import ANSWER_CELLS
from tests.faults.model_before import BEFORE_CELLS
from tests.faults.model_moments import MODEL_DEEDS, MODEL_MOMENTS, MODEL_NOT_CELLS

__all__ = ["MODEL_CELLS", "MODEL_DEEDS", "MODEL_MOMENTS", "MODEL_NOT_CELLS"]

MODEL_CELLS: tuple[Cell, ...] = (*BEFORE_CELLS, *ANSWER_CELLS)
