"""Jobs have an end."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import made

_PATHS = {
    "AWS::SageMaker::TrainingJob": "StoppingCondition.MaxRuntimeInSeconds",
    "AWS::SageMaker::ProcessingJob": "StoppingCondition.MaxRuntimeInSeconds",
}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_PATHS):
        if not job.get(_PATHS[job.type]):
            yield violation(job, _PATHS[job.type])


RULE = Rule(
    id="JobRuntime",
    problem="A job that hangs runs, and is paid, for up to days.",
    fix="Set StoppingCondition.MaxRuntimeInSeconds.",
    source="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html",
    check=_check,
)
