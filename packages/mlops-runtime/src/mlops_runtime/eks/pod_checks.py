"""Whether the pods of a Deployment keep the platform's promises: restricted, sized, probed, spread, by digest.

See: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlops_runtime.eks.pod import STATIC_KEYS
from mlops_runtime.eks.quantity import QuantityError, quantity

_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_SPREAD = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

Object = Mapping[str, Any]


def pod_problems(template: Object) -> Iterator[str]:
    """Yield what is wrong with a pod template, each without saying whose it is."""
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
        found = [
            *_container_problems(container),
            *_size_problems(container),
            *_mount_problems(container, pod),
        ]
        yield from (f"{where}: {problem}" for problem in found)
    for container in pod.get("containers", []):
        where = f"container {container.get('name')!r}"
        yield from (f"{where}: {problem}" for problem in _probe_problems(container, pod))


def container_ports(template: Object) -> dict[str, int]:
    """Return the ports that a pod template names."""
    containers = template.get("spec", {}).get("containers", [])
    return {port["name"]: port["containerPort"] for c in containers for port in c.get("ports", []) if "name" in port}


def _account_problems(pod: Object) -> Iterator[str]:
    if pod.get("serviceAccountName", "default") == "default":
        yield "serviceAccountName must be the service's own, got the namespace's default: no role would be tied to it"
    if pod.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken must be false: nothing in the pod asks the Kubernetes API"


def _restriction_problems(pod: Object) -> Iterator[str]:
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True:
        yield f"securityContext.runAsNonRoot must be true, got {context.get('runAsNonRoot')!r}"
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        if not context.get(field):
            yield f"securityContext.{field} must be another than root's, got {context.get(field)!r}"
    profile = context.get("seccompProfile", {}).get("type")
    if profile not in ("RuntimeDefault", "Localhost"):
        yield f"securityContext.seccompProfile.type must be RuntimeDefault, got {profile!r}"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} must not be set: a pod keeps out of its node"
    for volume in pod.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= {"emptyDir", "projected"}:
            yield f"volume {volume.get('name')!r} must be an emptyDir, got {', '.join(sorted(kinds))}"
        elif "emptyDir" in kinds and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"volume {volume.get('name')!r} must have a sizeLimit, or it fills the node's disk"
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
            yield f"the spread over {key} counts pods that are not these: {dict(wanted)!r}"


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
        yield "ports must not be those of the node (hostPort)"
    names = [variable.get("name") for variable in container.get("env", [])]
    yield from (f"env: {name} is set twice" for name in sorted({n for n in names if names.count(n) > 1}))
    for name in sorted(STATIC_KEYS & set(names)):
        yield f"env: {name} must not be set: the pod has a role of its own"
    if container.get("envFrom"):
        yield "envFrom must not be used: what a pod gets stands in its manifest"


def _size_problems(container: Object) -> Iterator[str]:
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for field, sizes in (("requests", requests), ("limits", limits)):
        for name in ("cpu", "memory"):
            if name not in sizes:
                yield f"resources.{field}.{name} is missing; the tenant's quota refuses a pod without it"
        for name, size in sizes.items():
            yield from _quantity_problem(f"resources.{field}.{name}", size)
    if requests.get("memory") != limits.get("memory"):
        yield f"memory must be limited to what is asked for, got {requests.get('memory')!r} and {limits.get('memory')!r}"
    if _is_more(requests.get("cpu"), limits.get("cpu")):
        yield f"cpu must not be limited to less than is asked for, got {requests['cpu']!r} and {limits['cpu']!r}"


def _is_more(first: object, second: object) -> bool:
    try:
        return quantity(str(first)) > quantity(str(second))
    except QuantityError:
        return False  # said where each is read


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
            yield f"{name} must ask /ping, got {http.get('path')!r}"
        if http.get("port") not in ports:
            yield f"{name} asks port {http.get('port')!r}, which the container does not have"
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    grace = pod.get("terminationGracePeriodSeconds", 30)
    if not 0 < sleep < grace:
        yield f"preStop must sleep for more than 0 s and less than terminationGracePeriodSeconds, got {sleep} of {grace}"
