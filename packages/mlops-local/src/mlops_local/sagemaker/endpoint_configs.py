"""Models, endpoint configs and variants, and SageMaker's validation of their combinations."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError
from ministack.core.responses import get_region

from mlops_local.iam.owners import bucket_owner
from mlops_local.networks.reach import Member
from mlops_local.sagemaker import foreign_images, package_versions, resource_store
from mlops_local.sagemaker.api_shapes import Record, validation
from mlops_local.sagemaker.role_clients import Identity
from mlops_runtime.instance_types import takes_volume_key

# unsupported members, rejected by name rather than ignored
_UNSUPPORTED = (
    "AcceleratorType",
    "CapacityReservationConfig",
    "CoreDumpConfig",
    "InstancePools",
    "ManagedInstanceScaling",
)
# the first three belong to inference components, which add models to an existing endpoint
_UNSUPPORTED_CONFIG = ("EnableNetworkIsolation", "ExecutionRoleArn", "VpcConfig", "ExplainerConfig", "MetricsConfig")
_MOST = 10  # variants; https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariantServerlessConfig.html
_MEMORY = (1024, 2048, 3072, 4096, 5120, 6144)
# members of instance variants; KmsKeyId encrypts their volumes
_OF_INSTANCES = ("InstanceType", "InitialInstanceCount", "VolumeSizeInGB")
_LOOKS: list[Callable[[str, str], bool]] = []


def checked(request: Record, models: Mapping[str, Record]) -> Record:
    """Return an endpoint config with default weights for variants without one.

    Raises:
        ServiceError: ``ValidationException`` listing every problem.
    """
    # claim: config-variants-go-together
    problems = list(_problems(request, models))
    if problems:
        raise validation("; ".join(problems))
    lists = [name for name in ("ProductionVariants", "ShadowProductionVariants") if name in request]
    return request | {name: [{"InitialVariantWeight": 1.0} | variant for variant in request[name]] for name in lists}


def add_look(look: Callable[[str, str], bool]) -> None:
    """Register ``look(endpoint, variant)``, which returns whether Application Auto Scaling scales a variant."""
    _LOOKS.append(look)


def is_scaled(endpoint: str, variant: str) -> bool:
    """Return whether a variant is a registered scalable target, for which SageMaker rejects some changes."""
    return any(look(endpoint, variant) for look in _LOOKS)


def is_serverless(config: Record) -> bool:
    """Return whether an endpoint config has no instances."""
    return any("ServerlessConfig" in variant for variant in config["ProductionVariants"])


def instance_types(config: Record) -> dict[str, str]:
    """Return the instance types of the instance variants."""
    return {v["VariantName"]: v["InstanceType"] for v in config["ProductionVariants"] if "InstanceType" in v}


def _problems(request: Record, models: Mapping[str, Record]) -> Iterator[str]:
    production, shadows = request["ProductionVariants"], request.get("ShadowProductionVariants", [])
    for member in _UNSUPPORTED_CONFIG:
        if member in request:
            yield f"{member} of an endpoint config is not supported by the embedded SageMaker"
    if len(production) > _MOST:
        yield f"an endpoint config has at most {_MOST} production variants, got {len(production)}"
    names = [variant["VariantName"] for variant in (*production, *shadows)]
    if len(set(names)) < len(names):
        yield f"Production variant names must be unique, got {names}"
    for variant in (*production, *shadows):
        yield from _variant(variant)
        # claim: local-storage-takes-no-key
        if "KmsKeyId" in request and not takes_volume_key(variant.get("InstanceType", "")):
            yield (
                f"You can't request a KmsKeyId for instance type {variant['InstanceType']}: it has local storage, which its "
                "hardware encrypts; leave KmsKeyId out"
            )
    if is_serverless(request):
        yield from _serverless(request, models)
    if shadows:
        yield from _shadow(request)
    if "AsyncInferenceConfig" in request:
        yield from _asynchronous(request)


def _variant(variant: Record) -> Iterator[str]:
    name = variant["VariantName"]
    for member in _UNSUPPORTED:
        if member in variant:
            yield f"ProductionVariant.{member} is not supported by the embedded SageMaker"
    if "ModelName" not in variant:
        yield f"ProductionVariant {name} needs ModelName"
    given = [member for member in _OF_INSTANCES if member in variant]
    if "ServerlessConfig" in variant and given:
        yield f"ProductionVariant {name} has ServerlessConfig and so cannot have {', '.join(given)}"
    if "ServerlessConfig" not in variant:
        for member in ("InstanceType", "InitialInstanceCount"):
            if member not in variant:
                yield f"ProductionVariant {name} needs {member}, or ServerlessConfig"


def _serverless(request: Record, models: Mapping[str, Record]) -> Iterator[str]:
    """Yield features that a serverless endpoint does not support."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html#serverless-endpoints-how-it-works-exclusions
    variants = request["ProductionVariants"]
    excluded = {
        "multiple production variants": len(variants) > 1,
        "shadow variants": "ShadowProductionVariants" in request,
        "data capture": bool(request.get("DataCaptureConfig", {}).get("EnableCapture", "DataCaptureConfig" in request)),
        "KmsKeyId": "KmsKeyId" in request,
        "asynchronous inference": "AsyncInferenceConfig" in request,
        "VPC configuration": any(_of(models, variant).get("VpcConfig") for variant in variants),
        "images from another account's registry": any(
            foreign_images.is_foreign(_of(models, variant)) for variant in variants
        ),
        "network isolation": any(_of(models, variant).get("EnableNetworkIsolation") for variant in variants),
    }
    yield from (
        f"Serverless endpoints do not support {name}." for name, is_requested in excluded.items() if is_requested
    )
    for config in (variant["ServerlessConfig"] for variant in variants if "ServerlessConfig" in variant):
        if config["MemorySizeInMB"] not in _MEMORY:
            yield f"MemorySizeInMB must be one of {', '.join(map(str, _MEMORY))}, got {config['MemorySizeInMB']}"
        if config.get("ProvisionedConcurrency", 0) > config["MaxConcurrency"]:
            yield (
                f"ProvisionedConcurrency must be at most MaxConcurrency ({config['MaxConcurrency']}), got "
                f"{config['ProvisionedConcurrency']}"
            )


def _shadow(request: Record) -> Iterator[str]:
    """Yield members that cannot be combined with a shadow variant."""
    # `ShadowProductionVariants` in botocore's model, and
    # https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
    production, shadows = request["ProductionVariants"], request["ShadowProductionVariants"]
    if len(production) != 1 or len(shadows) != 1:
        yield f"shadow mode takes 1 production and 1 shadow variant, got {len(production)} and {len(shadows)}"
    if "AsyncInferenceConfig" in request:
        yield "AsyncInferenceConfig cannot be combined with ShadowProductionVariants."
    if any("ServerlessConfig" in variant for variant in shadows):
        yield "A shadow variant cannot be serverless."
    for variant in (*production, *shadows):
        if str(variant.get("InstanceType", "")).startswith("ml.inf1."):
            yield f"{variant['InstanceType']} of {variant['VariantName']} cannot be used with ShadowProductionVariants."


def _asynchronous(request: Record) -> Iterator[str]:
    """Yield problems of asynchronous endpoints; https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-create-endpoint.html."""
    if "S3OutputPath" not in request["AsyncInferenceConfig"]["OutputConfig"]:
        yield "AsyncInferenceConfig.OutputConfig needs S3OutputPath"
    if request["AsyncInferenceConfig"]["OutputConfig"].get("NotificationConfig", {}).get("IncludeInferenceResponseIn"):
        yield "IncludeInferenceResponseIn is not supported by the embedded SageMaker"
    if "DataCaptureConfig" in request:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html: real-time endpoints, batch transform
        yield "DataCaptureConfig is for real-time endpoints; an asynchronous one's input and output are in S3 already"


def _of(models: Mapping[str, Record], variant: Mapping[str, Any]) -> Record:
    return models.get(variant.get("ModelName", ""), {})


def create_model(request: Record) -> Record:
    """CreateModel: with a single container, given by image and data or by an approved model package."""
    # claim: model-needs-image-and-role
    name = request["ModelName"]
    given = request.get("Containers", []) + ([request["PrimaryContainer"]] if "PrimaryContainer" in request else [])
    if len(given) != 1:
        raise validation(f"a model has 1 container here, got {len(given)}; inference pipelines are not supported")
    if "ExecutionRoleArn" not in request:
        raise validation("ExecutionRoleArn is required to read the model's data")
    arn = resource_store.arn("Model", name)
    role = Identity(request["ExecutionRoleArn"], arn)
    role.check()
    resolved = container(given[0])
    package_versions.check_image(resolved["Image"])
    foreign_images.check_region(resolved["Image"])
    if "ModelDataUrl" in resolved:
        _check_data(resolved["ModelDataUrl"], role)
    record = {k: v for k, v in request.items() if k != "Tags"}
    record["EnableNetworkIsolation"] = request.get("EnableNetworkIsolation", False)
    record["Resolved"] = resolved  # later changes of the package do not change the model
    resource_store.add("Model", name, record, request.get("Tags"))
    return {"ModelArn": arn}


def container(definition: Record) -> Record:
    """Return image, data and environment of a container definition; a package provides what the definition omits.

    Raises:
        ServiceError: ``ValidationException`` without an image or usable package, or for data that cannot be served here.
    """
    # claim: model-needs-image-and-role
    for name in ("ModelDataSource", "MultiModelConfig", "AdditionalModelDataSources", "InferenceSpecificationName"):
        if name in definition:
            raise validation(f"{name} is not supported by the embedded SageMaker; give Image and ModelDataUrl")
    if definition.get("Mode", "SingleModel") != "SingleModel":
        raise validation("multi-model containers are not supported by the embedded SageMaker")
    if "ModelPackageName" not in definition:
        if "Image" not in definition:
            raise validation("Both image and model package name cannot be null")
        return definition
    packaged = package_versions.approved_container(definition["ModelPackageName"])
    environment = packaged.get("Environment", {}) | definition.get("Environment", {})
    return packaged | {"Environment": environment}


def identity(model: Record) -> Identity:
    """Return the execution role, resource and network of a model's containers."""
    member = Member.of(f"model {model['ModelName']}", model.get("VpcConfig"))
    return Identity(model["ExecutionRoleArn"], model["ModelArn"], member)


def create_config(request: Record) -> Record:
    """CreateEndpointConfig."""
    name = request["EndpointConfigName"]
    listed = (*request["ProductionVariants"], *request.get("ShadowProductionVariants", []))
    used = {v["ModelName"]: resource_store.get("Model", v["ModelName"]) for v in listed if "ModelName" in v}
    record = checked({k: v for k, v in request.items() if k != "Tags"}, used)
    resource_store.add("EndpointConfig", name, record, request.get("Tags"))
    return {"EndpointConfigArn": resource_store.arn("EndpointConfig", name)}


def _check_data(url: str, role: Identity) -> None:
    # claim: model-needs-image-and-role
    bucket, _, key = url.removeprefix("s3://").partition("/")
    denied = validation(
        f'Could not access model data at {url}. Please ensure that the role "{role.role}" exists and that its trust '
        'relationship policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". '
        f'Also ensure that the role has "s3:GetObject" permissions and that the object is located in {get_region()}.'
    )
    owner = bucket_owner(bucket)
    if owner is not None and owner.region != get_region():
        # claim: models-have-data-of-their-region
        raise denied
    try:
        role.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            raise validation(f"Could not find model data at {url}.") from error
        raise denied from error
