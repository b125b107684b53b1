"""Models and endpoint configs: what endpoints are made of.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html
and https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
"""

from botocore.exceptions import ClientError

from mlops_local.networks.reach import Member
from mlops_local.sagemaker import registry, store, variants
from mlops_local.sagemaker.errors import validation
from mlops_local.sagemaker.roles import Identity
from mlops_local.sagemaker.shapes import Record


def create_model(request: Record) -> Record:
    """CreateModel: of one container, given by image and data or by an approved model package."""
    # claim: model-needs-image-and-role
    name = request["ModelName"]
    given = request.get("Containers", []) + ([request["PrimaryContainer"]] if "PrimaryContainer" in request else [])
    if len(given) != 1:
        raise validation(f"a model has 1 container here, got {len(given)}; inference pipelines are not supported")
    if "ExecutionRoleArn" not in request:
        raise validation("ExecutionRoleArn is required to read the model's data")
    arn = store.arn("Model", name)
    role = Identity(request["ExecutionRoleArn"], arn)
    role.check()
    resolved = container(given[0])
    registry.check_image(resolved["Image"])
    if "ModelDataUrl" in resolved:
        _check_data(resolved["ModelDataUrl"], role)
    record = {k: v for k, v in request.items() if k != "Tags"}
    record["EnableNetworkIsolation"] = request.get("EnableNetworkIsolation", False)
    record["Resolved"] = resolved  # what is served stays what it was when the model was made
    store.add("Model", name, record, request.get("Tags"))
    return {"ModelArn": arn}


def describe_model(request: Record) -> Record:
    """DescribeModel."""
    return store.get("Model", request["ModelName"])


def list_models(request: Record) -> Record:
    """ListModels."""
    return store.listing("ListModels", request, store.store().records["Model"].values(), status=None, descending=True)


def delete_model(request: Record) -> Record:
    """DeleteModel; endpoints that serve it go on."""
    store.remove("Model", request["ModelName"])
    return {}


def container(definition: Record) -> Record:
    """Return the image, data and environment of a container definition; a package gives what the definition does not.

    Raises:
        ServiceError: ``ValidationException``: neither an image nor a usable package, or data that cannot be served here.
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
    packaged = registry.approved_container(definition["ModelPackageName"])
    environment = packaged.get("Environment", {}) | definition.get("Environment", {})
    return packaged | {"Environment": environment}


def identity(model: Record) -> Identity:
    """Return in whose name a model's containers run."""
    member = Member.of(f"model {model['ModelName']}", model.get("VpcConfig"))
    return Identity(model["ExecutionRoleArn"], model["ModelArn"], member)


def create_config(request: Record) -> Record:
    """CreateEndpointConfig."""
    name = request["EndpointConfigName"]
    listed = (*request["ProductionVariants"], *request.get("ShadowProductionVariants", []))
    used = {v["ModelName"]: store.get("Model", v["ModelName"]) for v in listed if "ModelName" in v}
    record = variants.checked({k: v for k, v in request.items() if k != "Tags"}, used)
    store.add("EndpointConfig", name, record, request.get("Tags"))
    return {"EndpointConfigArn": store.arn("EndpointConfig", name)}


def describe_config(request: Record) -> Record:
    """DescribeEndpointConfig."""
    return store.get("EndpointConfig", request["EndpointConfigName"])


def list_configs(request: Record) -> Record:
    """ListEndpointConfigs."""
    rows = store.store().records["EndpointConfig"].values()
    return store.listing("ListEndpointConfigs", request, rows, status=None, descending=True)


def delete_config(request: Record) -> Record:
    """DeleteEndpointConfig."""
    store.remove("EndpointConfig", request["EndpointConfigName"])
    return {}


def _check_data(url: str, role: Identity) -> None:
    # claim: model-needs-image-and-role
    bucket, _, key = url.removeprefix("s3://").partition("/")
    try:
        role.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            raise validation(f"Could not find model data at {url}.") from error
        raise validation(
            f'Could not access model data at {url}. Please ensure that the role "{role.role}" exists and that its trust '
            'relationship policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". '
            'Also ensure that the role has "s3:GetObject" permissions and that the object is located in the region.'
        ) from error
