"""Fixtures that the tests of several constructs share."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from ministack.services import stepfunctions

ARN = "arn:aws:states:us-east-1:123456789012"
Aws = Callable[[str, dict[str, Any]], Any]


class AwsError(Exception):
    """An error of a fake AWS, by the name that a state machine sees."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(name)
        self.name, self.cause = name, cause


@dataclass
class Run:
    """What an execution did."""

    status: str
    output: dict[str, Any]
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def names(self) -> list[str]:
        """Integrations called, in order."""
        return [name for name, _ in self.calls]

    def arguments(self, name: str) -> dict[str, Any]:
        """Arguments of the last call of an integration."""
        return next(arguments for called, arguments in reversed(self.calls) if called == name)


@pytest.fixture
def run_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Run a definition in the embedded cloud's interpreter against a fake AWS, without waiting."""

    def run(definition: Mapping[str, object], given: Mapping[str, object], aws: Aws) -> Run:
        record = Run(status="", output={})

        def invoke(resource: str, arguments: dict[str, Any], *_: object) -> Any:
            name = resource.partition(":::")[2].removeprefix("aws-sdk:")
            record.calls.append((name, arguments))
            try:
                return aws(name, arguments)
            except AwsError as error:
                raise stepfunctions._ExecutionError(error.name, error.cause) from error

        machine, execution = f"{ARN}:stateMachine:m", f"{ARN}:execution:m:alarm-2017-08-01T00-00-00"
        monkeypatch.setattr(stepfunctions, "_invoke_resource", invoke)
        monkeypatch.setattr(stepfunctions, "_scaled_sleep", record.slept.append)
        monkeypatch.setattr(stepfunctions, "_emit_execution_status_event", lambda _: None)
        monkeypatch.setattr(stepfunctions.time, "sleep", lambda _: None)
        text = json.dumps(definition)
        assert stepfunctions._validate_definition_jsonata(text) is None
        stepfunctions._state_machines[machine] = {"name": "m", "definition": text}
        started: dict[str, Any] = {
            "stateMachineArn": machine,
            "name": execution.rpartition(":")[2],
            "startDate": "2017-08-01T00:00:00Z",
            "input": json.dumps(given),
            "status": "RUNNING",
            "events": [],
        }
        stepfunctions._executions[execution] = started
        stepfunctions._run_execution(execution)
        record.status, record.output = started["status"], json.loads(started["output"])
        return record

    return run


@pytest.fixture
def aws_error() -> type[AwsError]:
    """The error that a fake AWS raises."""
    return AwsError
