"""Authorization of EKS requests: the cluster or access entry in the path, and the condition keys of the body.

See: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

# EKS assigns the id when it creates an access entry; policies that name one end with a wildcard
_ENTRY = "00000000-0000-0000-0000-000000000000"
_KEYS = {"principalArn": "eks:principalArn", "policyArn": "eks:policyArn"}


def resources(path: str, prefix: str) -> list[str]:
    """Return the ARNs on which a call must be allowed.

    Args:
        path: Path of the request, such as ``/clusters/retail/access-entries/<principal>``.
        prefix: ``arn:aws:eks:<region>:<account>:``.

    Example:
        >>> resources("/clusters/retail", "arn:aws:eks:us-east-1:123456789012:")
        ['arn:aws:eks:us-east-1:123456789012:cluster/retail']
    """
    parts = unquote(path).strip("/").split("/")
    if parts[0] != "clusters" or len(parts) < 2:
        return ["*"]
    cluster = parts[1]
    if len(parts) > 3 and parts[2] == "access-entries":
        # arn:aws:iam::<account>:role/<path>/<name>
        account, kind = parts[3].split(":")[4], parts[3].split(":")[5]
        rest = parts[4 : parts.index("access-policies")] if "access-policies" in parts else parts[4:]
        name = rest[-1] if rest else ""
        return [f"{prefix}access-entry/{cluster}/{kind}/{account}/{name}/{_ENTRY}"]
    return [f"{prefix}cluster/{cluster}"]


def context(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the condition keys of a call.

    Example:
        >>> context({"principalArn": "arn:aws:iam::123456789012:role/a", "type": "STANDARD"})
        {'eks:principalArn': 'arn:aws:iam::123456789012:role/a'}
    """
    keys: dict[str, Any] = {key: body[member] for member, key in _KEYS.items() if member in body}
    if body.get("kubernetesGroups"):
        keys["eks:kubernetesGroups"] = list(body["kubernetesGroups"])
    scope = body.get("accessScope")
    if isinstance(scope, Mapping):
        keys["eks:accessScope"] = scope.get("type", "cluster")
        if scope.get("namespaces"):
            keys["eks:namespaces"] = list(scope["namespaces"])
    return keys
