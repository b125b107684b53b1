"""What tests of a model's project import: a rehearsal and a training set on rows generated from a schema."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from examples.own_model.stack import HERE as OWN_MODEL

from mlops_runtime import testing
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, TrainingSetPlan
from mlops_runtime.image.requirements_lock import RequirementsError
from mlops_runtime.inference_api.request_promise import request_schema
from mlops_runtime.testing import (
    GateVerdict,
    Rehearsal,
    rehearse_with_sample_rows,
    sample_rows,
    this_environment,
    training_set_of_sample_rows,
)
from mlops_runtime.training_data.stored_schema import feature_groups
from mlops_runtime.training_data.table_schema import InputColumn, TableSchema

LOCK = OWN_MODEL / "requirements.lock"
SCHEMA = TableSchema(
    label="units",
    label_kind="number",
    metric="wape",
    time="day",
    block="store",
    cluster="store",
    baselines=("naive_median",),
    inputs=(InputColumn(name="price", type="number", kind="float", nullable=True, low=0, high=9),),
    left_out=(),
    rows=0,
    holdout_rows=0,
    minimum_rows=200,
    high=9,
    key="store",
    key_kind="text",
    entities=("store",),
    holdout_days=7,
)
PLAN = EvaluationPlan(label="units", metric="wape", block="store", baselines=SCHEMA.baselines, timestamp="day")
# units are the price; the training job writes the signature
SCRIPT = """
import os, pathlib
from onnx import TensorProto, helper
graph = helper.make_graph(
    [helper.make_node("Identity", ["input"], ["units"])], "line",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 1])],
    [helper.make_tensor_value_info("units", TensorProto.FLOAT, [None, 1])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.onnx").write_bytes(model.SerializeToString())
"""


def schema_file(folder: Path, schema: TableSchema) -> Path:
    """Write a schema as ``mlops new`` does."""
    path = folder / "schema.json"
    path.write_bytes(canonical_json(schema))
    return path


def rehearsed(folder: Path, *, promises: tuple[Path, ...] = ()) -> Rehearsal:
    """Rehearse the script on rows without nulls."""
    full = replace(SCHEMA, inputs=(replace(SCHEMA.inputs[0], nullable=False),))
    code, work = folder / "code", folder / "work"
    code.mkdir()
    work.mkdir()
    (code / "train.py").write_text(SCRIPT)
    return rehearse_with_sample_rows(
        schema_file(folder, full),
        code=code,
        script="train.py",
        inputs=["price"],
        evaluation=PLAN,
        gate=GateSpec(metric="wape"),
        lock=LOCK,
        trust=["data"],
        folder=work,
        promises=promises,
    )


def test_a_script_is_rehearsed_on_generated_rows(tmp_path: Path) -> None:
    """With the baselines of the schema, and a signature of its kind with the given inputs."""
    found = rehearsed(tmp_path)

    assert found.gate.verdict is GateVerdict.PASSED, found.gate.reason
    assert found.evaluation.metrics.keys() >= {"candidate", "naive_median"}
    signature = json.loads((found.model / "signature.json").read_text())
    assert [each["name"] for each in signature["inputs"]] == ["price"]
    assert signature["output"] == "units"


def test_promises_of_apis_are_checked(tmp_path: Path) -> None:
    """A model that would reject requests that an API allows does not pass."""
    promise = tmp_path / "units.schema.json"
    columns = tuple(SignatureColumn(name=name, type="number") for name in ("price", "weather"))
    promise.write_text(json.dumps(request_schema(ModelSignature(inputs=columns, output="units"))))

    found = rehearsed(tmp_path, promises=(promise,))

    assert found.gate.verdict is GateVerdict.FAILED
    assert "units.schema.json allows column 'weather', which the model does not have" in found.gate.reason


def test_a_training_set_has_the_generated_rows(tmp_path: Path) -> None:
    """In both splits, with their nulls; the plan's shorter holdout would have too few of them."""
    path = schema_file(tmp_path, SCHEMA)
    features, labels = feature_groups(SCHEMA, name="units", owner="shop")
    plan = TrainingSetPlan(
        name="shop-units",
        label_group=labels.name,
        timestamp="day",
        label="units",
        features={features.name: features.feature_names},
        holdout_days=7,
        baselines=SCHEMA.baselines,
    )
    rows = sample_rows(path)

    built = training_set_of_sample_rows(path, groups=(features, labels), plan=plan, folder=tmp_path)

    assert built.train.num_rows + built.holdout.num_rows == rows.num_rows
    assert built.train["price"].null_count + built.holdout["price"].null_count == rows["price"].null_count > 0
    days = built.holdout["day"].to_pylist()
    assert 90 < (max(days) - min(days)).days <= 100


def test_the_environment_is_this_python(tmp_path: Path) -> None:
    """With the hash of the lock; a broken lock is an error."""
    found = this_environment(LOCK, trust=["data", "pickle"])
    assert (found.python, found.trusts) == (Path(sys.executable), ("data", "pickle"))
    assert len(found.requirements_sha256 or "") == 64

    (tmp_path / "requirements.lock").write_text("numpy\n")
    with pytest.raises(RequirementsError, match="numpy"):
        this_environment(tmp_path / "requirements.lock", trust=[])


def test_a_model_without_feature_groups_needs_no_feature_store() -> None:
    """The module loads without the libraries of the feature store, and every public name exists."""
    code = "import sys, mlops_runtime.testing; print([m for m in ('boto3', 'duckdb', 'pyiceberg') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert run.stdout == "[]\n"
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []
