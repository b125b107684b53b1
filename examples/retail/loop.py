"""One business unit's loop, driven from outside with boto3: the actions of people and client systems."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Event, Thread
from typing import Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import from_json, to_dict
from mlops_runtime.contracts.capture import EventMetadata, GroundTruthData, GroundTruthRecord, ground_truth_key
from mlops_runtime.contracts.events import DetailType, EventDetail, request_source
from mlops_runtime.contracts.model import Evaluation
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import SEAL, AuditRecord, LivePointer
from mlops_runtime.contracts.unit_entries import ROOT, UnitEntry
from mlops_runtime.registry.package_registry import Approver
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import PublicKey

ROWS_PER_CALL = 32
_LOOK = 0.25  # real seconds between two polls
PAUSE = 0.05  # between two calls of traffic


class LoopError(Exception):
    """A step of the loop failed; the message has the step and the reason."""


def expect(condition: object, otherwise: str) -> None:
    """Check a condition.

    Raises:
        LoopError: With the message ``otherwise``, unless the condition is true.
    """
    if not condition:
        raise LoopError(otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: its inference id, rows and predictions."""

    inference_id: str
    rows: int
    predictions: tuple[float, ...]


class Loop:
    """The unit behind a deployed stack's outputs, on the embedded cloud or on AWS.

    Args:
        client: Returns a boto3 client by service name, for a caller who may invoke, put events and read the unit's buckets.
        outputs: The stack's outputs by name.
        unit: Name of the business unit.
        now: Returns the time in the cloud.
    """

    def __init__(
        self, *, client: Callable[[str], Any], outputs: Mapping[str, str], unit: str, now: Callable[[], datetime]
    ) -> None:
        self.outputs, self.unit, self.now = outputs, unit, now
        self.endpoint = outputs["EndpointName"]
        self.s3, self.sagemaker, self._runtime = client("s3"), client("sagemaker"), client("sagemaker-runtime")
        self._machines, self._events = client("stepfunctions"), client("events")
        self._tables, self._cloudwatch, self._sts = client("dynamodb"), client("cloudwatch"), client("sts")
        self._kms, self._ssm = client("kms"), client("ssm")

    # -- requests to the loop

    def request_retraining(self, reason: str, request_id: str) -> None:
        """Request a retraining by an event on the unit's bus, in the caller's name."""
        detail = EventDetail(id=request_id, subject=self.endpoint, outcome="REQUESTED", reason=reason)
        entry = {
            "EventBusName": self.outputs["EventBus"],
            "Source": request_source(self.unit, self._sts.get_caller_identity()["UserId"]),
            "DetailType": DetailType.RETRAINING_REQUESTED.value,
            "Detail": json.dumps(to_dict(detail)),
        }
        answer = self._events.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            raise LoopError(f"the bus refused the request: {answer['Entries']}")

    def approve(self, package: str, reason: str) -> None:
        """Approve a package with the approvers' role."""
        approver = Approver.in_role(
            sts=self._sts,
            sagemaker=self.sagemaker,
            role=self.outputs["ApproverRoleArn"],
            caller=self._sts.get_caller_identity()["Arn"],
        )
        approver.approve(self.sagemaker.describe_model_package(ModelPackageName=package), reason=reason)

    def invoke(self, rows: Sequence[Mapping[str, object]], prefix: str, *, size: int = ROWS_PER_CALL) -> list[Call]:
        """Request predictions in calls of ``size`` rows; inference ids are ``<prefix>-<number>``."""
        calls = []
        for number, start in enumerate(range(0, len(rows), size)):
            part = rows[start : start + size]
            inference_id = f"{prefix}-{number}"
            answer = self._runtime.invoke_endpoint(
                EndpointName=self.endpoint,
                ContentType="application/json",
                Accept="application/json",
                InferenceId=inference_id,
                Body=json.dumps({"instances": part}),
            )
            predictions = json.loads(answer["Body"].read())["predictions"]
            calls.append(Call(inference_id=inference_id, rows=len(part), predictions=tuple(predictions)))
        return calls

    def upload_labels(self, calls: Sequence[Call], labels: Sequence[float], file_id: str) -> None:
        """Upload the labels, one ground truth record per call, in the order of its rows."""
        lines, start = [], 0
        for call in calls:
            values = "\n".join(f"{value:g}" for value in labels[start : start + call.rows])
            event = EventMetadata(event_id=call.inference_id, inference_id=call.inference_id)
            lines.append(json.dumps(to_dict(GroundTruthRecord(truth=GroundTruthData(data=values), event=event))))
            start += call.rows
        key = ground_truth_key("labels", self.endpoint, self.now(), file_id)
        self.s3.put_object(Bucket=self.outputs["CaptureBucket"], Key=key, Body="\n".join(lines).encode())

    @contextmanager
    def traffic(
        self,
        rows: Sequence[Mapping[str, object]],
        prefix: str,
        *,
        whole_every: int | None = None,
        pause: float = PAUSE,
    ) -> Iterator["Traffic"]:
        """Send the rows repeatedly from a second thread until the block ends.

        Args:
            rows: The rows, sent in parts.
            prefix: Prefix of the inference ids.
            whole_every: Interval of the calls that send all rows at once: every third with 3. Default: none.
            pause: Real seconds between two calls.
        """
        running = Traffic(self, rows, prefix, whole_every, pause)
        running.start()
        try:
            yield running
        finally:
            running.stop()

    # -- state of the loop

    def executions(self, machine: str) -> list[dict[str, Any]]:
        """Return the executions of ``DeployMachineArn`` or ``RetrainMachineArn``, newest first."""
        answer = self._machines.list_executions(stateMachineArn=self.outputs[machine], maxResults=100)
        return list(answer["executions"])

    def wait_execution(
        self,
        machine: str,
        seen: Collection[str],
        *,
        appear: float,
        finish: float,
        error: str | None = None,
        package: str | None = None,
    ) -> dict[str, Any]:
        """Wait for an execution that is not in ``seen``, and for its end; times are real seconds.

        Args:
            machine: Output with the machine's ARN.
            seen: ARNs of executions to ignore.
            appear: Longest wait for its start.
            finish: Longest wait from the start to the end.
            error: Expected error. Default: it must succeed.
            package: ARN of the model package that it deploys, since the loop may deploy others. Default: any.

        Raises:
            LoopError: If no execution starts or ends in time, or its result differs; with the cause of the failed state.
        """
        deadline = time.monotonic() + appear
        while (arn := self._appeared(machine, seen, package)) is None:
            if time.monotonic() > deadline:
                of = "" if package is None else f" with {package}"
                raise LoopError(f"no new execution of {machine}{of} within {appear:g} s")
            time.sleep(_LOOK)
        deadline = time.monotonic() + finish
        while (execution := self._machines.describe_execution(executionArn=arn))["status"] == "RUNNING":
            if time.monotonic() > deadline:
                raise LoopError(f"{arn} still runs after {finish:g} s; last: {self._last_event(arn)}")
            time.sleep(_LOOK)
        if execution.get("error") != error or (error is None and execution["status"] != "SUCCEEDED"):
            raise LoopError(
                f"{arn} ended {execution['status']}: {execution.get('error', '')} {execution.get('cause', '')}"
                f" {self._last_event(arn)}"
            )
        return dict(execution)

    def _appeared(self, machine: str, seen: Collection[str], package: str | None) -> str | None:
        for execution in self.executions(machine):
            arn = str(execution["executionArn"])
            if arn not in seen and (package is None or self._given(arn).get("model_package_arn") == package):
                return arn
        return None

    def _given(self, arn: str) -> dict[str, Any]:
        return dict(json.loads(self._machines.describe_execution(executionArn=arn)["input"]))

    def package_of(self, retraining: Mapping[str, Any]) -> dict[str, Any]:
        """Return the description of the model package that an execution of the Retrain machine registered.

        Args:
            retraining: The ended execution, as returned by `wait_execution`.
        """
        arn = json.loads(retraining["output"])["package"]
        return dict(self.sagemaker.describe_model_package(ModelPackageName=arn))

    def wait_idle(self, machine: str, *, seconds: float = 60) -> None:
        """Wait until no execution of a machine is running.

        Raises:
            LoopError: If one is still running after ``seconds`` real seconds.
        """
        deadline = time.monotonic() + seconds
        while any(e["status"] == "RUNNING" for e in self.executions(machine)):
            if time.monotonic() > deadline:
                raise LoopError(f"{machine} still runs after {seconds:g} s")
            time.sleep(_LOOK)

    def lock_owner(self) -> str | None:
        """Return the execution that holds the endpoint's lock, if any."""
        owner = self._row().get("owner", {}).get("S")
        return None if owner is None else str(owner)

    def live(self) -> LivePointer | None:
        """Return the live version according to the endpoint's row."""
        live = self._row().get("live", {}).get("S")
        return None if live is None else from_json(LivePointer, live)

    def newest_package(self) -> dict[str, Any]:
        """Return the description of the group's newest model package."""
        answer = self.sagemaker.list_model_packages(
            ModelPackageGroupName=self.endpoint, SortBy="CreationTime", SortOrder="Descending", MaxResults=1
        )
        if not answer["ModelPackageSummaryList"]:
            raise LoopError("no model package was registered")
        arn = answer["ModelPackageSummaryList"][0]["ModelPackageArn"]
        return dict(self.sagemaker.describe_model_package(ModelPackageName=arn))

    def evaluation_of(self, package: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation of a package on which the gate decided."""
        return from_json(Evaluation, self._object(package["CustomerMetadataProperties"]["evaluation_uri"]))

    def training_seconds(self) -> float:
        """Return the duration of the newest training job, in seconds of the cloud's clock."""
        jobs = self.sagemaker.list_training_jobs(SortBy="CreationTime", SortOrder="Descending", MaxResults=1)
        job = self.sagemaker.describe_training_job(TrainingJobName=jobs["TrainingJobSummaries"][0]["TrainingJobName"])
        return float((job["TrainingEndTime"] - job["TrainingStartTime"]).total_seconds())

    def wait_counted(self, *, seconds: float = 60) -> None:
        """Wait until every capture object has been counted.

        Raises:
            LoopError: If captures are missing or uncounted after ``seconds`` real seconds.
        """
        deadline = time.monotonic() + seconds
        while not (captured := self.captured()) or self.counted() < captured:
            if time.monotonic() > deadline:
                raise LoopError(f"{self.counted()} of {captured} capture objects are counted after {seconds:g} s")
            time.sleep(_LOOK)

    def wait_report(self, known: int, *, seconds: float = 60) -> MonitorReport:
        """Wait for a new monitor report, other than the ``known`` ones, and return the newest.

        Raises:
            LoopError: If none exists after ``seconds`` real seconds.
        """
        deadline = time.monotonic() + seconds
        while len(keys := self.report_keys()) <= known:
            if time.monotonic() > deadline:
                raise LoopError(f"no monitor report within {seconds:g} s")
            time.sleep(_LOOK)
        return from_json(MonitorReport, self._read("ArtifactsBucket", keys[-1]))

    def audit(self) -> list[AuditRecord]:
        """Return the endpoint's audit records, oldest first."""
        contents = sorted(self._chain().contents().items())
        return [from_json(AuditRecord, content) for key, content in contents if not key.endswith(SEAL)]

    def audit_problems(self) -> list[str]:
        """Return the problems of the audit chain, checked with row, published heads and public key; empty if it is intact."""
        entry = self.entry()
        answer = self._kms.get_public_key(KeyId=str(entry.signing_key))
        return self._chain().problems(PublicKey(der=answer["PublicKey"]).is_signed)

    def entry(self) -> UnitEntry:
        """Return the unit's parameter: its tables, buckets and keys."""
        value = self._ssm.get_parameter(Name=f"{ROOT}{self.unit}/unit")["Parameter"]["Value"]
        return from_json(UnitEntry, value)

    def serving_config(self) -> str:
        """Return the endpoint config that SageMaker serves."""
        return str(self.sagemaker.describe_endpoint(EndpointName=self.endpoint)["EndpointConfigName"])

    def report_keys(self) -> list[str]:
        """Return the keys of all monitor reports, oldest first."""
        keys = self._keys("ArtifactsBucket", f"monitor/{self.endpoint}/reports/")
        return [key for key in keys if key.endswith("/report.json")]

    def counted(self) -> int:
        """Return the number of capture objects that have been counted."""
        return len(self._keys("ArtifactsBucket", f"monitor/{self.endpoint}/counts/"))

    def captured(self) -> int:
        """Return the number of capture objects."""
        return len(self._keys("CaptureBucket", f"capture/{self.endpoint}/"))

    def invocations(self, config: str, start: datetime, end: datetime) -> int:
        """Return the number of calls answered by the fleet of an endpoint config."""
        dimensions = {"EndpointName": self.endpoint, "VariantName": "AllTraffic", "EndpointConfigName": config}
        answer = self._cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            Dimensions=[{"Name": k, "Value": v} for k, v in dimensions.items()],
            StartTime=start,
            EndTime=end,
            Period=3600,
            Statistics=["Sum"],
        )
        return int(sum(point["Sum"] for point in answer["Datapoints"]))

    def alarms(self) -> dict[str, str]:
        """Return the state of each of the unit's alarms."""
        pages = self._cloudwatch.get_paginator("describe_alarms").paginate()
        return {a["AlarmName"]: a["StateValue"] for page in pages for a in page["MetricAlarms"]}

    def _chain(self) -> AuditChain:
        table = RolloutTable(self._tables, self.outputs["RolloutTable"], self.endpoint)
        entry = self.entry()
        return AuditChain(s3=self.s3, bucket=entry.audit_bucket, table=table, heads=entry.heads_bucket)

    def _row(self) -> dict[str, Any]:
        key = {"endpoint": {"S": self.endpoint}}
        answer = self._tables.get_item(TableName=self.outputs["RolloutTable"], Key=key, ConsistentRead=True)
        return dict(answer.get("Item", {}))

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.outputs[bucket], Prefix=prefix)
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))

    def _read(self, bucket: str, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.outputs[bucket], Key=key)["Body"].read())

    def _object(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def _last_event(self, arn: str) -> str:
        events = self._machines.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=8)["events"]
        details = [
            v for e in events for k, v in e.items() if k.endswith("EventDetails") and ("cause" in v or "error" in v)
        ]
        return json.dumps(details[0] if details else events[0], default=str)[:600]


class Traffic:
    """A client that sends requests continuously and counts the responses."""

    def __init__(
        self,
        loop: Loop,
        rows: Sequence[Mapping[str, object]],
        prefix: str,
        whole_every: int | None = None,
        pause: float = PAUSE,
    ) -> None:
        self.answered = self.refused = 0
        self.refused_seconds = 0.0  # from the first failed call to the last
        self._first_refused = 0.0
        self._loop, self._rows, self._prefix, self._whole_every = loop, rows, prefix, whole_every
        self._pause, self._stop = pause, Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, after the running call."""
        self._stop.set()
        self._thread.join()

    def _refuse(self) -> None:
        now = time.monotonic()
        self._first_refused = self._first_refused or now
        self.refused_seconds = now - self._first_refused
        self.refused += 1

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            start = number * ROWS_PER_CALL % max(1, len(self._rows) - ROWS_PER_CALL)
            is_whole = self._whole_every is not None and number % self._whole_every == 0
            rows = self._rows if is_whole else self._rows[start : start + ROWS_PER_CALL]
            try:
                self._loop.invoke(rows, f"{self._prefix}-{number}", size=len(rows))
                self.answered += 1
            except (ClientError, LookupError, ValueError):  # a status, or a body without predictions
                self._refuse()
            number += 1
            self._stop.wait(self._pause)
