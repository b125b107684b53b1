"""What no schema says: whether manifests fit together and keep the platform's promises."""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mlops_runtime.eks.names import Manifest, ref
from mlops_runtime.eks.pod_checks import Object, container_ports, pod_problems
from mlops_runtime.eks.quantity import QuantityError, quantity
from mlops_runtime.eks.resources import UnknownKindError, path

_EVERYBODY = ("system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:masters")
# who may write these may become somebody else
_GUARDED = {
    "pods",
    "roles",
    "rolebindings",
    "secrets",
    "serviceaccounts/token",
    "pods/exec",
    "pods/ephemeralcontainers",
}
_LEAST_WINDOW = 60


def problems(manifests: Sequence[Manifest]) -> list[str]:
    """Return everything that is wrong with manifests which are applied together; empty where nothing is.

    What a manifest refers to is looked for among them where there is any of that kind: a service's account may be applied by
    itself.

    Args:
        manifests: Those of a slot, a service, a tenant, or several.

    Example:
        >>> problems([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demand"}}])
        ["Namespace demand: pod-security.kubernetes.io/enforce must be 'restricted', got None"]
    """
    found = list(_shape_problems(manifests))
    if found:
        return found  # nothing else can be read of them
    by_kind: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        by_kind.setdefault(manifest["kind"], []).append(manifest)
    for kind, check in _CHECKS.items():
        for manifest in by_kind.get(kind, []):
            found += [f"{ref(manifest)}: {problem}" for problem in _found(check, manifest, by_kind)]
    return found


def _found(check: Any, manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> list[str]:
    try:
        return list(check(manifest, all_kinds))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"this or what it refers to is not shaped as its kind is: {type(error).__name__}: {error}"]


def _shape_problems(manifests: Sequence[Manifest]) -> Iterator[str]:
    seen: Counter[str] = Counter()
    for position, manifest in enumerate(manifests):
        if not isinstance(manifest, dict) or not isinstance(manifest.get("metadata", {}), dict):
            yield f"manifest {position} must be an object with metadata, got {manifest!r:.200}"
            continue
        names = {"apiVersion": manifest.get("apiVersion"), "kind": manifest.get("kind")}
        names["metadata.name"] = manifest.get("metadata", {}).get("name")
        missing = [field for field, value in names.items() if not value or not isinstance(value, str)]
        if missing:
            yield f"manifest {position} has no {' and no '.join(missing)}"
            continue
        if not isinstance(manifest["metadata"].get("namespace", ""), str):
            yield f"manifest {position} has metadata.namespace {manifest['metadata']['namespace']!r}, which is no text"
            continue
        try:
            path(ref(manifest))
        except UnknownKindError as error:
            yield str(error)
        seen[str(ref(manifest))] += 1
    yield from (f"{name} is there {count} times" for name, count in seen.items() if count > 1)


def _beside(manifest: Manifest, others: Sequence[Manifest]) -> list[Manifest]:
    space = manifest["metadata"].get("namespace")
    return [other for other in others if other["metadata"].get("namespace") == space]


def _selects(labels: Object | None, deployment: Object) -> bool:
    template = deployment["spec"].get("template", {}).get("metadata", {}).get("labels", {})
    return bool(labels) and (labels or {}).items() <= template.items()


def _deployment(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    labels = spec.get("selector", {}).get("matchLabels", {})
    if not _selects(labels, manifest):
        yield f"selector {dict(labels)!r} does not find its own pods"
    for other in _beside(manifest, all_kinds["Deployment"]):
        if other is not manifest and _selects(labels, other):
            yield f"selector {dict(labels)!r} also finds the pods of {ref(other)}"
    update = spec.get("strategy", {}).get("rollingUpdate", {})
    if update.get("maxUnavailable") != 0 or update.get("maxSurge") in (None, 0, "0%"):
        yield f"strategy must be maxUnavailable 0 and maxSurge 1: new pods before old ones go, got {dict(update)!r}"
    accounts = [account["metadata"]["name"] for account in _beside(manifest, all_kinds.get("ServiceAccount", []))]
    wanted = spec.get("template", {}).get("spec", {}).get("serviceAccountName")
    if accounts and wanted not in accounts:
        yield f"serviceAccountName must be one of {', '.join(accounts)}, got {wanted!r}"
    yield from pod_problems(spec.get("template", {}))


def _service(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    if spec.get("type", "ClusterIP") != "ClusterIP":
        yield f"type must be ClusterIP: only target groups send traffic, got {spec.get('type')!r}"
    deployments = _beside(manifest, all_kinds.get("Deployment", []))
    found = [deployment for deployment in deployments if _selects(spec.get("selector"), deployment)]
    if deployments and len(found) != 1:
        yield f"selector {spec.get('selector')!r} must find the pods of one Deployment, it finds those of {len(found)}"
    for port in spec.get("ports", []):
        target = port.get("targetPort", port.get("port"))
        for deployment in found:
            ports = container_ports(deployment["spec"]["template"])
            if target not in ports and target not in ports.values():
                yield f"targetPort {target!r} is no port of {ref(deployment)}, which has {', '.join(ports) or 'none'}"


def _binding(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    reference = spec.get("serviceRef", {})
    services = {s["metadata"]["name"]: s for s in _beside(manifest, all_kinds.get("Service", []))}
    service = services.get(reference.get("name"))
    if services and service is None:
        yield f"serviceRef must be one of {', '.join(services)}, got {reference.get('name')!r}"
    if service is not None:
        ports = [value for port in service["spec"].get("ports", []) for value in (port.get("port"), port.get("name"))]
        if reference.get("port") not in ports:
            yield f"serviceRef.port {reference.get('port')!r} is no port of {ref(service)}"
    if spec.get("targetType") != "ip":
        yield f"targetType must be ip: readiness gates know pods only, got {spec.get('targetType')!r}"
    group = spec.get("targetGroupARN")
    for other in all_kinds["TargetGroupBinding"]:
        if other is not manifest and other["spec"].get("targetGroupARN") == group:
            yield f"has the target group of {ref(other)}, {group!r}: the two would deregister each other's pods"


def _scaler(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    target = spec.get("scaleTargetRef", {})
    deployments = {d["metadata"]["name"]: d for d in _beside(manifest, all_kinds.get("Deployment", []))}
    deployment = deployments.get(target.get("name")) if target.get("kind") == "Deployment" else None
    if deployment is None:
        yield f"scales {target.get('kind')} {target.get('name')!r}, which is not there"
    elif "replicas" in deployment["spec"]:
        yield f"scales {ref(deployment)}, which has replicas itself: each apply would undo what the scaler did; leave them out"
    least, most = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if not 1 <= least <= most:
        yield f"minReplicas must be at least 1 and at most maxReplicas, got {least} and {most}"
    if not spec.get("metrics"):
        yield "metrics must have one that says when to scale"
    window = spec.get("behavior", {}).get("scaleDown", {}).get("stabilizationWindowSeconds", 0)
    if window < _LEAST_WINDOW:
        yield f"scaleDown.stabilizationWindowSeconds must be at least {_LEAST_WINDOW}, got {window}: pods would come and go"


def _budget(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    deployments = _beside(manifest, all_kinds.get("Deployment", []))
    found = [d for d in deployments if _selects(spec.get("selector", {}).get("matchLabels"), d)]
    if deployments and len(found) != 1:
        yield f"selector {spec.get('selector')!r} must find the pods of one Deployment, it finds those of {len(found)}"
    names = [deployment["metadata"]["name"] for deployment in found]
    scalers = _beside(manifest, all_kinds.get("HorizontalPodAutoscaler", []))
    least = [
        s["spec"].get("minReplicas", 1) for s in scalers if s["spec"].get("scaleTargetRef", {}).get("name") in names
    ]
    keep, lose = spec.get("minAvailable"), spec.get("maxUnavailable")
    if (keep is None) is (lose is None):
        yield f"must have one of minAvailable and maxUnavailable, got {keep!r} and {lose!r}"
    if lose in (0, "0%") or keep == "100%" or (isinstance(keep, int) and any(keep >= n for n in least)):
        yield "lets no pod go: no node with one of them could ever be replaced"
    if isinstance(lose, int) and any(1 < n <= lose for n in least):
        yield f"maxUnavailable {lose} lets all {min(least)} pods go at once; use 1"


def _policy(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    if sorted(spec.get("policyTypes", [])) != ["Egress", "Ingress"]:
        yield f"policyTypes must be Ingress and Egress, or one of them stays open, got {spec.get('policyTypes')!r}"
    for direction, field in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction, []):
            if not rule.get(field) or not rule.get("ports"):
                yield f"an {direction} rule must say {field} and ports, or it lets everything through"
            for peer in rule.get(field, []):
                yield from _peer_problems(direction, peer)
    pods = spec.get("podSelector", {}).get("matchLabels")
    for deployment in _beside(manifest, all_kinds.get("Deployment", [])):
        let_in = {p.get("port") for rule in spec.get("ingress", []) for p in rule.get("ports", [])}
        ports = container_ports(deployment["spec"].get("template", {}))
        if _selects(pods, deployment) and not let_in & {*ports, *ports.values()}:
            yield f"lets nobody ask {ref(deployment)}, which listens on {', '.join(map(str, ports.values()))}"


def _peer_problems(direction: str, peer: Object) -> Iterator[str]:
    cidr = peer.get("ipBlock", {}).get("cidr") if "ipBlock" in peer else None
    if cidr is None:
        if not any(selector.get("matchLabels") for selector in peer.values() if isinstance(selector, dict)):
            yield f"an {direction} rule has a peer that is everything: {dict(peer)!r}"
        return
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError:
        yield f"{cidr!r} of an {direction} rule is no CIDR block"
        return
    if direction == "ingress" and network.prefixlen == 0:
        yield f"lets the whole world in ({cidr}); name the load balancer's subnets"


def _namespace(manifest: Manifest, _: dict[str, list[Manifest]]) -> Iterator[str]:
    labels = manifest["metadata"].get("labels", {})
    level = labels.get("pod-security.kubernetes.io/enforce")
    if level != "restricted":
        yield f"pod-security.kubernetes.io/enforce must be 'restricted', got {level!r}"


def _quota(manifest: Manifest, _: dict[str, list[Manifest]]) -> Iterator[str]:
    yield from _sizes("hard", manifest["spec"].get("hard", {}))


def _limits(manifest: Manifest, _: dict[str, list[Manifest]]) -> Iterator[str]:
    for limit in manifest["spec"].get("limits", []):
        for field in ("default", "defaultRequest", "max", "min", "maxLimitRequestRatio"):
            yield from _sizes(field, limit.get(field, {}))


def _sizes(field: str, sizes: Object) -> Iterator[str]:
    for name, size in sizes.items():
        try:
            quantity(str(size))
        except QuantityError as error:
            yield f"{field}.{name} {error}"


def _account(manifest: Manifest, _: dict[str, list[Manifest]]) -> Iterator[str]:
    if manifest.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken must be false: nothing in a pod asks the Kubernetes API"


def _role(manifest: Manifest, _: dict[str, list[Manifest]]) -> Iterator[str]:
    for rule in manifest.get("rules", []):
        stars = [field for field in ("apiGroups", "resources", "verbs") if "*" in rule.get(field, [])]
        if stars:
            yield f"{', '.join(stars)} must be named, got '*'"
        guarded = sorted(_GUARDED & set(rule.get("resources", [])))
        if guarded:
            yield f"must not reach {', '.join(guarded)}: by them one becomes somebody else"


def _role_binding(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    roles = [role["metadata"]["name"] for role in _beside(manifest, all_kinds.get("Role", []))]
    wanted = manifest.get("roleRef", {})
    if wanted.get("kind") != "Role" or (roles and wanted.get("name") not in roles):
        yield f"roleRef must be one of the Roles {', '.join(roles)}, got {wanted.get('kind')} {wanted.get('name')!r}"
    for subject in manifest.get("subjects", []):
        if subject.get("name") in _EVERYBODY:
            yield f"must not give the role to {subject['name']}"


_CHECKS: dict[str, Any] = {
    "Namespace": _namespace,
    "ResourceQuota": _quota,
    "LimitRange": _limits,
    "ServiceAccount": _account,
    "Role": _role,
    "RoleBinding": _role_binding,
    "NetworkPolicy": _policy,
    "Deployment": _deployment,
    "Service": _service,
    "TargetGroupBinding": _binding,
    "HorizontalPodAutoscaler": _scaler,
    "PodDisruptionBudget": _budget,
}
