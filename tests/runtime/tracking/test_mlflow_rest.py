"""MLflow's REST API as the platform asks it (a stand-in; the stock server: ``tests/local/foreign/test_mlflow.py``); passwords."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.credentials import Credentials
from moto import mock_aws
from tests.runtime.tracking.stand_in import MlflowStandIn, mlflow_stand_in

from mlops_runtime.tracking import mlflow_rest
from mlops_runtime.tracking.mlflow_rest import (
    Metric,
    MlflowPassword,
    MlflowRest,
    PasswordError,
    TrackingAwayError,
    TrackingRefusedError,
)

APP = "arn:aws:sagemaker:eu-west-1:111122223333:mlflow-app/app-1"


@pytest.fixture
def server() -> Iterator[MlflowStandIn]:
    """The stand-in."""
    with mlflow_stand_in() as made:
        yield made


def test_an_experiment_is_made_once(server: MlflowStandIn) -> None:
    """Later calls find it by its name."""
    mlflow = MlflowRest(server.uri)
    assert [mlflow.experiment("demand"), mlflow.experiment("demand"), mlflow.experiment("b")] == ["0", "0", "1"]
    assert server.experiments == ["demand", "b"]


def test_large_runs_are_logged_in_parts(server: MlflowStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request exceeds MLflow's limits; a repetition changes nothing."""
    for name in ("_METRICS", "_PARAMS", "_TAGS"):
        monkeypatch.setattr(mlflow_rest, name, 2)
    mlflow = MlflowRest(server.uri)
    run = mlflow.start_run("0", name="r", started=1, tags={"a": "x"})
    metrics = [Metric("loss", float(step), step, 7) for step in range(5)]
    for _ in range(2):
        mlflow.log(run, metrics=metrics, params={str(n): "v" for n in range(3)}, tags={"t": "v"})
    assert server.runs[run]["metrics"] == {("loss", step): float(step) for step in range(5)}
    assert (len(server.runs[run]["params"]), server.runs[run]["tags"]) == (3, {"a": "x", "t": "v"})
    assert mlflow.run("0", "a", "x") == {"info": {"run_id": run}}
    assert mlflow.run("0", "a", "y") is None


def test_versions_and_aliases(server: MlflowStandIn) -> None:
    """An existing registered model is not an error."""
    mlflow = MlflowRest(server.uri)
    for _ in range(2):
        mlflow.registered_model("forecast", description="d")
    made = mlflow.make_version("forecast", source="s3://b/m", run=None, tags={"p": "arn"}, description="d")
    mlflow.set_alias("forecast", "live", made.version)
    assert list(mlflow.versions("forecast")) == [made]
    assert mlflow.version("forecast", "1") == mlflow.version_of_alias("forecast", "live") == made
    with pytest.raises(
        TrackingRefusedError, match=r"MLflow rejected /api/2.0/mlflow/registered-models/alias \(404\): no alias x"
    ):
        mlflow.version_of_alias("forecast", "x")


def test_managed_mlflow_is_asked_by_signed_calls(server: MlflowStandIn) -> None:
    """The service is `sagemaker-mlflow`, a header has the app's ARN, and the hosts are those of AWS's plugin."""
    mlflow = MlflowRest(APP, credentials=lambda: Credentials("AKIAEXAMPLE", "secret", "token"))
    assert mlflow._base == "https://mlflow.sagemaker.eu-west-1.app.aws"
    mlflow._base = server.uri
    mlflow.experiment("demand")
    sent = {name.lower(): value for name, value in server.headers[0].items()}
    assert sent["x-sm-mlflow-app-arn"] == APP
    assert "/eu-west-1/sagemaker-mlflow/aws4_request" in sent["authorization"]
    assert sent["x-amz-security-token"] == "token"

    arn = "arn:aws:sagemaker:us-east-1:111122223333:mlflow-tracking-server/shop"
    tracking = MlflowRest(arn, credentials=lambda: None)
    assert tracking._base == "https://us-east-1.experiments.sagemaker.aws"
    assert tracking._headers == {"x-mlflow-sm-tracking-server-arn": arn}
    with pytest.raises(TrackingAwayError, match="there are no credentials; sign in to AWS"):
        tracking.experiment("demand")


@pytest.mark.parametrize("status", [500, 503, 429, 403, 401])
def test_fails_for_now_where_the_server_is_not_itself(server: MlflowStandIn, status: int) -> None:
    """Server errors, throttling and missing permissions: the same request may succeed later."""
    server.status = status
    with pytest.raises(
        TrackingAwayError, match=rf"returned {status} for /api/2.0/mlflow/experiments/get-by-name: not now"
    ):
        MlflowRest(server.uri).experiment("demand")


def test_fails_for_now_without_an_answer(server: MlflowStandIn) -> None:
    """No server listens, or another server than MLflow."""
    with pytest.raises(TrackingAwayError, match=r"http://127.0.0.1:9 cannot be reached: "):
        MlflowRest("http://127.0.0.1:9").experiment("demand")
    server.files["x"] = b"<html>"
    mlflow = MlflowRest(server.uri)
    with pytest.raises(TrackingAwayError, match="does not return JSON: is it MLflow"):
        mlflow.json("GET", "/api/2.0/mlflow-artifacts/artifacts/x", None)


def test_fails_on_an_address_that_is_none() -> None:
    """A managed address without credentials fails too."""
    with pytest.raises(ValueError, match=r"must be http://, https:// or the ARN of a managed one, got 'mlflow:5000'"):
        MlflowRest("mlflow:5000")
    with pytest.raises(ValueError, match="must not contain user and password") as caught:
        MlflowRest("https://ci:secret@mlflow.internal")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="must be signed, but there are no credentials"):
        MlflowRest(APP)


def test_fails_for_now_on_a_write_that_is_redirected(server: MlflowStandIn) -> None:
    """A redirected write would become a read and always fail; redirects of unsigned reads are followed, of signed ones not."""
    server.status, server.answered = 301, {"Location": "https://mlflow.internal/login?from=x"}
    message = r"redirects /api/2.0/mlflow/runs/update to https://mlflow.internal; use that address"
    with pytest.raises(TrackingAwayError, match=message):
        MlflowRest(server.uri).end_run("r", status="FINISHED", ended=1)
    signed = MlflowRest(APP, credentials=lambda: Credentials("AKIAEXAMPLE", "secret", "token"))
    signed._base = server.uri
    with pytest.raises(TrackingAwayError, match=r"redirects /api/2.0/mlflow/experiments/get-by-name"):
        signed.experiment("demand")
    with mlflow_stand_in() as other:
        other.experiments.append("demand")
        server.answered = {"Location": f"{other.uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name=demand"}
        assert MlflowRest(server.uri).experiment("demand") == "0"


def test_fails_for_now_on_a_file_that_is_cut(server: MlflowStandIn, tmp_path: Path) -> None:
    """A truncated download would be a different model from the registered one."""
    server.files["m"], server.answered = b"short", {"Content-Length": "10"}
    with pytest.raises(
        TrackingAwayError, match=r"sent 5 of 10 bytes of /api/2.0/mlflow-artifacts/artifacts/m; try again"
    ):
        MlflowRest(server.uri).save("/api/2.0/mlflow-artifacts/artifacts/m", tmp_path / "m", max_bytes=9)


def test_a_password_goes_with_every_call_and_is_read_again_where_it_is_refused(server: MlflowStandIn) -> None:
    """A changed password counts from the next delivery on; an unreadable password counts as an unavailable MLflow."""
    words = iter(["old", "new"])
    mlflow = MlflowRest(server.uri, password=MlflowPassword(lambda: ("ann", next(words))))
    server.status = 401
    with pytest.raises(TrackingAwayError, match="returned 401 for") as error:
        mlflow.experiment("demand")
    assert "old" not in str(error.value)
    server.status = 200
    mlflow.experiment("demand")
    sent = [base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() for headers in server.headers]
    assert (sent[0], set(sent[1:])) == ("ann:old", {"ann:new"})

    def read() -> tuple[str, str]:
        raise PasswordError("secret arn cannot be read: AccessDenied")

    with pytest.raises(TrackingAwayError, match="secret arn cannot be read"):
        MlflowRest(server.uri, password=MlflowPassword(read)).experiment("demand")


@pytest.mark.parametrize("host", ["mlflow.internal:5000", "127.0.0.1.example.com", "10.0.0.4"])
def test_a_password_never_goes_in_the_clear(host: str) -> None:
    """An address that is only known at run time counts as an unavailable MLflow: nothing is read, sent or lost."""

    def read() -> tuple[str, str]:
        raise AssertionError

    with pytest.raises(TrackingAwayError, match=r"in clear text; use an https:// address, or no user and password$"):
        MlflowRest(f"http://{host}", password=MlflowPassword(read)).experiment("demand")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_password_may_go_to_this_machine(host: str) -> None:
    """This holds for every name of this machine."""
    with pytest.raises(TrackingAwayError, match="cannot be reached"):
        MlflowRest(f"http://{host}:9", password=MlflowPassword(lambda: ("ann", "word"))).experiment("demand")


def test_fails_for_now_where_something_else_answers(server: MlflowStandIn) -> None:
    """MLflow is not below the path; a missing resource of MLflow itself is a rejection."""
    server.prefix = "/ml"
    with pytest.raises(
        TrackingAwayError, match=r"returned 404 for /api/.*, unlike MLflow: use the address for which the path"
    ):
        MlflowRest(server.uri).versions("churn").__next__()
    server.prefix = ""
    with pytest.raises(TrackingRefusedError):
        MlflowRest(server.uri).version("absent", "1")


KEYS = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}


def test_a_secret_is_read_once_until_it_is_forgotten() -> None:
    """A changed password is read again after MLflow has rejected a request."""
    with mock_aws():
        secrets = boto3.client("secretsmanager", **KEYS)
        arn = secrets.create_secret(Name="mlflow", SecretString=json.dumps({"username": "ann", "password": "old"}))[
            "ARN"
        ]
        password = MlflowPassword.of_secret(arn, secrets=secrets)
        first = password.header()
        secrets.put_secret_value(SecretId=arn, SecretString=json.dumps({"username": "ann", "password": "new"}))
        assert password.header() == first
        password.forget()
        assert password.header() != first


@pytest.mark.parametrize(
    "text",
    [
        "pa55",
        "[]",
        '{"username": "ann"}',
        '{"username": "a:b", "password": "pa55"}',
        '{"username": "", "password": "pa55"}',
    ],
)
def test_fails_without_its_value_on_what_is_no_user_and_password(text: str) -> None:
    """The message names the secret and its form."""
    with mock_aws():
        secrets = boto3.client("secretsmanager", **KEYS)
        arn = secrets.create_secret(Name="mlflow", SecretString=text)["ARN"]
        with pytest.raises(PasswordError, match="must be JSON with a username without a colon and a password") as error:
            MlflowPassword.of_secret(arn, secrets=secrets).header()
    assert arn in str(error.value)
    assert "pa55" not in str(error.value)
    assert error.value.__suppress_context__


def test_fails_by_name_where_the_secret_cannot_be_read() -> None:
    """The secret is missing, or access to it is denied."""
    with (
        mock_aws(),
        pytest.raises(PasswordError, match=r"the password of MLflow, none, cannot be read: .*ResourceNotFound"),
    ):
        MlflowPassword.of_secret("none", secrets=boto3.client("secretsmanager", **KEYS)).header()
