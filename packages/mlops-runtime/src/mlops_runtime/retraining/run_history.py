"""Adapter: the runs of a pipeline, read from its executions, guard decisions, evaluations, gate results and packages.

No separate history is stored. Step Functions retains executions for 90 days; an older run is known from its evaluation, its gate
result and the guard's decision that started it. A request that the guard refused is listed as a run that did not start.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from mlops_runtime.contracts import from_dict, from_json, to_dict
from mlops_runtime.contracts.model import Evaluation, GateResult, GateVerdict
from mlops_runtime.contracts.retraining import Decision, GuardDecision, TrainingMetrics, Trigger
from mlops_runtime.refused_calls import DENIED, Tolerated
from mlops_runtime.retraining.pipeline_access import PipelineAccess
from mlops_runtime.retraining.run_comparison import RunComparison, RunError, compared
from mlops_runtime.retraining.training_metrics import read_log_line
from mlops_runtime.rollout.execution_names import execution_arn

LATEST = "latest"
_VERSION = re.compile(r"(?:(?P<group>[A-Za-z0-9-]+)/)?(?P<number>[1-9][0-9]{0,8})")  # a package as in `mlops models`
_READERS = 16  # concurrent calls
_CHARACTERS_OF_NAME = 24  # of an execution's name, in the names of its jobs
_CONTAINERS = "sagemaker_"  # hyperparameters of the container, not of the script
# decisions other than refusals
_NOT_REFUSED = (Decision.STARTED, Decision.ASKED, Decision.DUPLICATE, Decision.KNOWN, Decision.RELEASED)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")  # of an execution
_FAILED = "Failed"  # status of a job
_NEWEST = 100  # last lines of a failed training's log, which contain its metrics

Step = Literal["set", "process", "train", "rows", "answers", "champion-rows", "champion-answers", "predict", "evaluate"]
Kind = Literal["Training", "Processing", "Transform"]
_REGISTERED = "REGISTERED"
_NAMES = {f"#{each.name}": each.name for each in fields(GuardDecision)}  # some are reserved words of DynamoDB

_Decision = Mapping[str, str]  # a stored row of the guard
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    suffix: str
    kind: Kind = "Processing"
    is_of_server: bool = False  # only in a pipeline that sends requests to a custom container's server

    @property
    def group(self) -> str:
        return f"/aws/sagemaker/{self.kind}Jobs"


_JOBS: Mapping[Step, _Job] = {
    "set": _Job(suffix="set"),
    "process": _Job(suffix="prep"),
    "train": _Job(suffix="train", kind="Training"),
    "rows": _Job(suffix="rows1", is_of_server=True),
    "answers": _Job(suffix="asks1", kind="Transform", is_of_server=True),
    "champion-rows": _Job(suffix="rows2", is_of_server=True),
    "champion-answers": _Job(suffix="asks2", kind="Transform", is_of_server=True),
    "predict": _Job(suffix="live"),
    "evaluate": _Job(suffix="eval"),
}
STEPS: tuple[Step, ...] = tuple(_JOBS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One retraining, or one request for it that the guard refused.

    ``id`` is the execution's name, or for a refusal the event's id. ``outcome`` is ``RUNNING``, ``REGISTERED``, ``REJECTED``,
    ``REFUSED``, ``ASKED`` if a question was sent and nothing was trained, the status of an execution that ended otherwise
    (``FAILED``, ``ABORTED``, ``TIMED_OUT``), or ``UNKNOWN`` if no outcome is stored. ``trigger``, ``requested_by`` and ``detail``
    describe the request, ``reason`` explains the outcome. ``metrics`` has the loss of the candidate, the champion and each
    baseline on the same holdout. ``decision`` is the guard's refusal, ``free_at`` the time when it would accept, ``times`` the
    number of consecutive refusals of the same kind, and ``at`` the time of the last one.
    """

    id: str
    pipeline: str
    at: str
    outcome: str
    reason: str = ""
    trigger: Trigger | None = None
    requested_by: str | None = None
    detail: str | None = None
    ended: str | None = None
    seconds: float | None = None
    metric: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    package: str | None = None
    approval: str | None = None
    execution: str | None = None
    decision: Decision | None = None
    free_at: str | None = None
    times: int = 1

    @property
    def is_refused(self) -> bool:
        """Whether the guard refused the request, so that nothing ran."""
        return self.decision is not None

    @property
    def version(self) -> int | None:
        """Number of its package in the registry."""
        return None if self.package is None else int(self.package.rpartition("/")[2])

    @property
    def who(self) -> str | None:
        """The requester, without the id of the role."""
        return None if self.requested_by is None else self.requested_by.rpartition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """One job of a run."""

    step: Step
    job: str
    status: str
    seconds: float | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """A run with its jobs, hyperparameters, training metrics, and the gate's evidence."""

    run: Run
    steps: tuple[RunStep, ...] = ()
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    training: TrainingMetrics | None = None
    evaluation: Evaluation | None = None
    gate: GateResult | None = None


class RunHistory(PipelineAccess):
    """The runs of one pipeline."""

    def runs(self, *, last: int | None = 20, since: datetime | None = None) -> tuple[Run, ...]:
        """Return the newest runs and refused requests, the newest first.

        Args:
            last: Maximum number of runs; None for all. Default: 20.
            since: Earliest start of a run. Default: any time.
        """
        decisions = self._decisions()
        found = self._merged(decisions, last=last, since=since)
        chosen = [run for run in found if since is None or _time(run.at) >= since][:last]
        filled = self._each(chosen, self._filled)
        packages = self._packages({run.id for run in filled if run.outcome == _REGISTERED})
        return tuple(_with_package(run, packages) for run in filled)

    def run(self, id: str) -> RunDetails:
        """Return a run with all details.

        Args:
            id: Id of a run (see ``runs``), a version of the registry (``7`` or ``<group>/7``), or ``latest``.

        Raises:
            RunError: If the run does not exist.
        """
        run = self._found(id)
        if run.is_refused:
            return RunDetails(run=run)
        filled = self._filled(run)
        if filled.outcome == _REGISTERED:
            filled = _with_package(filled, self._packages({run.id}))
        _ = self.sagemaker  # made before the threads of `_each`
        described = dict(zip(STEPS, self._each(STEPS, lambda step: self._described(run.id, step)), strict=True))
        steps = tuple(_step(step, answer) for step, answer in described.items() if answer is not None)
        given = (described["train"] or {}).get("HyperParameters", {})
        return RunDetails(
            run=filled,
            steps=steps,
            hyperparameters={n: v for n, v in sorted(given.items()) if not n.startswith(_CONTAINERS)},
            training=self._training(run.id, steps),
            evaluation=self._evaluation(run.id),
            gate=self._gate(run.id),
        )

    def compare(self, first: str, second: str) -> RunComparison:
        """Compare two runs on the same holdout, with the interval that the gate would compute between them.

        Args:
            first: The reference run.
            second: The run whose loss is compared with the reference.

        Raises:
            RunError: If one has no evaluation, or they were not measured on the same rows.
        """
        one, other = (self.run(name) for name in (first, second))
        return compared(
            self.pipeline,
            ids=(one.run.id, other.run.id),
            evaluations=(one.evaluation, other.evaluation),
            hyperparameters=(one.hyperparameters, other.hyperparameters),
            training=(_metrics(one), _metrics(other)),
        )

    def log(self, id: str, step: Step | None = None, *, last: int | None = None) -> Iterator[str]:
        """Yield the lines of a job's log, the oldest first.

        Args:
            id: Id of a run (see ``runs``), a version of the registry (``7`` or ``<group>/7``), or ``latest``.
            step: The job. Default: ``train``, or ``evaluate`` for a model made elsewhere.
            last: Number of the newest lines. Default: all.

        Raises:
            RunError: If the run does not exist, or has no such job.
        """
        run = self._found(id)
        if run.is_refused:
            raise RunError(
                f"the guard refused {run.id} ({run.decision}: {run.reason}), so nothing ran and nothing was logged"
            )
        steps: Sequence[Step] = ("train", "evaluate") if step is None else (step,)
        lines = next((found for each in steps if (found := self._lines(run.id, each)) is not None), None)
        if lines is None:
            known = ", ".join(each for each in STEPS if self._described(run.id, each) is not None)
            raise RunError(
                f"{run.id} has no log of {' or '.join(steps)}; its jobs are {known or 'none, it ended before the first'}"
            )
        yield from lines if last is None else deque(lines, maxlen=last)

    def _merged(self, decisions: Sequence[_Decision], *, last: int | None, since: datetime | None) -> list[Run]:
        """Return executions, refusals and older runs, the newest first, with the details of a listing."""
        started = {each["execution"]: each for each in decisions if "execution" in each and _is_start(each)}
        runs = {run.id: run for run in self._executions(started, last, since)}
        complete = last is None or len(runs) < last
        if complete:  # runs that Step Functions no longer has are older than all that it lists
            for each in started.values():
                name = each["execution"].rpartition(":")[2]
                if name not in runs:
                    runs[name] = self._forgotten(name, each["at"], _guard_decision(each))
            for name in self._evaluated() - set(runs):
                runs[name] = self._of(name, _day(name), "UNKNOWN", None)
        newest = sorted(_collapsed(decisions), key=lambda each: each[0]["at"], reverse=True)[:last]
        refusals = [replace(self._refused(_guard_decision(each)), times=times) for each, times in newest]
        return sorted([*runs.values(), *refusals], key=lambda run: (run.at, run.id), reverse=True)

    def _executions(self, started: Mapping[str, _Decision], last: int | None, since: datetime | None) -> Iterator[Run]:
        pages = self.stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self.pipeline.retrain_machine, PaginationConfig={"PageSize": min(last or 1000, 1000)}
        )
        count = 0
        for page in pages:
            for each in page["executions"]:
                began = each["startDate"].astimezone(UTC)
                if count == last or (since is not None and began < since):
                    return
                count += 1
                row = started.get(each["executionArn"])
                decision = None if row is None else _guard_decision(row)
                run = self._of(each["name"], _iso(began), str(each["status"]), decision)
                yield _with_end(run, began, each.get("stopDate"))

    def _of(self, name: str, at: str, status: str, decision: GuardDecision | None) -> Run:
        return Run(
            id=name,
            pipeline=self.pipeline.pipeline,
            at=at,
            outcome=status,
            execution=execution_arn(self.pipeline.retrain_machine, name),
            **_request(decision),
        )

    def _forgotten(self, name: str, at: str, decision: GuardDecision | None) -> Run:
        """Return a run whose execution is no longer available; a question is stored with the guard's decision."""
        if decision is not None and decision.decision is Decision.ASKED:
            return replace(self._of(name, at, decision.decision.value, decision), reason=decision.reason)
        return self._of(name, at, "UNKNOWN", decision)

    def _refused(self, decision: GuardDecision) -> Run:
        return Run(
            id=decision.event_id,
            pipeline=self.pipeline.pipeline,
            at=decision.at,
            outcome="REFUSED",
            reason=decision.reason,
            decision=decision.decision,
            free_at=decision.free_at,
            **_request(decision),
        )

    def _found(self, id: str) -> Run:
        version = _VERSION.fullmatch(id)
        if version is None or version["group"] not in (None, self.pipeline.group):
            return self._named(id)
        return self._named(self._run_of_version(int(version["number"])))

    def _named(self, id: str) -> Run:
        decisions = self._decisions()
        if id == LATEST:
            newest = next(iter(self._merged_runs(decisions)), None)
            if newest is None:
                raise RunError(
                    f"{self.pipeline.pipeline} has no run yet; start one: mlops train {self.pipeline.pipeline}"
                )
            return newest
        refused = next((each for each in decisions if each["event_id"] == id and _is_refusal(each)), None)
        if refused is not None:
            return self._refused(_guard_decision(refused))
        if not _NAME.fullmatch(id):
            raise self._absent(id, decisions)
        arn = execution_arn(self.pipeline.retrain_machine, id)
        row = next((each for each in decisions if each.get("execution") == arn and _is_start(each)), None)
        decision = None if row is None else _guard_decision(row)
        with Tolerated("ExecutionDoesNotExist", "InvalidArn", "InvalidName"):
            described = self.stepfunctions.describe_execution(executionArn=arn, includedData="METADATA_ONLY")
            began = described["startDate"].astimezone(UTC)
            run = self._of(id, _iso(began), str(described["status"]), decision)
            return _with_end(run, began, described.get("stopDate"))
        if decision is not None or self._evaluation(id) is not None:
            return self._forgotten(id, _day(id) if decision is None else decision.at, decision)
        raise self._absent(id, decisions)

    def _absent(self, id: str, decisions: Sequence[_Decision]) -> RunError:
        known = ", ".join(run.id for run in self._merged_runs(decisions)[:5]) or "none"
        return RunError(
            f"run {id[:80]!r} of {self.pipeline.pipeline} not found; the newest are {known}: mlops runs list"
        )

    def _merged_runs(self, decisions: Sequence[_Decision]) -> list[Run]:
        return [run for run in self._merged(decisions, last=5, since=None) if not run.is_refused]

    def _filled(self, run: Run) -> Run:
        """Return a run with outcome and losses."""
        if run.is_refused or run.outcome in ("RUNNING", Decision.ASKED):
            return run
        gate = self._gate(run.id) if run.outcome in ("SUCCEEDED", "UNKNOWN") else None
        if gate is not None and gate.metrics is not None:
            run = replace(run, metric=gate.metric, metrics=gate.metrics)
        else:
            body = self._body(f"evaluations/{self.pipeline.pipeline}/{run.id}/evaluation.json")
            if body is not None:  # parsed as plain JSON, since a list does not need its losses by block
                evaluation = json.loads(body)
                run = replace(run, metric=evaluation["metric"], metrics=evaluation["metrics"])
        if gate is not None:
            outcome = _REGISTERED if gate.verdict is GateVerdict.PASSED else "REJECTED"
            return replace(run, outcome=outcome, reason=gate.reason)
        if run.outcome == "UNKNOWN":
            return replace(run, reason="its execution is no longer available, and it has no gate result")
        return self._ended(run)

    def _ended(self, run: Run) -> Run:
        """Return a run without a gate's decision, with outcome and reason of its execution."""
        found = self.stepfunctions.describe_execution(executionArn=str(run.execution))
        output = json.loads(found.get("output", "{}"))
        return replace(
            run,
            outcome=str(output.get("outcome", run.outcome)),
            reason=str(output.get("reason", found.get("cause", found.get("error", "no cause is known")))),
        )

    def _decisions(self) -> list[_Decision]:
        """Return the guard's rows as plain mappings: there may be many, and few of them are shown."""
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.pipeline.retraining_table,
            KeyConditionExpression="pipeline = :pipeline AND begins_with(#item, :event)",
            ProjectionExpression=", ".join(_NAMES),
            ExpressionAttributeNames={"#item": "item", **_NAMES},
            ExpressionAttributeValues={":pipeline": {"S": self.pipeline.pipeline}, ":event": {"S": "EVENT#"}},
        )
        rows = (item for page in pages for item in page["Items"])
        return [{name: value["S"] for name, value in row.items() if "S" in value} for row in rows]

    def _evaluated(self) -> set[str]:
        prefix = f"evaluations/{self.pipeline.pipeline}/"
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.unit.artifacts_bucket, Prefix=prefix, Delimiter="/"
        )
        folders = (each["Prefix"] for page in pages for each in page.get("CommonPrefixes", []))
        return {folder.removeprefix(prefix).rstrip("/") for folder in folders}

    def _run_of_version(self, number: int) -> str:
        """Return the run that registered a version."""
        pages = self.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self.pipeline.group, PaginationConfig={"PageSize": 100}
        )
        newest = 0
        for page in pages:
            for each in page["ModelPackageSummaryList"]:
                found = int(each["ModelPackageArn"].rpartition("/")[2])
                newest = max(newest, found)
                if found == number:
                    return str(each.get("ModelPackageDescription", "")).rpartition(" ")[2]
        known = f"the newest is {newest}" if newest else "it has none yet"
        raise RunError(
            f"{self.pipeline.group} has no version {number}, {known}; name a version of `mlops models list` or a run of "
            f"`mlops runs list {self.pipeline.pipeline}`"
        )

    def _packages(self, names: set[str]) -> dict[str, Mapping[str, Any]]:
        """Return the packages that runs registered, by run; a package's description ends with the name of its run."""
        found: dict[str, Mapping[str, Any]] = {}
        if not names:
            return found
        pages = self.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self.pipeline.group,
            SortBy="CreationTime",
            SortOrder="Descending",
            PaginationConfig={"PageSize": 100},
        )
        for page in pages:
            for each in page["ModelPackageSummaryList"]:
                name = each.get("ModelPackageDescription", "").rpartition(" ")[2]
                if name in names:
                    found.setdefault(name, each)
            if len(found) == len(names):
                break
        return found

    def _evaluation(self, name: str) -> Evaluation | None:
        return self._read(Evaluation, f"evaluations/{self.pipeline.pipeline}/{name}/evaluation.json")

    def _training(self, name: str, steps: Sequence[RunStep]) -> TrainingMetrics | None:
        """Return the training metrics of the script; for a failed training those in its log."""
        kept = self._read(TrainingMetrics, f"evaluations/{self.pipeline.pipeline}/{name}/training.json")
        if kept is not None or not any(step.step == "train" and step.status == _FAILED for step in steps):
            return kept
        with Tolerated(*DENIED):
            lines = self._newest_lines(name, "train")
            return next((found for line in reversed(lines) if (found := read_log_line(line)) is not None), None)
        return None

    def _gate(self, name: str) -> GateResult | None:
        return self._read(GateResult, f"gates/{self.pipeline.pipeline}/{name}.json")

    def _read(self, kind: type[T], key: str) -> T | None:
        body = self._body(key)
        return None if body is None else from_json(kind, body)

    def _body(self, key: str) -> bytes | None:
        with Tolerated("NoSuchKey"):
            return self.s3.get_object(Bucket=self.unit.artifacts_bucket, Key=key)["Body"].read()
        return None

    def _job_name(self, name: str, step: Step) -> str:
        return f"{self.pipeline.pipeline}-{name[:_CHARACTERS_OF_NAME]}-{_JOBS[step].suffix}"

    def _described(self, name: str, step: Step) -> Mapping[str, Any] | None:
        job, of = self._job_name(name, step), _JOBS[step]
        if of.is_of_server and not self.pipeline.asks_servers:
            return None
        with Tolerated("ValidationException", "ResourceNotFound"):
            if of.kind == "Training":
                return self.sagemaker.describe_training_job(TrainingJobName=job)
            if of.kind == "Transform":
                return self.sagemaker.describe_transform_job(TransformJobName=job)
            return self.sagemaker.describe_processing_job(ProcessingJobName=job)
        return None

    def _lines(self, name: str, step: Step) -> Iterator[str] | None:
        """Return the lines of a job's log streams; None without a stream."""
        if _JOBS[step].is_of_server and not self.pipeline.asks_servers:
            return None
        group, streams = _JOBS[step].group, self._streams(name, step)
        return (line for stream in streams for line in self._stream(group, stream)) if streams else None

    def _newest_lines(self, name: str, step: Step) -> list[str]:
        """Return the last page of lines of a job's log."""
        group, streams = _JOBS[step].group, self._streams(name, step)
        events = (
            self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=False, limit=_NEWEST)
            for stream in streams
        )
        return [event["message"] for page in events for event in page["events"]]

    def _streams(self, name: str, step: Step) -> list[str]:
        pages = self.logs.get_paginator("describe_log_streams").paginate(
            logGroupName=_JOBS[step].group, logStreamNamePrefix=f"{self._job_name(name, step)}/"
        )
        try:
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []

    def _stream(self, group: str, stream: str) -> Iterator[str]:
        """Yield the lines of a stream; read by stream, since FilterLogEvents would need access to the logs of all jobs."""
        given: Any = {}
        while True:
            page = self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **given)
            yield from (event["message"].rstrip("\n") for event in page["events"])
            # at the end of the stream the service returns the same token
            # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html
            if page["nextForwardToken"] == given.get("nextToken"):
                return
            given = {"nextToken": page["nextForwardToken"]}

    def _each(self, items: Sequence[T], call: Callable[[T], U]) -> list[U]:
        if items:  # clients are created here: a boto3 session is not thread-safe
            _ = self.s3, self.stepfunctions
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(call, items))


def _metrics(details: RunDetails) -> Mapping[str, float]:
    return {} if details.training is None else details.training.metrics


def _request(decision: GuardDecision | None) -> dict[str, Any]:
    if decision is None:
        return {}
    return {"trigger": decision.trigger, "requested_by": decision.requested_by, "detail": decision.detail or None}


def _guard_decision(row: _Decision) -> GuardDecision:
    return from_dict(GuardDecision, row)


def _is_start(row: _Decision) -> bool:
    return Decision(row["decision"]).is_start


def _with_end(run: Run, began: datetime, end: datetime | None) -> Run:
    if end is None:
        return run
    return replace(run, ended=_iso(end.astimezone(UTC)), seconds=(end - began).total_seconds())


def _is_refusal(row: _Decision) -> bool:
    """Return whether a request was refused; a recheck without an alarm in ALARM is not a request."""
    if row["decision"] in _NOT_REFUSED:
        return False
    return row["decision"] != Decision.NOT_CONFIRMED or row.get("trigger") not in (None, Trigger.RECHECK)


def _collapsed(decisions: Iterable[_Decision]) -> list[tuple[_Decision, int]]:
    """Collapse consecutive refusals of the same kind into the newest, with their count: a lasting alarm requests every hour."""
    found: list[tuple[_Decision, int]] = []
    before: tuple[str | None, ...] | None = None
    for row in sorted(filter(_is_refusal, decisions), key=lambda each: each["at"]):
        kind = tuple(map(row.get, ("trigger", "requested_by", "decision")))
        if kind == before:
            found[-1] = row, found[-1][1] + 1
        else:
            found.append((row, 1))
        before = kind
    return found


def _with_package(run: Run, packages: Mapping[str, Mapping[str, Any]]) -> Run:
    package = packages.get(run.id)
    if package is None:
        return run
    return replace(run, package=str(package["ModelPackageArn"]), approval=str(package["ModelApprovalStatus"]))


def _step(step: Step, described: Mapping[str, Any]) -> RunStep:
    kind = _JOBS[step].kind
    status = str(described[f"{kind}JobStatus"])
    began, ended = described.get(f"{kind}StartTime"), described.get(f"{kind}EndTime")
    return RunStep(
        step=step,
        job=described[f"{kind}JobName"],
        status=status,
        seconds=None if began is None or ended is None else (ended - began).total_seconds(),
        failure=(described.get("FailureReason") or described.get("ExitMessage")) if status == _FAILED else None,
    )


def _day(name: str) -> str:
    """Return the day in the prefix of an execution's name."""
    try:
        return _iso(datetime.strptime(name[:8], "%Y%m%d").replace(tzinfo=UTC))
    except ValueError:
        return _iso(datetime.fromtimestamp(0, UTC))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _iso(at: datetime) -> str:
    return str(to_dict(at.replace(microsecond=0)))
