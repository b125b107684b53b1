"""CloudFormation's ``AccessEntry`` and ``PodIdentityAssociation``, by the service's operations; Auto Mode of a ``Cluster``.

See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/AWS_EKS.html
"""

import json
from typing import Any

from ministack.services import eks
from ministack.services.cloudformation import provisioners

from mlops_local.documents import booleans
from mlops_local.stacks import resource_types

Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]
ENTRY, ASSOCIATION = "AWS::EKS::AccessEntry", "AWS::EKS::PodIdentityAssociation"


def install() -> None:
    """Register the types."""
    _complete_cluster()
    handlers = provisioners._RESOURCE_HANDLERS
    handlers[ENTRY] = {
        "create": _create_entry,
        "update": _update_entry,
        "update_with_logical_id": True,
        "delete": _delete_entry,
    }
    handlers[ASSOCIATION] = {
        "create": _create_association, "update": _update_association, "update_with_logical_id": True, "delete": _delete_association,
    }  # fmt: skip


def _complete_cluster() -> None:
    """Add Auto Mode to a template's ``Cluster``; MiniStack drops it."""
    fields = provisioners._eks_cluster_fields

    def completed(properties: Properties) -> dict[str, Any]:
        found: dict[str, Any] = fields(properties)
        if "ComputeConfig" in properties:
            names = ("ComputeConfig", "KubernetesNetworkConfig", "StorageConfig")
            given = {name: booleans(properties.get(name) or {}) for name in names}
            found |= {
                name[:1].lower() + name[1:]: provisioners._pascal_to_camel(value) for name, value in given.items()
            }
        return found

    provisioners._eks_cluster_fields = completed


def _done(response: tuple[int, Any, bytes]) -> dict[str, Any]:
    # claim: resource-fails-with-the-services-reason
    answer: dict[str, Any] = json.loads(response[2] or b"{}")
    if response[0] >= 400:
        raise ValueError(f"{answer.get('__type')}: {answer.get('message')}")
    return answer


def _tags(properties: Properties) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in properties.get("Tags") or []}


def _entry(properties: Properties) -> dict[str, Any]:
    given = {"kubernetesGroups": properties.get("KubernetesGroups") or [], "tags": _tags(properties)}
    given |= {"username": properties["Username"]} if properties.get("Username") else {}
    return given | {"type": properties.get("Type", "STANDARD")}


def _create_entry(_logical_id: str, properties: Properties, _stack: str) -> Created:
    resource_types.check_schema(ENTRY, properties)
    cluster, principal = properties["ClusterName"], properties["PrincipalArn"]
    made = _done(eks._create_access_entry(cluster, {"principalArn": principal, **_entry(properties)}))
    try:
        _associate(properties)
    except ValueError:
        eks._delete_access_entry(cluster, principal)
        raise
    return f"{principal}|{cluster}", {"AccessEntryArn": made["accessEntry"]["accessEntryArn"]}


def _associate(properties: Properties) -> None:
    cluster, principal = properties["ClusterName"], properties["PrincipalArn"]
    wanted = {policy["PolicyArn"]: policy["AccessScope"] for policy in properties.get("AccessPolicies") or []}
    prefix = eks._ap_key(cluster, principal, "")
    for key in [key for key in list(eks._access_policies) if key.startswith(prefix)]:
        if (arn := key.removeprefix(prefix)) not in wanted:
            _done(eks._disassociate_access_policy(cluster, principal, arn))
    for arn, scope in wanted.items():
        if eks._access_policy_name(arn) is None:
            raise ValueError(
                f"access policy {arn} is not in the embedded cloud; it has {sorted(eks._ACCESS_POLICY_RULES)}"
            )
        requested = {"type": scope["Type"], "namespaces": scope.get("Namespaces") or []}
        _done(eks._associate_access_policy(cluster, principal, {"policyArn": arn, "accessScope": requested}))


def _update_entry(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Created:
    if resource_types.is_replaced(ENTRY, old, new):
        return _create_entry(logical_id, new, stack)
    resource_types.check_schema(ENTRY, new)
    given = _entry(new)
    body = {
        "kubernetesGroups": given["kubernetesGroups"],
        **({"username": given["username"]} if "username" in given else {}),
    }
    _done(eks._update_access_entry(new["ClusterName"], new["PrincipalArn"], body))
    _associate(new)
    entry = eks._access_entries[eks._ae_key(new["ClusterName"], new["PrincipalArn"])]
    return physical_id, {"AccessEntryArn": entry["accessEntryArn"]}


def _delete_entry(physical_id: str, _properties: Properties) -> None:
    principal, _, cluster = physical_id.rpartition("|")
    eks._delete_access_entry(cluster, principal)


def _association(properties: Properties) -> dict[str, Any]:
    names = {"RoleArn": "roleArn", "TargetRoleArn": "targetRoleArn", "Policy": "policy"}
    given: dict[str, Any] = {member: properties[name] for name, member in names.items() if properties.get(name)}
    return given | {"disableSessionTags": str(properties.get("DisableSessionTags", False)).lower() == "true"}


def _attributes(association: dict[str, Any]) -> Created:
    attributes = {"AssociationArn": association["associationArn"], "AssociationId": association["associationId"]}
    return association["associationArn"], attributes | {"ExternalId": association.get("externalId", "")}


def _create_association(_logical_id: str, properties: Properties, _stack: str) -> Created:
    resource_types.check_schema(ASSOCIATION, properties)
    body = {
        "namespace": properties["Namespace"],
        "serviceAccount": properties["ServiceAccount"],
        "tags": _tags(properties),
    }
    made = _done(eks._create_pod_identity_association(properties["ClusterName"], body | _association(properties)))
    return _attributes(made["association"])


def _update_association(physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Created:
    if resource_types.is_replaced(ASSOCIATION, old, new):
        # one association per service account: CloudFormation's replacement fails with ResourceInUseException too
        return _create_association(logical_id, new, stack)
    resource_types.check_schema(ASSOCIATION, new)
    changed = _done(
        eks._update_pod_identity_association(new["ClusterName"], physical_id.rpartition("/")[2], _association(new))
    )
    return _attributes(changed["association"])


def _delete_association(physical_id: str, properties: Properties) -> None:
    eks._delete_pod_identity_association(properties["ClusterName"], physical_id.rpartition("/")[2])
