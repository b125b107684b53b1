"""Each rule of a pod has a mutation that it catches."""

import ast
import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from eks_samples import SPEC, VERSION

from mlops_runtime.eks import pod_checks
from mlops_runtime.eks.pod import pod_template
from mlops_runtime.eks.pod_checks import container_ports, pod_problems

_LABELS = {"app": "forecast", "slot": "blue"}
Template = dict[str, Any]


def _template() -> Template:
    return copy.deepcopy(pod_template(SPEC, VERSION, labels=_LABELS, selector=_LABELS))


def _pod(**fields: Any) -> Callable[[Template], None]:
    return lambda template: template["spec"].update(fields)


def _context(**fields: Any) -> Callable[[Template], None]:
    return lambda template: template["spec"]["securityContext"].update(fields)


def _server(**fields: Any) -> Callable[[Template], None]:
    return lambda template: template["spec"]["containers"][0].update(fields)


def _fetch(**fields: Any) -> Callable[[Template], None]:
    return lambda template: template["spec"]["initContainers"][0].update(fields)


def _security(**fields: Any) -> Callable[[Template], None]:
    return lambda template: template["spec"]["containers"][0]["securityContext"].update(fields)


def _sizes(field: str, **sizes: Any) -> Callable[[Template], None]:
    return lambda template: template["spec"]["containers"][0]["resources"][field].update(sizes)


def _probe(name: str, **http: Any) -> Callable[[Template], None]:
    return lambda template: template["spec"]["containers"][0][name]["httpGet"].update(http)


def _other_spread(template: Template) -> None:
    template["spec"]["topologySpreadConstraints"][0]["labelSelector"] = {"matchLabels": {"app": "other"}}


def _without_limit(template: Template) -> None:
    del template["spec"]["containers"][0]["resources"]["limits"]["cpu"]


def _without_probe(template: Template) -> None:
    del template["spec"]["containers"][0]["livenessProbe"]


_MUTATIONS: list[tuple[Callable[[Template], Any], str]] = [
    (_pod(containers=[]), "a pod must have a container"),
    (_fetch(name="server"), "two containers are called 'server'"),
    (_pod(serviceAccountName="default"), "serviceAccountName must be the service's own"),
    (_pod(automountServiceAccountToken=True), "automountServiceAccountToken must be false"),
    (_context(runAsNonRoot=False), "securityContext.runAsNonRoot must be true, got False"),
    (_context(runAsUser=0), "securityContext.runAsUser must be another than root's, got 0"),
    (_context(seccompProfile={"type": "Unconfined"}), "seccompProfile.type must be RuntimeDefault, got 'Unconfined'"),
    (_pod(hostNetwork=True), "hostNetwork must not be set"),
    (
        lambda t: t["spec"]["volumes"].append({"name": "node", "hostPath": {"path": "/"}}),
        "must be an emptyDir, got hostPath",
    ),
    (lambda t: t["spec"]["volumes"][1].update(emptyDir={}), "volume 'tmp' must have a sizeLimit"),
    (
        lambda t: t["spec"]["volumes"][1].update(emptyDir={"sizeLimit": "1 GB"}),
        "volume 'tmp': sizeLimit must be a Kubernetes",
    ),
    (lambda t: t["spec"]["topologySpreadConstraints"].pop(0), "must have one over topology.kubernetes.io/zone"),
    (lambda t: t["spec"]["topologySpreadConstraints"].pop(1), "must have one over kubernetes.io/hostname"),
    (_other_spread, "counts pods that are not these: {'app': 'other'}"),
    (_server(image="repo/model:1"), "container 'server': image must be by digest, got 'repo/model:1'"),
    (_fetch(image="repo/model"), "container 'fetch': image must be by digest"),
    (_security(allowPrivilegeEscalation=True), "allowPrivilegeEscalation must be false"),
    (_security(readOnlyRootFilesystem=False), "readOnlyRootFilesystem must be true"),
    (_security(privileged=True), "privileged must be false"),
    (_security(runAsUser=0), "must not run as root"),
    (_security(runAsNonRoot=False), "must not run as root"),
    (_security(capabilities={"drop": ["NET_RAW"]}), "capabilities must drop ALL and add none"),
    (_security(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "capabilities must drop ALL and add none"),
    (lambda t: t["spec"]["containers"][0]["ports"][0].update(hostPort=80), "must not be those of the node"),
    (
        lambda t: t["spec"]["containers"][0]["env"].append({"name": "AWS_REGION", "value": "x"}),
        "AWS_REGION is set twice",
    ),
    (_server(env=[{"name": "AWS_ACCESS_KEY_ID", "value": "AKIA"}]), "AWS_ACCESS_KEY_ID must not be set"),
    (_server(envFrom=[{"secretRef": {"name": "s"}}]), "envFrom must not be used"),
    (_without_limit, "resources.limits.cpu is missing"),
    (_sizes("limits", cpu="1 core"), "resources.limits.cpu must be a Kubernetes quantity"),
    (_sizes("requests", cpu="-1"), "resources.requests.cpu must not be negative, got '-1'"),
    (_sizes("limits", memory="2Gi"), "memory must be limited to what is asked for, got '1Gi' and '2Gi'"),
    (_sizes("limits", cpu="100m"), "cpu must not be limited to less than is asked for, got '500m' and '100m'"),
    (
        _server(volumeMounts=[{"name": "models", "mountPath": "/x"}]),
        "mounts volume 'models', which the pod does not have",
    ),
    (_without_probe, "livenessProbe is missing"),
    (_probe("readinessProbe", path="/"), "readinessProbe must ask /ping, got '/'"),
    (_probe("startupProbe", port="https"), "startupProbe asks port 'https', which the container does not have"),
    (
        _server(lifecycle={}),
        "preStop must sleep for more than 0 s and less than terminationGracePeriodSeconds, got 0 of 60",
    ),
    (_pod(terminationGracePeriodSeconds=15), "got 15 of 15"),
]


def test_our_own_pod_is_fine() -> None:
    """And its ports are known by name."""
    assert list(pod_problems(_template())) == []
    assert container_ports(_template()) == {"http": 8080}


@pytest.mark.parametrize(("change", "said"), _MUTATIONS, ids=[said for _, said in _MUTATIONS])
def test_a_mutation_is_caught(change: Callable[[Template], Any], said: str) -> None:
    """By one sentence that names the value."""
    template = _template()
    change(template)
    found = list(pod_problems(template))

    assert len(found) == 1
    assert said in found[0]


def test_every_rule_has_a_mutation() -> None:
    """Each sentence that a check can yield is one that some mutation brought."""
    tree = ast.parse(inspect.getsource(pod_checks))
    sentences = [
        n for n in ast.walk(tree) if isinstance(n, ast.Yield) and isinstance(n.value, ast.JoinedStr | ast.Constant)
    ]

    assert len(_MUTATIONS) >= len(sentences) > 25


def test_an_empty_template_is_all_wrong_and_no_crash() -> None:
    """What is missing is said, not stumbled over."""
    assert len(list(pod_problems({}))) > 8
    assert container_ports({}) == {}
