"""One execution of a machine in MiniStack's interpreter against the account, with injected faults and crashes."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from jsonata.functions import Functions  # type: ignore[import-untyped]  # comes with ministack, without types
from jsonata.parser import Parser  # type: ignore[import-untyped]
from ministack.services import stepfunctions
from tests.campaign.account import Account, CallError

from mlops_local.state_machines.executions import parse_once

PREFIX = "arn:aws:states:us-east-1:123456789012"
# the error of a function whose own code raised
RAISES = "raises"
KINDS = ("throttle", "5xx", "timeout", "reset", "access denied", "validation", "latency")
# the errors that may come after the call has done its work: a lost response
LOST = ("5xx", "timeout", "reset")
SERVICES = {
    "sagemaker": ("SageMaker.ThrottlingException", "SageMaker.SageMakerException"),
    "lambda": ("Lambda.TooManyRequestsException", "Lambda.ServiceException"),
    "dynamodb": ("DynamoDB.ProvisionedThroughputExceededException", "DynamoDB.InternalServerErrorException"),
    "cloudwatch": ("CloudWatch.ThrottlingException", "CloudWatch.CloudWatchException"),
    "servicequotas": ("ServiceQuotas.TooManyRequestsException", "ServiceQuotas.ServiceException"),
    "ecr": ("Ecr.EcrException", "Ecr.ServerException"),
    "s3": ("S3.S3Exception", "S3.S3Exception"),
    "sns": ("Sns.ThrottledException", "Sns.InternalErrorException"),
    "eventbridge": ("EventBridge.ThrottlingException", "EventBridge.InternalException"),
    "events": ("EventBridge.ThrottlingException", "EventBridge.InternalException"),
    "elasticloadbalancingv2": (
        "ElasticLoadBalancingV2.ThrottlingException",
        "ElasticLoadBalancingV2.ElasticLoadBalancingV2Exception",
    ),
    "applicationautoscaling": (
        "ApplicationAutoScaling.ThrottlingException",
        "ApplicationAutoScaling.InternalServiceException",
    ),
}


class CrashError(BaseException):
    """The execution is stopped from outside. Not an ``Exception``, which a machine may catch."""


@dataclass(frozen=True)
class Fault:
    """One fault at the n-th call of a label.

    Args:
        label: Integration and its subject, see ``label_of``.
        kind: One of ``KINDS``, ``RAISES`` or ``crash``.
        always: Whether every later attempt fails too.
        after: Whether the call does its work first.
        occurrence: Which call of the label meets it first.
        state: Only calls of this state meet it. Default: calls of every state.
    """

    label: str
    kind: str
    always: bool = False
    after: bool = False
    occurrence: int = 1
    state: str = ""

    def __str__(self) -> str:
        """Return the name of a failing cell."""
        when = ("always" if self.always else f"at call {self.occurrence}") + (", answer lost" if self.after else "")
        return f"{self.label}{f' of {self.state}' if self.state else ''}: {self.kind} {when}"


@dataclass
class Run:
    """Result of an execution; ``states`` has the state of each label."""

    status: str = "CRASHED"
    output: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    events: int = 0
    largest: int = 0
    faults_met: int = 0

    @property
    def outcome(self) -> str:
        """The outcome that the execution ended with."""
        return str(self.output.get("outcome", self.output.get("Error", "")))


def label_of(name: str, arguments: Mapping[str, Any]) -> str:
    """Return an integration with the argument that identifies its calls."""
    if name == "lambda:invoke":
        function = arguments["FunctionName"].rpartition(":")[2]
        payload = arguments["Payload"]
        parts = [payload[key] for key in ("action", "mode") if key in payload]
        parts += [
            what
            for what, key in (("sign", "gate_uri"), ("share", "share"), ("pairs", "pairs"), ("bodies", "bodies"))
            if key in payload
        ]
        return " ".join([name, function, *parts])
    if name in ("cloudwatch:deleteAlarms", "cloudwatch:putMetricAlarm"):
        alarm = str(next(iter(arguments.get("AlarmNames", [arguments.get("AlarmName")])), ""))
        return name if "-rollout-" in alarm else f"{name} {'probation' if '-probation-' in alarm else 'scaling'}"
    if name == "elasticloadbalancingv2:modifyRule":
        groups = arguments["Actions"][0]["ForwardConfig"]["TargetGroups"]
        return f"{name} {'/'.join(str(group['Weight']) for group in groups)}"
    if name.endswith(".sync"):
        job = str(arguments.get("TrainingJobName") or arguments.get("ProcessingJobName"))
        return f"{name} {job.rpartition('-')[2]}"
    if name == "dynamodb:updateItem":
        return f"{name} {'lock' if arguments['UpdateExpression'].startswith('SET') else 'unlock'}"
    return name


def tasks_of(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all Task states of a machine, including maps and branches."""
    for name, state in definition["States"].items():
        if state["Type"] == "Task":
            yield name
        for inner in (state.get("ItemProcessor"), *state.get("Branches", ())):
            yield from tasks_of(inner) if inner else ()


def run(
    definition: Mapping[str, Any],
    given: Mapping[str, Any],
    account: Account,
    *,
    name: str,
    faults: tuple[Fault, ...] = (),
    chance: Any = None,
    hook: Callable[[str], None] | None = None,
) -> Run:
    """Run one execution.

    Args:
        definition: The machine.
        given: Input of the execution.
        account: The account; its clock advances as the machine waits.
        name: Name of the execution.
        faults: Faults of its calls.
        chance: Random generator; with it every call fails with a probability of 0.3 with a transient error.
        hook: Called before each call with its label. Default: no hook.
    """
    result = Run()
    machine, execution = f"{PREFIX}:stateMachine:Machine", f"{PREFIX}:execution:Machine:{name}"
    stepfunctions._state_machines[machine] = {"name": "Machine", "definition": json.dumps(definition)}
    started: dict[str, Any] = {
        "stateMachineArn": machine,
        "name": name,
        "startDate": "2017-08-01T09:00:00Z",
        "input": json.dumps(given),
        "status": "RUNNING",
        "events": [],
    }
    stepfunctions._executions[execution] = started
    calls = _Calls(account, result, faults, chance, hook)
    with suppress(CrashError), _on_account(account, calls):
        stepfunctions._run_execution(execution)
    if calls.has_crashed:  # a Map keeps the error of an iteration, and would continue
        started["status"] = "ABORTED"
    else:
        result.status, result.output = started["status"], json.loads(started["output"])
    del stepfunctions._executions[execution]
    result.events = len(started["events"])
    result.largest = max((len(json.dumps(event)) for event in started["events"]), default=0)
    account.settle()
    return result


@dataclass
class _Calls:
    """Runs each call on the account, or its fault."""

    account: Account
    result: Run
    faults: tuple[Fault, ...]
    chance: Any
    hook: Callable[[str], None] | None
    seen: Counter[str] = field(default_factory=Counter)
    state: str = ""
    has_crashed: bool = False

    def __call__(self, resource: str, arguments: dict[str, Any], *_: object) -> Any:
        call = resource.partition(":::")[2].removeprefix("aws-sdk:")
        label = label_of(call, arguments)
        self.seen[label] += 1
        self.seen[f"{label} of {self.state}"] += 1
        self.result.labels.append(label)
        self.result.states.append(self.state)
        if self.has_crashed:
            raise CrashError(label)
        if self.hook is not None:
            self.hook(label)
        fault = self._fault(label)
        answer = None
        if fault is None or fault.after or fault.kind == "latency":
            try:
                answer = self.account.call(call, arguments)
            except CallError as error:
                if fault is not None and fault.kind == "crash":
                    raise self._crash(label) from error
                raise stepfunctions._ExecutionError(error.name, error.cause) from error
        if fault is None:
            return answer
        if fault.kind == "crash":
            raise self._crash(label)
        self.result.faults_met += 1
        if fault.kind == "latency":
            self.account.now += 55
            return answer
        raise stepfunctions._ExecutionError(*_error(call, fault.kind))

    def _crash(self, label: str) -> CrashError:
        self.has_crashed = True
        self.result.faults_met += 1
        return CrashError(label)

    def _fault(self, label: str) -> Fault | None:
        for fault in self.faults:
            if fault.state in ("", self.state):
                count = self.seen[f"{label} of {self.state}" if fault.state else label]
                if fault.label == label and _hits(fault, count):
                    return fault
        if self.chance is None or self.chance.random() >= 0.3:
            return None
        kind = self.chance.choice(KINDS[:4])
        if ".sync" in label:
            return Fault(
                label, "throttle"
            )  # a job without a response to its start is not started again: its machine fails
        return Fault(label, kind, after=kind in LOST and self.chance.random() < 0.5)


@contextmanager
def _on_account(account: Account, calls: _Calls) -> Iterator[None]:
    """Redirect the interpreter's calls, waits and clock to the account."""
    register, execute_task = stepfunctions._register_sfn_jsonata_functions, stepfunctions._execute_task

    def in_state(state: Any, given: Any, execution: Any, context: Any) -> Any:
        calls.state = context["State"]["Name"]
        return execute_task(state, given, execution, context)

    def sleep(seconds: float) -> None:
        account.now += seconds

    def register_with_clock(expression: Any) -> None:
        register(expression)
        now = int(account.now * 1000)
        expression.register_lambda(
            "now", lambda picture=None, zone=None: Functions.datetime_from_millis(now, picture, zone)
        )
        expression.register_lambda("millis", lambda: now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "parse", parse_once)
        patch.setattr(stepfunctions, "_invoke_resource", calls)
        # a real-time limit on a thread of its own, useless in a campaign with the account's time
        patch.setattr(stepfunctions, "_invoke_resource_with_timeout", calls)
        patch.setattr(stepfunctions, "_execute_task", in_state)
        patch.setattr(stepfunctions, "_scaled_sleep", sleep)
        patch.setattr(stepfunctions, "_register_sfn_jsonata_functions", register_with_clock)
        patch.setattr(stepfunctions, "_emit_execution_status_event", lambda _: None)
        patch.setattr(stepfunctions.time, "sleep", lambda _: None)
        yield


def _hits(fault: Fault, count: int) -> bool:
    return count >= fault.occurrence if fault.always else count == fault.occurrence


def _error(call: str, kind: str) -> tuple[str, str]:
    throttled, failed = SERVICES[call.partition(":")[0]]
    if call.endswith(".sync"):
        throttled = failed = "SageMaker.AmazonSageMakerException"  # the only error of the optimized integration
    return {
        "throttle": (throttled, "Rate exceeded"),
        "5xx": (failed, "An internal error occurred (Status Code: 500)"),
        "timeout": ("States.Timeout", ""),
        "reset": (f"{failed.partition('.')[0]}.SdkClientException", "Unable to execute HTTP request: Connection reset"),
        "access denied": (failed, "User is not authorized to perform this action (Status Code: 403)"),
        RAISES: ("KeyError", '{"errorMessage": "\'x\'", "errorType": "KeyError"}'),
        "validation": (failed, "1 validation error detected (Service: X, Status Code: 400)"),
    }[kind]
