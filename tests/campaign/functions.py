"""The real functions of the machines, loaded once, against the account of the latest world."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.campaign.account import Account, boto3_dynamodb
from tests.campaign.deploy import SPEC, Deploy
from tests.campaign.machine import PREFIX
from tests.campaign.retrain import Retrain
from tests.loaded_module import load_handler
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
    "DEPLOY_MACHINE_ARN": f"{PREFIX}:stateMachine:Machine",
    "APPROVAL": '{"approvers": ["arn:aws:iam::123456789012:role/Approver"]}',
}


class Current:
    """The account that the clients of loaded handlers use: handlers are loaded once, accounts change."""

    account: Account

    def client(self, service: str, **_: Any) -> Any:
        """Return a client that uses the current account."""
        return _Late(self, service)


class _Late:
    def __init__(self, current: Current, service: str) -> None:
        self._current, self._service = current, service

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current.account.client(self._service), name)


@contextmanager
def tables() -> Iterator[Current]:
    """Moto's DynamoDB with the tables, and the functions' environment as set by constructs."""
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
        yield Current()


def load_handlers(current: Current) -> dict[str, Callable[[dict[str, Any], object], Any]]:
    """Return the real handlers of the Deploy machine's functions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3, "client", current.client)
        return {name: load_handler(folder).handler for name, folder in Deploy.FUNCTIONS.items()}


def world_maker(current: Current, handlers: Any) -> Callable[..., Deploy]:
    """Return a factory of worlds with one serving endpoint, with arguments for the account: ``make(update="old")``."""

    def make(spec: ServingSpec = SPEC, **changes: Any) -> Deploy:
        of_world = {name: changes.pop(name) for name in ("asks", "before", "meets", "follows") if name in changes}
        current.account = Account(functions=dict(handlers), **changes)
        return Deploy(current.account, spec, **of_world)

    return make


def retrain_maker(current: Current, handlers: Any) -> Callable[..., Retrain]:
    """Return a factory of worlds with a retraining that holds its lock: ``make(verdict="FAILED")``."""

    def make(*, serves: bool = True, **options: Any) -> Retrain:
        current.account = Account(functions=dict(handlers), serves=serves)
        return Retrain(current.account, **options)

    return make
