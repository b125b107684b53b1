"""Settings of ``CreateCluster`` and ``UpdateClusterConfig``: endpoint access, and EKS Auto Mode.

The public endpoint serves callers outside of the cluster's VPC, the private one those inside. Here every caller is a process of
this machine: roles of functions with a ``VpcConfig`` count as inside, all other callers as outside. If a caller's endpoint is
disabled, the connection is closed; in AWS it times out. ``publicAccessCidrs`` are recorded without effect: this machine counts as
part of all of them.
https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html
"""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from ministack.services import eks, lambda_svc

from mlops_local import clock

Response = tuple[int, dict[str, str], bytes]
_UPDATE = re.compile(r"/clusters/([A-Za-z0-9_-]+)/update-config")
_UPDATES = re.compile(r"/clusters/([A-Za-z0-9_-]+)/updates/([0-9a-f-]+)")
_ENDPOINTS = ("endpointPublicAccess", "endpointPrivateAccess", "publicAccessCidrs")
# "if you want to enable or disable Auto Mode, all three must be the same": botocore, eks, CreateCluster and UpdateClusterConfig
_AUTO = ("computeConfig", "kubernetesNetworkConfig", "storageConfig")
_CHANGED = frozenset({"resourcesVpcConfig", *_AUTO, "clientRequestToken", "name"})


class NoAnswerError(Exception):
    """The caller's endpoint is disabled, so the caller gets no response."""


def answer(method: str, path: str, body: Mapping[str, Any]) -> Response | None:
    """Serve ``UpdateClusterConfig`` and ``DescribeUpdate``; ``None`` for another operation."""
    if method == "POST" and (found := _UPDATE.fullmatch(path)):
        return _update(found[1], body)
    if method == "GET" and (found := _UPDATES.fullmatch(path)):
        record = eks._clusters.get(found[1]) or {}
        update = record.get("_updates", {}).get(found[2])
        return (
            _refused("ResourceNotFoundException", f"No update found for ID: {found[2]}", 404)
            if update is None
            else _ok(update)
        )
    return None


def problem(body: Mapping[str, Any]) -> Response | None:
    """Return EKS's error for invalid settings of ``CreateCluster`` or ``UpdateClusterConfig``, or ``None``."""
    parts = {name: (body.get(name) or {}) for name in _AUTO}
    switches = {
        "computeConfig.enabled": parts["computeConfig"].get("enabled"),
        "kubernetesNetworkConfig.elasticLoadBalancing.enabled": (
            parts["kubernetesNetworkConfig"].get("elasticLoadBalancing") or {}
        ).get("enabled"),
        "storageConfig.blockStorage.enabled": (parts["storageConfig"].get("blockStorage") or {}).get("enabled"),
    }
    # claim: auto-mode-is-three-settings
    if len(set(switches.values())) > 1:
        return _refused(
            "InvalidParameterException",
            f"{', '.join(switches)} must all be set to true or all to false for EKS Auto Mode",
        )
    return None


def _update(name: str, body: Mapping[str, Any]) -> Response:
    record = eks._clusters.get(name)
    if record is None:
        return _refused("ResourceNotFoundException", f"No cluster found for name: {name}.", 404)
    strange = sorted(body.keys() - _CHANGED)
    if strange:
        return _refused("InvalidParameterException", f"{', '.join(strange)} cannot be changed in the embedded cloud")
    if (refused := problem(body)) is not None:
        return refused
    given = {key: value for key, value in (body.get("resourcesVpcConfig") or {}).items() if key in _ENDPOINTS}
    access = {**record["resourcesVpcConfig"], **given}
    # claim: cluster-keeps-one-endpoint
    if not access["endpointPublicAccess"] and not access["endpointPrivateAccess"]:
        return _refused("InvalidParameterException", "Private and public endpoint access cannot both be disabled")
    has_mode = "computeConfig" in body
    if given and access == record["resourcesVpcConfig"]:
        shown = ", ".join(f"{key}: {str(value).lower()}" for key, value in given.items())
        return _refused("InvalidParameterException", f"Cluster is already at the desired configuration with {shown}")
    record["resourcesVpcConfig"] = access
    if has_mode:
        record |= {name: body[name] for name in ("computeConfig", "storageConfig")}
    return _ok(_note(record, "AutoModeUpdate" if has_mode else "EndpointAccessUpdate", given))


def _note(record: dict[str, Any], kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Store an update, which completes immediately."""
    update = {
        "id": str(uuid.uuid4()),
        "status": "Successful",
        "type": kind,
        "params": [{"type": key[:1].upper() + key[1:], "value": str(value).lower()} for key, value in given.items()],
        "createdAt": clock.now(),
        "errors": [],
    }
    record.setdefault("_updates", {})[update["id"]] = update
    return update


def _ok(update: Mapping[str, Any]) -> Response:
    response: Response = eks._json_resp(200, {"update": dict(update)})
    return response


def _refused(code: str, message: str, status: int = 400) -> Response:
    refused: Response = eks._error(status, code, message)
    return refused


def is_auto_mode(record: Mapping[str, Any]) -> bool:
    """Return whether a cluster runs EKS Auto Mode (``computeConfig.enabled``, off by default)."""
    # claim: auto-mode-is-off-by-default
    return bool((record.get("computeConfig") or {}).get("enabled"))


def check_reach(record: Mapping[str, Any], principal: str) -> None:
    """Check that the caller's endpoint is enabled.

    Raises:
        NoAnswerError: If it is disabled.
    """
    # claim: cluster-has-a-public-endpoint-alone-by-default
    # claim: function-in-a-network-reaches-the-private-endpoint
    where = "endpointPrivateAccess" if _is_inside(principal) else "endpointPublicAccess"
    if not record["resourcesVpcConfig"][where]:
        raise NoAnswerError(f"{principal} gets no answer from {record['name']}: its {where} is false")


def _is_inside(principal: str) -> bool:
    """Return whether a principal is the role of a function with a ``VpcConfig``."""
    configs = [(record.get("config") or {}) for record in list(lambda_svc._functions.values())]
    return any(
        config.get("Role") == principal and (config.get("VpcConfig") or {}).get("SubnetIds") for config in configs
    )
