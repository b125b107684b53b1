"""Rules for SageMaker jobs: network, isolation, encryption, limited runtime."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource, is_true
from mlops_constructs.compliance.policies import as_list
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import made
from mlops_runtime.instance_types import takes_volume_key

_PATHS = {
    "AWS::SageMaker::TrainingJob": "EnableNetworkIsolation",
    "AWS::SageMaker::ProcessingJob": "NetworkConfig.EnableNetworkIsolation",
}

_NETWORK_PATHS = {
    "AWS::SageMaker::TrainingJob": "VpcConfig",
    "AWS::SageMaker::ProcessingJob": "NetworkConfig.VpcConfig",
}

_OUTPUT_PATHS = {
    "AWS::SageMaker::TrainingJob": "OutputDataConfig.KmsKeyId",
    "AWS::SageMaker::ProcessingJob": "ProcessingOutputConfig.KmsKeyId",
    "AWS::SageMaker::TransformJob": "TransformOutput.KmsKeyId",
}

_RUNTIME_PATHS = {
    "AWS::SageMaker::TrainingJob": "StoppingCondition.MaxRuntimeInSeconds",
    "AWS::SageMaker::ProcessingJob": "StoppingCondition.MaxRuntimeInSeconds",
}

_TRAFFIC_PATHS = {
    "AWS::SageMaker::TrainingJob": "EnableInterContainerTrafficEncryption",
    "AWS::SageMaker::ProcessingJob": "NetworkConfig.EnableInterContainerTrafficEncryption",
}

_VOLUME_PATHS = {
    "AWS::SageMaker::TrainingJob": "ResourceConfig.VolumeKmsKeyId",
    "AWS::SageMaker::ProcessingJob": "ProcessingResources.ClusterConfig.VolumeKmsKeyId",
    "AWS::SageMaker::TransformJob": "TransformResources.VolumeKmsKeyId",
}

_TYPE_PATHS = {
    "AWS::SageMaker::TrainingJob": "ResourceConfig.InstanceType",
    "AWS::SageMaker::ProcessingJob": "ProcessingResources.ClusterConfig.InstanceType",
    "AWS::SageMaker::TransformJob": "TransformResources.InstanceType",
}

_KINDS = ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")
_INLINE = "MonitoringScheduleConfig.MonitoringJobDefinition"


def _job_isolation(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_PATHS):
        if not is_true(job.get(_PATHS[job.type])):
            yield violation(job, _PATHS[job.type])


JOB_ISOLATION = Rule(
    id="JobIsolation",
    problem="A job's container may open network connections, including to destinations not allowed for training data.",
    fix="Set EnableNetworkIsolation true; SageMaker copies inputs and outputs from outside the container.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html",
    check=_job_isolation,
)


def _job_network(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_NETWORK_PATHS):
        if not job.get(_NETWORK_PATHS[job.type]):
            yield violation(job, _NETWORK_PATHS[job.type])


JOB_NETWORK = Rule(
    id="JobNetwork",
    problem="A job runs in SageMaker's network instead of the unit's, with internet access.",
    fix="Set VpcConfig with private subnets and a security group.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/train-vpc.html",
    check=_job_network,
)


def _job_output(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_OUTPUT_PATHS):
        if not job.get(_OUTPUT_PATHS[job.type]):
            yield violation(job, _OUTPUT_PATHS[job.type])


JOB_OUTPUT = Rule(
    id="JobOutput",
    problem="A job writes models or data that are not encrypted with a key of the unit.",
    fix="Set KmsKeyId of the job's output.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/encryption-at-rest.html",
    check=_job_output,
)


def _job_runtime(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_RUNTIME_PATHS):
        if not job.get(_RUNTIME_PATHS[job.type]):
            yield violation(job, _RUNTIME_PATHS[job.type])


JOB_RUNTIME = Rule(
    id="JobRuntime",
    problem="A job that hangs runs, and incurs cost, for up to days.",
    fix="Set StoppingCondition.MaxRuntimeInSeconds.",
    source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html",
    check=_job_runtime,
)


def _job_traffic(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_TRAFFIC_PATHS):
        if not _is_alone(job) and not is_true(job.get(_TRAFFIC_PATHS[job.type])):
            yield violation(job, _TRAFFIC_PATHS[job.type])


def _is_alone(job: Resource) -> bool:
    """Return whether the job has one instance and therefore no traffic between instances."""
    counts = (job.get("ResourceConfig.InstanceCount"), job.get("ProcessingResources.ClusterConfig.InstanceCount"))
    return any(str(count) == "1" for count in counts)


JOB_TRAFFIC = Rule(
    id="JobTraffic",
    problem="A job with several instances sends training data between them unencrypted.",
    fix="Set EnableInterContainerTrafficEncryption true.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html",
    check=_job_traffic,
)


def _job_volume(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_VOLUME_PATHS):
        if not job.get(_VOLUME_PATHS[job.type]) and not _has_own_storage(job.get(_TYPE_PATHS[job.type])):
            yield violation(job, _VOLUME_PATHS[job.type])


def _has_own_storage(types: object) -> bool:
    """Return whether the instance encrypts local storage with hardware keys and does not support a KMS key."""
    named = [str(each) for each in as_list(types)] if types else []
    return bool(named) and not any(takes_volume_key(each) for each in named)


JOB_VOLUME = Rule(
    id="JobVolume",
    problem="A job's volumes contain training data and are not encrypted with a key of the unit.",
    fix="Set VolumeKmsKeyId; instance types with local NVMe storage do not support it and encrypt in hardware.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/encryption-at-rest.html",
    check=_job_volume,
)


def _monitoring_encryption(assembly: Assembly) -> Iterator[Violation]:
    for kind in _KINDS:
        for job in assembly.of(f"AWS::SageMaker::{kind}JobDefinition"):
            yield from _missing(job, "", "JobResources", f"{kind}JobOutputConfig")
    for schedule in assembly.of("AWS::SageMaker::MonitoringSchedule"):
        if schedule.get(_INLINE) is not None:
            yield from _missing(schedule, f"{_INLINE}.", "MonitoringResources", "MonitoringOutputConfig")


def _missing(job: Resource, prefix: str, resources: str, output: str) -> Iterator[Violation]:
    volume, cluster = f"{prefix}{resources}.ClusterConfig.VolumeKmsKeyId", f"{prefix}{resources}.ClusterConfig"
    if not job.get(volume) and not _has_own_storage(job.get(f"{cluster}.InstanceType")):
        yield violation(job, volume, "volume")
    if not job.get(f"{prefix}{output}.KmsKeyId"):
        yield violation(job, f"{prefix}{output}.KmsKeyId", "output")
    traffic = f"{prefix}NetworkConfig.EnableInterContainerTrafficEncryption"
    if not is_true(job.get(traffic)):
        yield violation(job, traffic, "traffic")


MONITORING_ENCRYPTION = Rule(
    id="MonitoringEncryption",
    problem="A monitoring job reads captured requests, and its volume, output or traffic is not encrypted.",
    fix="Set VolumeKmsKeyId, KmsKeyId of the output and EnableInterContainerTrafficEncryption.",
    source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_MonitoringClusterConfig.html",
    check=_monitoring_encryption,
)
