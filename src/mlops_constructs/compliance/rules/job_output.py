"""What jobs write is encrypted with a key of the unit."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import made

_PATHS = {
    "AWS::SageMaker::TrainingJob": "OutputDataConfig.KmsKeyId",
    "AWS::SageMaker::ProcessingJob": "ProcessingOutputConfig.KmsKeyId",
    "AWS::SageMaker::TransformJob": "TransformOutput.KmsKeyId",
}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_PATHS):
        if not job.get(_PATHS[job.type]):
            yield violation(job, _PATHS[job.type])


RULE = Rule(
    id="JobOutput",
    problem="A job writes models or data that are not encrypted with a key of the unit.",
    fix="Set KmsKeyId of its output.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/encryption-at-rest.html",
    check=_check,
)
