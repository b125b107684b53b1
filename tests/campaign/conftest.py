"""What the campaigns share: a world of one endpoint, the real functions of its machines, and the invariant."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.campaign.account import Account, boto3_dynamodb
from tests.campaign.deploy import SPEC, Deploy
from tests.campaign.retrain import Retrain
from tests.signing import KEY

from mlops_runtime.contracts.rollout import ServingSpec

LAMBDAS = Path(__file__).resolve().parents[2] / "lambdas"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "ENDPOINT": "demand-forecast",
    "MODEL_PACKAGE_GROUP": "demand-forecast",
    "ROLLOUT_TABLE": "rollout",
    "ARTIFACTS_BUCKET": "artifacts",
    "AUDIT_BUCKET": "audit",
    "HEADS_BUCKET": "heads",
    "SIGNING_KEY": KEY,
    "UNIT": "demand",
    "AUTOMATION_TABLE": "automation",
    "FREEZE": '{"windows": []}',
    "APPROVAL": '{"approvers": ["arn:aws:iam::123456789012:role/Approver"]}',
}


class _Current:
    """The account that a loaded handler's clients reach: handlers are loaded once, accounts change."""

    account: Account

    def client(self, service: str, **_: Any) -> Any:
        return _Late(self, service)


class _Late:
    def __init__(self, current: _Current, service: str) -> None:
        self._current, self._service = current, service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current.account.client(self._service), name)


@pytest.fixture(scope="module")
def current() -> Iterator[_Current]:
    """Moto's DynamoDB with the tables, and the environment that constructs give to functions; both end with the file."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for table in ("rollout", "automation"):
            boto3_dynamodb().create_table(
                TableName=table,
                AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
        boto3_dynamodb().create_table(
            TableName="retraining",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pipeline", "item")],
            KeySchema=[
                {"AttributeName": "pipeline", "KeyType": "HASH"},
                {"AttributeName": "item", "KeyType": "RANGE"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield _Current()


@pytest.fixture(scope="module")
def handlers(current: _Current) -> dict[str, Callable[[dict[str, Any], object], Any]]:
    """The real handlers of the Deploy machine's functions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3, "client", current.client)
        return {name: _load(folder).handler for name, folder in Deploy.FUNCTIONS.items()}


@pytest.fixture
def deploy(current: _Current, handlers: Any) -> Callable[..., Deploy]:
    """Make a world in which one endpoint serves, with changes of the account: ``deploy(update="old")``."""

    def make(spec: ServingSpec = SPEC, **account: Any) -> Deploy:
        current.account = Account(functions=dict(handlers), **account)
        return Deploy(current.account, spec)

    return make


@pytest.fixture
def retrain(current: _Current, handlers: Any) -> Callable[..., Retrain]:
    """Make a world in which a retraining holds its lock: ``retrain(verdict="FAILED")``."""

    def make(*, serves: bool = True, **options: Any) -> Retrain:
        current.account = Account(functions=dict(handlers), serves=serves)
        return Retrain(current.account, **options)

    return make


def _load(folder: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"campaign_{folder}", LAMBDAS / folder / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
