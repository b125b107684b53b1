"""Processing jobs: a real script with inputs from S3 and outputs to S3.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

import json
import logging
from pathlib import Path

from mlops_local import clock
from mlops_local.sagemaker import container_processes, resource_store, role_clients, status_events
from mlops_local.sagemaker.api_shapes import Record, validation
from mlops_local.sagemaker.container_processes import End, Job, JobError, mapped
from mlops_local.sagemaker.role_clients import Identity

LOGGER = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
_METRICS = 1000  # per request


def create(request: Record) -> Record:
    """CreateProcessingJob."""
    name, specification = request["ProcessingJobName"], request["AppSpecification"]
    _refuse(request)
    command = container_processes.command(specification["ImageUri"], specification, is_processing=True)
    Identity(request["RoleArn"], resource_store.arn("ProcessingJob", name)).check()
    record = {k: v for k, v in request.items() if k != "Tags"} | {"ProcessingJobStatus": "InProgress"}
    record = resource_store.add("ProcessingJob", name, record, request.get("Tags"))
    status_events.state_change("ProcessingJob", record)
    job = Job(
        kind="ProcessingJob",
        record=record,
        image=specification["ImageUri"],
        command=command,
        group=LOG_GROUP,
        given=request.get("Environment", {}),
        isolated=request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
    )
    container_processes.submit(job, _work, fail)
    return {"ProcessingJobArn": record["ProcessingJobArn"]}


def stop(request: Record) -> Record:
    """StopProcessingJob."""
    status_events.state_change(
        "ProcessingJob", container_processes.request_stop("ProcessingJob", request["ProcessingJobName"])
    )
    return {}


def _refuse(request: Record) -> None:
    # claim: processing-inputs-are-s3
    network, cluster = request.get("NetworkConfig", {}), request["ProcessingResources"]["ClusterConfig"]
    encrypted = network.get("EnableInterContainerTrafficEncryption", False)
    container_processes.check_cluster(cluster["InstanceCount"], network.get("VpcConfig", {}), encrypted=encrypted)
    container_processes.check_volume_key(cluster)
    if cluster["InstanceCount"] != 1:
        raise validation("a processing job has 1 instance in the embedded SageMaker")
    for item in request.get("ProcessingInputs", []):
        source, name = item.get("S3Input"), item["InputName"]
        if source is None or "LocalPath" not in source:
            raise validation(f"input {name} must be an S3Input with a LocalPath")
        wanted = {"S3DataType": "S3Prefix", "S3InputMode": "File", "S3CompressionType": "None"}
        wanted["S3DataDistributionType"] = "FullyReplicated"
        for member, allowed in wanted.items():
            if source.get(member, allowed) != allowed:
                raise validation(f"input {name} must have {member} {allowed}, got {source[member]}")
        _check_path(name, source["LocalPath"])
    for item in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        target, name = item.get("S3Output"), item["OutputName"]
        if target is None or "LocalPath" not in target or target["S3UploadMode"] != "EndOfJob":
            raise validation(f"output {name} must be an S3Output with a LocalPath and S3UploadMode EndOfJob")
        _check_path(name, target["LocalPath"])


def _check_path(name: str, path: str) -> None:
    # claim: processing-paths-lie-below-processing
    if not path.startswith("/opt/ml/processing") or ".." in path.split("/"):
        raise validation(f"LocalPath of {name} must lie under /opt/ml/processing, got {path!r}")


def _work(job: Job) -> None:
    record = job.record
    _prepare(job)
    resource_store.update(record, ProcessingStartTime=clock.utcnow())
    end, code = container_processes.run(
        job, {"PROCESSING_JOB_NAME": job.name, "PROCESSING_JOB_ARN": record["ProcessingJobArn"]}
    )
    resource_store.update(record, ExitMessage=container_processes.message(job, "message"))
    if end is End.EXITED and code != 0:
        fail(record, f"AlgorithmError: See job logs for more information, exit code: {code}")
        return
    _upload(job)
    _publish(job)
    _finish(record, "Completed" if end is End.EXITED else "Stopped")


def fail(record: Record, reason: str) -> None:
    """End a job that failed, also one whose process ended with the embedded cloud."""
    _finish(record, "Failed", reason)


def _prepare(job: Job) -> None:
    # claim: processing-input-must-exist
    record, root = job.record, job.root
    for name in ("config", "output", "processing"):
        (root / name).mkdir(parents=True)
    cluster = record["ProcessingResources"]["ClusterConfig"]
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "current_instance_type": cluster["InstanceType"]}
    (root / "config/resourceconfig.json").write_text(json.dumps(hosts))
    shown = {k: v for k, v in record.items() if k not in ("CreationTime", "LastModifiedTime", "ProcessingJobStatus")}
    (root / "config/processingjobconfig.json").write_text(json.dumps(shown))
    for item in record.get("ProcessingInputs", []):
        source = item["S3Input"]
        folder = _local(root, source["LocalPath"])
        try:
            if role_clients.download(source["S3Uri"], folder, job.identity) == 0:
                raise JobError(
                    f'ClientError: No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source.'
                )
        except container_processes.TRANSFER_ERRORS as error:
            raise container_processes.failed_transfer("Data download", error) from error
    for item in record.get("ProcessingOutputConfig", {}).get("Outputs", []):
        _local(root, item["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)


def _upload(job: Job) -> None:
    # claim: processing-input-must-exist
    config = job.record.get("ProcessingOutputConfig", {})
    for item in config.get("Outputs", []):
        target = item["S3Output"]
        try:
            folder = _local(job.root, target["LocalPath"])
            role_clients.upload(folder, target["S3Uri"], job.identity, config.get("KmsKeyId") or None)
        except container_processes.TRANSFER_ERRORS as error:
            raise container_processes.failed_transfer("Output upload", error) from error


def _publish(job: Job) -> None:
    """Publish the metrics that a monitoring job wrote in CloudWatch's format, in the monitor's namespace."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-cloudwatch.html
    namespace = job.record.get("MetricNamespace")
    if namespace is None:
        return
    lines = [
        line
        for path in sorted((job.root / "output" / "metrics" / "cloudwatch").glob("*"))
        for line in path.read_text().splitlines()
        if line.strip()
    ]
    client = job.identity.of_service().client("cloudwatch")
    try:
        for first in range(0, len(lines), _METRICS):
            data = [json.loads(line) for line in lines[first : first + _METRICS]]
            client.put_metric_data(Namespace=namespace, MetricData=data)
    except container_processes.TRANSFER_ERRORS as error:  # as for log lines of a role without the permission
        LOGGER.warning("metrics of %s are lost: %s", job.name, error)


def _local(root: Path, path: str) -> Path:
    return Path(mapped(root, path))


def _finish(record: Record, status: str, reason: str | None = None) -> None:
    with resource_store.LOCK:
        resource_store.update(
            record, ProcessingJobStatus=status, ProcessingEndTime=clock.utcnow(), FailureReason=reason
        )
    status_events.state_change("ProcessingJob", record)
