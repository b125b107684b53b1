"""Traffic between a job's instances is encrypted."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource, is_true
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import made

_PATHS = {
    "AWS::SageMaker::TrainingJob": "EnableInterContainerTrafficEncryption",
    "AWS::SageMaker::ProcessingJob": "NetworkConfig.EnableInterContainerTrafficEncryption",
}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_PATHS):
        if not _is_alone(job) and not is_true(job.get(_PATHS[job.type])):
            yield violation(job, _PATHS[job.type])


def _is_alone(job: Resource) -> bool:
    """One instance sends nothing to another."""
    counts = (job.get("ResourceConfig.InstanceCount"), job.get("ProcessingResources.ClusterConfig.InstanceCount"))
    return any(str(count) == "1" for count in counts)


RULE = Rule(
    id="JobTraffic",
    problem="A job of several instances sends training data between them in clear text.",
    fix="Set EnableInterContainerTrafficEncryption true.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html",
    check=_check,
)
