"""Checks of manifests beyond their schemas: consistency between objects, and the platform's rules for pods."""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlops_runtime.eks.kubernetes_objects import Manifest, UnknownKindError, path, ref
from mlops_runtime.eks.pod import STATIC_KEYS
from mlops_runtime.eks.slot_limits import QuantityError, quantity

_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_SPREAD = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

Object = Mapping[str, Any]

_EVERYBODY = ("system:authenticated", "system:unauthenticated", "system:serviceaccounts", "system:masters")
# write access to these allows acting as another user
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


def pod_problems(template: Object) -> Iterator[str]:
    """Yield the problems of a pod template, without naming its object."""
    pod = template.get("spec", {})
    labels = template.get("metadata", {}).get("labels", {})
    containers = [*pod.get("initContainers", []), *pod.get("containers", [])]
    yield from _account_problems(pod)
    yield from _restriction_problems(pod)
    yield from _spread_problems(pod, labels)
    if not pod.get("containers"):
        yield "a pod must have a container"
    names = [container.get("name") for container in containers]
    yield from (f"two containers are called {name!r}" for name in sorted({n for n in names if names.count(n) > 1}))
    for container in containers:
        where = f"container {container.get('name')!r}"
        found = [*_container_problems(container), *_size_problems(container), *_mount_problems(container, pod)]
        yield from (f"{where}: {problem}" for problem in found)
    for container in pod.get("containers", []):
        where = f"container {container.get('name')!r}"
        yield from (f"{where}: {problem}" for problem in _probe_problems(container, pod))


def container_ports(template: Object) -> dict[str, int]:
    """Return the named ports of a pod template."""
    containers = template.get("spec", {}).get("containers", [])
    return {port["name"]: port["containerPort"] for c in containers for port in c.get("ports", []) if "name" in port}


def _account_problems(pod: Object) -> Iterator[str]:
    if pod.get("serviceAccountName", "default") == "default":
        yield "serviceAccountName must be the service's own, got the namespace's default, which has no role"
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken must be false: the pod does not call the Kubernetes API"


def _restriction_problems(pod: Object) -> Iterator[str]:
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True:
        yield f"securityContext.runAsNonRoot must be true, got {context.get('runAsNonRoot')!r}"
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        if not context.get(field):
            yield f"securityContext.{field} must not be root's, got {context.get(field)!r}"
    profile = context.get("seccompProfile", {}).get("type")
    if profile not in ("RuntimeDefault", "Localhost"):
        yield f"securityContext.seccompProfile.type must be RuntimeDefault, got {profile!r}"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} must not be set: it would give the pod access to its node"
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= {"emptyDir", "projected"}:
            yield f"volume {volume.get('name')!r} must be an emptyDir, got {', '.join(sorted(kinds))}"
        elif "emptyDir" in kinds and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"volume {volume.get('name')!r} must have a sizeLimit, or it could fill the node's disk"
        elif "emptyDir" in kinds:
            yield from _quantity_problem(f"volume {volume.get('name')!r}: sizeLimit", volume["emptyDir"]["sizeLimit"])


def _spread_problems(pod: Object, labels: Object) -> Iterator[str]:
    constraints = {c.get("topologyKey"): c for c in pod.get("topologySpreadConstraints", [])}
    for key in _SPREAD:
        if key not in constraints:
            yield f"topologySpreadConstraints must have one over {key}"
            continue
        wanted = constraints[key].get("labelSelector", {}).get("matchLabels", {})
        if not wanted or not wanted.items() <= labels.items():
            yield f"the selector of the spread over {key} does not match these pods: {dict(wanted)!r}"


def _container_problems(container: Object) -> Iterator[str]:
    if not _DIGEST.fullmatch(str(container.get("image"))):
        yield f"image must be by digest, got {container.get('image')!r}"
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation must be false"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem must be true"
    if context.get("privileged"):
        yield "privileged must be false"
    if context.get("runAsNonRoot") is False or context.get("runAsUser") == 0:
        yield "must not run as root"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or capabilities.get("add"):
        yield f"capabilities must drop ALL and add none, got {capabilities!r}"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "ports must not use ports of the node (hostPort)"
    names = [variable.get("name") for variable in container.get("env", [])]
    yield from (f"env: {name} is set twice" for name in sorted({n for n in names if names.count(n) > 1}))
    for name in sorted(STATIC_KEYS & set(names)):
        yield f"env: {name} must not be set: the pod has its own role"
    if container.get("envFrom"):
        yield "envFrom must not be used: the manifest must show the pod's complete environment"


def _size_problems(container: Object) -> Iterator[str]:
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for field, sizes in (("requests", requests), ("limits", limits)):
        for name in ("cpu", "memory"):
            if name not in sizes:
                yield f"resources.{field}.{name} is missing, so the tenant's quota would refuse the pod"
        for name, size in sizes.items():
            yield from _quantity_problem(f"resources.{field}.{name}", size)
    if requests.get("memory") != limits.get("memory"):
        yield f"the memory limit must equal the request, got request {requests.get('memory')!r} and limit {limits.get('memory')!r}"
    if _is_more(requests.get("cpu"), limits.get("cpu")):
        yield f"the cpu limit must not be less than the request, got request {requests['cpu']!r} and limit {limits['cpu']!r}"


def _is_more(first: object, second: object) -> bool:
    try:
        return quantity(str(first)) > quantity(str(second))
    except QuantityError:
        return False  # reported for each quantity


def _quantity_problem(field: str, size: object) -> Iterator[str]:
    try:
        if quantity(str(size)) < 0:
            yield f"{field} must not be negative, got {size!r}"
    except QuantityError as error:
        yield f"{field} {error}"


def _mount_problems(container: Object, pod: Object) -> Iterator[str]:
    volumes = {volume.get("name") for volume in pod.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        if mount.get("name") not in volumes:
            yield f"mounts volume {mount.get('name')!r}, which the pod does not have"


def _probe_problems(container: Object, pod: Object) -> Iterator[str]:
    ports = {port.get("name") for port in container.get("ports", [])}
    ports |= {port.get("containerPort") for port in container.get("ports", [])}
    for name in _PROBES:
        probe = container.get(name)
        if probe is None:
            yield f"{name} is missing"
            continue
        http = probe.get("httpGet", {})
        if http.get("path") != "/ping":
            yield f"{name} must call /ping, got {http.get('path')!r}"
        if http.get("port") not in ports:
            yield f"{name} calls port {http.get('port')!r}, which the container does not have"
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    grace = pod.get("terminationGracePeriodSeconds", 30)
    if not 0 < sleep < grace:
        yield f"preStop must sleep for more than 0 s and less than terminationGracePeriodSeconds, got {sleep} of {grace}"


def problems(manifests: Sequence[Manifest]) -> list[str]:
    """Return all problems of manifests that are applied together.

    References are checked only if the manifests contain an object of the referenced kind, since for example a service's account
    may be applied separately.

    Args:
        manifests: Manifests of a slot, a service, a tenant, or several of these.

    Example:
        >>> problems([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demand"}}])
        ["Namespace demand: pod-security.kubernetes.io/enforce must be 'restricted', got None"]
    """
    found = list(_shape_problems(manifests))
    if found:
        return found  # the other checks need valid shapes
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
        return [f"this object or one that it refers to has an invalid shape: {type(error).__name__}: {error}"]


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
            yield f"manifest {position} has metadata.namespace {manifest['metadata']['namespace']!r}, which is not a string"
            continue
        try:
            path(ref(manifest))
        except UnknownKindError as error:
            yield str(error)
        seen[str(ref(manifest))] += 1
    yield from (f"{name} is defined {count} times" for name, count in seen.items() if count > 1)


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
        yield f"selector {dict(labels)!r} does not match its own pods"
    for other in _beside(manifest, all_kinds["Deployment"]):
        if other is not manifest and _selects(labels, other):
            yield f"selector {dict(labels)!r} also matches the pods of {ref(other)}"
    update = spec.get("strategy", {}).get("rollingUpdate", {})
    if update.get("maxUnavailable") != 0 or update.get("maxSurge") in (None, 0, "0%"):
        yield f"strategy must be maxUnavailable 0 and maxSurge 1, to start new pods before old ones stop, got {dict(update)!r}"
    accounts = [account["metadata"]["name"] for account in _beside(manifest, all_kinds.get("ServiceAccount", []))]
    wanted = spec.get("template", {}).get("spec", {}).get("serviceAccountName")
    if accounts and wanted not in accounts:
        yield f"serviceAccountName must be one of {', '.join(accounts)}, got {wanted!r}"
    yield from pod_problems(spec.get("template", {}))


def _service(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    if spec.get("type", "ClusterIP") != "ClusterIP":
        yield f"type must be ClusterIP, since traffic comes from target groups, got {spec.get('type')!r}"
    deployments = _beside(manifest, all_kinds.get("Deployment", []))
    found = [deployment for deployment in deployments if _selects(spec.get("selector"), deployment)]
    if deployments and len(found) != 1:
        yield f"selector {spec.get('selector')!r} must match the pods of one Deployment, but matches those of {len(found)}"
    for port in spec.get("ports", []):
        target = port.get("targetPort", port.get("port"))
        for deployment in found:
            ports = container_ports(deployment["spec"]["template"])
            if target not in ports and target not in ports.values():
                yield f"targetPort {target!r} is not a port of {ref(deployment)}, which has {', '.join(ports) or 'none'}"


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
            yield f"serviceRef.port {reference.get('port')!r} is not a port of {ref(service)}"
    if spec.get("targetType") != "ip":
        yield f"targetType must be ip, since readiness gates only work for pods, got {spec.get('targetType')!r}"
    group = spec.get("targetGroupARN")
    for other in all_kinds["TargetGroupBinding"]:
        if other is not manifest and other["spec"].get("targetGroupARN") == group:
            yield f"has the same target group as {ref(other)}, {group!r}: they would deregister each other's pods"


def _scaler(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    target = spec.get("scaleTargetRef", {})
    deployments = {d["metadata"]["name"]: d for d in _beside(manifest, all_kinds.get("Deployment", []))}
    deployment = deployments.get(target.get("name")) if target.get("kind") == "Deployment" else None
    if deployment is None:
        yield f"scales {target.get('kind')} {target.get('name')!r}, which does not exist"
    elif "replicas" in deployment["spec"]:
        yield f"scales {ref(deployment)}, which sets replicas: each apply would undo the scaling; omit replicas"
    least, most = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if not 1 <= least <= most:
        yield f"minReplicas must be at least 1 and at most maxReplicas, got {least} and {most}"
    if not spec.get("metrics"):
        yield "metrics must have at least one metric to scale by"
    window = spec.get("behavior", {}).get("scaleDown", {}).get("stabilizationWindowSeconds", 0)
    if window < _LEAST_WINDOW:
        yield f"scaleDown.stabilizationWindowSeconds must be at least {_LEAST_WINDOW} to avoid flapping, got {window}"


def _budget(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    deployments = _beside(manifest, all_kinds.get("Deployment", []))
    found = [d for d in deployments if _selects(spec.get("selector", {}).get("matchLabels"), d)]
    if deployments and len(found) != 1:
        yield f"selector {spec.get('selector')!r} must match the pods of one Deployment, but matches those of {len(found)}"
    names = [deployment["metadata"]["name"] for deployment in found]
    scalers = _beside(manifest, all_kinds.get("HorizontalPodAutoscaler", []))
    least = [
        s["spec"].get("minReplicas", 1) for s in scalers if s["spec"].get("scaleTargetRef", {}).get("name") in names
    ]
    keep, lose = spec.get("minAvailable"), spec.get("maxUnavailable")
    if (keep is None) is (lose is None):
        yield f"must have one of minAvailable and maxUnavailable, got {keep!r} and {lose!r}"
    if lose in (0, "0%") or keep == "100%" or (isinstance(keep, int) and any(keep >= n for n in least)):
        yield "allows no disruption: a node with one of these pods could never be drained"
    if isinstance(lose, int) and any(1 < n <= lose for n in least):
        yield f"maxUnavailable {lose} allows the eviction of all {min(least)} pods at once; use 1"


def _policy(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    spec = manifest["spec"]
    if sorted(spec.get("policyTypes", [])) != ["Egress", "Ingress"]:
        yield f"policyTypes must be Ingress and Egress, since a missing one is unrestricted, got {spec.get('policyTypes')!r}"
    for direction, field in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction, []):
            if not rule.get(field) or not rule.get("ports"):
                yield f"an {direction} rule must have {field} and ports, or it allows all traffic"
            for peer in rule.get(field, []):
                yield from _peer_problems(direction, peer)
    pods = spec.get("podSelector", {}).get("matchLabels")
    for deployment in _beside(manifest, all_kinds.get("Deployment", [])):
        let_in = {p.get("port") for rule in spec.get("ingress", []) for p in rule.get("ports", [])}
        ports = container_ports(deployment["spec"].get("template", {}))
        if _selects(pods, deployment) and not let_in & {*ports, *ports.values()}:
            yield f"allows no client to reach {ref(deployment)}, which listens on {', '.join(map(str, ports.values()))}"


def _peer_problems(direction: str, peer: Object) -> Iterator[str]:
    cidr = peer.get("ipBlock", {}).get("cidr") if "ipBlock" in peer else None
    if cidr is None:
        if not any(selector.get("matchLabels") for selector in peer.values() if isinstance(selector, dict)):
            yield f"an {direction} rule has a peer that matches everything: {dict(peer)!r}"
        return
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError:
        yield f"{cidr!r} of an {direction} rule is not a CIDR block"
        return
    if direction == "ingress" and network.prefixlen == 0:
        yield f"allows traffic from everywhere ({cidr}); name the load balancer's subnets"


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
        yield "automountServiceAccountToken must be false: pods do not call the Kubernetes API"


def _role(manifest: Manifest, _: dict[str, list[Manifest]]) -> Iterator[str]:
    for rule in manifest.get("rules", []):
        stars = [field for field in ("apiGroups", "resources", "verbs") if "*" in rule.get(field, [])]
        if stars:
            yield f"{', '.join(stars)} must be named, got '*'"
        guarded = sorted(_GUARDED & set(rule.get("resources", [])))
        if guarded:
            yield f"must not allow {', '.join(guarded)}, which would allow acting as another user"


def _role_binding(manifest: Manifest, all_kinds: dict[str, list[Manifest]]) -> Iterator[str]:
    roles = [role["metadata"]["name"] for role in _beside(manifest, all_kinds.get("Role", []))]
    wanted = manifest.get("roleRef", {})
    if wanted.get("kind") != "Role" or (roles and wanted.get("name") not in roles):
        yield f"roleRef must be one of the Roles {', '.join(roles)}, got {wanted.get('kind')} {wanted.get('name')!r}"
    for subject in manifest.get("subjects", []):
        if subject.get("name") in _EVERYBODY:
            yield f"must not give the role to {subject['name']}"


_CHECKS: dict[str, object] = {
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
