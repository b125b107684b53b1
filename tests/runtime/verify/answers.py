"""Clients of AWS with responses from a table, below boto3's parsing."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import boto3

from mlops_runtime.verify.account import Pace, Place, names
from mlops_runtime.verify.unit import Deployed

NAMES = names("000000000000", "us-east-1")
GROUP = NAMES.endpoint


@dataclass(frozen=True)
class Refused:
    """An error response."""

    message: str
    code: str = "ValidationException"


@dataclass(frozen=True)
class _Http:
    status_code: int


class Answers:
    """The response of each operation: a document, an error, a list of them in turn, or a function of the request's text.

    Args:
    table: By operation. A missing operation fails the test.
    """

    def __init__(self, **table: Any) -> None:
        self.calls: list[tuple[str, str]] = []
        self._table = {name: list(row) if isinstance(row, list) else row for name, row in table.items()}

    def client(self, service: str) -> Any:
        """Return a client with these responses."""
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        client = boto3.client(service, region_name="us-east-1", **keys)
        client.meta.events.register("before-call", self._answer)
        return client

    def requests_of(self, operation: str) -> list[str]:
        """Return the text of each request of an operation."""
        return [text for name, text in self.calls if name == operation]

    def _answer(self, model: Any, params: Mapping[str, Any], **_: Any) -> tuple[_Http, dict[str, Any]]:
        text = str(params["body"])
        self.calls.append((model.name, text))
        answer = self._table[model.name]
        if callable(answer):
            answer = answer(text)
        elif isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Refused):
            return _Http(400), {"Error": {"Code": answer.code, "Message": answer.message}, "ResponseMetadata": {}}
        return _Http(200), {**answer, "ResponseMetadata": {}}


def answered(answers: Answers) -> Place:
    """Return a ``Place`` whose clients have responses from a table."""
    return Place(
        client=functools.cache(answers.client),
        account="000000000000",
        region="us-east-1",
        caller="arn:aws:iam::000000000000:root",
        cloud="embedded",
        names=NAMES,
        now=lambda: datetime.now(UTC),
        wall=lambda: datetime.now(UTC),
        pace=Pace(poll=0.01, quiet=0.01, patience=0.4),
        command="mlops verify --clean",
    )


DEPLOYED = Deployed(
    outputs={
        "EndpointName": GROUP,
        "DeployMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:m",
        "ApproverRoleArn": "arn:aws:iam::000000000000:role/approver",
        "ArtifactsBucket": "artifacts",
        "KeyArn": "arn:aws:kms:us-east-1:000000000000:key/k",
        "ModelRoleArn": "arn:aws:iam::000000000000:role/models",
    },
    functions=(),
    image="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "a" * 64,
    interface_services=("com.amazonaws.us-east-1.sagemaker.api",),
    since=datetime(2026, 11, 30, tzinfo=UTC),
)


def reaching(*services: str) -> Deployed:
    """Return the stack with other interface endpoints."""
    return replace(DEPLOYED, interface_services=services)
