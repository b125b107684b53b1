"""One execution of a machine in MiniStack's interpreter against the account, with faults and crashes put between."""

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
# what a function answers whose own code raised
RAISES = "raises"
KINDS = ("throttle", "5xx", "timeout", "reset", "access denied", "validation", "latency")
# what of these may come after the call has done its work: an answer that got lost
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
    """The execution is stopped from outside: nothing of it runs any more. Not an ``Exception``, which a machine may catch."""


@dataclass(frozen=True)
class Fault:
    """One fault at the n-th call of a label.

    Args:
        label: Integration with what it is about, as ``label_of`` gives it.
        kind: One of ``KINDS``, ``RAISES`` or ``crash``.
        always: Whether every later attempt meets it too.
        after: Whether the call has done its work before.
        occurrence: Which call of the label meets it first.
        state: The state whose calls alone meet it. Default: those of every state.
    """

    label: str
    kind: str
    always: bool = False
    after: bool = False
    occurrence: int = 1
    state: str = ""

    def __str__(self) -> str:
        """Return how a failing cell is named."""
        when = ("always" if self.always else f"at call {self.occurrence}") + (", answer lost" if self.after else "")
        return f"{self.label}{f' of {self.state}' if self.state else ''}: {self.kind} {when}"


@dataclass
class Run:
    """What an execution did: ``states`` has the state of each label."""

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
    """Return an integration with what tells its calls apart."""
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
    """Yield the names of all Task states of a machine, those of maps and branches included."""
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
        given: Its input.
        account: What it acts on; its clock moves as the machine waits.
        name: Name of the execution.
        faults: Faults that it meets.
        chance: Random numbers; with it every call fails with a probability of 0.3 in one of the transient ways.
        hook: Called with the label of each call, before it. Default: nothing happens beside the execution.
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
    if calls.has_crashed:  # a Map keeps the error of a round, and would go on
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
    """Carries out each call on the account, or lets it meet its fault."""

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
            return Fault(label, "throttle")  # a job whose start is not answered is not started again: its machine fails
        return Fault(label, kind, after=kind in LOST and self.chance.random() < 0.5)


@contextmanager
def _on_account(account: Account, calls: _Calls) -> Iterator[None]:
    """Put the interpreter's calls, waits and clock on the account."""
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
        # a limit of real seconds on a thread of its own, which a campaign whose time is the account's has no use for
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
        throttled = failed = "SageMaker.AmazonSageMakerException"  # all that the optimized integration tells apart
    return {
        "throttle": (throttled, "Rate exceeded"),
        "5xx": (failed, "An internal error occurred (Status Code: 500)"),
        "timeout": ("States.Timeout", ""),
        "reset": (f"{failed.partition('.')[0]}.SdkClientException", "Unable to execute HTTP request: Connection reset"),
        "access denied": (failed, "User is not authorized to perform this action (Status Code: 403)"),
        RAISES: ("KeyError", '{"errorMessage": "\'x\'", "errorType": "KeyError"}'),
        "validation": (failed, "1 validation error detected (Service: X, Status Code: 400)"),
    }[kind]
