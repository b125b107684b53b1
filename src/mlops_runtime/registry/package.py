"""``ModelPackageSpec`` to CreateModelPackage arguments, and DescribeModelPackage's answer back.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackage.html
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.model import ModelPackageSpec

MODEL_SHA256 = "MLOPS_MODEL_SHA256"  # what the server compares model.onnx with before it loads it
METADATA = ("artifact_sha256", "model_sha256", "training_set_id", "execution", "baseline_uri", "evaluation_uri")
# what a package of ours also carries; one that was registered otherwise may be without
OPTIONAL = ("baseline_sha256",)
# what an approval is bound to; the hashes of the evaluation's and the baseline's bytes where registration gives them
BOUND = ("artifact_sha256", "model_sha256", "training_set_id", "evaluation_uri", "baseline_uri")
ALSO_BOUND = ("evaluation_sha256", "baseline_sha256")
ABSENT = "none"  # what registration says where the evaluation has none: the registry takes no empty text

_IMAGE = re.compile(r".+@sha256:[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class PackageError(ValueError):
    """A model package cannot be deployed as it is; the message lists every problem.

    Attributes:
        problems: Each problem.
    """

    def __init__(self, package: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"model package {package}: " + "; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredPackage:
    """A package as the registry describes it: what it holds, and whether and by whom it is approved."""

    spec: ModelPackageSpec
    arn: str
    status: str
    approval: str
    approved_by: str | None = None

    @property
    def is_approved(self) -> bool:
        """Whether the registry says that it may be deployed."""
        return self.approval == "Approved" and self.status == "Completed"


def binding(values: Mapping[str, str]) -> str:
    """Return the hash that ties an approval to one artefact, its metrics and its training set.

    Registration keeps it as ``binding`` in the package's metadata, the approver repeats it, preflight compares both with what the
    metadata say by then. What is absent counts as empty.

    Args:
        values: The package's metadata, or the gate's answer; other names in it do not count.

    Example:
        >>> binding({"model_sha256": "a"}) == binding({"model_sha256": "a", "execution": "arn"})
        True
    """
    bound = {name: values.get(name, "") for name in BOUND} | {n: values[n] for n in ALSO_BOUND if n in values}
    return content_hash(bound)


def package_request(spec: ModelPackageSpec, *, approval: str = "PendingManualApproval") -> dict[str, Any]:
    """Return the arguments of CreateModelPackage.

    Args:
        spec: The package. ``package_arn`` is not used.
        approval: Approval status that it is born with. Default: a person, or the policy, decides later.

    Example:
        >>> spec = ModelPackageSpec(
        ...     group="demand-forecast", image="1.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "0" * 64,
        ...     artifact_uri="s3://b/model.tar.gz", artifact_sha256="a" * 64, model_sha256="b" * 64, training_set_id="c" * 64,
        ...     execution="arn", baseline_uri="s3://b/baseline.json", evaluation_uri="s3://b/evaluation.json")
        >>> package_request(spec)["ModelApprovalStatus"]
        'PendingManualApproval'
    """
    container = {
        "Image": spec.image,
        "ModelDataUrl": spec.artifact_uri,
        "Environment": {**spec.environment, MODEL_SHA256: spec.model_sha256},
    }
    metadata = {name: getattr(spec, name) for name in METADATA}
    metadata |= {name: value for name in OPTIONAL if (value := getattr(spec, name)) is not None}
    return {
        "ModelPackageGroupName": spec.group,
        "ModelApprovalStatus": approval,
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": list(spec.content_types),
            "SupportedResponseMIMETypes": list(spec.content_types),
        },
        "CustomerMetadataProperties": {**metadata, "binding": binding(metadata)},
    }


def read_package(description: Mapping[str, Any]) -> RegisteredPackage:
    """Return the package that DescribeModelPackage describes.

    Raises:
        PackageError: With everything that keeps it from being deployed safely: an image by tag, a missing digest, a digest in
            the metadata that is not the one that the server will check.
    """
    arn = str(description["ModelPackageArn"])
    specification = description.get("InferenceSpecification", {})
    containers = specification.get("Containers", [])
    if len(containers) != 1:
        raise PackageError(arn, [f"must have 1 container, got {len(containers)}"])
    container, metadata = containers[0], description.get("CustomerMetadataProperties", {})
    problems = list(_problems(container, metadata))
    if problems:
        raise PackageError(arn, problems)
    environment = dict(container["Environment"])
    spec = ModelPackageSpec(
        group=str(description.get("ModelPackageGroupName", "")),
        image=container["Image"],
        artifact_uri=container["ModelDataUrl"],
        environment={name: value for name, value in environment.items() if name != MODEL_SHA256},
        content_types=tuple(specification.get("SupportedContentTypes", ())),
        package_arn=arn,
        **{name: metadata[name] for name in METADATA},
        **{name: metadata[name] for name in _carried(metadata)},
    )
    return RegisteredPackage(
        spec=spec,
        arn=arn,
        status=str(description.get("ModelPackageStatus", "")),
        approval=str(description.get("ModelApprovalStatus", "")),
        approved_by=_person(description.get("LastModifiedBy", {})),
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
        yield f"the container's environment has no {MODEL_SHA256}, so the server could not check what it loads"
    elif "model_sha256" in metadata and checked != metadata["model_sha256"]:
        yield f"{MODEL_SHA256} of the container is {checked!r}, but model_sha256 of the metadata {metadata['model_sha256']!r}"


def _carried(metadata: Mapping[str, str]) -> list[str]:
    return [name for name in OPTIONAL if metadata.get(name, ABSENT) != ABSENT]


def _person(modified: Mapping[str, Any]) -> str | None:
    identity = modified.get("IamIdentity", {})
    name = modified.get("UserProfileName", identity.get("SourceIdentity", identity.get("Arn")))
    return None if name is None else str(name)
