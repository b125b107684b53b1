"""Client of a deployed unit, found by its SSM parameters, and of its models: the verbs of ``mlops``, from training to reports."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_runtime.client.connection import Connection, UnitError
from mlops_runtime.client.results import Comparison, Live, Predictions, Report, RunSummary, RunTable, Summary
from mlops_runtime.client.row_values import rows_of, table_of, values_of
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model import Evaluation, GateResult
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.contracts.retraining import Decision, GuardDecision
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.contracts.unit_entries import ROOT, EndpointEntry, Entry, PipelineEntry, UnitEntry, read_entry
from mlops_runtime.labels.label_rows import check_ids
from mlops_runtime.labels.label_upload import upload_labels
from mlops_runtime.monitor.stored_reports import newest_report
from mlops_runtime.registry.package_approval import RegistryEntry, registry_parameter
from mlops_runtime.retraining.retraining_request import RetrainingRequests, refusal_of
from mlops_runtime.retraining.run_history import RunHistory, Step
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.serving.live_baseline import ModelInputs, live_baseline
from mlops_runtime.serving.registration_checks import UnfitModelError, registrable
from mlops_runtime.serving.row_calls import AnsweredCall, RowCalls
from mlops_runtime.training_data.published_set import publish

if TYPE_CHECKING:
    import boto3

_GUARD_SECONDS = 60  # limit for a queue and a function; later, the event is in the dead-letter queue
_LOOK_SECONDS = 1.0

T = TypeVar("T")
E = TypeVar("E", bound=Entry)


class RefusedError(RuntimeError):
    """The guard refused a request.

    Args:
        decision: The guard's decision; its ``free_at`` is the time from which it would accept, if only time must pass.
    """

    def __init__(self, decision: GuardDecision) -> None:
        super().__init__(refusal_of(decision))
        self.decision = decision


class PredictionError(RuntimeError):
    """Some rows were not predicted.

    Args:
        calls: Results of all calls, including successful ones.
    """

    def __init__(self, calls: Sequence[AnsweredCall]) -> None:
        failed = [call for call in calls if call.problem is not None]
        rows = sum(call.rows for call in failed)
        first = failed[0]
        super().__init__(
            f"{rows} of {sum(call.rows for call in calls)} rows were not predicted; from row {first.first}: "
            f"{first.status} {first.problem}"
        )
        self.calls = tuple(calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """A training run that the guard has started.

    Args:
        id: Id of the run, as in ``Model.runs``.
        decision: The guard's decision.
        history: Run history of its pipeline.
        requests: Retraining requests of its pipeline, to read the outcome.
    """

    id: str
    decision: GuardDecision
    history: RunHistory = field(repr=False)
    requests: RetrainingRequests = field(repr=False)

    def wait(self, *, timeout: float | None = None) -> RunSummary:
        """Wait for the end of the run, and return its result; a model that the gate refused is not an error.

        Args:
            timeout: Longest wait, in seconds. Default: no limit.

        Raises:
            TimeoutError: If the run has not ended by then; it continues.
        """
        execution = str(self.decision.execution)
        # the execution of an earlier run, for a model registered before, may have expired
        if self.decision.outcome is None and _awaited(lambda: self.requests.outcome(execution), timeout) is None:
            raise TimeoutError(f"{self.id} has not ended within {timeout:g} s and continues; call wait again")
        return RunSummary(self.history.run(self.id))

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation; ``None`` before it."""
        return self.history.run(self.id).evaluation

    @property
    def gate(self) -> GateResult | None:
        """The gate's result; ``None`` before it."""
        return self.history.run(self.id).gate

    def log(self, step: Step | None = None, *, last: int | None = None) -> str:
        """Return the log of a job.

        Args:
            step: The job. Default: ``train``; for a model trained elsewhere, ``evaluate``.
            last: Number of newest lines. Default: all.
        """
        return "\n".join(self.history.log(self.id, step, last=last))


class Model:
    """A model of a unit, from ``Unit.model``.

    The client cannot approve models; use ``mlops models approve`` with an approver's role.
    """

    def __init__(
        self, connection: Connection, *, unit: UnitEntry, pipeline: PipelineEntry | None, endpoint: EndpointEntry | None
    ) -> None:
        self._connection, self._unit = connection, unit
        self._pipeline, self._endpoint = pipeline, endpoint

    def publish(self, train: Any, holdout: Any, *, replace_newer: bool = False) -> Summary:
        """Publish both splits as the pipeline's training set: Parquet files with naive baselines, and last the manifest.

        Args:
            train: The training split: an Arrow table, or a pandas or polars frame.
            holdout: The holdout; its first time must be after the newest time of the training split.
            replace_newer: Whether the rows may end before those of the published set, to replace a wrong one. Default: such
                rows are refused.

        Raises:
            UnitError: If the pipeline builds its own training sets.
            PublishError: With all problems of the splits; then nothing is written.
            RetrainingRequestError: If a run is reading the published set.
        """
        entry = self._trained()
        if entry.training_set is None or entry.label is None or entry.timestamp is None:
            raise UnitError(
                f"{entry.pipeline} does not read published training sets; declare TrainingSetSource.s3(...) and the time of "
                "prediction in EvaluationPlan(timestamp=...)"
            )
        self._requests().require_idle()
        made = publish(
            self._connection.client("s3"),
            entry.training_set,
            train,
            holdout,
            label=entry.label,
            timestamp=entry.timestamp,
            baselines=entry.baselines or (),
            block=entry.block,
            replace_newer=replace_newer,
        )
        return Summary({**asdict(made), "split": dict(made.split)})

    def train(self, *, reason: str) -> TrainingRun:
        """Request a retraining in the caller's own name, and return the run that the guard started.

        Args:
            reason: Reason, stored with the request.

        Raises:
            RefusedError: If the guard refuses.
            UnitError: If the guard does not decide within 60 seconds.
        """
        requests = self._requests()
        return self._started(
            requests, requests.send(caller=self._connection.identity().user_id, reason=_reason(reason))
        )

    def register(
        self,
        model: str | Path,
        *,
        trust: Trust | None = None,
        requirements: str | Path | None = None,
        predictions: str | Path | None = None,
        data: str | Path | None = None,
        again: bool = False,
        reason: str = "a model made elsewhere",
    ) -> TrainingRun:
        """Register a model trained elsewhere, and return the run that evaluates it with the same evaluation and gate.

        A model that was registered before is not evaluated twice: its earlier run is returned.

        Args:
            model: A folder, a file or a ``model.tar.gz``.
            trust: What loading the model may do; required for pickles. Default: from its files.
            requirements: Lock file of its environment. Default: ``requirements.lock`` next to it.
            predictions: Parquet file with your own predictions for the holdout's rows.
            data: Parquet file of the holdout, to check its columns and rows before the upload.
            again: Whether to evaluate a model that was registered before again, as a second version.
            reason: Reason, stored with the request.

        Raises:
            ModelError: If the model cannot be read.
            UnitError: If gate, evaluation or server would refuse it, with all problems; then nothing is uploaded.
            RefusedError: If the guard refuses.
        """
        entry, requests = self._trained(), self._requests()
        mine = None if predictions is None else Path(predictions)
        with tempfile.TemporaryDirectory(prefix="mlops-register-") as folder:
            name = registry_parameter(unit=entry.unit, group=entry.group)
            ssm = self._connection.client("ssm")
            registry = from_json(RegistryEntry, ssm.get_parameter(Name=name)["Parameter"]["Value"])
            try:
                packed = registrable(
                    entry,
                    registry,
                    Path(model),
                    Path(folder) / "packed.tar.gz",
                    requirements=None if requirements is None else Path(requirements),
                    trust=trust,
                    predictions=mine,
                    data=None if data is None else Path(data),
                )
            except UnfitModelError as error:
                raise UnitError(str(error)) from error
            candidate = requests.upload(
                packed.archive, sha256=packed.sha256, flavor=packed.flavor, trust=packed.trust, predictions=mine
            )
        event = requests.send(
            candidate, caller=self._connection.identity().user_id, reason=_reason(reason), again=again
        )
        return self._started(requests, event)

    def runs(self, *, last: int = 20) -> RunTable:
        """Return the newest runs and refused requests.

        Args:
            last: Maximum number.
        """
        return RunTable(self._history().runs(last=last))

    def run(self, id: str = "latest") -> RunSummary:
        """Return a run with all its details.

        Args:
            id: Id of the run, as in ``runs``. Default: the newest.

        Raises:
            RunError: If the run does not exist.
        """
        return RunSummary(self._history().run(id))

    def compare(self, first: str, second: str) -> Comparison:
        """Compare two runs on one holdout, with the gate's confidence interval.

        Args:
            first: The reference run.
            second: The run whose loss is given relative to the reference.

        Raises:
            RunError: If they were not evaluated on the same rows.
        """
        return Comparison(self._history().compare(first, second))

    def live(self) -> Live | None:
        """Return the live version; ``None`` before the first deployment."""
        entry = self._served()
        text = RolloutTable(self._connection.client("dynamodb"), entry.rollout_table, entry.endpoint).read().live
        return None if text is None else Live(from_json(LivePointer, text))

    def predict(self, rows: Any, *, ids: str | None = None) -> Predictions:
        """Return one prediction per row, in the order of the rows.

        Calls have at most 2,000 rows and 4 MB. Columns that are not inputs of the live model are omitted, if the caller may read
        its baseline. Fields that the endpoint declares as personal are hashed or removed before sending.

        Args:
            rows: An Arrow table, a pandas or polars frame, or a list of dicts.
            ids: Column with the id of each row, for labels. Default: rows have no ids.

        Raises:
            PredictionError: If some rows were not predicted; it has the predictions of the others.
            PersonalDataError: If personal fields cannot be protected; then that call is not sent.
            LabelError: If ids are missing or repeated.
            UnitError: If no column can be sent.
        """
        entry, table = self._served(), table_of(rows)
        calls = RowCalls(entry, client=self._connection.client, now=self._connection.now)
        names = None
        if ids is not None:
            _require(table, [ids])
            calls.check_ids(ids)
            names = check_ids(values_of(table, ids))
        columns, fit = self._inputs(entry, table, ids)
        answered = list(calls.send((fit(row) for row in rows_of(table, columns)), names))
        if any(call.problem is not None for call in answered):
            raise PredictionError(answered)
        values = tuple(value for call in answered for value in call.predictions)
        return Predictions(values, tuple(names or ()))

    def labels(self, rows: Any, *, ids: str, value: str | Sequence[str], time: str | None = None) -> Summary:
        """Upload ground-truth labels of predictions for the monitors; existing labels are not written again.

        Args:
            rows: An Arrow table, a pandas or polars frame, or a list of dicts.
            ids: Column with the ids that the rows were sent with.
            value: Column with the labels; for a model with several outputs, one column each, in their order.
            time: Column with the time at which a label became known; the newest label of an id counts. Default: one label per id.

        Raises:
            LabelError: With all problems; then nothing is written.
            UnitError: If a column is missing.
        """
        table, values = table_of(rows), [value] if isinstance(value, str) else list(value)
        _require(table, [ids, *values, *([] if time is None else [time])])
        done = upload_labels(
            self._served(),
            client=self._connection.client,
            ids=values_of(table, ids),
            values=[values_of(table, name) for name in values],
            times=None if time is None else values_of(table, time),
            now=self._connection.now(),
        )
        return Summary(asdict(done))

    def report(self) -> Report | None:
        """Return the newest report of the endpoint's monitors; ``None`` before the first one."""
        found = newest_report(
            self._connection.client("s3"),
            self._unit.artifacts_bucket,
            self._served().endpoint,
            now=self._connection.now(),
        )
        return None if found is None else Report(found)

    def _inputs(
        self, entry: EndpointEntry, table: Any, ids: str | None
    ) -> tuple[list[str], Callable[[Mapping[str, object]], Mapping[str, object]]]:
        """Return the columns to send, and a function that fits a row to the live model's inputs."""
        baseline = live_baseline(entry, self._connection.client)
        if baseline is None:
            return [name for name in table.column_names if name != ids], lambda row: row
        inputs = ModelInputs.of(baseline)
        columns = [name for name in table.column_names if name in inputs.names]
        if not columns:
            raise UnitError(
                f"no column can be sent: the inputs of the live model are {', '.join(inputs.names)}, the rows have "
                f"{', '.join(table.column_names)}"
            )
        return columns, inputs.fit

    def _started(self, requests: RetrainingRequests, event: str) -> TrainingRun:
        decision = _awaited(lambda: requests.decision(event), _GUARD_SECONDS)
        if decision is None:
            queue = requests.pipeline.queue_url.rpartition("/")[2]
            raise UnitError(
                f"the guard of {requests.pipeline.pipeline} has not decided on event {event} within {_GUARD_SECONDS} s; check "
                f"the log of its function and the dead-letter queue of {queue}"
            )
        if decision.decision not in (Decision.STARTED, Decision.KNOWN) or decision.execution is None:
            raise RefusedError(decision)
        name = decision.execution.rpartition(":")[2]
        return TrainingRun(id=name, decision=decision, history=self._history(), requests=requests)

    def _requests(self) -> RetrainingRequests:
        return RetrainingRequests(client=self._connection.client, unit=self._unit, pipeline=self._trained())

    def _history(self) -> RunHistory:
        return RunHistory(client=self._connection.client, unit=self._unit, pipeline=self._trained())

    def _trained(self) -> PipelineEntry:
        if self._pipeline is None:
            name = "the model" if self._endpoint is None else self._endpoint.endpoint
            raise UnitError(f"{name} has no RetrainingPipeline; declare one in its stack, and deploy it")
        return self._pipeline

    def _served(self) -> EndpointEntry:
        if self._endpoint is None:
            name = "the model" if self._pipeline is None else self._pipeline.pipeline
            raise UnitError(f"{name} has no ModelEndpoint; declare one in its stack, and deploy it")
        return self._endpoint


class Unit:
    """A deployed unit; create it with ``connect``.

    Example:
        >>> unit = Unit.connect("demand")  # doctest: +SKIP
        >>> unit.model("forecast").runs(last=5)  # doctest: +SKIP
    """

    def __init__(self, connection: Connection, entry: UnitEntry) -> None:
        self._connection, self._entry = connection, entry

    @classmethod
    def connect(cls, name: str, *, session: "boto3.Session | None" = None, home: str | Path | None = None) -> "Unit":
        """Connect to a unit.

        Args:
            name: Name of the unit.
            session: Session of the AWS account. Default: from the environment.
            home: Folder of an embedded cloud. Default: the one running in ``.mlops/local``, unless the environment selects an
                AWS account.

        Raises:
            UnitError: If the unit is not found.
        """
        connection = Connection.open(session, home)
        entry = _read(connection, f"{ROOT}{name}/unit", UnitEntry)
        if entry is None:
            where = connection.client("ssm").meta.endpoint_url
            raise UnitError(f"business unit {name!r} not found at {where}; list the units with: mlops status")
        return cls(connection, entry)

    @property
    def name(self) -> str:
        """Its name."""
        return self._entry.unit

    def model(self, name: str) -> Model:
        """Return a model of the unit.

        Args:
            name: Name of the model, such as ``forecast``, or with the unit's name, ``demand-forecast``.

        Raises:
            UnitError: If the unit has neither a pipeline nor an endpoint of that name.
        """
        full = name if name.startswith(f"{self.name}-") else f"{self.name}-{name}"
        pipeline = _read(self._connection, f"{ROOT}{self.name}/pipeline/{full}", PipelineEntry)
        served = full if pipeline is None or pipeline.endpoint is None else pipeline.endpoint
        endpoint = _read(self._connection, f"{ROOT}{self.name}/endpoint/{served}", EndpointEntry)
        if pipeline is None and endpoint is None:
            raise UnitError(
                f"business unit {self.name!r} has no pipeline or endpoint {full!r}; list them with: mlops status {self.name}"
            )
        return Model(self._connection, unit=self._entry, pipeline=pipeline, endpoint=endpoint)


def _read(connection: Connection, name: str, kind: type[E]) -> E | None:
    ssm = connection.client("ssm")
    try:
        value = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return None
    entry = read_entry(name, value)
    return entry if isinstance(entry, kind) else None


def _require(table: Any, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise UnitError(
            f"the rows have no column {', '.join(map(repr, missing))}, they have {', '.join(table.column_names)}"
        )


def _reason(text: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise UnitError(f"reason must be a non-blank string, got {text!r}; it is stored with the request")
    return text.strip()


def _awaited(look: Callable[[], T | None], seconds: float | None) -> T | None:
    until = None if seconds is None else time.monotonic() + seconds
    while (found := look()) is None and (until is None or time.monotonic() < until):
        time.sleep(_LOOK_SECONDS)
    return found
