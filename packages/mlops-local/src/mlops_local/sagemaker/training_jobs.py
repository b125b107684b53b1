"""Training jobs: a real script with channels, checkpoints, managed spot instances, and a model artifact in S3."""

import json
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlops_local import clock
from mlops_local.sagemaker import container_processes, foreign_images, resource_store, role_clients, status_events
from mlops_local.sagemaker.api_shapes import Record, validation
from mlops_local.sagemaker.container_processes import End, Job, background, mapped, opt_ml
from mlops_local.sagemaker.role_clients import Identity
from mlops_local.saved_state import kept_stores

LOGGER = logging.getLogger(__name__)

_DEFAULT = "/opt/ml/checkpoints"
_EVERY = 0.5  # real seconds between two polls of the folder

_BILLED = 0.3
_LOCK = threading.Lock()
_RUNNING: dict[str, Job] = kept_stores.leave(__name__, "_RUNNING", {}, why="processes of training jobs")

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
# members that would change what a job reads or writes, or how often it runs: rejected by name rather than ignored
_UNSUPPORTED = (
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "TensorBoardOutputConfig",
    "ProfilerRuleConfigurations",
    "RetryStrategy",
    "ServerlessJobConfig",
    "ModelPackageConfig",
    "MlflowConfig",
)
_TRANSITIONS = {
    "Starting": "Starting the training job",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
    "Interrupted": "Training job interrupted: the managed spot training instances were taken away",
}
_STOPPED = {End.STOPPED: "Stopped", End.OVERRAN: "MaxRuntimeExceeded", End.WAITED: "MaxWaitTimeExceeded"}


def check_checkpoints(request: Record) -> None:
    """Reject a checkpoint folder that is not exclusive.

    Raises:
        ServiceError: ``ValidationException``.
    """
    # claim: checkpoints-are-kept-while-a-job-trains
    config = request.get("CheckpointConfig")
    if config is None:
        return
    path = config.get("LocalPath", _DEFAULT).rstrip("/")
    taken = ("/opt/ml/input", "/opt/ml/model", "/opt/ml/output", "/opt/ml/code")
    if ".." in path or not path.startswith("/opt/ml/") or path.startswith(taken):
        raise validation(
            f"CheckpointConfig.LocalPath must be a folder of its own under /opt/ml in the embedded SageMaker, got {path!r}"
        )
    if not config["S3Uri"].startswith("s3://"):
        raise validation(f"CheckpointConfig.S3Uri must begin with s3://, got {config['S3Uri']!r}")


@contextmanager
def kept(job: Job) -> Iterator[None]:
    """Download a job's checkpoints, and upload new ones until its process has ended.

    Raises:
        JobError: If the role may not read or write them.
    """
    # claim: checkpoints-are-kept-while-a-job-trains
    config = job.record.get("CheckpointConfig")
    if config is None:
        yield
        return
    folder, uri = Path(mapped(job.root, config.get("LocalPath", _DEFAULT))), config["S3Uri"].rstrip("/") + "/"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        role_clients.download(uri, folder, job.identity)
    except container_processes.TRANSFER_ERRORS as error:
        raise container_processes.failed_transfer("Checkpoint download", error) from error
    known, stop = _state(folder), threading.Event()
    thread = background(f"checkpoints of {job.name}", _follow, job, folder, uri, (known, stop))
    try:
        yield
    finally:
        stop.set()
        thread.join()
    try:
        _upload_files(job, folder, uri, known)
    except container_processes.TRANSFER_ERRORS as error:
        raise container_processes.failed_transfer("Checkpoint upload", error) from error


State = dict[Path, tuple[int, int]]


def _follow(job: Job, folder: Path, uri: str, watch: tuple[State, threading.Event]) -> None:
    known, stop = watch
    while not stop.wait(_EVERY):
        try:
            _upload_files(job, folder, uri, known)
        except container_processes.TRANSFER_ERRORS as error:
            LOGGER.warning("checkpoints of %s are not uploaded now: %s", job.name, error)


def _upload_files(job: Job, folder: Path, uri: str, known: State) -> None:
    """Upload new and changed files."""
    bucket, prefix = role_clients.split(uri)
    client = job.identity.client("s3")
    for path, state in _state(folder).items():
        if known.get(path) != state:
            client.upload_file(str(path), bucket, prefix + path.relative_to(folder).as_posix())
            known[path] = state


def _state(folder: Path) -> State:
    found = {}
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except FileNotFoundError:  # the writer has renamed the file meanwhile
            continue
        if path.is_file():
            found[path] = (status.st_ctime_ns, status.st_size)  # ctime, which no program can set
    return found


def check_spot(request: Record) -> None:
    """Reject invalid waiting times of spot jobs.

    Raises:
        ServiceError: ``ValidationException``.
    """
    # claim: spot-wait-is-at-least-the-runtime
    condition = request.get("StoppingCondition", {})
    wait, run = condition.get("MaxWaitTimeInSeconds"), condition.get("MaxRuntimeInSeconds", 86_400)
    if not request.get("EnableManagedSpotTraining", False):
        if wait is not None:
            raise validation("MaxWaitTimeInSeconds is for managed spot training only; set EnableManagedSpotTraining")
    elif wait is None or wait < run:
        raise validation(
            f"Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds ({run}), "
            f"got {wait}"
        )


def billable(record: Record, seconds: int) -> int:
    """Return the billable seconds of a job."""
    return max(1, round(seconds * _BILLED)) if record["EnableManagedSpotTraining"] else seconds


def control(method: str, body: bytes) -> tuple[int, dict[str, object]]:
    """Serve ``/_mlops/interruptions``: POST of ``training_job``."""
    if method != "POST":
        return 405, {"message": f"POST a training_job, got {method}"}
    try:
        name = json.loads(body)["training_job"]
    except (ValueError, KeyError, TypeError) as error:
        return 400, {"message": f"expected a training_job: {type(error).__name__}: {error}"}
    with _LOCK:
        job = _RUNNING.get(name)
        if job is None or job.record["SecondaryStatus"] != "Training":
            return 409, {"message": f"{name!r} is not a managed spot training job that trains now"}
        job.interruption.set()
    return 200, {"interrupted": name}


def create(request: Record) -> Record:
    """CreateTrainingJob."""
    # claim: training-job-runs-as-documented
    name, specification = request["TrainingJobName"], request["AlgorithmSpecification"]
    _refuse(request)
    if "TrainingImage" not in specification:
        raise validation("AlgorithmSpecification.TrainingImage is required; algorithms of AWS do not run here")
    image = specification["TrainingImage"]
    foreign_images.check_training_region(image)
    command = container_processes.command(image, specification)
    identity = Identity(request["RoleArn"], resource_store.arn("TrainingJob", name))
    identity.check()
    for channel in request.get("InputDataConfig", []):
        _check_channel(channel, identity)
    record = {k: v for k, v in request.items() if k != "Tags"}
    record |= {
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": [],
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        "EnableInterContainerTrafficEncryption": request.get("EnableInterContainerTrafficEncryption", False),
        "EnableManagedSpotTraining": request.get("EnableManagedSpotTraining", False),
    }
    record = resource_store.add("TrainingJob", name, record, request.get("Tags"))
    _enter(record, "Starting")
    job = Job(
        kind="TrainingJob",
        record=record,
        image=image,
        command=command,
        group=LOG_GROUP,
        given=request.get("Environment", {}),
        isolated=record["EnableNetworkIsolation"],
        patience=float(request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds", "inf")),
    )
    container_processes.submit(job, _work, fail)
    return {"TrainingJobArn": record["TrainingJobArn"]}


def stop(request: Record) -> Record:
    """StopTrainingJob."""
    record = container_processes.request_stop("TrainingJob", request["TrainingJobName"])
    _enter(record, "Stopping")
    return {}


def _refuse(request: Record) -> None:
    # claim: training-needs-image-and-output
    for member in _UNSUPPORTED:
        if member in request:
            raise validation(f"{member} is not supported by the embedded SageMaker")
    resources = request.get("ResourceConfig", {})
    encrypted = request.get("EnableInterContainerTrafficEncryption", False)
    container_processes.check_cluster(
        resources.get("InstanceCount", 1), request.get("VpcConfig", {}), encrypted=encrypted
    )
    container_processes.check_volume_key(resources)
    if resources.get("InstanceCount", 1) != 1 or "InstanceGroups" in resources:
        raise validation(
            "a training job has 1 instance in the embedded SageMaker; distributed training is not supported"
        )
    if "OutputDataConfig" not in request:
        raise validation("OutputDataConfig is required")
    check_spot(request)
    check_checkpoints(request)


def _check_channel(channel: Record, identity: Identity) -> None:
    # claim: training-input-must-exist
    name, source = channel["ChannelName"], channel["DataSource"].get("S3DataSource")
    mode = channel.get("InputMode", "File")
    kind = None if source is None else source["S3DataType"]
    distribution = "FullyReplicated" if source is None else source.get("S3DataDistributionType", "FullyReplicated")
    if source is None or kind != "S3Prefix" or mode != "File" or channel.get("CompressionType", "None") != "None":
        raise validation(f"channel {name} must be an uncompressed S3Prefix in File mode, got {kind} in {mode} mode")
    if distribution != "FullyReplicated":
        raise validation(f"channel {name} must be FullyReplicated, got {distribution}")
    uri = source["S3Uri"]
    try:
        found = any(True for _ in role_clients.objects(identity.client("s3"), uri))
    except container_processes.TRANSFER_ERRORS as error:
        raise validation(f"Access denied or absent when listing the input of channel {name}: {uri}: {error}") from error
    if not found:
        bucket, _ = role_clients.split(uri)
        raise validation(
            f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists in '
            f'the selected region, that objects exist under that S3 prefix, and that the role "{identity.role}" has '
            f'"s3:ListBucket" permissions on bucket "{bucket}".'
        )


def _work(job: Job) -> None:
    record = job.record
    end, code = _train(job)
    while end is End.INTERRUPTED:
        _enter(record, "Interrupted")
        job.interruption.clear()
        job.root = opt_ml("jobs", job.kind, job.name)  # another instance has no files of the first one
        _enter(record, "Starting")
        end, code = _train(job)
    _upload(job, end, code)
    if end is End.EXITED and code != 0:
        failure = container_processes.message(job, "failure")
        fail(record, f"AlgorithmError: {'' if failure is None else failure}, exit code: {code}")
    elif end is End.EXITED:
        _finish(record, "Completed", "Completed")
    else:
        _finish(record, "Stopped", _STOPPED[end])


def _train(job: Job) -> tuple[End, int]:
    """Run the script once, on a new instance."""
    record = job.record
    _enter(record, "Downloading")
    env = _prepare(job)
    with kept(job):
        if "TrainingStartTime" not in record:
            resource_store.update(record, TrainingStartTime=clock.utcnow())
        if not job.is_stopping:
            _enter(record, "Training")
        if record["EnableManagedSpotTraining"]:
            with _LOCK:
                _RUNNING[job.name] = job  # from now on it may be interrupted
        try:
            return container_processes.run(job, env)
        finally:
            with _LOCK:
                _RUNNING.pop(job.name, None)


def fail(record: Record, reason: str) -> None:
    """End a job that failed, also one whose process ended with the embedded cloud."""
    _finish(record, "Failed", "Failed", reason)


def _prepare(job: Job) -> dict[str, str]:
    """Create ``/opt/ml``, and return the variables of SageMaker's training toolkit, which reserves ``sagemaker_`` names."""
    # https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
    # claim: job-transfers-fail-the-job
    record, root = job.record, job.root
    given: dict[str, str] = record.get("HyperParameters", {})
    parameters = {name: value for name, value in given.items() if not name.startswith("sagemaker_")}
    resources = record.get("ResourceConfig", {})
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
    hosts |= {"current_instance_type": resources.get("InstanceType", ""), "current_group_name": "homogeneousCluster"}
    channels = record.get("InputDataConfig", [])
    config: dict[str, Any] = {
        "hyperparameters": given,
        "resourceconfig": hosts,
        "inputdataconfig": {
            channel["ChannelName"]: {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            }
            | ({"ContentType": channel["ContentType"]} if "ContentType" in channel else {})
            for channel in channels
        },
    }
    for folder in ("input/config", "input/data", "model", "output/data", "code"):
        (root / folder).mkdir(parents=True)
    for name, value in config.items():
        (root / "input/config" / f"{name}.json").write_text(json.dumps(value))
    env = {
        "TRAINING_JOB_NAME": job.name,
        "TRAINING_JOB_ARN": record["TrainingJobArn"],
        "SM_MODEL_DIR": str(root / "model"),
        "SM_INPUT_DIR": str(root / "input"),
        "SM_INPUT_CONFIG_DIR": str(root / "input/config"),
        "SM_OUTPUT_DIR": str(root / "output"),
        "SM_OUTPUT_DATA_DIR": str(root / "output/data"),
        "SM_CHANNELS": json.dumps(sorted(config["inputdataconfig"])),
        "SM_HPS": json.dumps(parameters),
        "SM_HOSTS": json.dumps(hosts["hosts"]),
        "SM_CURRENT_HOST": "algo-1",
        "SM_NUM_GPUS": "0",
    }
    env |= {f"SM_HP_{name.upper().replace('-', '_')}": value for name, value in parameters.items()}
    for channel in channels:
        name = channel["ChannelName"]
        folder = root / "input/data" / name
        try:
            role_clients.download(channel["DataSource"]["S3DataSource"]["S3Uri"], folder, job.identity)
        except container_processes.TRANSFER_ERRORS as error:
            raise container_processes.failed_transfer("Data download", error) from error
        env[f"SM_CHANNEL_{name.upper().replace('-', '_')}"] = str(folder)
    return env


def _upload(job: Job, end: End, code: int) -> None:
    """Upload the model of a job that succeeded or was stopped, and the output of any job."""
    # claim: job-transfers-fail-the-job
    record, config = job.record, job.record["OutputDataConfig"]
    resource_store.update(record, TrainingEndTime=clock.utcnow())
    prefix = f"{config['S3OutputPath'].rstrip('/')}/{job.name}/output"
    model, output, key = job.root / "model", job.root / "output/data", config.get("KmsKeyId") or None
    try:
        if (end is End.EXITED and code == 0) or (end is not End.EXITED and any(model.iterdir())):
            _enter(record, "Uploading")
            role_clients.upload_archive(model, f"{prefix}/model.tar.gz", job.identity, key)
            resource_store.update(record, ModelArtifacts={"S3ModelArtifacts": f"{prefix}/model.tar.gz"})
        if any(output.iterdir()):
            role_clients.upload_archive(output, f"{prefix}/output.tar.gz", job.identity, key)
    except container_processes.TRANSFER_ERRORS as error:
        raise container_processes.failed_transfer("Artifact upload", error) from error


def _enter(record: Record, status: str) -> None:
    """Enter a secondary status, end the previous one, and send an event."""
    now = clock.utcnow()
    with resource_store.LOCK:
        passed = [dict(step) for step in record["SecondaryStatusTransitions"]]
        if passed:
            passed[-1].setdefault("EndTime", now)
        step = {"Status": status, "StartTime": now, "StatusMessage": _TRANSITIONS[status]}
        resource_store.update(record, SecondaryStatus=status, SecondaryStatusTransitions=[*passed, step])
    status_events.state_change("TrainingJob", record)


def _finish(record: Record, status: str, secondary: str, reason: str | None = None) -> None:
    with resource_store.LOCK:
        now = clock.utcnow()
        record.setdefault("TrainingEndTime", now)
        spent = max(0, round((record["TrainingEndTime"] - record.get("TrainingStartTime", now)).total_seconds()))
        times = {"TrainingTimeInSeconds": max(1, spent), "BillableTimeInSeconds": billable(record, max(1, spent))}
        resource_store.update(record, TrainingJobStatus=status, FailureReason=reason, **times)
    _enter(record, secondary)
