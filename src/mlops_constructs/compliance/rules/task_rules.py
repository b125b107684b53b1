"""Rules for state machines: each task has a timeout, retries, a Catch and tags; alarms treat missing data as breaching."""

from collections.abc import Callable, Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource, is_expression
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import State, machines, serving_specs
from mlops_runtime.aws_api import UnknownOperationError, UnknownServiceError, input_shape, operation_name

# services that publish no data point without activity
_SILENT = {"AWS/Events", "AWS/Glue", "AWS/Lambda", "AWS/SageMaker", "AWS/States"}

_COUNTS = {"Sum", "SampleCount"}

_MEMBERS = ("Tags", "tags")
_MAKES = ("create", "put", "register", "run", "start", "submit")


def _heartbeat_alarm(assembly: Assembly) -> Iterator[Violation]:
    for alarm in assembly.of("AWS::CloudWatch::Alarm"):
        if not alarm.text(alarm.get("ComparisonOperator")).startswith("LessThan") or not _is_silent(alarm):
            continue
        if alarm.get("TreatMissingData") != "breaching":
            yield violation(alarm, "TreatMissingData")


def _is_silent(alarm: Resource) -> bool:
    """Return whether the alarm counts events of a metric without data points in idle times; a low score is not a heartbeat."""
    queries = [query.get("MetricStat") or {} for query in alarm.get("Metrics") or ()]
    counted = [query.get("Metric") or {} for query in queries if query.get("Stat") in _COUNTS]
    counted += [alarm.properties] if alarm.get("Statistic") in _COUNTS else []
    namespaces = {alarm.text(metric.get("Namespace")) for metric in counted}
    return any(name in _SILENT or not name.startswith("AWS/") for name in namespaces)


HEARTBEAT_ALARM = Rule(
    id="HeartbeatAlarm",
    problem="An alarm on a low count does not fire when its source publishes no data at all.",
    fix="Set TreatMissingData to breaching.",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html",
    check=_heartbeat_alarm,
)


def _task_arguments(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        if machine.definition is None:
            yield violation(machine.resource, "DefinitionString", "definition")
        for state in machine.tasks():
            service, action, _ = state.call
            if service == "sagemaker" and action.startswith(("create", "update")) and is_expression(state.arguments):
                yield violation(machine.resource, f"States.{state.name}", state.name)
    for resource, spec in serving_specs(assembly):
        if spec is None:
            yield violation(resource, "Spec", "spec")


TASK_ARGUMENTS = Rule(
    id="TaskArguments",
    problem="The resource that a state creates in SageMaker is not in the template: all its arguments are one expression.",
    fix="Write the arguments as an object with expressions for single values.",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html",
    check=_task_arguments,
)


def _task_violations(assembly: Assembly, is_good: Callable[[State], object]) -> Iterator[Violation]:
    for machine in machines(assembly):
        for state in machine.tasks():
            if not is_good(state):
                yield violation(machine.resource, f"States.{state.name}", state.name)


def _task_catch(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        caught = {state.name for state in machine.states() if state.body.get("Catch")}
        for state in machine.tasks():
            # an error inside a Map or Parallel state is an error of that state
            if not caught.intersection((state.name, *state.scope)):
                yield violation(machine.resource, f"States.{state.name}", state.name)


TASK_CATCH = Rule(
    id="TaskCatch",
    problem="A task has no Catch, so an error ends the execution without clean-up or notification.",
    fix="Add Catch for States.ALL with states that release locks, record the outcome and notify people.",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html",
    check=_task_catch,
)


def _task_retry(assembly: Assembly) -> Iterator[Violation]:
    return _task_violations(assembly, lambda state: state.body.get("Retry"))


TASK_RETRY = Rule(
    id="TaskRetry",
    problem="A task has no Retry, so one throttled call ends the execution.",
    fix="Add Retry with backoff and a maximum number of attempts.",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html",
    check=_task_retry,
)


def _task_tags(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        for state in machine.tasks():
            service, action, _ = state.call
            member = _member(service, action) if action.startswith(_MAKES) else None
            given = state.arguments
            if member is None or not isinstance(given, dict) or given.get(member):
                continue
            # a package in a group inherits the group's tags and accepts none of its own
            if action != "createModelPackage" or "ModelPackageGroupName" not in given:
                yield violation(machine.resource, f"States.{state.name}.{member}", state.name)


def _member(service: str, action: str) -> str | None:
    """Return the request member for tags, or None if the call does not support tags."""
    try:
        shape = input_shape(service, operation_name(service, action))
    except (UnknownServiceError, UnknownOperationError):
        return None
    members = getattr(shape, "members", {})  # only structures have members
    return next((member for member in _MEMBERS if member in members), None)


TASK_TAGS = Rule(
    id="TaskTags",
    problem="A task creates a resource without tags, so its owner and cost cannot be traced.",
    fix="Pass Tags with the unit, the owner and the cost center.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html",
    check=_task_tags,
)


def _task_timeout(assembly: Assembly) -> Iterator[Violation]:
    return _task_violations(
        assembly, lambda state: state.body.get("TimeoutSeconds") or state.body.get("TimeoutSecondsPath")
    )


TASK_TIMEOUT = Rule(
    id="TaskTimeout",
    problem="A task has no TimeoutSeconds, so a missing response blocks the execution for up to a year.",
    fix="Set TimeoutSeconds to the maximum duration of the task.",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html",
    check=_task_timeout,
)
