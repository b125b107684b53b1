"""A training script is trained, measured and gated in a test as in the account."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_runtime.contracts.model import GateVerdict, ModelSignature, SignatureColumn
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, SignaturePlan
from mlops_runtime.inference_api.request_promise import request_schema
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.pipeline_rehearsal import Rehearsal, rehearse
from mlops_runtime.serving.model_source import ModelEnvironment

PLAN = EvaluationPlan(label="units", block="store", baselines=("last_week",), timestamp="at")
FACTOR = "FACTOR"
# units are `FACTOR` times the price
SCRIPT = """
import json, os, pathlib
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from factor import FACTOR
assert pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "part-0.parquet").is_file()
graph = helper.make_graph(
    [helper.make_node("Mul", ["input", "factor"], ["units"])], "line",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 1])],
    [helper.make_tensor_value_info("units", TensorProto.FLOAT, [None, 1])],
    [numpy_helper.from_array(np.array([FACTOR], np.float32), "factor")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
folder = pathlib.Path(os.environ["SM_MODEL_DIR"])
(folder / "model.onnx").write_bytes(model.SerializeToString())
signature = {"format": "mlops.signature/1", "inputs": [{"name": "price", "type": "number"}], "output": "units"}
(folder / "signature.json").write_text(json.dumps(signature))
"""

TREES = """
import os, pathlib
import lightgbm, pandas
rows = pandas.read_parquet(pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "part-0.parquet"))
data = lightgbm.Dataset(rows[["price", "store"]].astype("float64"), rows["units"])
options = {"verbosity": -1, "num_threads": 1, "objective": "l1"}
lightgbm.train(options, data, 60).save_model(pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt"))
"""


def _rows(count: int, start: datetime) -> Any:
    random = np.random.default_rng(3)
    price = random.uniform(1, 9, count)
    return pa.table(
        {
            "price": price,
            "last_week": random.permutation(price * 2),
            "units": price * 2,
            "store": random.integers(0, 40, count),
            "at": [start + timedelta(hours=n) for n in range(count)],
        }
    )


TRAIN, HOLDOUT = _rows(300, datetime(2026, 1, 1, tzinfo=UTC)), _rows(300, datetime(2026, 3, 1, tzinfo=UTC))


def _rehearse(folder: Path, factor: float = 2.0, **changes: Any) -> Rehearsal:
    code = folder / "code"
    code.mkdir(parents=True)
    (code / "train.py").write_text(SCRIPT)
    (code / "factor.py").write_text(f"FACTOR = {factor}\n")
    given = {"train_rows": TRAIN, "holdout_rows": HOLDOUT, "evaluation": PLAN, **changes}
    return rehearse(code=code, script="train.py", gate=GateSpec(), folder=folder / "work", **given)


def test_a_good_script_passes_the_gate(tmp_path: Path) -> None:
    """Returns its model, evaluation and verdict with the holdout's times."""
    found = _rehearse(tmp_path)

    assert found.gate.verdict is GateVerdict.PASSED, found.gate.reason
    assert found.evaluation.metrics["candidate"] < 1e-6
    assert found.evaluation.holdout_from == "2026-03-01T00:00:00+00:00"
    assert (found.model / "model.onnx").is_file()


def test_a_bad_one_does_not(tmp_path: Path) -> None:
    """The result has the gate's reason."""
    found = _rehearse(tmp_path, factor=9.0)

    assert found.gate.verdict is GateVerdict.FAILED
    assert "loss against last_week" in found.gate.reason


def test_one_that_would_refuse_what_an_api_promises_does_not(tmp_path: Path) -> None:
    """By the schema in git, as in the account; a compatible model passes."""
    promise = tmp_path / "units.schema.json"
    price = SignatureColumn(name="price", type="number")
    for width, verdict in ((1, GateVerdict.PASSED), (2, GateVerdict.FAILED)):
        columns = (price, SignatureColumn(name="weather", type="category"))[:width]
        promise.write_text(json.dumps(request_schema(ModelSignature(inputs=columns, output="units"))))
        found = _rehearse(tmp_path / str(width), promises=(promise,))
        assert found.gate.verdict is verdict, found.gate.reason

    assert found.gate.reason.startswith("units.schema.json allows column 'weather', which the model does not have")


def test_one_that_was_trained_on_the_holdout_does_not(tmp_path: Path) -> None:
    """Rows of the future are recognised by their times."""
    found = _rehearse(tmp_path, train_rows=HOLDOUT)

    assert found.gate.verdict is GateVerdict.FAILED
    assert "trained on the future" in found.gate.reason


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"evaluation": EvaluationPlan(label="units", block="store", baselines=("last_week",))},
            "the evaluation plan must name the `timestamp`",
        ),
        ({"holdout_rows": HOLDOUT.drop_columns("at")}, "holdout"),
        (
            {"holdout_rows": HOLDOUT.set_column(4, "at", pa.array(range(300)))},
            "of the holdout must have times, got 0 to 299",
        ),
    ],
)
def test_fails_for_rows_that_do_not_fit_the_plan(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    """The error names the missing columns."""
    with pytest.raises(JobError, match=problem):
        _rehearse(tmp_path, **changes)


def test_a_model_that_is_not_onnx_is_rehearsed_in_its_environment(tmp_path: Path) -> None:
    """Its script writes only the model; the signature comes from the rows."""
    code = tmp_path / "trees"
    code.mkdir()
    (code / "train.py").write_text(TREES)
    of = ModelEnvironment(python=Path(sys.executable), requirements_sha256="1" * 64)
    found = rehearse(
        code=code,
        script="train.py",
        train_rows=TRAIN,
        holdout_rows=HOLDOUT,
        evaluation=PLAN,
        gate=GateSpec(),
        folder=tmp_path / "work",
        environment=of,
        signature=SignaturePlan(label="units", inputs=("price", "store")),
    )

    assert found.gate.verdict is GateVerdict.PASSED, found.gate.reason
    assert sorted(path.name for path in found.model.iterdir()) == ["mlops-model.json", "model.txt", "signature.json"]
