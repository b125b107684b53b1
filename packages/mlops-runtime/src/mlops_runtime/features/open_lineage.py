"""OpenLineage events of ingests and training sets, stored in an outbox so that builds do not wait for a collector."""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    JobFacet,
    RunFacet,
    column_lineage_dataset,
    data_quality_assertions_dataset,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
    source_code_location_job,
)
from openlineage.client.serde import Serde
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.http import HttpConfig, HttpTransport
from requests import HTTPError

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.features import PinnedTable, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, Feature, FeatureGroup
from mlops_runtime.features.training_set_manifest import Objects, pins

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

F = TypeVar("F")

Event = dict[str, Any]
PRODUCER = f"urn:mlops-constructs:{version('mlops-runtime')}"
INTEGRATION = "MLOPS_CONSTRUCTS"
Transformation = column_lineage_dataset.Transformation
_DIRECT, _JOIN = Transformation("DIRECT", subtype="IDENTITY"), Transformation("INDIRECT", subtype="JOIN")

_STATES = ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
# statuses unrelated to the event itself: request timeout, too many requests
_TRY_LATER = (408, 429)
_RETRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeLocation:
    """Location of a job's code: URL of its file and, if known, repository, commit and path."""

    url: str
    repository: str | None = None
    commit: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentRun:
    """The parent run: its id (a UUID), and namespace and name of its job."""

    run_id: str
    namespace: str
    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageSource:
    """Source of the events, the same for all events of a unit."""

    namespace: str  # namespace of the jobs, such as the unit's event source `mlops.demand`
    catalog: str  # ARN of the Glue catalog without its resource, `arn:aws:glue:<region>:<account>`
    code: CodeLocation | None = None  # location of the jobs' code. Default: omitted
    parent: ParentRun | None = None  # the parent run. Default: omitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """An ingest for its events.

    ``key`` is its idempotency key, ``snapshot_id`` the commit's snapshot, ``rows`` the number of added rows if known. ``source`` is
    the dataset that the batch was read from (namespace, name); without it the input is the batch itself,
    ``batch/<database>/<table>``.
    """

    group: FeatureGroup
    database: str
    key: str
    snapshot_id: int | None = None
    rows: int | None = None
    source: tuple[str, str] | None = None


def training_set_events(
    manifest: TrainingSetManifest, source: LineageSource, *, uri: str, started: datetime, now: datetime
) -> tuple[Event, Event]:
    """Return START and COMPLETE of a training set.

    Args:
        manifest: The training set's manifest.
        source: Source of the events. Without a code location, the manifest's ``build.source`` is used.
        uri: Location of the files: an ``s3://`` prefix, or a folder.
        started: Start of the build.
        now: End of the build.

    Example:
        >>> source = LineageSource(namespace="mlops.demand", catalog="arn:aws:glue:us-east-1:111122223333")
        >>> start, complete = training_set_events(  # doctest: +SKIP
        ...     manifest, source, uri="s3://sets/sets/demand/1", started=now, now=now
        ... )
        >>> complete["eventType"], complete["outputs"][0]["namespace"]  # doctest: +SKIP
        ('COMPLETE', 's3://sets')
    """
    digest = content_hash(manifest)
    engine = _facet(
        processing_engine_run.ProcessingEngineRunFacet,
        version=manifest.build.engine_version,
        name=manifest.build.engine,
        openlineageAdapterVersion=manifest.build.client,
    )
    run = _run(source, f"training-set/{digest}", {"processing_engine": engine})
    code = _built_from(manifest) if source.code is None else source.code
    job = _job(replace(source, code=code), f"training_set.{manifest.name}", "TRAINING_SET")
    read = {(table.database, table.table, table.snapshot_id): _pinned(source, table) for table in pins(manifest)}
    inputs = [*read.values(), *_entity_rows(manifest, uri)]
    return (
        _event(RunState.START, started, run, job, inputs=inputs),
        _event(RunState.COMPLETE, now, run, job, inputs=inputs, outputs=[_training_set(manifest, digest, source, uri)]),
    )


def training_set_failure(
    plan: TrainingSetPlan, source: LineageSource, *, as_of: datetime, error: str, started: datetime, now: datetime
) -> tuple[Event, Event]:
    """Return START and FAIL of a training set that could not be built; plan, ``as_of`` and ``started`` identify its run."""
    digest = content_hash({"plan": plan, "as_of": as_of.astimezone(UTC)})
    job = _job(source, f"training_set.{plan.name}", "TRAINING_SET")
    return _failure(source, f"training-set-plan/{digest}", job, error=error, started=started, now=now)


def ingest_events(ingest: Ingest, source: LineageSource, *, started: datetime, now: datetime) -> tuple[Event, Event]:
    """Return START and COMPLETE of an appended batch, with the checks that it passed."""
    group = ingest.group
    run = _run(source, _ingest_key(ingest), {})
    job = _job(source, f"ingest.{group.table_name}", "INGEST")
    read = _batch(ingest, source, checked=True)
    facets: dict[str, DatasetFacet] = {"schema": _schema(group)}
    if ingest.snapshot_id is not None:
        facets["version"] = _version(str(ingest.snapshot_id))
    written = OutputDataset(namespace=source.catalog, name=f"table/{ingest.database}/{group.table_name}", facets=facets)
    if ingest.rows is not None:
        statistics = _facet(output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet, rowCount=ingest.rows)
        written.outputFacets = {"outputStatistics": statistics}
    return (
        _event(RunState.START, started, run, job, inputs=[_batch(ingest, source, checked=False)]),
        _event(RunState.COMPLETE, now, run, job, inputs=[read], outputs=[written]),
    )


def ingest_failure(
    ingest: Ingest, source: LineageSource, *, error: str, started: datetime, now: datetime
) -> tuple[Event, Event]:
    """Return START and FAIL of a batch that was rejected or could not be written; none of its rows is in the table."""
    job = _job(source, f"ingest.{ingest.group.table_name}", "INGEST")
    read = [_batch(ingest, source, checked=False)]
    return _failure(source, _ingest_key(ingest), job, error=error, started=started, now=now, inputs=read)


def run_id(source: LineageSource, what: str) -> str:
    """Return the id of a run, the same for the same subject and namespace."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PRODUCER.rpartition(':')[0]}/{source.namespace}/{what}"))


def _failure(
    source: LineageSource,
    what: str,
    job: Job,
    *,
    error: str,
    started: datetime,
    now: datetime,
    inputs: Iterable[InputDataset] = (),
) -> tuple[Event, Event]:
    what = f"{what}/{_time(started)}"  # each failed attempt is a run of its own: the next may succeed
    message = _facet(error_message_run.ErrorMessageRunFacet, message=error, programmingLanguage="PYTHON")
    read = list(inputs)
    return (
        _event(RunState.START, started, _run(source, what, {}), job, inputs=read),
        _event(RunState.FAIL, now, _run(source, what, {"errorMessage": message}), job, inputs=read),
    )


def _event(
    state: RunState,
    at: datetime,
    run: Run,
    job: Job,
    *,
    inputs: list[InputDataset],
    outputs: Iterable[OutputDataset] = (),
) -> Event:
    event = RunEvent(
        eventTime=_time(at), producer=PRODUCER, run=run, job=job, eventType=state, inputs=inputs, outputs=list(outputs)
    )
    return Serde.to_dict(event)


def _run(source: LineageSource, what: str, facets: Mapping[str, RunFacet]) -> Run:
    found = dict(facets)
    if source.parent is not None:
        parent = source.parent
        found["parent"] = _facet(
            parent_run.ParentRunFacet,
            run=parent_run.Run(runId=parent.run_id),
            job=parent_run.Job(namespace=parent.namespace, name=parent.job),
        )
    return Run(runId=run_id(source, what), facets=found)


def _job(source: LineageSource, name: str, kind: str) -> Job:
    facets: dict[str, JobFacet] = {
        "jobType": _facet(job_type_job.JobTypeJobFacet, processingType="BATCH", integration=INTEGRATION, jobType=kind)
    }
    if source.code is not None:
        code = source.code
        facets["sourceCodeLocation"] = _facet(
            source_code_location_job.SourceCodeLocationJobFacet,
            type="git",
            url=code.url,
            repoUrl=code.repository,
            path=code.path,
            version=code.commit,
        )
    return Job(namespace=source.namespace, name=name, facets=facets)


def _pinned(source: LineageSource, table: PinnedTable) -> InputDataset:
    name, snapshot = f"table/{table.database}/{table.table}", _version(str(table.snapshot_id))
    return InputDataset(namespace=source.catalog, name=name, facets={"version": snapshot})


def _built_from(manifest: TrainingSetManifest) -> CodeLocation | None:
    source = {} if manifest.build.source is None else manifest.build.source
    url = source.get("url", source.get("repository"))
    if url is None:
        return None
    return CodeLocation(
        url=url, repository=source.get("repository"), commit=source.get("commit"), path=source.get("path")
    )


def _entity_rows(manifest: TrainingSetManifest, uri: str) -> list[InputDataset]:
    if manifest.entity_rows is None:
        return []
    namespace, _ = _place(uri)
    rows = f"entities/{manifest.entity_rows.sha256}.parquet"
    return [InputDataset(namespace=namespace, name=rows, facets={"version": _version(manifest.entity_rows.sha256)})]


def _place(uri: str) -> tuple[str, str]:
    """Return namespace and name of a location: https://openlineage.io/docs/spec/naming."""
    if not uri.startswith("s3://"):
        return "file", uri
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return f"s3://{bucket}", key.rstrip("/")


def _training_set(manifest: TrainingSetManifest, digest: str, source: LineageSource, uri: str) -> OutputDataset:
    output, (namespace, name) = manifest.output, _place(uri)
    fields = [schema_dataset.SchemaDatasetFacetFields(name=n, type=t) for n, t in output.columns.items()]
    written = OutputDataset(
        namespace=namespace,
        name=name,
        facets={
            "version": _version(digest),
            "schema": _facet(schema_dataset.SchemaDatasetFacet, fields=fields),
            "columnLineage": _columns(manifest, source),
        },
    )
    statistics = _facet(
        output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
        rowCount=output.rows,
        size=sum(file.bytes for file in output.files),
        fileCount=len(output.files),
    )
    written.outputFacets = {"outputStatistics": statistics}
    return written


def _columns(manifest: TrainingSetManifest, source: LineageSource) -> column_lineage_dataset.ColumnLineageDatasetFacet:
    """Return the source of each column, and the keys and times that selected the rows."""
    fields: dict[str, column_lineage_dataset.Fields] = {}
    choosing: dict[tuple[str, str, str], column_lineage_dataset.InputField] = {}

    def field(table: PinnedTable, column: str, how: Transformation) -> column_lineage_dataset.InputField:
        name = f"table/{table.database}/{table.table}"
        return column_lineage_dataset.InputField(source.catalog, name, column, transformations=[how])

    for table in pins(manifest):
        for column, name in zip(table.columns, table.names or table.columns, strict=True):
            fields.setdefault(name, column_lineage_dataset.Fields(inputFields=[field(table, column, _DIRECT)]))
        for column in (*table.entities, EVENT_TIME, CREATED_TIME):
            choosing[table.database, table.table, column] = field(table, column, _JOIN)
    return _facet(column_lineage_dataset.ColumnLineageDatasetFacet, fields=fields, dataset=list(choosing.values()))


def _batch(ingest: Ingest, source: LineageSource, *, checked: bool) -> InputDataset:
    group = ingest.group
    own = (source.catalog, f"batch/{ingest.database}/{group.table_name}")
    namespace, name = own if ingest.source is None else ingest.source
    read = InputDataset(namespace=namespace, name=name)
    if checked:
        passed = _facet(
            data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet, assertions=_assertions(group)
        )
        read.inputFacets = {"dataQualityAssertions": passed}
    return read


def _assertions(group: FeatureGroup) -> list[data_quality_assertions_dataset.Assertion]:
    """Return the checks of every batch of a group; a batch that fails one is never written, so all of them passed."""
    found = [_passed("not_null", column.name) for column in group.columns if column.required]
    for feature in group.features:
        found += [_passed(name, feature.name, expected) for name, expected in _constraints(feature).items()]
    return found


def _constraints(feature: Feature) -> dict[str, str]:
    bounds = {name: getattr(feature, name) for name in ("minimum", "maximum", "pattern")}
    found = {name: str(value) for name, value in bounds.items() if value is not None}
    if feature.allowed is not None:
        found["accepted_values"] = ", ".join(map(str, feature.allowed))
    return found


def _passed(check: str, column: str, expected: str | None = None) -> data_quality_assertions_dataset.Assertion:
    return data_quality_assertions_dataset.Assertion(
        assertion=check, success=True, column=column, severity="error", expected=expected
    )


def _schema(group: FeatureGroup) -> schema_dataset.SchemaDatasetFacet:
    fields = [
        schema_dataset.SchemaDatasetFacetFields(
            name=column.name, type=column.type, description=column.description, ordinal_position=position
        )
        for position, column in enumerate(group.columns, 1)
    ]
    return _facet(schema_dataset.SchemaDatasetFacet, fields=fields)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _version(text: str) -> dataset_version_dataset.DatasetVersionDatasetFacet:
    return _facet(dataset_version_dataset.DatasetVersionDatasetFacet, datasetVersion=text)


def _facet(kind: Callable[..., F], **members: object) -> F:
    # not set_producer, which would change the producer of all events in the process
    return kind(producer=PRODUCER, **members)


def _ingest_key(ingest: Ingest) -> str:
    return f"ingest/{ingest.database}/{ingest.group.table_name}/{ingest.key}"


class LineageOutboxError(Exception):
    """An event could not be stored, or the outbox could not be read."""


class Transport(Protocol):
    """Transport of events; raises ``OSError`` or ``RuntimeError``, as OpenLineage's transports do."""

    def emit(self, event: Any) -> Any:
        """Deliver an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Names of accepted events, and of failed ones with the reason, which stay pending.

    ``untried`` were not sent because the receiver did not respond to an earlier event.
    """

    delivered: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    untried: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """Number of events that wait and why; ``None`` without failures."""
        if not self.failed:
            return None
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failed)
        return f"{len(self.failed) + len(self.untried)} lineage events wait for the next delivery: {reasons}"


class LineageOutbox:
    """Stores events in a folder or below an ``s3://`` prefix.

    Args:
        location: The folder, or the prefix.
        s3: A boto3 client, for a prefix.

    Example:
        >>> import tempfile
        >>> outbox = LineageOutbox(tempfile.mkdtemp())
        >>> event = {"eventType": "START", "eventTime": "2017-01-01T00:00:00Z", "run": {"runId": "0"}}
        >>> outbox.put([event]), outbox.put([event]), outbox.pending()
        (('0-START',), (), ('0-START',))
    """

    def __init__(self, location: str | Path, *, s3: "S3Client | None" = None) -> None:
        if isinstance(location, str) and location.startswith("s3://") and s3 is None:
            raise LineageOutboxError(f"{location} is in S3; pass a client as s3=")
        self._objects = Objects(location, s3=s3)

    def put(self, events: Sequence[Event]) -> tuple[str, ...]:
        """Store events that are not stored yet; return names of the new events.

        Raises:
            LineageOutboxError: If an event cannot be written.
        """
        new = []
        for event in events:
            name = f"{event['run']['runId']}-{event['eventType']}"
            if self._write(f"events/{name}.json", event):
                new.append(name)
        return tuple(new)

    def pending(self) -> tuple[str, ...]:
        """Return the names of unsent events, sorted.

        Raises:
            LineageOutboxError: If the outbox cannot be listed.
        """
        with _wrapped_errors(f"list {self._objects}"):
            kept, taken = (set(self._objects.keys(f"{kind}/")) for kind in ("events", "delivered"))
        names = (PurePosixPath(key).stem for key in kept if key.replace("events/", "delivered/", 1) not in taken)
        return tuple(sorted(names))

    def deliver_pending(self, transport: Transport, *, now: datetime) -> Delivery:
        """Send pending events, oldest first, and START before the end of its run.

        Events that the receiver rejects are reported and stay pending; if the receiver does not respond, the rest is not tried.

        Args:
            transport: ``http_transport``, ``file_transport`` or another of OpenLineage's.
            now: The time to record with accepted events.

        Raises:
            LineageOutboxError: If the outbox cannot be read, or cannot record that an event was accepted.
        """
        events = [(name, self._read(f"events/{name}.json")) for name in self.pending()]
        events.sort(key=lambda pair: (pair[1]["eventTime"], _STATES.index(pair[1]["eventType"]), pair[0]))
        delivered: list[str] = []
        failed: list[tuple[str, str]] = []
        for place, (name, event) in enumerate(events):
            try:
                transport.emit(event)
            except (OSError, RuntimeError) as error:  # raised by requests and by OpenLineage's file transport
                failed.append((name, f"{type(error).__name__}: {error}"))
                if not _is_refusal(error):
                    rest = tuple(left for left, _ in events[place + 1 :])
                    return Delivery(delivered=tuple(delivered), failed=tuple(failed), untried=rest)
                continue
            receipt = {"delivered": now.astimezone(UTC).isoformat().replace("+00:00", "Z")}
            self._write(f"delivered/{name}.json", receipt)
            delivered.append(name)
        return Delivery(delivered=tuple(delivered), failed=tuple(failed))

    def _write(self, key: str, document: Mapping[str, object]) -> bool:
        with _wrapped_errors(f"write {key} in {self._objects}"):
            return self._objects.put_once(key, json.dumps(document, sort_keys=True).encode())

    def _read(self, key: str) -> Event:
        with _wrapped_errors(f"read {key} in {self._objects}"):
            event: Event = json.loads(self._objects.get(key) or b"{}")
        return event


def http_transport(url: str, *, api_key: str | None = None, timeout: float = 5.0) -> HttpTransport:
    """Return OpenLineage's transport to a collector such as Marquez: POST to ``<url>/api/v1/lineage``.

    Args:
        url: URL of the collector.
        api_key: Sent as bearer token. Default: none.
        timeout: Timeout in seconds of connecting and of a response, for each of three attempts.

    Raises:
        LineageOutboxError: If the URL is invalid.
    """
    if not url.startswith(("http://", "https://")):
        raise LineageOutboxError(f"url must begin with http:// or https://, got {url!r}")
    auth = {} if api_key is None else {"type": "api_key", "apiKey": api_key}
    retry = {"total": _RETRIES, "connect": _RETRIES, "read": _RETRIES}
    return HttpTransport(HttpConfig.from_dict({"url": url, "timeout": timeout, "auth": auth, "retry": retry}))


def file_transport(path: Path) -> FileTransport:
    """Return OpenLineage's transport to a file: appends one event per line."""
    return FileTransport(FileConfig(log_file_path=str(path), append=True))


def _is_refusal(error: Exception) -> bool:
    """Return whether the receiver rejected this event, so that others may still be accepted."""
    if not isinstance(error, HTTPError) or error.response is None:
        return False
    status = error.response.status_code
    return 400 <= status < 500 and status not in _TRY_LATER


@contextmanager
def _wrapped_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, BotoCoreError, ClientError) as error:
        raise LineageOutboxError(f"cannot {what}: {error}") from error
