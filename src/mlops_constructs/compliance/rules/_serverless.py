"""Models that serve without instances, to which some settings of SageMaker do not apply."""

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.state_machines import everywhere


def serverless_models(assembly: Assembly) -> frozenset[str]:
    """Return the names of models in serverless variants.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html#serverless-endpoints-how-it-works-exclusions
    """
    return frozenset(
        config.text(variant.get("ModelName"))
        for config in everywhere(assembly, "AWS::SageMaker::EndpointConfig")
        for variant in config.get("ProductionVariants") or ()
        if isinstance(variant, dict) and "ServerlessConfig" in variant
    )
