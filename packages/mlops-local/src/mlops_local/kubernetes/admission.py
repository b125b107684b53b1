"""What keeps a pod from being made: its service account, its namespace's pod security and quota.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted and
https://kubernetes.io/docs/concepts/policy/resource-quotas/. Node resources, affinities and spread are not looked at:
there are no nodes.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

_SUFFIXES = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_ENFORCE = "pod-security.kubernetes.io/enforce"


def quantity(text: str | int | float) -> Decimal:
    """Return what a quantity stands for.

    Example:
        >>> quantity("1500m"), quantity("2Gi"), quantity("3")
        (Decimal('1.5'), Decimal('2147483648'), Decimal('3'))
    """
    shown = str(text)
    if shown.endswith("m"):
        return Decimal(shown[:-1]) / 1000
    if shown.endswith("i"):
        return Decimal(shown[:-2]) * Decimal(1024) ** _SUFFIXES["k" if shown[-2] == "K" else shown[-2]]
    if shown[-1] in _SUFFIXES:
        return Decimal(shown[:-1]) * Decimal(1000) ** _SUFFIXES[shown[-1]]
    return Decimal(shown)


def refusal(
    spec: Mapping[str, Any],
    *,
    namespace: Mapping[str, Any],
    accounts: Iterable[str],
    quotas: Iterable[Mapping[str, Any]],
    running: Iterable[Mapping[str, Any]],
) -> str | None:
    """Return why a pod cannot be made, or ``None``.

    Args:
        spec: Of the pod.
        namespace: The namespace, with its labels.
        accounts: Names of the service accounts there.
        quotas: The resource quotas there.
        running: Specs of the pods there.
    """
    name = namespace["metadata"]["name"]
    account = spec.get("serviceAccountName", "default")
    if account not in set(accounts):
        return f'error looking up service account {name}/{account}: serviceaccount "{account}" not found'
    # claim: restricted-pods-only
    if namespace["metadata"].get("labels", {}).get(_ENFORCE) == "restricted" and (found := violations(spec)):
        return f'violates PodSecurity "restricted:latest": {"; ".join(found)}'
    # claim: quota-refuses-pods
    used = list(running)
    for quota in quotas:
        if problem := _over(quota, [*used, spec], len(used)):
            return f"exceeded quota: {quota['metadata']['name']}, {problem}"
    return None


def violations(spec: Mapping[str, Any]) -> list[str]:
    """Return what of a pod the standard ``restricted`` forbids.

    Args:
        spec: Of the pod.
    """
    pod, found = spec.get("securityContext") or {}, []
    if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        found.append("host namespaces")
    if any("hostPath" in volume for volume in spec.get("volumes") or []):
        found.append("restricted volume types: hostPath")
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        own, name = container.get("securityContext") or {}, container["name"]
        if own.get("privileged"):
            found.append(f'container "{name}" must not set securityContext.privileged=true')
        if own.get("allowPrivilegeEscalation") is not False:
            found.append(f'container "{name}" must set securityContext.allowPrivilegeEscalation=false')
        if "ALL" not in ((own.get("capabilities") or {}).get("drop") or []):
            found.append(f'container "{name}" must set securityContext.capabilities.drop=["ALL"]')
        if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            found.append(f'pod or container "{name}" must set securityContext.runAsNonRoot=true')
        if own.get("runAsUser", pod.get("runAsUser")) == 0:
            found.append(f'container "{name}" must not set runAsUser=0')
        profile = (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type")
        if profile not in {"RuntimeDefault", "Localhost"}:
            found.append(
                f'pod or container "{name}" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
            )
    return found


def _over(quota: Mapping[str, Any], specs: list[Mapping[str, Any]], used: int) -> str | None:
    for name, hard in ((quota.get("spec") or {}).get("hard") or {}).items():
        if name in {"pods", "count/pods"}:
            if used + 1 > quantity(hard):
                return f"requested: {name}=1, used: {name}={used}, limited: {name}={hard}"
            continue
        kind, _, resource = name.partition(".") if "." in name else ("requests", "", name)
        if kind not in {"requests", "limits"} or resource not in {"cpu", "memory"}:
            continue
        amounts = [_amount(spec, kind, resource) for spec in specs]
        if amounts[-1] is None:
            return f"must specify {name} for: {specs[-1]['containers'][0]['name']}"
        if sum(amount or Decimal(0) for amount in amounts) > quantity(hard):
            taken = sum((amount or Decimal(0) for amount in amounts[:-1]), Decimal(0))
            return f"requested: {name}={amounts[-1]}, used: {name}={taken}, limited: {name}={hard}"
    return None


def _amount(spec: Mapping[str, Any], kind: str, resource: str) -> Decimal | None:
    """Return what a pod counts for: its containers together, or its largest init container."""
    rows = [
        [((container.get("resources") or {}).get(kind) or {}).get(resource) for container in spec.get(group) or []]
        for group in ("containers", "initContainers")
    ]
    mains, inits = ([quantity(value) for value in row if value is not None] for row in rows)
    return None if len(mains) < len(rows[0]) else max([sum(mains, Decimal(0)), *inits])
