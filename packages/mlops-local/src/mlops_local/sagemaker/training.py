"""Training jobs: a real script with channels, hyperparameters and a model that lands in S3.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

import json
from typing import Any

from mlops_local import clock
from mlops_local.sagemaker import checkpoints, events, jobs, spot, store, transfer
from mlops_local.sagemaker.errors import validation
from mlops_local.sagemaker.jobs import End, Job
from mlops_local.sagemaker.processes import opt_ml
from mlops_local.sagemaker.roles import Identity
from mlops_local.sagemaker.shapes import Record

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
# what would change what a job reads, writes or how often it runs: refused by name rather than ignored
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
_STOPPED = {
    End.STOPPED: "Stopped",
    End.OVERRAN: "MaxRuntimeExceeded",
    End.WAITED: "MaxWaitTimeExceeded",
}


def create(request: Record) -> Record:
    """CreateTrainingJob."""
    # claim: training-job-runs-as-documented
    name, specification = request["TrainingJobName"], request["AlgorithmSpecification"]
    _refuse(request)
    if "TrainingImage" not in specification:
        raise validation("AlgorithmSpecification.TrainingImage is required; algorithms of AWS do not run here")
    image = specification["TrainingImage"]
    command = jobs.command(image, specification)
    identity = Identity(request["RoleArn"], store.arn("TrainingJob", name))
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
    record = store.add("TrainingJob", name, record, request.get("Tags"))
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
    jobs.submit(job, _work, _fail)
    return {"TrainingJobArn": record["TrainingJobArn"]}


def describe(request: Record) -> Record:
    """DescribeTrainingJob."""
    return store.get("TrainingJob", request["TrainingJobName"])


def list_(request: Record) -> Record:
    """ListTrainingJobs."""
    rows = store.store().records["TrainingJob"].values()
    return store.listing("ListTrainingJobs", request, rows, status="TrainingJobStatus", descending=False)


def stop(request: Record) -> Record:
    """StopTrainingJob."""
    record = jobs.request_stop("TrainingJob", request["TrainingJobName"])
    _enter(record, "Stopping")
    return {}


def _refuse(request: Record) -> None:
    # claim: training-needs-image-and-output
    for member in _UNSUPPORTED:
        if member in request:
            raise validation(f"{member} is not supported by the embedded SageMaker")
    resources = request.get("ResourceConfig", {})
    encrypted = request.get("EnableInterContainerTrafficEncryption", False)
    jobs.check_cluster(resources.get("InstanceCount", 1), request.get("VpcConfig", {}), encrypted=encrypted)
    if resources.get("InstanceCount", 1) != 1 or "InstanceGroups" in resources:
        raise validation(
            "a training job has 1 instance in the embedded SageMaker; distributed training is not supported"
        )
    if "OutputDataConfig" not in request:
        raise validation("OutputDataConfig is required")
    spot.check(request)
    checkpoints.check(request)


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
        found = any(True for _ in transfer.objects(identity.client("s3"), uri))
    except jobs.TRANSFER_ERRORS as error:
        raise validation(f"Access denied or absent when listing the input of channel {name}: {uri}: {error}") from error
    if not found:
        bucket, _ = transfer.split(uri)
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
        job.root = opt_ml("jobs", job.kind, job.name)  # another instance has nothing of the first one's
        _enter(record, "Starting")
        end, code = _train(job)
    _upload(job, end, code)
    if end is End.EXITED and code != 0:
        told = jobs.message(job, "failure")
        _fail(record, f"AlgorithmError: {'' if told is None else told}, exit code: {code}")
    elif end is End.EXITED:
        _finish(record, "Completed", "Completed")
    else:
        _finish(record, "Stopped", _STOPPED[end])


def _train(job: Job) -> tuple[End, int]:
    """Run the script once, on an instance of its own."""
    record = job.record
    _enter(record, "Downloading")
    env = _prepare(job)
    with checkpoints.kept(job):
        if "TrainingStartTime" not in record:
            store.update(record, TrainingStartTime=clock.utcnow())
        if not job.is_stopping:
            _enter(record, "Training")
        spot.running(job)
        try:
            return jobs.run(job, env)
        finally:
            spot.ended(job)


def _fail(record: Record, reason: str) -> None:
    _finish(record, "Failed", "Failed", reason)


def _prepare(job: Job) -> dict[str, str]:
    """Lay out ``/opt/ml`` and return the variables of SageMaker's training toolkit, which keeps ``sagemaker_`` to itself.

    See: https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
    """
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
            transfer.download(channel["DataSource"]["S3DataSource"]["S3Uri"], folder, job.identity)
        except jobs.TRANSFER_ERRORS as error:
            raise jobs.failed_transfer("Data download", error) from error
        env[f"SM_CHANNEL_{name.upper().replace('-', '_')}"] = str(folder)
    return env


def _upload(job: Job, end: End, code: int) -> None:
    """Upload the model of a job that ended well or was stopped, and the output of any job."""
    # claim: job-transfers-fail-the-job
    record, config = job.record, job.record["OutputDataConfig"]
    store.update(record, TrainingEndTime=clock.utcnow())
    prefix = f"{config['S3OutputPath'].rstrip('/')}/{job.name}/output"
    model, output, key = job.root / "model", job.root / "output/data", config.get("KmsKeyId") or None
    try:
        if (end is End.EXITED and code == 0) or (end is not End.EXITED and any(model.iterdir())):
            _enter(record, "Uploading")
            transfer.upload_archive(model, f"{prefix}/model.tar.gz", job.identity, key)
            store.update(record, ModelArtifacts={"S3ModelArtifacts": f"{prefix}/model.tar.gz"})
        if any(output.iterdir()):
            transfer.upload_archive(output, f"{prefix}/output.tar.gz", job.identity, key)
    except jobs.TRANSFER_ERRORS as error:
        raise jobs.failed_transfer("Artifact upload", error) from error


def _enter(record: Record, status: str) -> None:
    """Go to a secondary status, close the one before, and say so."""
    now = clock.utcnow()
    with store.LOCK:
        passed = [dict(step) for step in record["SecondaryStatusTransitions"]]
        if passed:
            passed[-1].setdefault("EndTime", now)
        step = {"Status": status, "StartTime": now, "StatusMessage": _TRANSITIONS[status]}
        store.update(record, SecondaryStatus=status, SecondaryStatusTransitions=[*passed, step])
    events.training_job(record)


def _finish(record: Record, status: str, secondary: str, reason: str | None = None) -> None:
    with store.LOCK:
        now = clock.utcnow()
        record.setdefault("TrainingEndTime", now)
        spent = max(0, round((record["TrainingEndTime"] - record.get("TrainingStartTime", now)).total_seconds()))
        times = {"TrainingTimeInSeconds": max(1, spent), "BillableTimeInSeconds": spot.billable(record, max(1, spent))}
        store.update(record, TrainingJobStatus=status, FailureReason=reason, **times)
    _enter(record, secondary)
