"""What SageMaker serves, read at the source: endpoint, its config, its model, the package of that."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.sagemaker_errors import is_missing

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html: statuses in which a fleet answers
ANSWERING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack", "UpdateRollbackFailed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An endpoint config with what it is made of; ``package`` is None for a model that no package made."""

    config: str
    variant: str
    model: str
    instance_type: str
    instance_count: int
    package: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """An endpoint as SageMaker describes it; ``version`` is None where its config or model has been deleted."""

    status: str
    config: str
    version: Version | None
    failure: str = ""

    @property
    def is_answering(self) -> bool:
        """Whether a fleet answers requests."""
        return self.status in ANSWERING


def read_serving(sagemaker: "SageMakerClient", endpoint: str) -> Serving | None:
    """Return what an endpoint serves, or None if there is no such endpoint."""
    description = _describe(sagemaker, "describe_endpoint", EndpointName=endpoint)
    if description is None:
        return None
    config = str(description["EndpointConfigName"])
    return Serving(
        status=str(description["EndpointStatus"]),
        config=config,
        version=read_version(sagemaker, config),
        failure=str(description.get("FailureReason", "")),
    )


def read_version(sagemaker: "SageMakerClient", config: str) -> Version | None:
    """Return an endpoint config with its model and package, or None if config or model no longer exist."""
    description = _describe(sagemaker, "describe_endpoint_config", EndpointConfigName=config)
    if description is None:
        return None
    variant = description["ProductionVariants"][0]
    model = _describe(sagemaker, "describe_model", ModelName=variant["ModelName"])
    if model is None:
        return None
    containers = [*model.get("Containers", []), *([model["PrimaryContainer"]] if "PrimaryContainer" in model else [])]
    packages = {c["ModelPackageName"] for c in containers if "ModelPackageName" in c}
    return Version(
        config=config,
        variant=str(variant["VariantName"]),
        model=str(variant["ModelName"]),
        instance_type=str(variant.get("InstanceType", "")),
        instance_count=int(variant.get("InitialInstanceCount", 0)),
        package=packages.pop() if len(packages) == 1 else None,
    )


def read_description(sagemaker: "SageMakerClient", package: str) -> dict[str, Any] | None:
    """Return what the registry says about a package, or None if there is no such package."""
    return _describe(sagemaker, "describe_model_package", ModelPackageName=package)


def _describe(sagemaker: "SageMakerClient", operation: str, **arguments: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = getattr(sagemaker, operation)(**arguments)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return answer
