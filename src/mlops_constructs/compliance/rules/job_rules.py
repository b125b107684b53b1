"""Rules for SageMaker jobs: network, isolation, encryption, limited runtime."""

from collections.abc import Callable, Iterator, Mapping

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


def _unless(
    paths: Mapping[str, str],
    allowed: Callable[[object], object] = bool,
    exempt: Callable[[Resource], bool] = lambda _: False,
) -> Callable[[Assembly], Iterator[Violation]]:
    """Return the check that the property at each job type's path is allowed, unless the job is exempt."""

    def check(assembly: Assembly) -> Iterator[Violation]:
        for job in made(assembly, *paths):
            if not allowed(job.get(paths[job.type])) and not exempt(job):
                yield violation(job, paths[job.type])

    return check


JOB_ISOLATION = Rule(
    id="JobIsolation",
    problem="A job's container may open network connections, including to destinations not allowed for training data.",
    fix="Set EnableNetworkIsolation true; SageMaker copies inputs and outputs from outside the container.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html",
    check=_unless(_PATHS, is_true),
)


JOB_NETWORK = Rule(
    id="JobNetwork",
    problem="A job runs in SageMaker's network instead of the unit's, with internet access.",
    fix="Set VpcConfig with private subnets and a security group.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/train-vpc.html",
    check=_unless(_NETWORK_PATHS),
)


JOB_OUTPUT = Rule(
    id="JobOutput",
    problem="A job writes models or data that are not encrypted with a key of the unit.",
    fix="Set KmsKeyId of the job's output.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/encryption-at-rest.html",
    check=_unless(_OUTPUT_PATHS),
)


JOB_RUNTIME = Rule(
    id="JobRuntime",
    problem="A job that hangs runs, and incurs cost, for up to days.",
    fix="Set StoppingCondition.MaxRuntimeInSeconds.",
    source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html",
    check=_unless(_RUNTIME_PATHS),
)


def _is_alone(job: Resource) -> bool:
    """Return whether the job has one instance and therefore no traffic between instances."""
    counts = (job.get("ResourceConfig.InstanceCount"), job.get("ProcessingResources.ClusterConfig.InstanceCount"))
    return any(str(count) == "1" for count in counts)


JOB_TRAFFIC = Rule(
    id="JobTraffic",
    problem="A job with several instances sends training data between them unencrypted.",
    fix="Set EnableInterContainerTrafficEncryption true.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html",
    check=_unless(_TRAFFIC_PATHS, is_true, exempt=_is_alone),
)


def _has_own_storage(types: object) -> bool:
    """Return whether the instance encrypts local storage with hardware keys and does not support a KMS key."""
    named = [str(each) for each in as_list(types)] if types else []
    return bool(named) and not any(takes_volume_key(each) for each in named)


JOB_VOLUME = Rule(
    id="JobVolume",
    problem="A job's volumes contain training data and are not encrypted with a key of the unit.",
    fix="Set VolumeKmsKeyId; instance types with local NVMe storage do not support it and encrypt in hardware.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/encryption-at-rest.html",
    check=_unless(_VOLUME_PATHS, exempt=lambda job: _has_own_storage(job.get(_TYPE_PATHS[job.type]))),
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
