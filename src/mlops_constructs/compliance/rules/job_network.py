"""Jobs run in the unit's own network."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import made

_PATHS = {
    "AWS::SageMaker::TrainingJob": "VpcConfig",
    "AWS::SageMaker::ProcessingJob": "NetworkConfig.VpcConfig",
}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_PATHS):
        if not job.get(_PATHS[job.type]):
            yield violation(job, _PATHS[job.type])


RULE = Rule(
    id="JobNetwork",
    problem="A job runs in SageMaker's network instead of the unit's, with a way to the internet.",
    fix="Set VpcConfig with private subnets and a security group.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/train-vpc.html",
    check=_check,
)
