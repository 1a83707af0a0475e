"""Calls as users of MLflow's own client write them."""

from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

from tests.real.clients.calling import serve


def predicted(url: str, form: str, rows: list[list[float]], columns: list[str]) -> Any:
    """Ask for the labels of some rows, given as a table or an array."""
    where = urlsplit(url)
    client = ScoringServerClient(where.hostname, where.port)
    asked = pd.DataFrame(rows, columns=columns) if form == "table" else np.array(rows)
    return client.invoke(asked).get_predictions().to_numpy().ravel().tolist()


def about(url: str) -> Any:
    """Ask whether the server is up, and for its version."""
    where = urlsplit(url)
    client = ScoringServerClient(where.hostname, where.port)
    client.ping()
    return client.get_version()


if __name__ == "__main__":
    serve({"about": about, "predicted": predicted})
