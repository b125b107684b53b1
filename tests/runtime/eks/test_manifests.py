"""The objects of a service on a cluster."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.eks.samples import EKS, SPEC, VERSION, specs, versions, with_eks

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import SLOTS, SlotState, SlotVersion
from mlops_runtime.eks.manifest_checks import problems
from mlops_runtime.eks.manifests import read_slot, selector, service_manifests, slot_manifests
from mlops_runtime.eks.slot_limits import ManifestError

_SLOT_KINDS = ["Service", "TargetGroupBinding", "PodDisruptionBudget", "Deployment", "HorizontalPodAutoscaler"]


def _slot(**options: Any) -> dict[str, Any]:
    return {m["kind"]: m for m in slot_manifests(SPEC, "blue", VERSION, **options)}


def test_a_slot_that_serves_is_complete() -> None:
    """Service and binding precede the pods, so that each gets its readiness gate; the autoscaler sets their number."""
    made = slot_manifests(SPEC, "blue", VERSION)

    assert [m["kind"] for m in made] == _SLOT_KINDS
    assert {m["metadata"]["name"] for m in made} == {"demand-forecast-blue"}
    assert {m["metadata"]["namespace"] for m in made} == {"bu-demand"}
    assert "replicas" not in made[3]["spec"]
    assert made[4]["spec"]["scaleTargetRef"]["name"] == "demand-forecast-blue"
    assert (made[4]["spec"]["minReplicas"], made[4]["spec"]["maxReplicas"]) == (2, 6)
    assert made[4]["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert made[3]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_slot_that_rests_keeps_its_version() -> None:
    """It has no pods and no autoscaler; the rest stays, so that it can serve again."""
    made = _slot(replicas="idle")

    assert list(made) == _SLOT_KINDS[:-1]
    assert made["Deployment"]["spec"]["replicas"] == 0
    assert made["Deployment"]["spec"]["template"] == _slot()["Deployment"]["spec"]["template"]


def test_a_slot_that_never_ran_has_only_its_ways_in() -> None:
    """It cannot serve."""
    assert [m["kind"] for m in slot_manifests(SPEC, "green", None, replicas="idle")] == _SLOT_KINDS[:2]
    with pytest.raises(ManifestError, match="slot 'green' has no version and cannot serve"):
        slot_manifests(SPEC, "green", None)


def test_selectors_do_not_change_with_the_version() -> None:
    """Otherwise the load balancer's readiness gates would be lost."""
    other = replace(VERSION, config="demand-forecast-ffffffff", model_sha256="e" * 64, environment={})
    blue, again, green = (
        slot_manifests(SPEC, slot, version)[3]["spec"]["selector"]
        for slot, version in (("blue", VERSION), ("blue", other), ("green", VERSION))
    )

    assert blue == again == {"matchLabels": selector(SPEC, "blue")}
    assert blue != green


@pytest.mark.parametrize("api", ["eks.amazonaws.com/v1", "elbv2.k8s.aws/v1beta1"])
def test_each_slot_is_bound_to_its_target_group(api: str) -> None:
    """By Auto Mode's controller or by an installed one."""
    for slot in SLOTS:
        binding = slot_manifests(with_eks(binding_api=api), slot, VERSION)[1]

        assert binding["apiVersion"] == api
        assert binding["spec"] == {
            "serviceRef": {"name": f"demand-forecast-{slot}", "port": 80},
            "targetGroupARN": EKS.target_groups[slot],
            "targetType": "ip",
        }


def test_a_service_has_an_account_and_the_traffic_that_it_needs() -> None:
    """Ingress from the load balancer's subnets only; egress to DNS, the pod identity agent and the endpoints only."""
    account, policy = service_manifests(SPEC)

    assert account["metadata"]["name"] == "forecast"
    assert account["automountServiceAccountToken"] is False
    spec = policy["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [
        {
            "from": [{"ipBlock": {"cidr": "10.0.0.0/24"}}, {"ipBlock": {"cidr": "10.0.1.0/24"}}],
            "ports": [{"port": 8080, "protocol": "TCP"}],
        }
    ]
    assert [[port["port"] for port in rule["ports"]] for rule in spec["egress"]] == [[53, 53], [80], [443]]
    assert spec["egress"][1]["to"] == [{"ipBlock": {"cidr": "169.254.170.23/32"}}]
    assert spec["egress"][2]["to"] == [{"ipBlock": {"cidr": "10.0.0.0/16"}}]


def test_the_address_of_dns_can_be_another() -> None:
    """For a cluster with its own service range."""
    policy = service_manifests(with_eks(dns_cidrs=("192.168.0.10/32",), egress_cidrs=()))[1]
    dns, agent = policy["spec"]["egress"]

    assert [peer["ipBlock"]["cidr"] for peer in dns["to"][1:]] == ["192.168.0.10/32"]
    assert dns["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert agent["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_every_problem_is_said_at_once() -> None:
    """Of the spec, the slot and the version."""
    with pytest.raises(ManifestError) as error:
        slot_manifests(with_eks(minimum=0), "red", replace(VERSION, image="latest"))

    assert [problem.split(" must")[0] for problem in error.value.problems] == ["eks.minimum", "slot", "image"]
    with pytest.raises(ManifestError, match=r"eks\.minimum"):
        service_manifests(with_eks(minimum=0))


@settings(max_examples=40)
@given(specs(), versions(), st.sampled_from(SLOTS), st.sampled_from(["serving", "idle"]))
def test_any_valid_spec_gives_manifests_without_a_problem(
    spec: ServingSpec, version: SlotVersion, slot: str, replicas: Any
) -> None:
    """The checks find none, equal inputs give equal manifests, nothing is shared, and the slot can be read back."""
    made = [*service_manifests(spec), *slot_manifests(spec, slot, version, replicas=replicas)]

    assert problems(made) == []
    text = json.dumps(made, sort_keys=True)
    for manifest in slot_manifests(spec, slot, version, replicas=replicas):
        _spoil(manifest)
    assert (
        json.dumps([*service_manifests(spec), *slot_manifests(spec, slot, version, replicas=replicas)], sort_keys=True)
        == text
    )
    identities = [id(part) for part in _parts(made)]
    assert len(identities) == len(set(identities))
    deployment = next(m for m in made if m["kind"] == "Deployment")
    assert read_slot(deployment, slot).version == version


def _spoil(part: Any) -> None:
    values = list(part.values() if isinstance(part, dict) else part)
    for value in values:
        if isinstance(value, dict | list):
            _spoil(value)
    part.clear()


def _parts(part: Any) -> list[Any]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
    own = [part] if isinstance(part, dict | list) else []
    return [*own, *(found for value in inner for found in _parts(value))]


def _deployment(**status: Any) -> dict[str, Any]:
    made = copy.deepcopy(_slot()["Deployment"])
    made["metadata"]["generation"] = 3
    made["spec"]["replicas"] = 2
    made["status"] = {"observedGeneration": 3, **status}
    return made


def test_a_slot_is_read_from_its_deployment() -> None:
    """All pods are ready and of one revision."""
    state = read_slot(_deployment(replicas=2, updatedReplicas=2, readyReplicas=2), "blue")

    assert state == SlotState(slot="blue", version=VERSION, desired=2, ready=2, updated=2)


def test_pods_of_an_old_revision_do_not_count_as_ready() -> None:
    """Of three pods, one new and two ready, the new one may be the unready one."""
    state = read_slot(_deployment(replicas=3, updatedReplicas=1, readyReplicas=2), "blue")

    assert (state.ready, state.updated) == (0, 1)


def test_a_status_that_is_older_than_the_spec_says_nothing() -> None:
    """Right after an apply the status still counts the old pods."""
    made = _deployment(replicas=2, updatedReplicas=2, readyReplicas=2)
    made["metadata"]["generation"] = 4
    state = read_slot(made, "blue")

    assert (state.ready, state.updated, state.unsorted) == (0, 0, 2)
    assert state.reason == "the cluster has not observed the newest revision yet"


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: unit"}, "exceeded quota: unit"),
        (
            {"type": "Progressing", "status": "False", "message": "has timed out progressing"},
            "has timed out progressing",
        ),
        ({"type": "Progressing", "status": "True", "message": "is progressing"}, ""),
    ],
)
def test_why_pods_do_not_come_is_said(condition: dict[str, str], reason: str) -> None:
    """In the cluster's words."""
    assert read_slot(_deployment(conditions=[condition]), "blue").reason == reason


def test_a_slot_without_a_deployment_has_never_run() -> None:
    """Nor one made by another owner, whose version is unknown."""
    assert read_slot(None, "green") == SlotState(slot="green", version=None)
    made = _deployment()
    for wrong in ("{", "[]", "[" * 100_000):
        made["metadata"]["annotations"]["mlops.constructs/environment"] = wrong
        assert read_slot(made, "green").version is None
    made["metadata"]["annotations"] = {"mlops.constructs/config": "x"}
    assert read_slot(made, "green").version is None
