"""Transform jobs: a model's server gets each record of S3 objects over HTTP; its responses are written to S3.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
"""

import gzip
import http.client
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlops_local import clock
from mlops_local.sagemaker import (
    container_processes,
    endpoint_configs,
    fleets,
    resource_store,
    role_clients,
    status_events,
)
from mlops_local.sagemaker.api_shapes import Record, validation
from mlops_local.sagemaker.container_processes import JobError
from mlops_local.sagemaker.fleets import FleetError, Server
from mlops_local.sagemaker.role_clients import Identity
from mlops_local.saved_state import kept_stores

LOGGER = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TransformJobs"
_MEGABYTE = 2**20
_MOST = 100  # MB, also for all concurrent payloads together
_PAYLOAD = 6  # MB, default if neither request nor container sets it
_TIMEOUT, _RETRIES = 600, 3  # ModelClientConfig's defaults
_SHOWN = 200  # maximum characters of a failed response in the log
_CALLERS_ERROR = range(400, 500)
# members that would change which records are sent or stored: rejected by name rather than ignored
_UNSUPPORTED = ("DataCaptureConfig", "ExperimentConfig")
_SPLITS = ("None", "Line")
_LOGS = "See job logs for more information"

_RUNNING: dict[str, "_Transform"] = kept_stores.leave(__name__, "_RUNNING", {}, why="processes of transform jobs")


@dataclass(slots=True)
class _Transform:
    """A running transform job."""

    record: Record
    model: Record
    root: Path = field(init=False)
    stopped: threading.Event = field(default_factory=threading.Event)
    server: Server | None = None

    @property
    def kind(self) -> str:
        """Kind of its record."""
        return "TransformJob"

    @property
    def name(self) -> str:
        """Job name."""
        return str(self.record["TransformJobName"])

    @property
    def identity(self) -> Identity:
        """The model's execution role, used for reading, predicting and writing; the request has no role."""
        return endpoint_configs.identity(self.model)

    def end(self) -> None:
        """Stop its server, even during a request."""
        self.stopped.set()
        if self.server is not None:
            self.server.rest()


def create(request: Record) -> Record:
    """CreateTransformJob."""
    # claim: transform-takes-a-model-that-exists
    name = request["TransformJobName"]
    model = resource_store.get("Model", request["ModelName"])
    problems = list(_problems(request))
    if problems:
        raise validation("; ".join(problems))
    container_processes.check_volume_key(request["TransformResources"])
    endpoint_configs.identity(model).check()
    record = {k: v for k, v in request.items() if k != "Tags"} | {"TransformJobStatus": "InProgress"}
    record = resource_store.add("TransformJob", name, record, request.get("Tags"))
    status_events.state_change("TransformJob", record)
    job = _Transform(record, model)
    with resource_store.LOCK:
        _RUNNING[record["TransformJobArn"]] = job
    container_processes.submit(job, _work, fail)
    return {"TransformJobArn": record["TransformJobArn"]}


def stop(request: Record) -> Record:
    """StopTransformJob."""
    # claim: transform-that-is-stopped-stores-nothing
    record = container_processes.request_stop("TransformJob", request["TransformJobName"])
    status_events.state_change("TransformJob", record)
    job = _RUNNING.get(record["TransformJobArn"])
    if job is not None:
        job.end()
    return {}


def _problems(request: Record) -> Iterator[str]:
    # claim: transform-payloads-have-a-limit
    payload, at_once = request.get("MaxPayloadInMB"), request.get("MaxConcurrentTransforms") or 1
    if payload is not None and payload > _MOST:
        yield f"MaxPayloadInMB must not be greater than {_MOST}, got {payload}"
    elif (payload or 0) * at_once > _MOST:
        yield f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {_MOST} MB, got {at_once} * {payload}"
    given = request["TransformInput"]
    split, source = given.get("SplitType", "None"), given["DataSource"]["S3DataSource"]
    # claim: batch-strategy-needs-a-split
    if "BatchStrategy" in request and split == "None":
        yield f"BatchStrategy {request['BatchStrategy']} needs SplitType Line, RecordIO or TFRecord"
    if split not in _SPLITS:
        yield f"SplitType must be None or Line in the embedded SageMaker, got {split}"
    if source["S3DataType"] != "S3Prefix":
        yield f"S3DataType must be S3Prefix in the embedded SageMaker, got {source['S3DataType']}"
    for member, uri in (("S3Uri", source["S3Uri"]), ("S3OutputPath", request["TransformOutput"]["S3OutputPath"])):
        if not uri.startswith("s3://"):
            yield f"{member} must begin with s3://, got {uri!r}"
    count = request["TransformResources"]["InstanceCount"]
    if count != 1:
        yield f"a transform job has 1 instance in the embedded SageMaker, got {count}"
    processing = request.get("DataProcessing", {})
    for member, default in (("InputFilter", "$"), ("OutputFilter", "$"), ("JoinSource", "None")):
        if processing.get(member, default) != default:
            yield f"DataProcessing.{member} must be {default} in the embedded SageMaker, got {processing[member]!r}"
    for member in _UNSUPPORTED:
        if member in request:
            yield f"{member} of a transform job is not supported by the embedded SageMaker"


def _work(job: _Transform) -> None:
    # claim: transform-runs-the-models-container
    record = job.record
    try:
        files = _download(job)
        resource_store.update(record, TransformStartTime=clock.utcnow())
        answers = _answers(job, _start(job), files)
        if not job.stopped.is_set():
            _upload(job, answers)
    except (JobError, FleetError) as error:
        if not job.stopped.is_set():
            raise JobError(str(error)) from error
    finally:
        _RUNNING.pop(record["TransformJobArn"], None)
        job.end()
    _finish(record, "Stopped" if record["TransformJobStatus"] == "Stopping" else "Completed")


def _start(job: _Transform) -> Server:
    """Start the model's server, and wait until it responds to pings."""
    # claim: transform-runs-the-models-container
    root = job.root / "container"
    root.mkdir()
    record = job.record
    job.server = fleets.make_server(
        job.model,
        root,
        given={"SAGEMAKER_BATCH": "true", **record.get("Environment", {})},
        variant=job.name,
        config=job.name,
        instances=1,
        weight=1.0,
        log_group=LOG_GROUP,
        limit=fleets.STARTUP,
        instance_type=record["TransformResources"]["InstanceType"],
    )
    if not job.stopped.is_set():
        job.server.start()
    try:
        job.server.wait_healthy(job.stopped)
    except FleetError as error:
        raise JobError(f"AlgorithmError: the container did not pass the ping health check. {_LOGS}") from error
    if job.stopped.is_set():  # a stop before the process existed had no effect
        raise JobError("the job was stopped before its first request")
    return job.server


def _download(job: _Transform) -> dict[str, bytes]:
    """Return the objects of the input by their relative path."""
    # claim: transform-input-must-exist
    given = job.record["TransformInput"]
    uri, folder = given["DataSource"]["S3DataSource"]["S3Uri"], job.root / "input"
    try:
        if role_clients.download(uri, folder, job.identity) == 0:
            raise JobError(f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source.')
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        if given.get("CompressionType", "None") == "Gzip":
            files = {name: gzip.decompress(content) for name, content in files.items()}
    except container_processes.TRANSFER_ERRORS as error:
        raise container_processes.failed_transfer("Data download", error) from error
    return files


def _answers(job: _Transform, server: Server, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Send the payloads of each object in order; an object with a failed record has no result."""
    # claim: record-that-fails-fails-the-job
    parameters = _execution_parameters(server)
    output, found, failed = job.record["TransformOutput"], {}, ""
    end = b"\n" if output.get("AssembleWith", "None") == "Line" else b""
    for name, content in files.items():
        try:
            parts = [_invoke(job, server, payload) for payload in _payloads(job.record, parameters, content)]
        except JobError as error:
            failed = failed or str(error)
            LOGGER.info("transform job %s: %s: %s", job.name, name, error)
        else:
            found[name] = b"".join(part + end for part in parts)
    if failed:
        if not job.stopped.is_set():
            _upload(job, found)
        raise JobError(failed)
    return found


def _execution_parameters(server: Server) -> Record:
    """Return the container's execution parameters; empty for a 404."""
    # claim: container-may-say-how-it-is-asked
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=fleets.PING)
    try:
        connection.request("GET", "/execution-parameters")
        answer = connection.getresponse()
        found = json.loads(answer.read()) if answer.status == http.client.OK else {}
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return found if isinstance(found, dict) else {}


def _payloads(record: Record, parameters: Record, content: bytes) -> Iterator[bytes]:
    """Yield the request bodies for one object.

    Raises:
        JobError: If a record exceeds the maximum payload.
    """
    # claim: transform-payloads-have-a-limit
    limit = int(({"MaxPayloadInMB": _PAYLOAD} | parameters | record)["MaxPayloadInMB"]) * _MEGABYTE
    strategy = record.get("BatchStrategy") or parameters.get("BatchStrategy", "MultiRecord")
    is_split = record["TransformInput"].get("SplitType", "None") == "Line"
    records = content.splitlines(keepends=True) if is_split else [content]
    if limit and any(len(each) > limit for each in records):
        raise JobError(f"ClientError: a record is larger than MaxPayloadInMB ({limit // _MEGABYTE}). {_LOGS}")
    payload = b""
    for each in records:
        if payload and (strategy == "SingleRecord" or (limit and len(payload) + len(each) > limit)):
            yield payload
            payload = b""
        payload += each
    if payload:
        yield payload


def _invoke(job: _Transform, server: Server, payload: bytes) -> bytes:
    """Return the container's response to a payload, with retries unless it is a 4xx.

    Raises:
        JobError: If there is no response, or it is not a 2xx.
    """
    # claim: record-that-fails-fails-the-job
    client = job.record.get("ModelClientConfig", {})
    reason = ""
    for _ in range(1 + client.get("InvocationsMaxRetries", _RETRIES)):
        try:
            status, body = _post(job, server, payload, client.get("InvocationsTimeoutInSeconds", _TIMEOUT))
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, f"{type(error).__name__}: {error}".encode()
        if status // 100 == 2:
            return body
        LOGGER.info("transform job %s was answered %s %r", job.name, status or "nothing", body[:_SHOWN])
        reason = f"{'ClientError' if status in _CALLERS_ERROR else 'AlgorithmError'}: {_LOGS}"
        if job.stopped.is_set() or status in _CALLERS_ERROR:
            break
    raise JobError(reason)


def _post(job: _Transform, server: Server, payload: bytes, timeout: float) -> tuple[int, bytes]:
    kinds = {
        "Content-Type": job.record["TransformInput"].get("ContentType"),
        "Accept": job.record["TransformOutput"].get("Accept"),
    }
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request("POST", "/invocations", payload, {name: kind for name, kind in kinds.items() if kind})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _upload(job: _Transform, answers: Mapping[str, bytes]) -> None:
    # claim: transform-answers-lie-beside-their-names
    output, folder = job.record["TransformOutput"], job.root / "output"
    for name, content in answers.items():
        path = folder / f"{name}.out"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        role_clients.upload(folder, output["S3OutputPath"], job.identity, output.get("KmsKeyId") or None)
    except container_processes.TRANSFER_ERRORS as error:
        raise container_processes.failed_transfer("Output upload", error) from error


def fail(record: Record, reason: str) -> None:
    """End a job that failed, also one whose process ended with the embedded cloud."""
    _finish(record, "Failed", reason)


def _finish(record: Record, status: str, reason: str | None = None) -> None:
    with resource_store.LOCK:
        ended = {"TransformJobStatus": status, "TransformEndTime": clock.utcnow(), "FailureReason": reason}
        resource_store.update(record, **ended)
    status_events.state_change("TransformJob", record)
