"""Capture and ground truth lines in the formats of SageMaker's developer guide, and a small baseline."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.baseline import category_baseline, number_baseline


class Lines:
    """Writes lines. See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html."""

    def side(self, mode: str, data: str, encoding: str) -> dict[str, str]:
        """Return one captured payload."""
        kind = {"CSV": "text/csv", "JSON": "application/json", "BASE64": "application/x-data"}[encoding]
        return {"observedContentType": kind, "mode": mode, "data": data, "encoding": encoding}

    def call(
        self,
        data: str | None,
        output: str | None = None,
        *,
        encoding: str = "CSV",
        output_encoding: str = "CSV",
        inference_id: str | None = None,
        event_id: str = "e-1",
        time: str | None = "2017-08-07T10:00:00Z",
    ) -> str:
        """Return one capture line."""
        captured: dict[str, Any] = {}
        if data is not None:
            captured["endpointInput"] = self.side("INPUT", data, encoding)
        if output is not None:
            captured["endpointOutput"] = self.side("OUTPUT", output, output_encoding)
        metadata = {"eventId": event_id, "inferenceId": inference_id, "inferenceTime": time}
        metadata = {key: value for key, value in metadata.items() if value is not None}
        return json.dumps({"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"})

    def label(self, key: str, values: Sequence[object], *, inference_id: str | None = None) -> str:
        """Return one ground truth line."""
        metadata = {"eventId": key} | ({} if inference_id is None else {"inferenceId": inference_id})
        data = {"data": "\n".join(map(str, values)), "encoding": "CSV"}
        return json.dumps({"groundTruthData": data, "eventMetadata": metadata, "eventVersion": "0"})


@pytest.fixture(scope="session")
def lines() -> Lines:
    """Return the writer of lines."""
    return Lines()


@pytest.fixture(scope="session")
def baseline() -> Baseline:
    """Columns price, stock (nullable) and store; predictions around 10."""
    random = np.random.default_rng(1)
    stock = np.where(random.random(2000) < 0.1, np.nan, random.poisson(3, 2000)).astype(np.float32)
    return Baseline(
        features=(
            number_baseline("price", random.lognormal(1, 0.4, 2000).astype(np.float32)),
            number_baseline("stock", stock),
            category_baseline("store", random.choice(["north", "south, old"], 2000).tolist()),
        ),
        rows=2000,
        training_set_id="set-1",
        created="2017-08-01T00:00:00Z",
        prediction=number_baseline("prediction", random.normal(10, 2, 500).astype(np.float32)),
        quality={"wape": 0.4, "bias": 0.0},
    )
