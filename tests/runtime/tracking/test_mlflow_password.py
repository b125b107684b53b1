"""User and password of a self-hosted MLflow."""

import json

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.tracking.mlflow_password import MlflowPassword, PasswordError

KEYS = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}


def test_a_secret_is_read_once_until_it_is_forgotten() -> None:
    """A password that was changed counts from the call on that MLflow did not admit."""
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
    """Absent, or without the right to it."""
    with (
        mock_aws(),
        pytest.raises(PasswordError, match=r"the password of MLflow, none, cannot be read: .*ResourceNotFound"),
    ):
        MlflowPassword.of_secret("none", secrets=boto3.client("secretsmanager", **KEYS)).header()
