"""Supported kinds of Kubernetes objects, their validation, and the ``Status`` of errors."""

import functools
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_local.saved_state import kept_stores

VERSION = "1.36"
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"  # as in a cluster's messages
_IS_QUANTITY = re.compile(r"[+-]?[0-9.]+(?:(?:[eEinumkKMGTP]+[-+]?|[-+])[0-9]*)?")  # the same in linear time
_QUANTITIES = {"requests", "limits", "hard", "default", "defaultRequest", "max", "min"}
# RFC 1123: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.:]*[a-z0-9])?")


@kept_stores.record
@dataclass(frozen=True, slots=True)
class Kind:
    """A kind: API group (empty for the core), version, and plural name in paths."""

    group: str
    version: str
    kind: str
    plural: str
    is_namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The resource name in messages: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_RBAC = "rbac.authorization.k8s.io"
KINDS = (
    Kind("", "v1", "Namespace", "namespaces", is_namespaced=False),
    Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    Kind("", "v1", "Service", "services"),
    Kind("", "v1", "ConfigMap", "configmaps"),
    Kind("", "v1", "Pod", "pods"),
    Kind("", "v1", "Node", "nodes", is_namespaced=False),
    Kind("", "v1", "ResourceQuota", "resourcequotas"),
    Kind("", "v1", "LimitRange", "limitranges"),
    Kind("apps", "v1", "Deployment", "deployments"),
    Kind("apps", "v1", "DaemonSet", "daemonsets"),
    Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    Kind(_RBAC, "v1", "Role", "roles"),
    Kind(_RBAC, "v1", "RoleBinding", "rolebindings"),
    Kind(_RBAC, "v1", "ClusterRole", "clusterroles", is_namespaced=False),
    Kind(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", is_namespaced=False),
    # of EKS Auto Mode: https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-alb.html
    Kind("eks.amazonaws.com", "v1", "TargetGroupBinding", "targetgroupbindings"),
    # of the AWS Load Balancer Controller
    Kind("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding", "targetgroupbindings"),
)
BY_ADDRESS = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
BY_NAME = {(kind.api_version, kind.kind): kind for kind in KINDS}
# created only by controllers
MADE_BY_CONTROLLERS = frozenset({"DaemonSet", "Node", "Pod"})
_AUTO_MODE = "eks.amazonaws.com"
_BINDING_FIELDS = {
    "serviceRef", "targetGroupARN", "targetGroupName", "targetType", "networking", "nodeSelector", "ipAddressType",
    "vpcID", "multiClusterTargetGroup",
}  # fmt: skip


def served(*, is_auto_mode: bool) -> tuple[Kind, ...]:
    """Return the kinds that a cluster serves: Auto Mode's kinds only in clusters that run it."""
    # claim: auto-mode-brings-its-own-target-group-binding
    return KINDS if is_auto_mode else tuple(kind for kind in KINDS if kind.group != _AUTO_MODE)


@dataclass(frozen=True, slots=True)
class Cause:
    """The problem of one field, as listed in a Status."""

    field: str
    message: str
    is_unknown: bool = False


def causes(kind: Kind, manifest: Mapping[str, Any]) -> list[Cause]:
    """Return every problem for which a cluster would reject an object."""
    found = [] if _NAME.fullmatch(_name(manifest)) else [Cause("metadata.name", f"invalid name {_name(manifest)!r}")]
    if kind.kind == "TargetGroupBinding":
        return found + _binding(manifest)
    # claim: strict-fields-are-refused
    found += _schema(kind, manifest)
    if found:  # an invalid object is not checked further
        return found
    found = [
        Cause(path, f"quantities must match the regular expression {_QUANTITY!r}, got {value!r}")
        for path, value in _quantities(manifest, "")
        if not _IS_QUANTITY.fullmatch(str(value))
    ]
    return found or (_deployment(manifest) if kind.kind == "Deployment" else [])


def _name(manifest: Mapping[str, Any]) -> str:
    return str(manifest.get("metadata", {}).get("name", ""))


def _binding(manifest: Mapping[str, Any]) -> list[Cause]:
    """https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/targetgroupbinding/spec/"""  # noqa: D415 - an address
    spec = manifest.get("spec") or {}
    if not isinstance(spec, Mapping) or not isinstance(spec.get("serviceRef", {}), Mapping):
        return [Cause("spec", "must be an object with serviceRef and targetGroupARN")]
    found = [
        Cause(f"spec.{name}", "field not declared in schema", is_unknown=True) for name in spec.keys() - _BINDING_FIELDS
    ]
    service = spec.get("serviceRef") or {}
    found += [Cause(f"spec.serviceRef.{name}", "Required value") for name in ("name", "port") if not service.get(name)]
    if not (spec.get("targetGroupARN") or spec.get("targetGroupName")):
        found.append(Cause("spec.targetGroupARN", "Required value"))
    if spec.get("targetType", "ip") not in {"ip", "instance"}:
        found.append(
            Cause("spec.targetType", f"Unsupported value: {spec['targetType']!r}: supported values: 'ip', 'instance'")
        )
    return found


def _deployment(manifest: Mapping[str, Any]) -> list[Cause]:
    wanted = _inside(manifest, "spec", "selector", "matchLabels")
    labels = _inside(manifest, "spec", "template", "metadata", "labels")
    containers = _inside(manifest, "spec", "template", "spec").get("containers")
    found = [] if wanted else [Cause("spec.selector.matchLabels", "Required value")]
    if not isinstance(containers, list) or not containers or not all(isinstance(c, Mapping) for c in containers):
        found.append(Cause("spec.template.spec.containers", "Required value"))
    if not wanted.items() <= labels.items():
        found.append(Cause("spec.template.metadata.labels", "`selector` does not match template `labels`"))
    return found


def _inside(manifest: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    found: Any = manifest
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _quantities(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            inner = f"{path}.{name}".lstrip(".")
            if name in _QUANTITIES and isinstance(item, Mapping):
                yield from ((f"{inner}.{key}", quantity) for key, quantity in item.items())
            elif name not in {"matchLabels", "labels", "annotations", "data"}:
                yield from _quantities(item, inner)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _quantities(item, f"{path}[{number}]")


def _schema(kind: Kind, manifest: Mapping[str, Any]) -> list[Cause]:
    if importlib.util.find_spec("kubernetes_validate") is None:
        return []
    return [
        Cause(
            ".".join(map(str, error.path)) or "object",
            error.message,
            is_unknown=error.validator == "additionalProperties",
        )
        for error in _validator(kind).iter_errors(manifest)
    ]


@functools.cache
def _validator(kind: Kind) -> Any:
    """Return the cached validator of a kind's schema, which ``kubernetes_validate.validate`` would build for each call."""
    import jsonschema  # noqa: PLC0415 - see below
    from kubernetes_validate import utils  # type: ignore[import-untyped]  # noqa: PLC0415 - optional
    from referencing import Registry, Resource  # noqa: PLC0415 - see above

    version = next(v for v in reversed(utils.all_versions()) if utils.major_minor(v) == VERSION)
    group = kind.group.split(".", 1)[0]
    folder = f"kubernetes-json-schema/v{version}-local-strict"
    name = "-".join(filter(None, [kind.kind.lower(), group, kind.version]))
    schema = utils.schema_contents(f"{folder}/{name}.json", version)
    parts = [
        Resource.from_contents(row) for row in (schema, utils.schema_contents(f"{folder}/_definitions.json", version))
    ]
    registry: Any = Registry()
    for part in parts:
        registry = part @ registry
    return jsonschema.Draft202012Validator(schema, registry=registry)


# claim: api-server-answers-with-status
class StatusError(Exception):
    """A request that the cluster rejects.

    Args:
        code: HTTP status.
        reason: Kubernetes' reason, ``NotFound``.
        message: Message for users.
        details: Details of the ``Status``. Default: none.
    """

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def body(self) -> dict[str, Any]:
        """Return the ``Status``."""
        shown: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        return shown if self.details is None else {**shown, "details": self.details}


def not_found(kind: Kind, name: str) -> StatusError:
    """Return the error for a missing object."""
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return StatusError(404, "NotFound", f'{kind.resource} "{name}" not found', details)


def unauthorized() -> StatusError:
    """Return the error for an unknown caller."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(kind: Kind, name: str, message: str) -> StatusError:
    """Return the error for a caller without permission."""
    named = f'{kind.resource} "{name}"' if name else kind.resource
    return StatusError(
        403, "Forbidden", f"{named} is forbidden: {message}", {"name": name, "group": kind.group, "kind": kind.plural}
    )


def bad_request(message: str) -> StatusError:
    """Return the error for an invalid request."""
    return StatusError(400, "BadRequest", message)


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """Return the error for an object that violates its kind's rules; a ``BadRequest`` for unknown fields."""
    shown = "; ".join(f"{cause.field}: {cause.message}" for cause in causes)
    if any(cause.is_unknown for cause in causes):
        return bad_request(
            f"failed to create typed patch object ({name}; {kind.api_version}, Kind={kind.kind}): {shown}"
        )
    rows = [{"reason": "FieldValueInvalid", "message": cause.message, "field": cause.field} for cause in causes]
    details = {"name": name, "group": kind.group, "kind": kind.kind, "causes": rows}
    dotted = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return StatusError(422, "Invalid", f'{dotted} "{name}" is invalid: {shown}', details)


def precondition(kind: Kind, name: str, wanted: str, found: str) -> StatusError:
    """Return the error for an object with another UID than the request's precondition."""
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return StatusError(409, "Conflict", message, details)


def conflict(kind: Kind, name: str, fields: Sequence[tuple[str, str]]) -> StatusError:
    """Return the error for an apply to fields of other managers, in Kubernetes' wording."""
    # https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts and the message of
    # `k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go`
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": path} for owner, path in fields
    ]
    if len(fields) == 1:
        message = f"Apply failed with 1 conflict: conflict with {fields[0][0]}: {fields[0][1]}"
    else:
        lines = [
            "\n".join([f"conflicts with {owner}:", *(f"- {path}" for other, path in fields if other == owner)])
            for owner in sorted({owner for owner, _ in fields})
        ]
        message = f"Apply failed with {len(fields)} conflicts: " + "\n".join(lines)
    return StatusError(
        409, "Conflict", message, {"name": name, "group": kind.group, "kind": kind.plural, "causes": causes}
    )
