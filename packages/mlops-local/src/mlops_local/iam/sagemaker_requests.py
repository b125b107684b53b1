"""Resources and condition keys of SageMaker requests.

The table of resources, condition keys and dependent actions is AWS's service authorization reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

_VERBS = re.compile(r"^(Create|Describe|Update|Delete|Stop|Start)(\w+)$")
_GROUP_POLICIES = frozenset(f"{verb}ModelPackageGroupPolicy" for verb in ("Put", "Get", "Delete"))
_TAGGING = frozenset({"AddTags", "DeleteTags", "ListTags"})
# kinds whose name member or ARN type differs from the kind
_NAME_MEMBERS = {
    "DataQualityJobDefinition": "JobDefinitionName",
    "ModelQualityJobDefinition": "JobDefinitionName",
    "ModelBiasJobDefinition": "JobDefinitionName",
    "ModelExplainabilityJobDefinition": "JobDefinitionName",
}
_JOBS = frozenset({"CreateTrainingJob", "CreateProcessingJob", *(f"Create{kind}" for kind in _NAME_MEMBERS)})
_PASSED_ROLES = {
    **{f"Create{kind}": "RoleArn" for kind in _NAME_MEMBERS},
    "CreateTrainingJob": "RoleArn",
    "CreateProcessingJob": "RoleArn",
    "CreateModel": "ExecutionRoleArn",
    "CreateEndpointConfig": "ExecutionRoleArn",
}


# claim: condition-keys-come-from-the-request
def resources(operation: str, body: Mapping[str, Any], prefix: str) -> list[str]:
    """Return the ARNs on which a call must be allowed, or `["*"]` for calls without a resource.

    Returns:
        Every ARN that the caller needs: an endpoint call is checked on the endpoint and its config; registering a package on
        its group and the versions of that group, as AWS's own cross-account example grants it
        (https://docs.aws.amazon.com/sagemaker/latest/dg/model-registry-version.html).
    """
    if operation in _TAGGING:
        return [str(body.get("ResourceArn", "*"))]
    if operation in {"CreateModelPackage", "ListModelPackages"}:
        return _package_resources(operation, body, prefix)
    if operation in {"DescribeModelPackage", "UpdateModelPackage", "DeleteModelPackage"}:
        return [_arn(prefix, "model-package", str(body.get("ModelPackageName") or body.get("ModelPackageArn") or "*"))]
    if operation in {"AddAssociation", "DeleteAssociation"}:
        return [str(body.get(end, "*")) for end in ("SourceArn", "DestinationArn")]
    if operation.removeprefix("Create").removeprefix("Describe").removeprefix("Delete") == "Artifact":
        arn = body.get("ArtifactArn")
        return [str(arn) if arn else artifact_arn(body.get("Source") or {}, prefix)]
    if operation == "UpdateEndpointWeightsAndCapacities":
        return [f"{prefix}endpoint/{body.get('EndpointName', '*')}"]
    if operation in _GROUP_POLICIES:
        return [_arn(prefix, "model-package-group", str(body.get("ModelPackageGroupName", "*")))]
    match = _VERBS.match(operation)
    if match is None:
        return ["*"]
    kind = match.group(2)
    name = body.get(_NAME_MEMBERS.get(kind, f"{kind}Name"))
    if name is None:
        return ["*"]
    found = [_arn(prefix, _word(kind), str(name))]
    if operation in {"CreateEndpoint", "UpdateEndpoint"}:
        found.append(f"{prefix}endpoint-config/{body.get('EndpointConfigName', '*')}")
    return found


def context(operation: str, body: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the `sagemaker:` condition keys of a request; keys that the request does not set are absent."""
    network = _first(body, "NetworkConfig") or body
    vpc = network.get("VpcConfig") or {}
    keys: dict[str, Any] = {
        "sagemaker:VpcSubnets": vpc.get("Subnets"),
        "sagemaker:VpcSecurityGroupIds": vpc.get("SecurityGroupIds"),
        "sagemaker:VolumeKmsKey": next(_values(body, "VolumeKmsKeyId"), None),
        "sagemaker:OutputKmsKey": _output_key(body),
        "sagemaker:InstanceTypes": sorted(set(_values(body, "InstanceType"))) or None,
        "sagemaker:MaxRuntimeInSeconds": (body.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds"),
        # claim: approval-status-key-is-evaluated
        "sagemaker:ModelApprovalStatus": body.get("ModelApprovalStatus"),
        "sagemaker:ServerlessMaxConcurrency": next(_values(body, "MaxConcurrency"), None),
        "sagemaker:ServerlessMemorySize": next(_values(body, "MemorySizeInMB"), None),
        "sagemaker:TargetModel": body.get("TargetModel"),
        "sagemaker:EnableRemoteDebug": _flag((body.get("RemoteDebugConfig") or {}).get("EnableRemoteDebug")),
    }
    if operation in _JOBS or operation == "CreateModel":
        keys["sagemaker:NetworkIsolation"] = _flag(bool(network.get("EnableNetworkIsolation", False)))
    if operation in _JOBS:
        encrypted = bool(network.get("EnableInterContainerTrafficEncryption", False))
        keys["sagemaker:InterContainerTrafficEncryption"] = _flag(encrypted)
    if operation == "CreateEndpointConfig":
        keys["sagemaker:VolumeKmsKey"] = body.get("KmsKeyId")
        keys["sagemaker:ModelArn"] = [f"{prefix}model/{name}" for name in _values(body, "ModelName")] or None
    if operation == "CreateTransformJob":
        keys["sagemaker:ModelArn"] = f"{prefix}model/{body.get('ModelName', '*')}"
    if operation == "AddTags":
        keys["sagemaker:TaggingAction"] = None
    # claim: metadata-keys-are-evaluated
    for name, value in (body.get("CustomerMetadataProperties") or {}).items():
        keys[f"sagemaker:CustomerMetadataProperties/{name}"] = value
    return {key: value for key, value in keys.items() if value is not None}


def passed_role(operation: str, body: Mapping[str, Any]) -> str | None:
    """Return the role that a call passes to SageMaker, for which the caller needs `iam:PassRole`."""
    member = _PASSED_ROLES.get(operation)
    return body.get(member) if member else None


def sets_tags(operation: str, body: Mapping[str, Any]) -> bool:
    """Return whether a create call also sets tags, which requires `sagemaker:AddTags` on the new resource."""
    return operation.startswith("Create") and bool(body.get("Tags"))


def artifact_arn(source: Mapping[str, Any], prefix: str) -> str:
    """Return the ARN of a lineage artifact, which ends with a hash of its source: ``artifact/${HashOfArtifactSource}``."""
    named = sorted((str(t.get("SourceIdType")), str(t.get("Value"))) for t in source.get("SourceTypes") or ())
    digest = hashlib.sha256(repr((source.get("SourceUri"), named)).encode()).hexdigest()
    return f"{prefix}artifact/{digest[:32]}"


def _package_resources(operation: str, body: Mapping[str, Any], prefix: str) -> list[str]:
    group = str(body.get("ModelPackageGroupName") or "")
    if not group:
        name = body.get("ModelPackageName")
        return [f"{prefix}model-package/{name}"] if name else ["*"]
    if group.startswith("arn:"):  # of any account
        prefix, group = f"{':'.join(group.split(':')[:5])}:", group.rpartition("/")[2]
    versions = f"{prefix}model-package/{group}/*"
    if operation == "ListModelPackages":
        return [versions]
    return [f"{prefix}model-package-group/{group}", versions]


def _arn(prefix: str, word: str, name: str) -> str:
    return name if name.startswith("arn:") else f"{prefix}{word}/{name}"


def _word(kind: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind).lower()


def _flag(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _first(body: Mapping[str, Any], member: str) -> Mapping[str, Any] | None:
    value = body.get(member)
    return value if isinstance(value, Mapping) else None


def _output_key(body: Mapping[str, Any]) -> str | None:
    of_jobs = (member for member in body if member.endswith("JobOutputConfig"))
    for member in ("OutputDataConfig", "ProcessingOutputConfig", "TransformOutput", *of_jobs):
        key = (body.get(member) or {}).get("KmsKeyId")
        if key:
            return str(key)
    return None


def _values(body: Any, member: str) -> Iterator[Any]:
    """Yield every value of a member, at any depth of a request."""
    if isinstance(body, Mapping):
        for key, value in body.items():
            if key == member:
                yield value
            else:
                yield from _values(value, member)
    elif isinstance(body, list):
        for item in body:
            yield from _values(item, member)
