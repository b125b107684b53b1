"""Rules for models: images by digest, versioned buckets, isolation, approval before promotion."""

from collections import deque
from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource, is_true
from mlops_constructs.compliance.policies import policies_of
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation
from mlops_constructs.compliance.rules.endpoint_rules import serverless_models
from mlops_constructs.compliance.state_machines import Machine, State, everywhere, machines

_IMAGES = {
    "AWS::SageMaker::Model": ("PrimaryContainer.Image", "Containers"),
    "AWS::SageMaker::ModelPackage": ("InferenceSpecification.Containers",),
    "AWS::SageMaker::TrainingJob": ("AlgorithmSpecification.TrainingImage",),
    "AWS::SageMaker::ProcessingJob": ("AppSpecification.ImageUri",),
}

_PATHS = {
    "AWS::SageMaker::Model": ("PrimaryContainer", "Containers"),
    "AWS::SageMaker::ModelPackage": ("InferenceSpecification",),
    "AWS::SageMaker::TrainingJob": ("OutputDataConfig",),
}

_PROMOTES = {("sagemaker", "updateEndpoint"), ("sagemaker", "createEndpoint")}
_READS = {"sagemaker:describemodelpackage", "sagemaker:describe*", "sagemaker:*"}


def _image_digest(assembly: Assembly) -> Iterator[Violation]:
    for resource in everywhere(assembly, *_IMAGES):
        for path in _IMAGES[resource.type]:
            if any("@sha256:" not in image for image in _images(resource, path)):
                yield violation(resource, path)


def _images(resource: Resource, path: str) -> Iterator[str]:
    found = resource.get(path)
    if not isinstance(found, list):
        yield from [] if found is None else [resource.text(found)]
        return
    yield from (resource.text(one["Image"]) for one in found if isinstance(one, dict) and "Image" in one)


IMAGE_DIGEST = Rule(
    id="ImageDigest",
    problem="An image is referenced by a tag, which can be moved to another image after the approval.",
    fix="Reference it by digest: repository@sha256:...; keep the tag for people.",
    source="https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html",
    check=_image_digest,
)


def _model_bucket(assembly: Assembly) -> Iterator[Violation]:
    places = [text for resource in everywhere(assembly, *_PATHS) for text in _places(resource)]
    for bucket in assembly.of("AWS::S3::Bucket"):
        holds_models = any(f"/{bucket.name}/" in f"{place}/" for place in places)
        if holds_models and bucket.get("VersioningConfiguration.Status") != "Enabled":
            yield violation(bucket, "VersioningConfiguration")


def _places(resource: Resource) -> Iterator[str]:
    """Yield the S3 URIs in the properties that refer to a model's artifact."""
    waiting = [resource.get(path) for path in _PATHS[resource.type]]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict) and not any(key.startswith(("Fn::", "Ref")) for key in value):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif value is not None:
            yield resource.text(value)


MODEL_BUCKET = Rule(
    id="ModelBucket",
    problem="A bucket of models keeps one version of each object, so an overwritten artifact is lost.",
    fix="Enable versioning.",
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html",
    check=_model_bucket,
)


def _model_isolation(assembly: Assembly) -> Iterator[Violation]:
    for model in _models(assembly):
        if not is_true(model.get("EnableNetworkIsolation")):
            yield violation(model, "EnableNetworkIsolation")


def _models(assembly: Assembly) -> Iterator[Resource]:
    """Yield the models that are not serverless: serverless endpoints support neither a VPC nor network isolation."""
    exempt = serverless_models(assembly)
    return (model for model in everywhere(assembly, "AWS::SageMaker::Model") if model.name not in exempt)


MODEL_ISOLATION = Rule(
    id="ModelIsolation",
    problem="The model's container may open network connections, including to destinations not allowed for the data.",
    fix="Set EnableNetworkIsolation true; include what the model needs in its artifact.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html",
    check=_model_isolation,
)


def _model_network(assembly: Assembly) -> Iterator[Violation]:
    for model in _models(assembly):
        if not model.get("VpcConfig"):
            yield violation(model, "VpcConfig")


MODEL_NETWORK = Rule(
    id="ModelNetwork",
    problem="The model is in SageMaker's network instead of the unit's, with internet access.",
    fix="Set VpcConfig with private subnets and a security group.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/host-vpc.html",
    check=_model_network,
)


def _promotion_approval(assembly: Assembly) -> Iterator[Violation]:
    for machine in machines(assembly):
        promotions = [state for state in machine.tasks() if state.call[:2] in _PROMOTES]
        if not promotions:
            continue
        reached = _without_approval(assembly, machine)
        for state in promotions:
            if (state.scope[0] if state.scope else state.name) in reached:
                yield violation(machine.resource, f"States.{state.name}", state.name)


def _without_approval(assembly: Assembly, machine: Machine) -> set[str]:
    """Return the names of the outermost states that an execution can reach without an approval."""
    states = {state.name: state for state in machine.states() if not state.scope}
    reached: set[str] = set()
    waiting = deque([str((machine.definition or {}).get("StartAt", ""))])
    while waiting:
        name = waiting.popleft()
        if name in reached or name not in states:
            continue
        reached.add(name)
        state = states[name]
        # a failed approval state does not approve: the targets of its Catch are reachable
        ways = (
            [c["Next"] for c in state.body.get("Catch", ())]
            if _approves(assembly, machine, state)
            else state.successors
        )
        waiting.extend(ways)
    return reached


def _approves(assembly: Assembly, machine: Machine, state: State) -> bool:
    """Return whether a state is an approval: a task token, a choice by approval status, or a function that may read the package."""
    service, action, pattern = state.call
    if pattern == ".waitForTaskToken":
        return True
    if state.body.get("Type") == "Choice":
        return "ModelApprovalStatus" in str(state.body)
    if (service, action) != ("lambda", "invoke") or not isinstance(state.arguments, dict):
        return False
    function = _named(assembly, machine.resource.text(state.arguments.get("FunctionName")))
    role = None if function is None else function.target(function.get("Role"))
    return role is not None and any(_READS.intersection(found.actions) for found in policies_of(assembly, role))


def _named(assembly: Assembly, name: str) -> Resource | None:
    for function in assembly.of("AWS::Lambda::Function"):
        if name.startswith((function.template.placeholder(function.logical_id)[:-1], function.name)):
            return function
    return None


PROMOTION_APPROVAL = Rule(
    id="PromotionApproval",
    problem="A state changes the model that an endpoint serves, and an execution can reach it without an approval.",
    fix="Before it, choose by the package's ModelApprovalStatus, wait for a task token, or invoke a function that reads the "
    "status.",
    source="https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-approve.html",
    check=_promotion_approval,
)
