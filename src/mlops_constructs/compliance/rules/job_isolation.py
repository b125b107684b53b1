"""Containers of jobs reach no network."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, is_true
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import made

_PATHS = {
    "AWS::SageMaker::TrainingJob": "EnableNetworkIsolation",
    "AWS::SageMaker::ProcessingJob": "NetworkConfig.EnableNetworkIsolation",
}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for job in made(assembly, *_PATHS):
        if not is_true(job.get(_PATHS[job.type])):
            yield violation(job, _PATHS[job.type])


RULE = Rule(
    id="JobIsolation",
    problem="A job's container may open connections, also to where training data must not go.",
    fix="Set EnableNetworkIsolation true; SageMaker copies inputs and outputs from outside the container.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html",
    check=_check,
)
