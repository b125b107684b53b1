"""Containers of models reach no network."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, is_true
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.rules._serverless import serverless_models
from mlops_constructs.compliance.state_machines import everywhere


def _check(assembly: Assembly) -> Iterator[Violation]:
    exempt = serverless_models(assembly)  # serverless endpoints can have neither network nor isolation
    for model in everywhere(assembly, "AWS::SageMaker::Model"):
        if model.name not in exempt and not is_true(model.get("EnableNetworkIsolation")):
            yield violation(model, "EnableNetworkIsolation")


RULE = Rule(
    id="ModelIsolation",
    problem="The model's container may open connections, also to where data must not go.",
    fix="Set EnableNetworkIsolation true; what the model needs comes with its artefact.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html",
    check=_check,
)
