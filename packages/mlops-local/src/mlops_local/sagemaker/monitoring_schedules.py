"""Model Monitor: job definitions, schedules, and their executions on the embedded clock."""

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from ministack.core.responses import request_scope

from mlops_local import clock, declared_images, runners
from mlops_local.sagemaker import container_processes, processing_jobs, resource_store, role_clients
from mlops_local.sagemaker.api_shapes import Record, ServiceError, validation
from mlops_local.sagemaker.container_processes import background
from mlops_local.sagemaker.role_clients import Identity

LOGGER = logging.getLogger(__name__)

# "there could be a delay of 0-20 minutes": captures of the hour's last minutes have arrived by then
_DELAY = 600.0
_HOUR = timedelta(hours=1)
_LOOK = 0.1  # real seconds between two polls of a job
_AT_ONCE = threading.Semaphore(2)  # after a jump over a week many executions are due
PENDING = ("Pending", "InProgress", "Stopping")
_EXPRESSION = re.compile(r"cron\(0 (\*|\d+)(?:/(\d+))? ")
_ENDED = ("Completed", "Failed", "Stopped")
_ROOT = "/opt/ml/processing"
_NO_DATA = "Job inputs had no data"  # github.com/aws/sagemaker-python-sdk/issues/2634
_MERGER = "sagemaker-model-monitor-groundtruth-merger"
_WITH_LABELS = ("ModelQuality", "ModelBias")


class _Type(NamedTuple):
    """A type of monitor: a word in names of its jobs, its metric namespace, and the sides of a call that it reads."""

    word: str
    namespace: str
    sides: tuple[str, ...]


_TYPES = {
    "DataQuality": _Type("data-quality", "data-metrics", ("endpointInput", "endpointOutput")),
    "ModelQuality": _Type("model-quality", "model-metrics", ("endpointOutput",)),
    "ModelBias": _Type("model-bias", "bias-metrics", ("endpointInput", "endpointOutput")),
    "ModelExplainability": _Type("model-explainability", "explainability-metrics", ("endpointInput",)),
}
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-schedule-expression.html
_CRON = re.compile(r"cron\(0 (\*|([01]?\d|2[0-3])(/([1-9]|1\d|2[0-4]))?) \? \* \* \*\)")
_SCHEDULE = "MonitoringSchedule"


# claim: executions-read-the-hours-before
def executions(schedule: str) -> list[Record]:
    """Return the executions of a schedule."""
    rows = resource_store.store().records["MonitoringExecution"].values()
    return [row for row in rows if row["MonitoringScheduleName"] == schedule]


def running(schedule: str) -> bool:
    """Return whether an execution of a schedule has not ended."""
    return any(row["MonitoringExecutionStatus"] in PENDING for row in executions(schedule))


def wait_for(schedule: str) -> None:
    """Block until no execution of a schedule runs."""
    pause = threading.Event()
    while running(schedule):
        pause.wait(_LOOK)


def due_after(expression: str, after: float) -> datetime:
    """Return the first full hour after a time that matches an expression.

    Example:
        >>> due_after("cron(0 17/6 ? * * *)", 0.0).isoformat()
        '1970-01-01T17:00:00+00:00'
    """
    hour = datetime.fromtimestamp(after, UTC).replace(minute=0, second=0, microsecond=0) + _HOUR
    while not _names(expression, hour.hour):
        hour += _HOUR
    return hour


class Schedules:
    """Due times of monitoring schedules, as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return when the next execution of any schedule starts, some minutes after its hour."""
        return min(
            (due_after(_expression(row), after - _DELAY).timestamp() + _DELAY for _, row in _scheduled()), default=None
        )

    def run(self, at: float) -> bool:
        """Start the executions of an hour."""
        moment = datetime.fromtimestamp(at - _DELAY, UTC)
        hour = moment.replace(minute=0, second=0, microsecond=0)
        found = [(place, row) for place, row in _scheduled() if hour == moment and _names(_expression(row), hour.hour)]
        for place, row in found:
            with request_scope(*place):
                _start(row["MonitoringScheduleName"], hour)
        return bool(found)


def _names(expression: str, hour: int) -> bool:
    match = _EXPRESSION.match(expression)
    if match is None or match.group(1) == "*":
        return True
    first, step = int(match.group(1)), int(match.group(2) or 24)
    return hour >= first and (hour - first) % step == 0


def _expression(schedule: Record) -> str:
    return str(schedule["MonitoringScheduleConfig"]["ScheduleConfig"]["ScheduleExpression"])


def _scheduled() -> Iterator[tuple[tuple[str, str], Record]]:
    with resource_store.LOCK:
        found = [
            (place, row)
            for place, known in resource_store.stores().items()
            for row in known.records["MonitoringSchedule"].values()
            if row["MonitoringScheduleStatus"] == "Scheduled"
        ]
    yield from found


def _start(name: str, hour: datetime) -> None:
    schedule = resource_store.get("MonitoringSchedule", name)
    definition = resource_store.get(
        f"{schedule['MonitoringType']}JobDefinition", schedule["MonitoringJobDefinitionName"]
    )
    key = f"{name}/{hour:%Y%m%d%H}"
    if key in resource_store.store().records["MonitoringExecution"]:
        return
    members = ("MonitoringScheduleName", "MonitoringType", "MonitoringJobDefinitionName", "EndpointName")
    execution = resource_store.add(
        "MonitoringExecution",
        key,
        {member: schedule[member] for member in members}
        | {"ScheduledTime": hour, "MonitoringExecutionStatus": "Pending"},
    )
    run = _Run(execution, schedule, definition)
    background(f"monitoring execution {key}", run.work)


class _Run:
    """One execution: captures of its window, merged with labels if the monitor needs them, then analyzed."""

    def __init__(self, execution: Record, schedule: Record, definition: Record) -> None:
        self._execution, self._schedule, self._definition = execution, schedule, definition
        self._type: str = schedule["MonitoringType"]
        self._app: Record = definition[f"{self._type}AppSpecification"]
        self._input: Record = definition[f"{self._type}JobInput"]
        (output,) = definition[f"{self._type}JobOutputConfig"]["MonitoringOutputs"]
        self._output: Record = output["S3Output"]
        self._endpoint: str = self._input["EndpointInput"]["EndpointName"]
        self._at: datetime = execution["ScheduledTime"]
        self._role = Identity(definition["RoleArn"], definition["JobDefinitionArn"])

    def work(self) -> None:
        """Run the execution to its end, with a ``FailureReason`` if it fails."""
        try:
            with _AT_ONCE:
                resource_store.update(self._execution, MonitoringExecutionStatus="InProgress")
                status, reason = self._analyze()
        except (ServiceError, *container_processes.TRANSFER_ERRORS) as error:
            status, reason = "Failed", str(error)[:1024]
        except Exception as error:
            LOGGER.exception("monitoring execution %s failed", self._execution["ExecutionKey"])
            status, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        resource_store.update(self._execution, MonitoringExecutionStatus=status, FailureReason=reason)

    def _analyze(self) -> tuple[str, str | None]:
        start, end = self._window()
        inputs = list(self._hours(self._captures(), "input_data", start, end))
        if not inputs:
            return "Failed", _NO_DATA
        if self._type in _WITH_LABELS:
            # labels are uploaded after their calls: read them up to the current time
            labels = list(self._hours(self._labels(), "groundtruth", start, self._at))
            if not labels:
                return "Failed", _NO_DATA
            merged = f"{self._output['S3Uri']}/merge"
            folders = {"dataset_source": "input_data", "ground_truth_source": "groundtruth", "output_path": "output"}
            environment = {name: f"{_ROOT}/{folder}" for name, folder in folders.items()}
            ended = self._job("groundtruth-merge", self._merger(), [*inputs, *labels], merged, environment)
            if ended["ProcessingJobStatus"] != "Completed":
                return self._result_of(ended)
            places = {variant: f"{merged}/{self._endpoint}/{variant}" for variant in self._captures()}
            inputs = list(self._hours(places, "input_data", start, end))
            if not inputs:
                return "Failed", _NO_DATA
        return self._result_of(self._last_job(inputs, start, end))

    def _last_job(self, inputs: list[Record], start: datetime, end: datetime) -> Record:
        environment = self._environment(start, end)
        for name, resource in (("constraints", "ConstraintsResource"), ("statistics", "StatisticsResource")):
            uri = self._definition[f"{self._type}BaselineConfig"].get(resource, {}).get("S3Uri")
            if uri is not None:
                inputs.append(_input(name, uri, f"{_ROOT}/baseline/{name}"))
                environment[f"baseline_{name}"] = f"{_ROOT}/baseline/{name}/{uri.rsplit('/', 1)[-1]}"
        config = self._app.get("ConfigUri")
        if config is not None:
            inputs.append(_input("analysis_config", config, f"{_ROOT}/input/config"))
            environment["analysis_config"] = f"{_ROOT}/input/config/{config.rsplit('/', 1)[-1]}"
        folder = f"{self._output['S3Uri']}/{self._endpoint}/{self._schedule['MonitoringScheduleName']}/{self._at:%Y/%m/%d/%H}"
        return self._job(f"{_TYPES[self._type].word}-monitoring", self._app, inputs, folder, environment)

    def _environment(self, start: datetime, end: datetime) -> dict[str, str]:
        form = "sagemakerMergeJson" if self._type in _WITH_LABELS else "sagemakerCaptureJson"
        given = self._input["EndpointInput"]
        attributes = {
            "inference_attribute": given.get("InferenceAttribute"),
            "probability_attribute": given.get("ProbabilityAttribute"),
            "probability_threshold_attribute": given.get("ProbabilityThresholdAttribute"),
            "features_attribute": given.get("FeaturesAttribute"),
            "problem_type": self._app.get("ProblemType"),
            "analysis_type": "MODEL_QUALITY" if self._type == "ModelQuality" else None,
        }
        return {
            "dataset_format": json.dumps({form: {"captureIndexNames": list(_TYPES[self._type].sides)}}),
            "dataset_source": f"{_ROOT}/input_data",
            "output_path": f"{_ROOT}/output",
            "publish_cloudwatch_metrics": "Enabled",
            "sagemaker_endpoint_name": self._endpoint,
            "sagemaker_monitoring_schedule_name": self._schedule["MonitoringScheduleName"],
            "start_time": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "end_time": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            **{name: str(value) for name, value in attributes.items() if value is not None},
            **self._app.get("Environment", {}),
        }

    def _job(self, word: str, app: Record, inputs: list[Record], uri: str, environment: dict[str, str]) -> Record:
        digest = hashlib.sha256(f"{self._execution['ExecutionKey']}/{word}".encode()).hexdigest()[:16]
        config = self._definition[f"{self._type}JobOutputConfig"]
        output = {"S3Uri": uri, "LocalPath": f"{_ROOT}/output", "S3UploadMode": "EndOfJob"}
        request: dict[str, Any] = {
            "ProcessingJobName": f"{word}-{self._at:%Y%m%d%H%M}-{digest}",
            "ProcessingInputs": inputs,
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "result", "S3Output": output}]},
            "ProcessingResources": self._definition["JobResources"],
            "AppSpecification": {
                k: app[k] for k in ("ImageUri", "ContainerEntrypoint", "ContainerArguments") if k in app
            },
            "Environment": environment,
            "RoleArn": self._definition["RoleArn"],
            "MonitoringScheduleArn": self._schedule["MonitoringScheduleArn"],
            "MetricNamespace": f"aws/sagemaker/Endpoints/{_TYPES[self._type].namespace}",
        }
        for member in ("NetworkConfig", "StoppingCondition"):
            if member in self._definition:
                request[member] = self._definition[member]
        if "KmsKeyId" in config:
            request["ProcessingOutputConfig"]["KmsKeyId"] = config["KmsKeyId"]
        arn = processing_jobs.create(request)["ProcessingJobArn"]
        resource_store.update(self._execution, ProcessingJobArn=arn)
        record, pause = resource_store.get("ProcessingJob", request["ProcessingJobName"]), threading.Event()
        while record["ProcessingJobStatus"] not in _ENDED:
            pause.wait(_LOOK)
        return record

    def _result_of(self, job: Record) -> tuple[str, str | None]:
        status = str(job["ProcessingJobStatus"])
        if status == "Completed" and str(job.get("ExitMessage", "")).startswith("CompletedWithViolations"):
            return "CompletedWithViolations", None
        return status, job.get("FailureReason")

    def _window(self) -> tuple[datetime, datetime]:
        given = self._input["EndpointInput"]
        match = _EXPRESSION.match(_expression(self._schedule))
        period = 1 if match is None or match.group(1) == "*" else int(match.group(2) or 24)
        return (
            self._at - _offset(given.get("StartTimeOffset"), timedelta(hours=period)),
            self._at - _offset(given.get("EndTimeOffset"), timedelta()),
        )

    def _captures(self) -> dict[str, str]:
        endpoint = resource_store.get("Endpoint", self._endpoint)
        config = resource_store.get("EndpointConfig", endpoint["EndpointConfigName"])
        target = config["DataCaptureConfig"]["DestinationS3Uri"].rstrip("/")
        variants = [variant["VariantName"] for variant in config["ProductionVariants"]]
        return {variant: f"{target}/{self._endpoint}/{variant}" for variant in variants}

    def _labels(self) -> dict[str, str]:
        return {"": self._input["GroundTruthS3Input"]["S3Uri"].rstrip("/")}

    def _hours(self, folders: dict[str, str], place: str, start: datetime, end: datetime) -> Iterator[Record]:
        """Yield an input for each hour of the window whose folder has objects."""
        client, number = self._role.client("s3"), 0
        for variant, folder in folders.items():
            hour = start.replace(minute=0, second=0, microsecond=0)
            while hour < end:
                uri = f"{folder}/{hour:%Y/%m/%d/%H}"
                if next(role_clients.objects(client, f"{uri}/"), None) is not None:
                    number += 1
                    below = "/".join(part for part in ((self._endpoint, variant) if variant else ()) if part)
                    local = "/".join(part for part in (_ROOT, place, below, f"{hour:%Y/%m/%d/%H}") if part)
                    yield _input(f"{place}_{number}", uri, local)
                hour += _HOUR

    def _merger(self) -> Record:
        registry = self._app["ImageUri"].rsplit("/", 1)[0]
        return {"ImageUri": f"{registry}/{_MERGER}"}


def _input(name: str, uri: str, path: str) -> Record:
    source = {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": source}


def _offset(text: str | None, default: timedelta) -> timedelta:
    """Return an ISO 8601 offset as a positive duration before now.

    Example:
        >>> _offset("-P1DT2H", timedelta()).total_seconds() / 3600
        26.0
    """
    match = None if text is None else re.fullmatch(r"-?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?", text)
    if match is None:
        return default
    days, hours, minutes = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes)


def create_definition(what: str, request: Record) -> Record:
    """Create...JobDefinition."""
    kind, name = f"{what}JobDefinition", request["JobDefinitionName"]
    app, given = request[f"{what}AppSpecification"], request[f"{what}JobInput"]
    _refuse(what, request, app, given)
    container_processes.command(app["ImageUri"], app, is_processing=True)
    endpoint = given["EndpointInput"]["EndpointName"]
    _check_endpoint(endpoint)
    Identity(request["RoleArn"], resource_store.arn(kind, name)).check()
    record = {k: v for k, v in request.items() if k != "Tags"}
    arn = resource_store.arn(kind, name)
    # lists use other member names than descriptions
    record |= {"EndpointName": endpoint, "MonitoringJobDefinitionName": name, "MonitoringJobDefinitionArn": arn}
    resource_store.add(kind, name, record, request.get("Tags"))
    return {"JobDefinitionArn": arn}


def describe_definition(what: str, request: Record) -> Record:
    """Describe...JobDefinition."""
    return _get(f"{what}JobDefinition", request["JobDefinitionName"])


def list_definitions(what: str, request: Record) -> Record:
    """List...JobDefinitions."""
    rows = resource_store.store().records[f"{what}JobDefinition"].values()
    wanted = [row for row in rows if request.get("EndpointName") in (None, row["EndpointName"])]
    return resource_store.listing(f"List{what}JobDefinitions", request, wanted, descending=True)


def delete_definition(what: str, request: Record) -> Record:
    """Delete...JobDefinition; rejected while a schedule uses it."""
    # claim: definition-is-used-by-its-schedule
    name = request["JobDefinitionName"]
    with resource_store.LOCK:
        _get(f"{what}JobDefinition", name)
        users = [
            row["MonitoringScheduleName"]
            for row in resource_store.store().records[_SCHEDULE].values()
            if (row["MonitoringType"], row["MonitoringJobDefinitionName"]) == (what, name)
        ]
        if users:
            raise validation(f"Job definition {name} is in use by monitoring schedule {', '.join(users)}.")
        resource_store.remove(f"{what}JobDefinition", name)
    return {}


def create_schedule(request: Record) -> Record:
    """CreateMonitoringSchedule."""
    name = request["MonitoringScheduleName"]
    record = {"MonitoringScheduleStatus": "Scheduled", **_configured(request["MonitoringScheduleConfig"])}
    added = resource_store.add(_SCHEDULE, name, record, request.get("Tags"))
    clock.wake()
    return {"MonitoringScheduleArn": added["MonitoringScheduleArn"]}


def update_schedule(request: Record) -> Record:
    """UpdateMonitoringSchedule: another definition or another time."""
    record = _get(_SCHEDULE, request["MonitoringScheduleName"])
    resource_store.update(record, **_configured(request["MonitoringScheduleConfig"]))
    clock.wake()
    return {"MonitoringScheduleArn": record["MonitoringScheduleArn"]}


def describe_schedule(request: Record) -> Record:
    """DescribeMonitoringSchedule, with its last execution."""
    record = _get(_SCHEDULE, request["MonitoringScheduleName"])
    last = max(executions(record["MonitoringScheduleName"]), key=_created, default=None)
    return record if last is None else record | {"LastMonitoringExecutionSummary": last}


def list_schedules(request: Record) -> Record:
    """ListMonitoringSchedules."""
    rows = [row for row in resource_store.store().records[_SCHEDULE].values() if _fits(row, request)]
    return resource_store.listing("ListMonitoringSchedules", request, rows, descending=True)


def switch_schedule(status: str, request: Record) -> Record:
    """StartMonitoringSchedule and StopMonitoringSchedule; a running execution continues."""
    resource_store.update(_get(_SCHEDULE, request["MonitoringScheduleName"]), MonitoringScheduleStatus=status)
    clock.wake()
    return {}


def delete_schedule(request: Record) -> Record:
    """DeleteMonitoringSchedule; rejected while an execution runs. Past executions remain in lists."""
    # claim: schedule-with-executions-stays
    name = request["MonitoringScheduleName"]
    with resource_store.LOCK:
        record = _get(_SCHEDULE, name)
        if running(name):
            raise validation(
                f"{record['MonitoringScheduleArn']} has executions in progress; it is deleted after their end."
            )
        resource_store.remove(_SCHEDULE, name)
    return {}


def list_executions(request: Record) -> Record:
    """ListMonitoringExecutions, newest first."""
    rows = [
        row
        for row in resource_store.store().records["MonitoringExecution"].values()
        if _fits(row, request)
        and request.get("MonitoringScheduleName") in (None, row["MonitoringScheduleName"])
        and request.get("ScheduledTimeAfter", float("-inf")) <= row["ScheduledTime"].timestamp()
        and row["ScheduledTime"].timestamp() <= request.get("ScheduledTimeBefore", float("inf"))
    ]
    return resource_store.listing("ListMonitoringExecutions", request, rows, descending=True)


def interrupt(execution: Record, reason: str) -> None:
    """End an execution whose analysis ended with the embedded cloud."""
    resource_store.update(execution, MonitoringExecutionStatus="Failed", FailureReason=reason)


def control(method: str, body: bytes) -> tuple[int, object]:
    """Serve ``/_mlops/monitoring``: every schedule, and the stand-in of its image."""
    del method, body
    return 200, {"monitoring": list(_descriptions())}


def _descriptions() -> Iterator[str]:
    for row in resource_store.all_records(_SCHEDULE):
        definition = resource_store.all_records(f"{row['MonitoringType']}JobDefinition")
        image = next(
            d[f"{row['MonitoringType']}AppSpecification"]["ImageUri"]
            for d in definition
            if d["JobDefinitionName"] == row["MonitoringJobDefinitionName"]
        )
        repository = declared_images.repository(image)
        stand_in = runners.STAND_INS.get(repository)
        ours = "" if stand_in is None else f", run by {stand_in} in place of AWS's image"
        yield f"{row['MonitoringScheduleName']} ({row['MonitoringType']}, {row['MonitoringScheduleStatus']}): {repository}{ours}"


def _configured(config: Record) -> Record:
    # claim: schedules-take-documented-times
    expression = config.get("ScheduleConfig", {}).get("ScheduleExpression")
    if "MonitoringJobDefinition" in config or "MonitoringJobDefinitionName" not in config:
        raise validation(
            "the embedded SageMaker requires MonitoringJobDefinitionName and MonitoringType, without a definition in the schedule"
        )
    if config.get("MonitoringType") not in _TYPES:
        raise validation(f"MonitoringType must be one of {', '.join(_TYPES)}, got {config.get('MonitoringType')!r}")
    if expression is None or _CRON.fullmatch(expression) is None:
        raise validation(
            f"ScheduleExpression must be cron(0 * ? * * *), cron(0 HOUR ? * * *) or cron(0 HOUR/HOURS ? * * *), got {expression!r}"
        )
    definition = _get(f"{config['MonitoringType']}JobDefinition", config["MonitoringJobDefinitionName"])
    return {
        "MonitoringScheduleConfig": config,
        "MonitoringType": config["MonitoringType"],
        "MonitoringJobDefinitionName": config["MonitoringJobDefinitionName"],
        "EndpointName": definition["EndpointName"],
    }


def _refuse(what: str, request: Record, app: Record, given: Record) -> None:
    """Reject, by name, what our analyzers and jobs do not support."""
    baseline = request.get(f"{what}BaselineConfig", {})
    source = given.get("EndpointInput", {})
    problems = [
        "BatchTransformInput is not supported; give EndpointInput" if "EndpointInput" not in given else None,
        *(
            f"{name} is not supported: our analyzer runs no scripts of others"
            for name in ("RecordPreprocessorSourceUri", "PostAnalyticsProcessorSourceUri")
            if name in app
        ),
        "BaseliningJobName is not supported; give ConstraintsResource" if "BaseliningJobName" in baseline else None,
        "a definition must have a ConstraintsResource to compare with"
        if "ConstraintsResource" not in baseline
        else None,
        f"S3InputMode must be File, got {source['S3InputMode']}"
        if source.get("S3InputMode", "File") != "File"
        else None,
        "ExcludeFeaturesAttribute is not supported" if "ExcludeFeaturesAttribute" in source else None,
        "an execution has 1 instance" if request["JobResources"]["ClusterConfig"]["InstanceCount"] != 1 else None,
    ]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise validation(f"the embedded SageMaker refuses the definition: {'; '.join(found)}")


def _check_endpoint(name: str) -> None:
    # AWS's wording in public reports
    # claim: definition-needs-a-capturing-endpoint
    endpoint = resource_store.store().records["Endpoint"].get(name)
    if endpoint is None:
        raise validation(f"Endpoint '{name}' does not exist or is not valid")
    config = resource_store.store().records["EndpointConfig"].get(endpoint["EndpointConfigName"], {})
    if not config.get("DataCaptureConfig", {}).get("EnableCapture", "DataCaptureConfig" in config):
        raise validation(f"Data capture is not enabled for endpoint '{name}'")


def _get(kind: str, name: str) -> Record:
    # claim: definition-is-used-by-its-schedule
    try:
        return resource_store.get(kind, name)
    except ServiceError as error:
        raise ServiceError("ResourceNotFound", error.message) from error


def _fits(row: Record, request: Record) -> bool:
    wanted = {
        "EndpointName": "EndpointName",
        "MonitoringTypeEquals": "MonitoringType",
        "MonitoringJobDefinitionName": "MonitoringJobDefinitionName",
    }
    return all(request[requested] == row.get(member) for requested, member in wanted.items() if requested in request)


def _created(row: Record) -> float:
    return float(row["ScheduledTime"].timestamp())


OPERATIONS: Mapping[str, Callable[[Record], Record]] = {
    **{f"Create{what}JobDefinition": partial(create_definition, what) for what in _TYPES},
    **{f"Describe{what}JobDefinition": partial(describe_definition, what) for what in _TYPES},
    **{f"List{what}JobDefinitions": partial(list_definitions, what) for what in _TYPES},
    **{f"Delete{what}JobDefinition": partial(delete_definition, what) for what in _TYPES},
    "CreateMonitoringSchedule": create_schedule,
    "UpdateMonitoringSchedule": update_schedule,
    "DescribeMonitoringSchedule": describe_schedule,
    "ListMonitoringSchedules": list_schedules,
    "StartMonitoringSchedule": partial(switch_schedule, "Scheduled"),
    "StopMonitoringSchedule": partial(switch_schedule, "Stopped"),
    "DeleteMonitoringSchedule": delete_schedule,
    "ListMonitoringExecutions": list_executions,
}
