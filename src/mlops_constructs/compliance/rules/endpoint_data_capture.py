"""Endpoint configs keep requests and answers, without which nobody sees drift."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource, is_true
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.state_machines import everywhere


def _check(assembly: Assembly) -> Iterator[Violation]:
    for config in everywhere(assembly, "AWS::SageMaker::EndpointConfig"):
        if _can_capture(config) and not is_true(config.get("DataCaptureConfig.EnableCapture")):
            yield violation(config, "DataCaptureConfig")


def _can_capture(config: Resource) -> bool:
    """Neither serverless nor asynchronous endpoints can."""
    variants = config.get("ProductionVariants")
    is_serverless = isinstance(variants, list) and any("ServerlessConfig" in v for v in variants if isinstance(v, dict))
    return not is_serverless and config.get("AsyncInferenceConfig") is None


RULE = Rule(
    id="EndpointDataCapture",
    problem="The endpoint config captures no data, so that drift of its inputs cannot be seen.",
    fix="Set DataCaptureConfig with EnableCapture true, a bucket of the own unit and a KMS key.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html",
    check=_check,
)
