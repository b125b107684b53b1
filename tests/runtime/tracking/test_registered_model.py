"""Models of MLflow's registry as folders (a fake; the stock server: ``tests/local/foreign/test_mlflow.py``)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.runtime.tracking.stand_in import MlflowStandIn, mlflow_stand_in

from mlops_runtime.tracking.mlflow_rest import MlflowRest, TrackingRefusedError
from mlops_runtime.tracking.registered_model import RegisteredModelError, RegisteredModels


@pytest.fixture
def server() -> Iterator[MlflowStandIn]:
    """A registry with a model."""
    with mlflow_stand_in() as made:
        made.models.append("churn")
        made.aliases["champion"] = "1"
        yield made


def _models(server: MlflowStandIn) -> RegisteredModels:
    keys = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return RegisteredModels(MlflowRest(server.uri), s3=lambda: boto3.client("s3", **keys))


def _version(server: MlflowStandIn, source: str) -> None:
    server.versions = [{"name": "churn", "version": "1", "source": source}]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("uri", ["models:/churn/1", "models:/churn@champion"])
def test_files_come_through_the_server(uri: str, server: MlflowStandIn, tmp_path: Path) -> None:
    """Files keep their folders; the model is found by version or alias."""
    _version(server, "mlflow-artifacts:/1/models/m-1/artifacts")
    server.files |= {
        "1/models/m-1/artifacts/MLmodel": b"m",
        "1/models/m-1/artifacts/code/a b.py": b"c",
        "1/models/other": b"",
    }
    assert _models(server).download(uri, tmp_path / "model").version == "1"
    assert _files(tmp_path / "model") == {"MLmodel": b"m", "code/a b.py": b"c"}


def test_a_logged_model_is_followed_to_its_files(server: MlflowStandIn, tmp_path: Path, monkeypatch: Any) -> None:
    """MLflow 3 returns the id of a model instead of the location that version 2 returned."""
    _version(server, "models:/m-1")
    place = {"model": {"info": {"artifact_uri": "mlflow-artifacts:/1/x"}}}
    monkeypatch.setattr(MlflowStandIn, "_logged_models_m_1", lambda *_: (200, place), raising=False)
    server.files["1/x/MLmodel"] = b"m"
    _models(server).download("models:/churn/1", tmp_path)
    assert _files(tmp_path) == {"MLmodel": b"m"}


def test_files_come_from_s3_with_the_callers_rights(server: MlflowStandIn, tmp_path: Path) -> None:
    """A managed MLflow stores its files in S3."""
    _version(server, "s3://team/models/churn")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        s3.create_bucket(Bucket="team")
        for key in ("models/churn/MLmodel", "models/churn/data/model.txt", "models/churn2/MLmodel"):
            s3.put_object(Bucket="team", Key=key, Body=key.encode())
        _models(server).download("models:/churn/1", tmp_path)
    assert set(_files(tmp_path)) == {"MLmodel", "data/model.txt"}


@pytest.mark.parametrize("uri", ["models:/churn", "models:/churn/Production", "models:/churn/1/2", "runs:/a/model"])
def test_fails_on_another_form(uri: str, server: MlflowStandIn, tmp_path: Path) -> None:
    """MLflow removed stages, and a name alone identifies no version."""
    with pytest.raises(RegisteredModelError, match="must be models:/NAME/VERSION or models:/NAME@ALIAS, got"):
        _models(server).download(uri, tmp_path)


def test_fails_where_the_files_cannot_be_read(server: MlflowStandIn, tmp_path: Path) -> None:
    """Files are on the server's disk, missing, or have a name outside of the folder."""
    _version(server, "/srv/mlruns/1/artifacts")
    with pytest.raises(RegisteredModelError, match="are at /srv/mlruns/1/artifacts, which is neither S3 nor"):
        _models(server).download("models:/churn/1", tmp_path)
    _version(server, "mlflow-artifacts:/1/none")
    with pytest.raises(RegisteredModelError, match="has no files at mlflow-artifacts:/1/none"):
        _models(server).download("models:/churn/1", tmp_path)
    _version(server, "mlflow-artifacts:/1/x")
    server.artifacts = lambda *_: (200, b'{"files": [{"path": "../../evil", "is_dir": false}]}')  # type: ignore[method-assign]
    with pytest.raises(RegisteredModelError, match=r"has the path '\.\./\.\./evil', which leads outside its folder"):
        _models(server).download("models:/churn/1", tmp_path)
    with pytest.raises(TrackingRefusedError, match="no alias best"):
        _models(server).download("models:/churn@best", tmp_path)


def test_fails_before_a_download_on_more_than_a_model_may_have(server: MlflowStandIn, tmp_path: Path) -> None:
    """The limits are files, bytes and nested folders: the listing is read no further, and nothing is written."""
    rest, keys = (
        MlflowRest(server.uri),
        {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"},
    )

    def models(**bounds: int) -> RegisteredModels:
        return RegisteredModels(rest, s3=lambda: boto3.client("s3", **keys), **bounds)

    _version(server, "mlflow-artifacts:/1/x")
    server.files |= {f"1/x/{number}": b"123" for number in range(4)}
    with pytest.raises(
        RegisteredModelError, match=r"/1/x has more than 3 files or .*; register only the model|, 1/x has more"
    ):
        models(max_files=3).download("models:/churn/1", tmp_path / "a")
    with pytest.raises(RegisteredModelError, match="files or 9 bytes; register only the model"):
        models(max_bytes=9).download("models:/churn/1", tmp_path / "a")
    endless = b'{"files": [{"path": "again", "is_dir": true}]}'
    server.artifacts = lambda *_: (200, endless)  # type: ignore[method-assign]
    with pytest.raises(RegisteredModelError, match="has more than 20 nested folders"):
        models().download("models:/churn/1", tmp_path / "a")
    lying = [(200, b'{"files": [{"path": "m", "is_dir": false}]}'), (200, b"0123456789")]
    server.artifacts = lambda *_: lying.pop(0)  # type: ignore[method-assign]
    with pytest.raises(TrackingRefusedError, match="sends more than the remaining 9 bytes for"):
        models(max_bytes=9).download("models:/churn/1", tmp_path / "b")
    _version(server, "s3://team/models/churn")
    with mock_aws():
        s3 = boto3.client("s3", **keys)
        s3.create_bucket(Bucket="team")
        for number in range(3):
            s3.put_object(Bucket="team", Key=f"models/churn/{number}", Body=b"1234")
        with pytest.raises(
            RegisteredModelError, match="the model at s3://team/models/churn has more than 10000 files or 9 bytes"
        ):
            models(max_bytes=9).download("models:/churn/1", tmp_path / "a")
    assert _files(tmp_path / "a") == {}


def test_fails_with_the_place_in_s3_that_cannot_be_read(server: MlflowStandIn, tmp_path: Path) -> None:
    """The message contains the location of the files and the missing permissions."""
    _version(server, "s3://nowhere/models/churn")
    with mock_aws(), pytest.raises(RegisteredModelError) as error:
        _models(server).download("models:/churn/1", tmp_path)
    message = str(error.value)
    assert message.startswith("the model's files are at s3://nowhere/models/churn, which you cannot read: ")
    assert message.endswith("request s3:ListBucket and s3:GetObject there")
