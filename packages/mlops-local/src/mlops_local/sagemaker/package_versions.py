"""The model registry: model package groups with their resource policies, and their versions.

A group's policy gives other accounts permissions on the group and its versions.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-deploy.html (cross-account)
"""

import json
from typing import Any

from ministack.core.responses import get_account_id, get_region

from mlops_local import runners
from mlops_local.iam import authorization, owner_policies, role_sessions
from mlops_local.iam.request import Call
from mlops_local.sagemaker import foreign_images, resource_store, status_events
from mlops_local.sagemaker.api_shapes import Record, ServiceError, conflict, validation
from mlops_local.saved_state import kept_stores

_CHANGEABLE = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "CustomerMetadataProperties",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
)
_TOKENS: dict[tuple[str, str], str] = kept_stores.keep(__name__, "_TOKENS", {})
POLICY_CHARACTERS = 20480
_POLICY = "ResourcePolicy"  # member of a group's record that Describe does not return
# claim: packages-are-versions-of-a-group


def create_group(request: Record) -> Record:
    """CreateModelPackageGroup."""
    name = request["ModelPackageGroupName"]
    given = {k: v for k, v in request.items() if k != "Tags"}
    added = {"ModelPackageGroupStatus": "Completed", "CreatedBy": user_context()}
    record = resource_store.add("ModelPackageGroup", name, given | added, request.get("Tags"))
    return {"ModelPackageGroupArn": record["ModelPackageGroupArn"]}


def describe_group(request: Record) -> Record:
    """DescribeModelPackageGroup."""
    return resource_store.get(
        "ModelPackageGroup", resource_store.name_of("ModelPackageGroup", request["ModelPackageGroupName"])
    )


def delete_group(request: Record) -> Record:
    """DeleteModelPackageGroup; rejected for a group with versions."""
    # claim: group-with-packages-stays
    record = describe_group(request)
    name = record["ModelPackageGroupName"]
    with resource_store.LOCK:
        if any(_versions(name)):
            raise conflict(f"Model Package Group {record['ModelPackageGroupArn']} still contains model packages.")
        resource_store.remove("ModelPackageGroup", name)
    return {}


def create_package(request: Record) -> Record:
    """CreateModelPackage: the next version of a group. Packages without a group are rejected."""
    # claim: packages-are-versions-of-a-group
    if "ModelPackageGroupName" not in request:
        raise validation("only versioned model packages can be made here; give ModelPackageGroupName")
    for name in ("SourceAlgorithmSpecification", "ValidationSpecification", "AdditionalInferenceSpecifications"):
        if name in request:
            raise validation(f"{name} is not supported by the embedded SageMaker")
    for container in request.get("InferenceSpecification", {}).get("Containers", []):
        check_image(container["Image"])
        _check_caller(container)
    group = resource_store.name_of("ModelPackageGroup", request["ModelPackageGroupName"])
    with resource_store.LOCK:
        resource_store.get("ModelPackageGroup", group)
        token = (resource_store.arn("ModelPackageGroup", group), request.get("ClientToken", ""))
        if token[1] and token in _TOKENS:
            return {"ModelPackageArn": _TOKENS[token]}
        counter = resource_store.store().records["ModelPackageGroup"][group]
        # claim: deleted-versions-are-not-used-again
        version = counter["LastVersion"] = counter.get("LastVersion", 0) + 1
        arn = resource_store.arn("ModelPackage", f"{group}/{version}")
        record = {k: v for k, v in request.items() if k not in ("Tags", "ClientToken")}
        record.setdefault("ModelApprovalStatus", "PendingManualApproval")
        record |= {
            "ModelPackageGroupName": group,
            "ModelPackageVersion": version,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "ModelPackageRegistrationType": "Registered",
            "CertifyForMarketplace": request.get("CertifyForMarketplace", False),
            "CreatedBy": user_context(),
        }
        if "InferenceSpecification" in record:
            record["InferenceSpecification"] = _with_digests(record["InferenceSpecification"])
        record = resource_store.add("ModelPackage", arn, record, request.get("Tags"))
        if token[1]:
            _TOKENS[token] = arn
    status_events.model_package(record)
    return {"ModelPackageArn": arn}


def package(name: str) -> Record:
    """Return a package by ARN, or by ``<group>/<version>``.

    Raises:
        ServiceError: ``ValidationException`` if it does not exist.
    """
    return resource_store.get(
        "ModelPackage", name if name.startswith("arn:") else resource_store.arn("ModelPackage", name)
    )


def describe_package(request: Record) -> Record:
    """DescribeModelPackage."""
    return package(request["ModelPackageName"])


def list_packages(request: Record) -> Record:
    """ListModelPackages, of one or all groups, with filters."""
    rows: Any = resource_store.store().records["ModelPackage"].values()
    if "ModelPackageGroupName" in request:
        group = resource_store.name_of("ModelPackageGroup", request["ModelPackageGroupName"])
        resource_store.get("ModelPackageGroup", group)
        rows = _versions(group)
    elif request.get("ModelPackageType", "Unversioned") == "Unversioned":
        rows = []  # the API's default: unversioned packages only, which do not exist here
    wanted = request.get("ModelApprovalStatus")
    rows = [row for row in rows if wanted is None or row["ModelApprovalStatus"] == wanted]
    return resource_store.listing("ListModelPackages", request, rows, descending=False)


def update_package(request: Record) -> Record:
    """UpdateModelPackage: approval, metadata and life cycle of a version."""
    record = package(request["ModelPackageArn"])
    for name in ("AdditionalInferenceSpecificationsToAdd", "ModelPackageRegistrationType"):
        if name in request:
            raise validation(f"{name} is not supported by the embedded SageMaker")
    with resource_store.LOCK:
        changes = {name: request[name] for name in _CHANGEABLE if name in request}
        properties = dict(record.get("CustomerMetadataProperties", {})) | changes.get("CustomerMetadataProperties", {})
        for name in request.get("CustomerMetadataPropertiesToRemove", []):
            properties.pop(name, None)
        if properties != record.get("CustomerMetadataProperties", {}):
            changes["CustomerMetadataProperties"] = properties
        updated = [name for name in changes if changes[name] != record.get(name)]
        resource_store.update(record, **changes, LastModifiedBy=user_context())
    status_events.model_package(record, updated)
    return {"ModelPackageArn": record["ModelPackageArn"]}


def delete_package(request: Record) -> Record:
    """DeleteModelPackage."""
    resource_store.remove("ModelPackage", package(request["ModelPackageName"])["ModelPackageArn"])
    return {}


def check_image(image: str) -> None:
    """Reject an image that cannot run here.

    Raises:
        ServiceError: ``ValidationException`` naming the repository and the table of runners.
    """
    # claim: package-image-is-checked
    try:
        runners.runner(image)
    except runners.UnknownImageError as error:
        raise validation(str(error)) from error


def approved_container(name: str) -> Record:
    """Return the container of a package from which a model may be created.

    Raises:
        ServiceError: ``ValidationException`` if the package does not exist, is not approved, or has not exactly one container.
    """
    # claim: only-approved-packages-become-models
    record = package(name)
    if record["ModelApprovalStatus"] != "Approved":
        status = record["ModelApprovalStatus"]
        raise validation(f"Model package {record['ModelPackageArn']} is {status}; only Approved ones can be deployed.")
    containers = record.get("InferenceSpecification", {}).get("Containers", [])
    if len(containers) != 1:
        raise ServiceError(
            "ValidationException", f"model package {name} has {len(containers)} containers; 1 is supported"
        )
    return dict(containers[0])


def user_context() -> Record:
    """Return the caller as ``UserContext``; its ``IamIdentity`` has a role session's ARN and id."""
    arn, principal = authorization.caller()
    found = role_sessions.kept(authorization.caller_key())
    return {"IamIdentity": {"Arn": arn, "PrincipalId": principal, **({"SourceIdentity": found} if found else {})}}


def _check_caller(container: Record) -> None:
    """Reject a container whose image or model data the caller may not read.

    AWS's managed policy for registration, ``AmazonSageMakerModelRegistryFullAccess``, has these actions.

    Raises:
        ServiceError: ``ValidationException`` with the missing permission.
    """
    # claim: registering-reads-image-and-artifact
    key, repository = authorization.caller_key(), foreign_images.repository_arn(container["Image"])
    try:
        if repository is not None:
            for action in ("ecr:BatchGetImage", "ecr:DescribeImages"):
                authorization.require(key, action, repository)
        url = container.get("ModelDataUrl")
        if url is not None:
            resource = f"arn:aws:s3:::{url.removeprefix('s3://')}"
            authorization.require_call(key, Call("s3", "s3:GetObject", resource, get_region(), get_account_id()))
    except authorization.AccessDeniedError as error:
        raise validation(
            f"Could not read the model package's image or data with the caller's permissions: {error}"
        ) from error


def _versions(group: str) -> list[Record]:
    packages = resource_store.store().records["ModelPackage"].values()
    return [record for record in packages if record["ModelPackageGroupName"] == group]


def _with_digests(specification: Record) -> Record:
    """Return the specification with the digest of each image that is referenced by digest, as the registry resolves it."""
    containers = []
    for container in specification["Containers"]:
        _, at, digest = container["Image"].partition("@")
        containers.append(({"ImageDigest": digest} if at else {}) | container)
    return specification | {"Containers": containers}


def put_group_policy(request: Record) -> Record:
    """PutModelPackageGroupPolicy: replaces the group's policy."""
    # claim: groups-have-resource-policies
    policy, record = request["ResourcePolicy"], describe_group(request)
    if len(policy) > POLICY_CHARACTERS:
        raise validation(f"a resource policy has at most {POLICY_CHARACTERS} characters, got {len(policy)}")
    try:
        json.loads(policy)["Statement"]
    except (ValueError, KeyError, TypeError) as error:
        raise validation(f"Invalid resource policy: {error}") from error
    record[_POLICY] = policy
    return {"ModelPackageGroupArn": record["ModelPackageGroupArn"]}


def get_group_policy(request: Record) -> Record:
    """GetModelPackageGroupPolicy."""
    # claim: groups-have-resource-policies
    record = describe_group(request)
    if _POLICY not in record:
        raise validation(f"Cannot find resource policy for {record['ModelPackageGroupArn']}.")
    return {"ResourcePolicy": record[_POLICY]}


def delete_group_policy(request: Record) -> Record:
    """DeleteModelPackageGroupPolicy."""
    # claim: groups-have-resource-policies
    describe_group(request).pop(_POLICY, None)
    return {}


def policy_of(arn: str) -> str | None:
    """Return the policy of the group that an ARN of a group or version names."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if kind not in {"model-package-group", "model-package"}:
        return None
    groups = resource_store.store().records["ModelPackageGroup"].values()
    name = rest.partition("/")[0]
    # ARNs are lower case
    found = next((row for row in groups if row["ModelPackageGroupName"].lower() == name.lower()), None)
    return None if found is None else found.get(_POLICY)


owner_policies.POLICIES["sagemaker"] = policy_of
