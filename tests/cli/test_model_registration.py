"""Checks of ``mlops models register`` before uploads; ``tests/examples/test_registration.py`` covers the whole process."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from botocore.exceptions import ClientError
from tests.cli.asked_pipeline import EXECUTION, PIPELINE, Cloud, stand_in
from tests.runtime.serving.model_folders import LOCK_TEXT
from tests.runtime.tracking.stand_in import mlflow_stand_in
from typer.testing import CliRunner

from mlops_cli import model_registration, models
from mlops_cli.aws_account import UserError
from mlops_runtime.business_unit.deployed_entries import NotDeployedError
from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.retraining import Candidate

SIGNATURE = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """An account with one stand-in for every client."""
    return stand_in(monkeypatch, model_registration)


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    """A folder with a model of one column."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"onnx")
    (folder / "signature.json").write_bytes(canonical_json(SIGNATURE))
    return folder


def _register(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(models.app, ["register", *map(str, arguments)])
    if isinstance(result.exception, UserError | NotDeployedError):
        return 1, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_model_is_uploaded_asked_for_and_told(cloud: Cloud, onnx: Path) -> None:
    """The event has the candidate; the output has the next command."""
    code, output = _register("demand-forecast", onnx, "--reason", "of the challenge")
    assert (code, output.startswith("registered as demand-forecast/7: better; approve it: mlops models approve")) == (
        0,
        True,
    )
    assert cloud.uploaded[0].startswith("registered/demand-forecast/")
    assert "of the challenge" in cloud.events[0]["Detail"]
    assert _register("demand-forecast", onnx, "--no-wait") == (0, f"started {EXECUTION}\n")
    requested = [json.loads(event["Detail"])["attributes"].get("again") for event in cloud.events]
    assert (requested, _register("demand-forecast", onnx, "--no-wait", "--again")[0]) == ([None, None], 0)
    assert json.loads(cloud.events[-1]["Detail"])["attributes"]["again"] == "true"
    approved = {"outcome": "APPROVED", "reason": "r", "package": "arn:x:model-package/g/7"}
    cloud.execution = {"status": "SUCCEEDED", "output": json.dumps(approved)}
    assert _register("demand-forecast", onnx) == (0, "approved as g/7: r\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("demand-forecast", "models:/churn/3"),
            "models:/churn/3 is a model of an MLflow registry: give its URI with --tracking-uri or MLFLOW_TRACKING_URI",
        ),
        (("demand-forecast", "/nowhere/model.pkl"), "/nowhere/model.pkl not found; give a folder, a file"),
        (("demand-forecast", "s3://bucket/folder/"), "s3://bucket/folder/ must name one object"),
        (("demand-forecast", "s3://bucket/model.txt"), "signature.json is missing beside the model"),
        (("no-such", "/tmp"), "pipeline 'no-such' not found"),
    ],
)
def test_fails_by_name(cloud: Cloud, arguments: tuple[str, ...], message: str) -> None:
    """Uploads and requests nothing."""
    code, output = _register(*arguments)
    assert (code, message in output) == (1, True), output
    assert (cloud.uploaded, cloud.events) == ([], [])


def test_a_model_of_mlflows_registry_is_downloaded(cloud: Cloud, onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by alias on the server of the environment; missing models are reported."""
    with mlflow_stand_in() as server:
        server.models.append("churn")
        server.versions.append({"name": "churn", "version": "3", "source": "mlflow-artifacts:/1/models/m-1/artifacts"})
        server.aliases["champion"] = "3"
        files = {path.relative_to(onnx).as_posix(): path.read_bytes() for path in onnx.rglob("*") if path.is_file()}
        server.files |= {f"1/models/m-1/artifacts/{name}": body for name, body in files.items()}
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        code, output = _register("demand-forecast", "models:/churn@champion", "--no-wait")
        assert (code, output) == (0, f"started {EXECUTION}\n")
        assert len(cloud.uploaded) == 1
        code, output = _register("demand-forecast", "models:/churn/9")
        assert (code, "MLflow rejected /api/2.0/mlflow/model-versions/get (404): no" in output) == (1, True)
        assert "must be models:/NAME/VERSION or models:/NAME@ALIAS" in _register("demand-forecast", "models:/churn")[1]
    assert "cannot be reached" in _register("demand-forecast", "models:/churn/3")[1]
    assert _register("demand-forecast", onnx, "--tracking-uri", "http://x")[0] == 2


def test_promises_that_may_not_be_read_are_left_to_the_gate(
    cloud: Cloud, onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller may have no permission to read them: the output says what was not compared, and the model is evaluated."""
    cloud.pipeline, known = replace(PIPELINE, endpoint="demand-forecast"), cloud.get_parameter

    def get_parameter(*, Name: str) -> Any:  # noqa: N803 - as the API names it
        if "/endpoint/" in Name:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetParameter")
        return known(Name=Name)

    monkeypatch.setattr(cloud, "get_parameter", get_parameter)

    result = CliRunner().invoke(models.app, ["register", "demand-forecast", str(onnx), "--no-wait"])

    assert (result.exit_code, len(cloud.events)) == (0, 1)
    assert "demand-forecast were not compared: GetParameter is denied; the gate compares them" in result.stderr


def test_fails_for_three_names() -> None:
    """It is a usage error."""
    assert _register("a", "b", "c")[0] == 2


def test_the_holdouts_columns_are_compared_before(cloud: Cloud, onnx: Path, tmp_path: Path) -> None:
    """Compares columns of signature and predictions, all at once."""
    pq.write_table(pa.table({"store": [1]}), tmp_path / "holdout.parquet")
    pq.write_table(pa.table({"shop": [1], "score": [1.0]}), tmp_path / "mine.parquet")
    options = ("--data", tmp_path / "holdout.parquet", "--predictions", tmp_path / "mine.parquet")
    code, output = _register("demand-forecast", onnx, *options)
    assert (code, cloud.uploaded) == (1, [])
    assert "holdout.parquet has no column 'price', which the signature has; " in output
    assert "mine.parquet must have a column 'prediction', got shop, score; " in output
    assert "mine.parquet identifies rows by shop, score, which" in output
    (tmp_path / "mine.parquet").write_text("x")
    assert "mine.parquet cannot be read as Parquet" in _register("demand-forecast", onnx, *options)[1]


def _native(folder: Path) -> Path:
    (folder / "model.onnx").unlink()
    (folder / "model.txt").write_bytes(b"tree\nversion=v4\n")
    (folder / "requirements.lock").write_text(LOCK_TEXT)
    return folder


def test_the_image_must_have_the_models_lock(cloud: Cloud, onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Covers an image for ONNX only, one with another lock, and the right one."""
    folder = _native(onnx)
    assert (
        "the image of demand-forecast runs only ONNX, the model is loaded by lightgbm"
        in _register("demand-forecast", folder)[1]
    )
    cloud.pipeline = replace(PIPELINE, requirements_sha256="1" * 64)
    monkeypatch.chdir(folder)
    output = _register("demand-forecast", folder)[1]
    assert (
        f"requirements.lock of model (SHA-256 {hashlib.sha256(LOCK_TEXT.encode()).hexdigest()[:12]}) is not the lock"
        in output
    )
    assert cloud.uploaded == []
    digest = hashlib.sha256(LOCK_TEXT.encode()).hexdigest()
    cloud.pipeline = replace(PIPELINE, requirements_sha256=digest)
    assert _register("demand-forecast", folder)[0] == 0
    detail = json.loads(cloud.events[0]["Detail"])
    candidate = from_json(Candidate, detail["attributes"]["candidate"])
    assert (candidate.flavor, candidate.trust) == ("lightgbm", "data")


def test_the_registrys_rule_holds_before(cloud: Cloud, onnx: Path) -> None:
    """A pickle needs the option and the registry's permission."""
    (onnx / "model.onnx").unlink()
    (onnx / "model.pkl").write_bytes(b"\x80\4.")
    (onnx / "requirements.lock").write_text(LOCK_TEXT)
    cloud.pipeline = replace(PIPELINE, requirements_sha256=hashlib.sha256(LOCK_TEXT.encode()).hexdigest())
    assert "add --trust pickle" in _register("demand-forecast", onnx)[1]
    assert "the registry allows data, code" in _register("demand-forecast", onnx, "--trust", "pickle")[1]
    assert cloud.uploaded == []
    cloud.rule = replace(cloud.rule, trust=("data", "code", "pickle"))
    assert _register("demand-forecast", onnx, "--trust", "pickle")[0] == 0


def test_what_a_container_loads_is_packed_as_it_is(cloud: Cloud, onnx: Path) -> None:
    """Needs no lock and no flavor of its files; trust is that of the container in the stack."""
    (onnx / "model.onnx").rename(onnx / "weights.bin")
    cloud.pipeline = replace(PIPELINE, container_trust="code")
    message = "trust pickle is not supported: this pipeline's container is declared with trust 'code'"
    assert message in _register("demand-forecast", onnx, "--trust", "pickle")[1]
    assert "requirements are not supported" in _register("demand-forecast", onnx, "--requirements", "lock")[1]
    (onnx / "model.joblib").write_bytes(b"x")
    assert "model.joblib is a pickle, and the container is declared" in _register("demand-forecast", onnx)[1]
    (onnx / "model.joblib").unlink()
    assert cloud.uploaded == []
    assert _register("demand-forecast", onnx)[0] == 0
    candidate = from_json(Candidate, json.loads(cloud.events[0]["Detail"])["attributes"]["candidate"])
    assert (candidate.flavor, candidate.trust) == ("container", "code")
    cloud.pipeline = replace(PIPELINE, container_trust="pickle")
    assert "the registry allows data, code" in _register("demand-forecast", onnx)[1]


def test_a_vector_needs_a_metric_function(cloud: Cloud, onnx: Path) -> None:
    """Without one no gate could pass it; with one it is evaluated like other models."""
    cloud.pipeline = replace(PIPELINE, metric="wape")
    (onnx / "signature.json").write_bytes(canonical_json(replace(SIGNATURE, kind="vector", width=8)))
    output = _register("demand-forecast", onnx)[1]
    assert "the model is of kind 'vector', demand-forecast measures wape, which is of number or numbers" in output
    assert cloud.uploaded == []
    cloud.pipeline = replace(PIPELINE, metric="custom_loss")
    assert _register("demand-forecast", onnx)[0] == 0


def test_the_pipelines_metric_must_measure_it(cloud: Cloud, onnx: Path) -> None:
    """A probability is not a quantity."""
    cloud.pipeline = replace(PIPELINE, metric="wape")
    (onnx / "signature.json").write_bytes(canonical_json(replace(SIGNATURE, kind="probability")))
    output = _register("demand-forecast", onnx)[1]
    assert "the model is of kind 'probability', demand-forecast measures wape" in output
    assert cloud.uploaded == []


def test_predictions_are_what_the_model_gives(cloud: Cloud, onnx: Path, tmp_path: Path) -> None:
    """Classes, outputs and vectors are a list per row, other predictions a number; otherwise nothing is uploaded."""
    mine = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"prediction": [[1.0]]}), mine)
    output = _register("demand-forecast", onnx, "--predictions", mine)[1]
    assert "mine.parquet must have one number per row, as the model of kind 'number' returns them" in output
    (onnx / "signature.json").write_bytes(canonical_json(replace(SIGNATURE, kind="classes", classes=("a", "b", "c"))))
    pq.write_table(pa.table({"prediction": [1.0]}), mine)
    output = _register("demand-forecast", onnx, "--predictions", mine)[1]
    assert "mine.parquet must have a list of 3 numbers per row, as the model of kind 'classes' returns them" in output
    assert cloud.uploaded == []
    pq.write_table(pa.table({"prediction": [[0.2, 0.3, 0.5]]}), mine)
    assert _register("demand-forecast", onnx, "--predictions", mine)[0] == 0


def test_it_is_a_command_of_models() -> None:
    """It is listed beside list, show, approve and reject."""
    assert "register" in typer.main.get_command(models.app).commands  # type: ignore[attr-defined]
