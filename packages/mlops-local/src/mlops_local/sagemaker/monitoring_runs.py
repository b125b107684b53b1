"""Executions of monitoring schedules: due on the embedded clock, each one or two processing jobs over hours of captures.

Names, folders and variables of the jobs are those that AWS's service gives them.
See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-inputs.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-schedule-expression.html
"""

import contextvars
import hashlib
import json
import logging
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ministack.core import responses

from mlops_local import clock
from mlops_local.sagemaker import jobs, processing, store, transfer
from mlops_local.sagemaker.errors import ServiceError
from mlops_local.sagemaker.processes import background
from mlops_local.sagemaker.roles import Identity
from mlops_local.sagemaker.shapes import Record

LOGGER = logging.getLogger(__name__)

# "there could be a delay of 0-20 minutes": captures of the hour's last minutes are there by then
_DELAY = 600.0
_HOUR = timedelta(hours=1)
_LOOK = 0.1  # real seconds between two looks at a job
_AT_ONCE = threading.Semaphore(2)  # a jump over a week makes many executions due
_PENDING = ("Pending", "InProgress", "Stopping")
_EXPRESSION = re.compile(r"cron\(0 (\*|\d+)(?:/(\d+))? ")
_ENDED = ("Completed", "Failed", "Stopped")
_ROOT = "/opt/ml/processing"
_NO_DATA = "Job inputs had no data"  # github.com/aws/sagemaker-python-sdk/issues/2634
_MERGER = "sagemaker-model-monitor-groundtruth-merger"
_WITH_LABELS = ("ModelQuality", "ModelBias")
_WORDS = {
    "DataQuality": "data-quality",
    "ModelQuality": "model-quality",
    "ModelBias": "model-bias",
    "ModelExplainability": "model-explainability",
}
# which sides of a call each monitor looks at, and where it publishes
_SIDES = {
    "DataQuality": ("endpointInput", "endpointOutput"),
    "ModelQuality": ("endpointOutput",),
    "ModelBias": ("endpointInput", "endpointOutput"),
    "ModelExplainability": ("endpointInput",),
}
NAMESPACES = {
    "DataQuality": "aws/sagemaker/Endpoints/data-metrics",
    "ModelQuality": "aws/sagemaker/Endpoints/model-metrics",
    "ModelBias": "aws/sagemaker/Endpoints/bias-metrics",
    "ModelExplainability": "aws/sagemaker/Endpoints/explainability-metrics",
}


# claim: executions-read-the-hours-before
def executions(schedule: str) -> list[Record]:
    """Return the executions of a schedule."""
    rows = store.store().records["MonitoringExecution"].values()
    return [row for row in rows if row["MonitoringScheduleName"] == schedule]


def running(schedule: str) -> bool:
    """Return whether an execution of a schedule has not ended."""
    return any(row["MonitoringExecutionStatus"] in _PENDING for row in executions(schedule))


def wait_for(schedule: str) -> None:
    """Block until no execution of a schedule runs."""
    pause = threading.Event()
    while running(schedule):
        pause.wait(_LOOK)


def wake() -> None:
    """Let the clock look when the next execution is due."""
    clock.wake()


def due_after(expression: str, after: float) -> datetime:
    """Return the first full hour after a time that an expression names.

    Example:
        >>> due_after("cron(0 17/6 ? * * *)", 0.0).isoformat()
        '1970-01-01T17:00:00+00:00'
    """
    hour = datetime.fromtimestamp(after, UTC).replace(minute=0, second=0, microsecond=0) + _HOUR
    while not _names(expression, hour.hour):
        hour += _HOUR
    return hour


class Schedules:
    """When monitoring schedules are due, as one source of the embedded clock."""

    def due(self, after: float) -> float | None:
        """Return when the next execution of any schedule starts: some minutes after its hour."""
        return min(
            (due_after(_expression(row), after - _DELAY).timestamp() + _DELAY for _, row in _scheduled()), default=None
        )

    def run(self, at: float) -> bool:
        """Start the executions of an hour."""
        moment = datetime.fromtimestamp(at - _DELAY, UTC)
        hour = moment.replace(minute=0, second=0, microsecond=0)
        found = [(place, row) for place, row in _scheduled() if hour == moment and _names(_expression(row), hour.hour)]
        for (account, region), row in found:
            context = contextvars.copy_context()
            context.run(_start, account, region, row["MonitoringScheduleName"], hour)
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
    with store.LOCK:
        found = [
            (place, row)
            for place, known in store.stores().items()
            for row in known.records["MonitoringSchedule"].values()
            if row["MonitoringScheduleStatus"] == "Scheduled"
        ]
    yield from found


def _start(account: str, region: str, name: str, hour: datetime) -> None:
    responses.set_request_account_id(account)
    responses.set_request_region(region)
    schedule = store.get("MonitoringSchedule", name)
    definition = store.get(f"{schedule['MonitoringType']}JobDefinition", schedule["MonitoringJobDefinitionName"])
    key = f"{name}/{hour:%Y%m%d%H}"
    if key in store.store().records["MonitoringExecution"]:
        return
    members = ("MonitoringScheduleName", "MonitoringType", "MonitoringJobDefinitionName", "EndpointName")
    execution = store.add(
        "MonitoringExecution",
        key,
        {member: schedule[member] for member in members}
        | {"ScheduledTime": hour, "MonitoringExecutionStatus": "Pending"},
    )
    run = _Run(execution, schedule, definition)
    background(f"monitoring execution {key}", run.work)


class _Run:
    """One execution: the window's captures, joined with labels where the monitor has them, then analyzed."""

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
        """Run it to its end; a reason not to is its ``FailureReason``."""
        try:
            with _AT_ONCE:
                store.update(self._execution, MonitoringExecutionStatus="InProgress")
                status, reason = self._analyze()
        except (ServiceError, *jobs.TRANSFER_ERRORS) as error:
            status, reason = "Failed", str(error)[:1024]
        except Exception as error:
            LOGGER.exception("monitoring execution %s failed", self._execution["ExecutionKey"])
            status, reason = "Failed", f"InternalServerError: {type(error).__name__}: {error}"
        store.update(self._execution, MonitoringExecutionStatus=status, FailureReason=reason)

    def _analyze(self) -> tuple[str, str | None]:
        start, end = self._window()
        inputs = list(self._hours(self._captures(), "input_data", start, end))
        if not inputs:
            return "Failed", _NO_DATA
        if self._type in _WITH_LABELS:
            # labels are uploaded after their calls, up to now
            labels = list(self._hours(self._labels(), "groundtruth", start, self._at))
            if not labels:
                return "Failed", _NO_DATA
            merged = f"{self._output['S3Uri']}/merge"
            folders = {"dataset_source": "input_data", "ground_truth_source": "groundtruth", "output_path": "output"}
            environment = {name: f"{_ROOT}/{folder}" for name, folder in folders.items()}
            ended = self._job("groundtruth-merge", self._merger(), [*inputs, *labels], merged, environment)
            if ended["ProcessingJobStatus"] != "Completed":
                return self._told(ended)
            places = {variant: f"{merged}/{self._endpoint}/{variant}" for variant in self._captures()}
            inputs = list(self._hours(places, "input_data", start, end))
            if not inputs:
                return "Failed", _NO_DATA
        return self._told(self._last_job(inputs, start, end))

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
        return self._job(f"{_WORDS[self._type]}-monitoring", self._app, inputs, folder, environment)

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
            "dataset_format": json.dumps({form: {"captureIndexNames": list(_SIDES[self._type])}}),
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
            "MetricNamespace": NAMESPACES[self._type],
        }
        for member in ("NetworkConfig", "StoppingCondition"):
            if member in self._definition:
                request[member] = self._definition[member]
        if "KmsKeyId" in config:
            request["ProcessingOutputConfig"]["KmsKeyId"] = config["KmsKeyId"]
        arn = processing.create(request)["ProcessingJobArn"]
        store.update(self._execution, ProcessingJobArn=arn)
        record, pause = store.get("ProcessingJob", request["ProcessingJobName"]), threading.Event()
        while record["ProcessingJobStatus"] not in _ENDED:
            pause.wait(_LOOK)
        return record

    def _told(self, job: Record) -> tuple[str, str | None]:
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
        endpoint = store.get("Endpoint", self._endpoint)
        config = store.get("EndpointConfig", endpoint["EndpointConfigName"])
        target = config["DataCaptureConfig"]["DestinationS3Uri"].rstrip("/")
        variants = [variant["VariantName"] for variant in config["ProductionVariants"]]
        return {variant: f"{target}/{self._endpoint}/{variant}" for variant in variants}

    def _labels(self) -> dict[str, str]:
        return {"": self._input["GroundTruthS3Input"]["S3Uri"].rstrip("/")}

    def _hours(self, folders: dict[str, str], place: str, start: datetime, end: datetime) -> Iterator[Record]:
        """Yield an input for each hour of folders that has objects."""
        client, number = self._role.client("s3"), 0
        for variant, folder in folders.items():
            hour = start.replace(minute=0, second=0, microsecond=0)
            while hour < end:
                uri = f"{folder}/{hour:%Y/%m/%d/%H}"
                if next(transfer.objects(client, f"{uri}/"), None) is not None:
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
    """Return how long ago an ISO 8601 offset is.

    Example:
        >>> _offset("-P1DT2H", timedelta()).total_seconds() / 3600
        26.0
    """
    match = None if text is None else re.fullmatch(r"-?P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?", text)
    if match is None:
        return default
    days, hours, minutes = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes)
