"""What a cluster's refusals mean, in words that say what to do."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_runtime.eks.names import FIELD_MANAGER

# conflict with "kubectl-edit" with subresource "scale" using apps/v1: .spec.replicas
# https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
_MANAGER = re.compile(r'conflict with "([^"]*)"')
_MAX_TEXT = 500
# https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-field-management.html
_ADD_ON = (
    "; 'eks' is an add-on of EKS, whose own setting gives the value: aws eks update-addon --configuration-values, for network "
    "policies enableNetworkPolicy of vpc-cni"
)


class ClusterError(RuntimeError):
    """A cluster did not do what was asked.

    Args:
        message: What it said and what to do.
        what: What was asked, like ``apply Deployment demand/forecast-blue``.
        status: HTTP status, 0 where there was no answer.
        reason: Kubernetes' reason, like ``Forbidden``; empty where there is none.
    """

    def __init__(self, message: str, *, what: str, status: int = 0, reason: str = "") -> None:
        super().__init__(f"{what}: {message}")
        self.what, self.status, self.reason = what, status, reason


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field that somebody else manages with another value."""

    field: str
    manager: str


class ConflictError(ClusterError):
    """Fields of a manifest are managed by somebody else with other values; nothing was changed.

    Args:
        conflicts: Each field and who manages it.
        what: What was asked.
    """

    def __init__(self, conflicts: Sequence[Conflict], *, what: str) -> None:
        self.conflicts = tuple(conflicts)
        fields = ", ".join(f"{c.field} is managed by {c.manager!r}" for c in conflicts)
        managers = " and ".join(sorted({repr(c.manager) for c in conflicts}))
        super().__init__(
            f"{fields}; let {managers} give it up (take the field out of what sets it), then run this again: "
            f"{FIELD_MANAGER!r} forces nothing{_ADD_ON if any(c.manager == 'eks' for c in conflicts) else ''}",
            what=what,
            status=409,
            reason="Conflict",
        )


def read_error(status: int, body: bytes, *, what: str) -> ClusterError:
    """Return the error that an answer of the API is.

    See: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/

    Args:
        status: HTTP status.
        body: What was answered: a ``Status``, or anything where something stands between.
        what: What was asked.
    """
    said = _status(body)
    reason, message = str(said.get("reason", "")), str(said.get("message", ""))[:_MAX_TEXT]
    details = said.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    conflicts = [
        Conflict(str(cause.get("field", "?")), _manager(str(cause.get("message", ""))))
        for cause in (causes if isinstance(causes, list) else [])
        if isinstance(cause, Mapping) and cause.get("reason") == "FieldManagerConflict"
    ]
    if status == 409 and conflicts:
        return ConflictError(conflicts, what=what)
    text = message or body[:_MAX_TEXT].decode(errors="replace") or "no text"
    return ClusterError(f"{text} (HTTP {status}){_fix(status, text)}", what=what, status=status, reason=reason)


def retry_after(body: bytes, header: str | None) -> float | None:
    """Return how many seconds a cluster asks to wait, by header or in its ``Status``; None where it does not say."""
    details = _status(body).get("details")
    said = details.get("retryAfterSeconds") if isinstance(details, Mapping) else None
    for value in (header, said):
        if isinstance(value, int | str) and str(value).isdecimal():
            return float(value)
    return None


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _manager(message: str) -> str:
    found = _MANAGER.search(message)
    return "?" if found is None else found[1]


def _fix(status: int, message: str) -> str:
    if status == 401:
        return "; the cluster does not know this role: give it an access entry"
    if status == 403 and "exceeded quota" in message:
        return "; raise the tenant's quota, or lower what is asked for"
    if status == 403:
        return "; apply the tenant's Role and RoleBinding, and give this role's access entry the applier's group"
    if status == 404:
        return "; apply the tenant's manifests first, and see that the cluster has this kind"
    return ""


def unreachable(cause: bytes, url: str, what: str) -> ClusterError:
    """Return the error of a cluster that gave no answer."""
    return ClusterError(
        f"no answer from {url}: {cause.decode(errors='replace')}; the private endpoint is reached from the cluster's network only, "
        "by a security group that it lets in on port 443",
        what=what,
    )
