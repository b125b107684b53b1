"""Jobs of monitoring schedules encrypt volumes, output and traffic."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource, is_true
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation

_KINDS = ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")
_INLINE = "MonitoringScheduleConfig.MonitoringJobDefinition"


def _check(assembly: Assembly) -> Iterator[Violation]:
    for kind in _KINDS:
        for job in assembly.of(f"AWS::SageMaker::{kind}JobDefinition"):
            yield from _missing(job, "", "JobResources", f"{kind}JobOutputConfig")
    for schedule in assembly.of("AWS::SageMaker::MonitoringSchedule"):
        if schedule.get(_INLINE) is not None:
            yield from _missing(schedule, f"{_INLINE}.", "MonitoringResources", "MonitoringOutputConfig")


def _missing(job: Resource, prefix: str, resources: str, output: str) -> Iterator[Violation]:
    for detail, path in (
        ("volume", f"{prefix}{resources}.ClusterConfig.VolumeKmsKeyId"),
        ("output", f"{prefix}{output}.KmsKeyId"),
    ):
        if not job.get(path):
            yield violation(job, path, detail)
    traffic = f"{prefix}NetworkConfig.EnableInterContainerTrafficEncryption"
    if not is_true(job.get(traffic)):
        yield violation(job, traffic, "traffic")


RULE = Rule(
    id="MonitoringEncryption",
    problem="A monitoring job reads captured requests, and its volume, output or traffic is not encrypted.",
    fix="Set VolumeKmsKeyId, KmsKeyId of the output and EnableInterContainerTrafficEncryption.",
    source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_MonitoringClusterConfig.html",
    check=_check,
)
