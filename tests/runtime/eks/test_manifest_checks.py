"""Each rule about a set of manifests, and each rule of a pod, has a mutation that it catches."""

import ast
import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.eks.samples import SPEC, TENANT, VERSION

from mlops_runtime.eks import manifest_checks
from mlops_runtime.eks.kubernetes_objects import Manifest
from mlops_runtime.eks.manifest_checks import container_ports, pod_problems, problems
from mlops_runtime.eks.manifests import service_manifests, slot_manifests
from mlops_runtime.eks.pod import pod_template
from mlops_runtime.eks.tenant import tenant_manifests

Made = dict[str, Any]
_KINDS = {
    "Namespace": 0,
    "ResourceQuota": 1,
    "LimitRange": 2,
    "Role": 4,
    "RoleBinding": 5,
    "ServiceAccount": 8,
    "NetworkPolicy": 9,
    "Service": 10,
    "TargetGroupBinding": 11,
    "PodDisruptionBudget": 12,
    "Deployment": 13,
    "HorizontalPodAutoscaler": 14,
}


_LABELS = {"app": "forecast", "slot": "blue"}
Template = dict[str, Any]


def _all() -> list[Manifest]:
    made = [
        *tenant_manifests(TENANT),
        *service_manifests(SPEC),
        *slot_manifests(SPEC, "blue", VERSION),
        *slot_manifests(SPEC, "green", VERSION, replicas="idle"),
    ]
    return copy.deepcopy(made)


def _spec(**fields: Any) -> Callable[[Made], None]:
    return lambda manifest: manifest["spec"].update(fields)


def _top(**fields: Any) -> Callable[[Made], None]:
    return lambda manifest: manifest.update(fields)


_NAME, _SLOT = "app.kubernetes.io/name", "mlops.constructs/slot"
_POLICY = "NetworkPolicy bu-demand/demand-forecast"
_MUTATIONS: list[tuple[str, Callable[[Made], Any], str]] = [
    ("Namespace", lambda m: m["metadata"]["labels"].clear(), "pod-security.kubernetes.io/enforce must be 'restricted'"),
    ("ResourceQuota", lambda m: m["spec"]["hard"].update(pods="many"), "hard.pods must be a Kubernetes quantity"),
    (
        "LimitRange",
        lambda m: m["spec"]["limits"][0]["default"].update(cpu="1 core"),
        "default.cpu must be a Kubernetes quantity",
    ),
    ("Role", lambda m: m["rules"][0].update(verbs=["*"]), "verbs must be named, got '*'"),
    ("Role", lambda m: m["rules"][0]["resources"].append("secrets"), "must not allow secrets"),
    (
        "RoleBinding",
        lambda m: m["roleRef"].update(name="admin"),
        "must be one of the Roles mlops-applier, mlops-slots, got Role 'admin'",
    ),
    ("RoleBinding", lambda m: m["roleRef"].update(kind="ClusterRole"), "got ClusterRole 'mlops-applier'"),
    (
        "RoleBinding",
        lambda m: m["subjects"][0].update(name="system:authenticated"),
        "must not give the role to system:",
    ),
    ("ServiceAccount", _top(automountServiceAccountToken=True), "automountServiceAccountToken must be false"),
    (
        "ServiceAccount",
        lambda m: m["metadata"].update(name="other"),
        "serviceAccountName must be one of other, got 'forecast'",
    ),
    ("NetworkPolicy", _spec(policyTypes=["Ingress"]), "policyTypes must be Ingress and Egress"),
    ("NetworkPolicy", lambda m: m["spec"]["egress"].append({"ports": [{"port": 443}]}), "must have to and ports"),
    ("NetworkPolicy", lambda m: m["spec"]["ingress"][0].pop("ports"), "must have from and ports"),
    (
        "NetworkPolicy",
        lambda m: m["spec"]["egress"][0]["to"].append({"namespaceSelector": {}}),
        "has a peer that matches everything",
    ),
    (
        "NetworkPolicy",
        lambda m: m["spec"]["egress"][1]["to"][0].update(ipBlock={"cidr": "agent"}),
        "'agent' of an egress rule is",
    ),
    (
        "NetworkPolicy",
        lambda m: m["spec"]["ingress"][0]["from"][0].update(ipBlock={"cidr": "0.0.0.0/0"}),
        "allows traffic from everywhere",
    ),
    (
        "NetworkPolicy",
        lambda m: m["spec"]["ingress"][0].update(ports=[{"port": 80}]),
        "allows no client to reach Deployment",
    ),
    ("Deployment", lambda m: m["spec"]["selector"]["matchLabels"].update(x="y"), "does not match its own pods"),
    (
        "Deployment",
        lambda m: m["spec"]["selector"]["matchLabels"].pop(_SLOT),
        "also matches the pods of Deployment",
    ),
    (
        "Deployment",
        lambda m: m["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
        "must be maxUnavailable 0 and",
    ),
    ("Deployment", lambda m: m["spec"]["template"]["spec"].update(hostPID=True), "hostPID must not be set"),
    ("Deployment", _spec(replicas=2), "which sets replicas"),
    ("Service", _spec(type="LoadBalancer"), "type must be ClusterIP"),
    (
        "Service",
        _spec(selector={_NAME: "demand-forecast"}),
        "must match the pods of one Deployment, but matches those of 2",
    ),
    ("Service", _spec(selector={_NAME: "other"}), "but matches those of 0"),
    (
        "Service",
        lambda m: m["spec"]["ports"][0].update(targetPort="web"),
        "targetPort 'web' is not a port of Deployment",
    ),
    ("Service", lambda m: m["spec"]["ports"][0].update(port=8000), "serviceRef.port 80 is not a port of Service"),
    (
        "TargetGroupBinding",
        lambda m: m["spec"]["serviceRef"].update(name="other"),
        "serviceRef must be one of demand-",
    ),
    ("TargetGroupBinding", _spec(targetType="instance"), "targetType must be ip"),
    (
        "HorizontalPodAutoscaler",
        lambda m: m["spec"]["scaleTargetRef"].update(name="x"),
        "Deployment 'x', which does not exist",
    ),
    (
        "HorizontalPodAutoscaler",
        _spec(minReplicas=9),
        "minReplicas must be at least 1 and at most maxReplicas, got 9 and 6",
    ),
    ("HorizontalPodAutoscaler", _spec(metrics=[]), "metrics must have at least one metric"),
    (
        "HorizontalPodAutoscaler",
        _spec(behavior={}),
        "stabilizationWindowSeconds must be at least 60 to avoid flapping, got 0",
    ),
    ("PodDisruptionBudget", _spec(selector={"matchLabels": {"a": "b"}}), "but matches those of 0"),
    ("PodDisruptionBudget", _spec(maxUnavailable=None), "must have one of minAvailable and maxUnavailable"),
    ("PodDisruptionBudget", _spec(maxUnavailable=0), "allows no disruption"),
    ("PodDisruptionBudget", _spec(maxUnavailable=None, minAvailable=2), "allows no disruption"),
    (
        "PodDisruptionBudget",
        _spec(maxUnavailable=2),
        "maxUnavailable 2 allows the eviction of all 2 pods at once; use 1",
    ),
]


def test_a_tenant_with_a_service_is_fine() -> None:
    """So is each list by itself, as it is applied."""
    assert problems(_all()) == []
    assert [_all()[position]["kind"] for position in _KINDS.values()] == list(_KINDS)
    for made in (tenant_manifests(TENANT), service_manifests(SPEC), slot_manifests(SPEC, "blue", VERSION), []):
        assert problems(made) == []


@pytest.mark.parametrize(
    ("kind", "change", "message"), _MUTATIONS, ids=[f"{kind}: {reported}" for kind, _, reported in _MUTATIONS]
)
def test_a_mutation_is_caught(kind: str, change: Callable[[Made], Any], message: str) -> None:
    """The problem names object and value."""
    made = _all()
    change(made[_KINDS[kind]])

    assert [problem for problem in problems(made) if message in problem] != []


def test_two_bindings_of_one_target_group_are_caught() -> None:
    """Each controller would manage the target group."""
    made = _all()
    blue, green = (m for m in made if m["kind"] == "TargetGroupBinding")
    green["spec"]["targetGroupARN"] = blue["spec"]["targetGroupARN"]

    assert [problem for problem in problems(made) if "would deregister each other's pods" in problem] != []


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([{"kind": "Service", "metadata": {"name": "x"}}], "manifest 0 has no apiVersion"),
        ([{"apiVersion": "v1", "kind": "Service"}], "manifest 0 has no metadata.name"),
        (["Service"], "manifest 0 must be an object with metadata, got 'Service'"),
        (
            [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x", "namespace": 1}}],
            "manifest 0 has metadata.namespace 1",
        ),
        (
            [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "y"}}],
            "Secret (v1) is not supported",
        ),
        ([*tenant_manifests(TENANT), tenant_manifests(TENANT)[0]], "Namespace bu-demand is defined 2 times"),
    ],
)
def test_what_is_no_manifest_is_said_first(made: list[Manifest], message: str) -> None:
    """Nothing else of it is read."""
    assert [problem[: len(message)] for problem in problems(made)] == [message]


def _places(part: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return [place for key, value in inner for place in [(*at, key), *_places(value, (*at, key))]]


_PLACES = _places(_all())


@settings(max_examples=150)
@given(st.sampled_from(_PLACES), st.sampled_from([None, 0, -1, True, "", "x", [], ["x"], {}, {"x": "y"}, [{}], [None]]))
def test_whatever_stands_anywhere_is_answered(place: tuple[Any, ...], value: Any) -> None:
    """Manifests are JSON: a malformed one is a problem, not a crash."""
    made = _all()
    part: Any = made
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value

    assert all(isinstance(problem, str) for problem in problems(made))


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


_POD_MUTATIONS: list[tuple[Callable[[Template], Any], str]] = [
    (_pod(containers=[]), "a pod must have a container"),
    (_fetch(name="server"), "two containers are called 'server'"),
    (_pod(serviceAccountName="default"), "serviceAccountName must be the service's own"),
    (_pod(automountServiceAccountToken=True), "automountServiceAccountToken must be false"),
    (_context(runAsNonRoot=False), "securityContext.runAsNonRoot must be true, got False"),
    (_context(runAsUser=0), "securityContext.runAsUser must not be root's, got 0"),
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
    (_other_spread, "does not match these pods: {'app': 'other'}"),
    (_server(image="repo/model:1"), "container 'server': image must be by digest, got 'repo/model:1'"),
    (_fetch(image="repo/model"), "container 'fetch': image must be by digest"),
    (_security(allowPrivilegeEscalation=True), "allowPrivilegeEscalation must be false"),
    (_security(readOnlyRootFilesystem=False), "readOnlyRootFilesystem must be true"),
    (_security(privileged=True), "privileged must be false"),
    (_security(runAsUser=0), "must not run as root"),
    (_security(runAsNonRoot=False), "must not run as root"),
    (_security(capabilities={"drop": ["NET_RAW"]}), "capabilities must drop ALL and add none"),
    (_security(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "capabilities must drop ALL and add none"),
    (lambda t: t["spec"]["containers"][0]["ports"][0].update(hostPort=80), "must not use ports of the node"),
    (
        lambda t: t["spec"]["containers"][0]["env"].append({"name": "AWS_REGION", "value": "x"}),
        "AWS_REGION is set twice",
    ),
    (_server(env=[{"name": "AWS_ACCESS_KEY_ID", "value": "AKIA"}]), "AWS_ACCESS_KEY_ID must not be set"),
    (_server(envFrom=[{"secretRef": {"name": "s"}}]), "envFrom must not be used"),
    (_without_limit, "resources.limits.cpu is missing"),
    (_sizes("limits", cpu="1 core"), "resources.limits.cpu must be a Kubernetes quantity"),
    (_sizes("requests", cpu="-1"), "resources.requests.cpu must not be negative, got '-1'"),
    (_sizes("limits", memory="2Gi"), "the memory limit must equal the request, got request '1Gi' and limit '2Gi'"),
    (
        _sizes("limits", cpu="100m"),
        "the cpu limit must not be less than the request, got request '500m' and limit '100m'",
    ),
    (
        _server(volumeMounts=[{"name": "models", "mountPath": "/x"}]),
        "mounts volume 'models', which the pod does not have",
    ),
    (_without_probe, "livenessProbe is missing"),
    (_probe("readinessProbe", path="/"), "readinessProbe must call /ping, got '/'"),
    (_probe("startupProbe", port="https"), "startupProbe calls port 'https', which the container does not have"),
    (
        _server(lifecycle={}),
        "preStop must sleep for more than 0 s and less than terminationGracePeriodSeconds, got 0 of 60",
    ),
    (_pod(terminationGracePeriodSeconds=15), "got 15 of 15"),
]


def test_our_own_pod_is_fine() -> None:
    """Its ports are named."""
    assert list(pod_problems(_template())) == []
    assert container_ports(_template()) == {"http": 8080}


@pytest.mark.parametrize(("change", "message"), _POD_MUTATIONS, ids=[reported for _, reported in _POD_MUTATIONS])
def test_a_mutation_of_a_pod_is_caught(change: Callable[[Template], Any], message: str) -> None:
    """One problem names the value."""
    template = _template()
    change(template)
    found = list(pod_problems(template))

    assert len(found) == 1
    assert message in found[0]


def test_every_rule_has_a_mutation() -> None:
    """Every problem that a check can report is caused by some mutation."""
    tree = ast.parse(inspect.getsource(manifest_checks))
    sentences = [
        n for n in ast.walk(tree) if isinstance(n, ast.Yield) and isinstance(n.value, ast.JoinedStr | ast.Constant)
    ]

    assert len(_MUTATIONS) + 5 + len(_POD_MUTATIONS) >= len(sentences) > 60


def test_an_empty_template_is_all_wrong_and_no_crash() -> None:
    """Missing parts are reported."""
    assert len(list(pod_problems({}))) > 8
    assert container_ports({}) == {}
