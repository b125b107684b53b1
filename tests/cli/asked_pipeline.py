"""A stand-in for an account with one pipeline, whose guard and Retrain machine give the test's answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from mlops_cli.aws_account import Account
from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.retraining import Decision, GuardDecision
from mlops_runtime.contracts.unit_entries import PipelineEntry, UnitEntry, entry_name
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry, registry_parameter

UNIT = UnitEntry(
    unit="demand",
    automation_table="a",
    audit_bucket="audit",
    artifacts_bucket="artifacts",
    bus="bus",
    heads_bucket="heads",
    signing_key="s",
    pause_key="p",
    owner="demand",
    cost_center="demand",
)
PIPELINE = PipelineEntry(
    pipeline="demand-forecast",
    unit="demand",
    group="demand-forecast",
    retraining_table="retraining",
    retrain_machine="arn:machine",
    queue_url="https://sqs/guard",
)
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Retrain:one"


class Cloud:
    """Parameters and responses of an account; records uploads and requests."""

    class exceptions:  # noqa: N801 - as boto3 names it
        """Return SSM's exceptions."""

        class ParameterNotFound(Exception):  # noqa: N818 - as boto3 names it
            """Not found."""

    def __init__(self) -> None:
        self.rule, self.pipeline = ApprovalRule(), PIPELINE
        self.decision = GuardDecision(
            decision=Decision.STARTED, event_id="e1", at="2017-08-01T09:00:00Z", reason="", execution=EXECUTION
        )
        self.execution: dict[str, str] = {
            "status": "SUCCEEDED",
            "output": '{"outcome": "REGISTERED", "reason": "better", "package": "arn:x:model-package/demand-forecast/7"}',
        }
        self.uploaded: list[str] = []
        self.events: list[dict[str, Any]] = []

    def get_parameter(self, *, Name: str) -> dict[str, Any]:  # noqa: N803 - as the API names it
        """GetParameter."""
        registry = RegistryEntry(group="demand-forecast", unit="demand", rule=self.rule)
        found: dict[str, object] = {entry_name(each): each for each in (UNIT, self.pipeline)}
        found |= {registry_parameter(unit="demand", group="demand-forecast"): registry}
        if Name not in found:
            raise self.exceptions.ParameterNotFound
        return {"Parameter": {"Value": canonical_json(found[Name]).decode()}}

    def get_paginator(self, name: str) -> "Cloud":
        """GetParametersByPath without results."""
        del name
        return self

    def paginate(self, **arguments: Any) -> list[Any]:
        """Return no page."""
        del arguments
        return []

    def put_object(self, **arguments: Any) -> None:
        """PutObject."""
        self.uploaded.append(arguments["Key"])

    def download_file(self, bucket: str, key: str, target: str) -> None:
        """Return the object, a native model."""
        del bucket, key
        Path(target).write_bytes(b"tree\nversion=v4\n")

    def get_caller_identity(self) -> dict[str, str]:
        """GetCallerIdentity."""
        return {"UserId": "AROAEXAMPLE:ann"}

    def put_events(self, **arguments: Any) -> dict[str, Any]:
        """PutEvents."""
        self.events += arguments["Entries"]
        return {"Entries": [{"EventId": "e1"}]}

    def get_item(self, **arguments: Any) -> dict[str, Any]:
        """GetItem."""
        del arguments
        return {"Item": {name: {"S": value} for name, value in to_dict(self.decision).items()}}

    def describe_execution(self, **arguments: Any) -> dict[str, str]:
        """DescribeExecution."""
        del arguments
        return self.execution


def stand_in(monkeypatch: pytest.MonkeyPatch, command: ModuleType) -> Cloud:
    """Let a command use one stand-in for every client."""
    made = Cloud()

    @contextmanager
    def account(*_: Any) -> Iterator[Account]:
        members = {"client": lambda self, service: made, "session": boto3.Session()}  # noqa: ARG005 - one client for all
        found: Any = type("Stand", (), members)()
        yield found

    monkeypatch.setattr(command, "account", account)
    return made
