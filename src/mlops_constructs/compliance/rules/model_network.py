"""Models stand in the unit's own network."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.rules._serverless import serverless_models
from mlops_constructs.compliance.state_machines import everywhere


def _check(assembly: Assembly) -> Iterator[Violation]:
    exempt = serverless_models(assembly)  # serverless endpoints can have neither network nor isolation
    for model in everywhere(assembly, "AWS::SageMaker::Model"):
        if model.name not in exempt and not model.get("VpcConfig"):
            yield violation(model, "VpcConfig")


RULE = Rule(
    id="ModelNetwork",
    problem="The model stands in SageMaker's network instead of the unit's, with a way to the internet.",
    fix="Set VpcConfig with private subnets and a security group.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/host-vpc.html",
    check=_check,
)
