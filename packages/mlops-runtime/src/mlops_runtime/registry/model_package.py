"""Converts ``ModelPackageSpec`` to arguments of CreateModelPackage, and responses of DescribeModelPackage back.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackage.html
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.contracts.model_manifest import Flavor, Trust

MODEL_SHA256 = "MLOPS_MODEL_SHA256"  # the server compares the hash of model.onnx with it before loading
MLOPS_TRUST = "MLOPS_TRUST"  # allowed effects of loading the model, which the server enforces
METADATA = (
    "artifact_sha256",
    "model_sha256",
    "training_set_id",
    "execution",
    "baseline_uri",
    "baseline_sha256",
    "evaluation_uri",
)
# further metadata of packages that the platform registers; others may lack them
OPTIONAL = (
    "signing_key",
    "code",
    "flavor",
    "trust",
    "trained_until",
    "feature_service",
    "source_binding",
    "source_package",
    "source_record",
    "source_environment",
)
# metadata that the package's hash covers besides the container; ALSO_BOUND only if present
BOUND = ("artifact_sha256", "model_sha256", "training_set_id", "evaluation_uri", "baseline_uri", "baseline_sha256")
ALSO_BOUND = ("evaluation_sha256", *OPTIONAL)
ABSENT = "none"  # value of a missing field, since the registry rejects empty strings
CONTAINER_SHA256 = "container_sha256"
CONTAINER_FIELDS = "container_fields"

# claim: packages-gain-two-fields
ADDED = ("ImageDigest", "ModelDataETag")
_IMAGE = re.compile(r".+@sha256:[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class PackageError(ValueError):
    """A model package cannot be deployed in its current state; the message lists every problem.

    Attributes:
        problems: Each problem.
    """

    def __init__(self, package: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"model package {package}: " + "; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredPackage:
    """A package as described by the registry: content, approval status, approver, and approval description."""

    spec: ModelPackageSpec
    arn: str
    status: str
    approval: str
    container_sha256: str
    approved_by: str | None = None
    approval_description: str = ""

    @property
    def is_approved(self) -> bool:
        """Whether the package is completed and approved."""
        return self.approval == "Approved" and self.status == "Completed"


def container_sha256(container: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    """Return the hash of a package's content: its whole container, and its artifact, evaluation and training set.

    The hash is stored in the package's metadata at registration, and repeated in approvals, plans, audit records and the live
    pointer. Fields that SageMaker adds to a container are ignored; absent metadata count as empty.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelPackageContainerDefinition.html

    Args:
        container: Container, as in InferenceSpecification.
        metadata: The package's metadata, or the gate's result; other names in it are ignored.

    Example:
        >>> container = {"Image": "i", "ImageDigest": "sha256:1"}
        >>> container_sha256(container, {"execution": "arn"}) == container_sha256({"Image": "i"}, {})
        True
    """
    bound = {name: metadata.get(name, "") for name in BOUND} | {n: metadata[n] for n in ALSO_BOUND if n in metadata}
    return content_hash({**bound, "container": _given(container)})


def registered_metadata(container: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata with the hash of metadata and container, ``container_sha256``, and short hashes that locate a change."""
    fields = " ".join(f"{name}={digest}" for name, digest in _fields(container).items())
    return {**metadata, CONTAINER_FIELDS: fields, CONTAINER_SHA256: container_sha256(container, metadata)}


def package_changes(container: Mapping[str, Any], metadata: Mapping[str, str]) -> list[str]:
    """Return how a package differs from its registration; empty if unchanged."""
    registered, present = metadata.get(CONTAINER_SHA256), container_sha256(container, metadata)
    if registered == present:
        return []
    if registered is None:
        return [
            f"CustomerMetadataProperties.{CONTAINER_SHA256} is missing; register it with the result of package_request"
        ]
    was = dict(part.partition("=")[::2] for part in metadata.get(CONTAINER_FIELDS, "").split())
    now = _fields(container)
    differing = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
    named = [f"{name} is now {_shown(container.get(name))}" for name in differing]
    what = (
        ", ".join(named)
        or "its digests, evaluation, baseline, training set, code or signing key are not those it was registered with"
    )
    return [
        f"it was changed after it was registered: {what}; its hash was {registered}, it is now {present}; register it again"
    ]


def container_environment(spec: ModelPackageSpec) -> dict[str, str]:
    """Return the environment of a package's container: its own variables, the model's hash, and the allowed trust."""
    trust = {} if spec.trust is None else {MLOPS_TRUST: spec.trust}
    return {**spec.environment, MODEL_SHA256: spec.model_sha256, **trust}


def package_container(spec: ModelPackageSpec) -> dict[str, Any]:
    """Return a package's container."""
    return {"Image": spec.image, "ModelDataUrl": spec.artifact_uri, "Environment": container_environment(spec)}


def package_metadata(spec: ModelPackageSpec) -> dict[str, str]:
    """Return a package's metadata before its registration."""
    metadata = {name: str(getattr(spec, name)) for name in METADATA}
    return metadata | {name: str(value) for name in OPTIONAL if (value := getattr(spec, name)) is not None}


def version_of(package: str) -> str:
    """Return ``<group>/<number>`` of a package's ARN.

    Example:
        >>> version_of("arn:aws:sagemaker:eu-west-1:111111111111:model-package/demand-forecast/7")
        'demand-forecast/7'
    """
    return package.partition(":model-package/")[2]


def package_request(spec: ModelPackageSpec, *, approval: str = "PendingManualApproval") -> dict[str, object]:
    """Return the arguments of CreateModelPackage.

    Args:
        spec: The package. ``package_arn`` is not used.
        approval: Initial approval status. Default: a person, or the policy, decides later.

    Example:
        >>> spec = ModelPackageSpec(
        ...     group="demand-forecast", image="1.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64,
        ...     artifact_uri="s3://b/model.tar.gz", artifact_sha256="a" * 64, model_sha256="b" * 64, training_set_id="c" * 64,
        ...     execution="arn", baseline_uri="s3://b/baseline.json", baseline_sha256="d" * 64,
        ...     evaluation_uri="s3://b/evaluation.json")
        >>> package_request(spec)["ModelApprovalStatus"]
        'PendingManualApproval'
    """
    container = package_container(spec)
    return {
        "ModelPackageGroupName": spec.group,
        "ModelApprovalStatus": approval,
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": list(spec.content_types),
            "SupportedResponseMIMETypes": list(spec.content_types),
        },
        "CustomerMetadataProperties": registered_metadata(container, package_metadata(spec)),
    }


def read_package(description: Mapping[str, Any]) -> RegisteredPackage:
    """Return the package in a response of DescribeModelPackage.

    Raises:
        PackageError: With everything that prevents a safe deployment: an image by tag, a missing hash, a hash in the metadata that
            differs from the one that the server checks, any change after the registration.
    """
    arn = str(description["ModelPackageArn"])
    specification = description.get("InferenceSpecification", {})
    containers = specification.get("Containers", [])
    if len(containers) != 1:
        raise PackageError(arn, [f"must have 1 container, got {len(containers)}"])
    container, metadata = containers[0], description.get("CustomerMetadataProperties", {})
    problems = [*_problems(container, metadata), *package_changes(container, metadata)]
    if problems:
        raise PackageError(arn, problems)
    environment = dict(container["Environment"])
    spec = ModelPackageSpec(
        group=str(description.get("ModelPackageGroupName", "")),
        image=container["Image"],
        artifact_uri=container["ModelDataUrl"],
        environment={name: value for name, value in environment.items() if name not in (MODEL_SHA256, MLOPS_TRUST)},
        content_types=tuple(specification.get("SupportedContentTypes", ())),
        package_arn=arn,
        **{name: metadata[name] for name in (*METADATA, *_carried(metadata))},
    )
    return RegisteredPackage(
        spec=spec,
        arn=arn,
        status=str(description.get("ModelPackageStatus", "")),
        approval=str(description.get("ModelApprovalStatus", "")),
        container_sha256=container_sha256(container, metadata),
        approved_by=_person(description.get("LastModifiedBy", {})),
        approval_description=str(description.get("ApprovalDescription", "")),
    )


def _problems(container: Mapping[str, Any], metadata: Mapping[str, str]) -> Iterable[str]:
    if not _IMAGE.fullmatch(container.get("Image", "")):
        yield f"Image must be named by digest, got {container.get('Image')!r}; register it as <repository>@sha256:<digest>"
    if not str(container.get("ModelDataUrl", "")).startswith("s3://"):
        yield f"ModelDataUrl must be an S3 URI, got {container.get('ModelDataUrl')!r}"
    for name in (*METADATA, *_carried(metadata)):
        if name not in metadata:
            yield f"CustomerMetadataProperties.{name} is missing"
        elif name.endswith("_sha256") and not _SHA256.fullmatch(metadata[name]):
            yield f"CustomerMetadataProperties.{name} must be 64 hexadecimal digits, got {metadata[name]!r}"
    checked = container.get("Environment", {}).get(MODEL_SHA256)
    if checked is None:
        yield f"the container's environment has no {MODEL_SHA256}, so the server could not verify the model"
    elif "model_sha256" in metadata and checked != metadata["model_sha256"]:
        yield f"{MODEL_SHA256} of the container is {checked!r}, but model_sha256 of the metadata is {metadata['model_sha256']!r}"
    yield from _trust_problems(container.get("Environment", {}).get(MLOPS_TRUST), metadata)


def _trust_problems(given: str | None, metadata: Mapping[str, str]) -> Iterator[str]:
    carried = {name: metadata[name] for name in _carried(metadata) if name in ("flavor", "trust")}
    for name, allowed in (("flavor", get_args(Flavor)), ("trust", get_args(Trust))):
        if name in carried and carried[name] not in allowed:
            yield f"CustomerMetadataProperties.{name} must be one of {', '.join(allowed)}, got {carried[name]!r}"
    if len(carried) == 1:
        yield f"CustomerMetadataProperties must have flavor and trust, or neither for ONNX, got {next(iter(carried))} alone"
    if carried.get("trust") != given:
        trust = "missing" if "trust" not in carried else repr(carried["trust"])
        yield f"{MLOPS_TRUST} of the container is {given or 'missing'!r}, but trust of the metadata is {trust}"


def _given(container: Mapping[str, Any]) -> dict[str, object]:
    return {name: value for name, value in container.items() if name not in ADDED}


def _fields(container: Mapping[str, Any]) -> dict[str, str]:
    """Return a short hash of each field; they only locate a change, which the full hash detects."""
    return {name: content_hash({name: value})[:8] for name, value in sorted(_given(container).items())}


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={str(content)[:80]}" for name, content in sorted(value.items()))[:500]
    return repr(value)[:300]


def _carried(metadata: Mapping[str, str]) -> list[str]:
    return [name for name in OPTIONAL if metadata.get(name, ABSENT) != ABSENT]


def _person(modified: Mapping[str, Any]) -> str | None:
    identity = modified.get("IamIdentity", {})
    name = modified.get("UserProfileName", identity.get("SourceIdentity", identity.get("Arn")))
    return None if name is None else str(name)
