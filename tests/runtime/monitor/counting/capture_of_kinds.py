"""Baselines of multiclass and multi-output models, and their captures as the model server writes them."""

import json
from typing import Any

import numpy as np
from tests.runtime import kinds

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.baseline import Predicted, fit_baseline
from mlops_runtime.serving.http_app import answer
from mlops_runtime.serving.onnx_model import load


def baseline_of(kind: str) -> Baseline:
    """Return the baseline of the wines' cultivars or of the men's measures, fitted to the holdout's predictions."""
    if kind == "classes":
        table, names = kinds.wine(), kinds.wine_inputs()
        predicted = kinds.classifier().predict(kinds.matrix(table, names))
        found = Predicted(values=[kinds.CULTIVARS[code] for code in predicted], classes=kinds.CULTIVARS)
    else:
        table, names = kinds.men(), kinds.MEN_INPUTS
        found = Predicted(values=kinds.regressor().predict(kinds.matrix(table, names)), outputs=kinds.MEASURES)
    columns = {name: np.asarray(table.column(name)) for name in names}
    types = dict.fromkeys(names, "number")
    return fit_baseline(columns, types=types, training_set_id="t", created="2017-08-01T00:00:00Z", prediction=found)  # type: ignore[arg-type] # literals


def captured(kind: str, content_type: str, accept: str) -> bytes:
    """Return the capture line of one call with all rows, with the response of the real server code."""
    model = load(*kinds.files(kind))
    rows = kinds.matrix(
        *((kinds.wine(), kinds.wine_inputs()) if kind == "classes" else (kinds.men(), kinds.MEN_INPUTS))
    )
    body = json.dumps({"instances": rows.tolist()})
    if content_type == "text/csv":
        body = "\n".join(",".join(map(str, row)) for row in rows.tolist())
    content, given = answer(model, content_type, accept, body.encode())
    sides = {
        "endpointInput": side_of(content_type, "INPUT", body),
        "endpointOutput": side_of(given, "OUTPUT", content.decode()),
    }
    record = {"captureData": sides, "eventMetadata": {"eventId": "e", "inferenceTime": "2017-08-07T10:00:00Z"}}
    return json.dumps({**record, "eventVersion": "0"}).encode()


def side_of(kind: str, mode: str, data: str) -> dict[str, Any]:
    """Return one side of a captured call."""
    return {"observedContentType": kind, "mode": mode, "data": data, "encoding": "CSV" if "csv" in kind else "JSON"}
