"""Applying manifests to a cluster."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.eks.fake_cluster import FakeCluster
from tests.runtime.eks.samples import SPEC, TENANT, VERSION

from mlops_runtime.eks.cluster_client import Address, Cluster, ClusterError, ConflictError
from mlops_runtime.eks.kubernetes_objects import KINDS, Manifest, path, ref
from mlops_runtime.eks.manifest_apply import _DELETE_ORDER, HalfAppliedError, apply, remove
from mlops_runtime.eks.manifests import service_manifests, slot_manifests
from mlops_runtime.eks.slot_limits import ManifestError
from mlops_runtime.eks.tenant import tenant_manifests

SERVING = slot_manifests(SPEC, "blue", VERSION)
IDLE = slot_manifests(SPEC, "blue", VERSION, replicas="idle")
_DEPLOYMENT = "/apis/apps/v1/namespaces/bu-demand/deployments/demand-forecast-blue"
_SCALER = "/apis/autoscaling/v2/namespaces/bu-demand/horizontalpodautoscalers/demand-forecast-blue"
_REFUSED = {"kind": "Status", "reason": "Invalid", "message": "admission webhook denied it"}


def _cluster(fake: FakeCluster) -> Cluster:
    return Cluster(Address(url=fake.url), token=lambda: "t", sleep=lambda _: None)


def _kinds(fake: FakeCluster) -> list[str]:
    return [path.split("/")[-2] if not path.endswith("/scale") else "scale" for _, path in fake.writes]


def test_all_is_tried_before_anything_is_applied(fake: FakeCluster) -> None:
    """In the manifests' order; pods come last, before their autoscalers."""
    applied = apply(_cluster(fake), SERVING)

    dry = [path for _, path, query, _ in fake.requests if "dryRun" in query]
    assert dry == [path(ref(manifest)) for manifest in SERVING]
    assert fake.requests[len(SERVING) - 1][2]["dryRun"] == "All"
    assert applied.objects == tuple(ref(manifest) for manifest in SERVING)
    assert _kinds(fake) == [
        "services",
        "targetgroupbindings",
        "poddisruptionbudgets",
        "deployments",
        "scale",
        "horizontalpodautoscalers",
    ]
    assert fake.objects[_DEPLOYMENT]["spec"]["replicas"] == 2  # the autoscaler's minimum, at once


def test_manifests_with_problems_never_reach_the_cluster(fake: FakeCluster) -> None:
    """All problems are reported."""
    broken = copy.deepcopy(SERVING)
    broken[0]["spec"]["selector"] = {"a": "b"}
    broken[3]["spec"]["template"]["spec"]["containers"][0]["image"] = "latest"

    with pytest.raises(ManifestError, match=r"image must be by digest.*but matches those of 0"):
        apply(_cluster(fake), broken)
    assert fake.requests == []


@pytest.mark.parametrize("position", range(len(SERVING)))
def test_nothing_is_written_if_the_cluster_would_refuse_one(fake: FakeCluster, position: int) -> None:
    """Whichever object it is."""
    fake.fail("PATCH", f"{path(ref(SERVING[position]))}?", 422, _REFUSED)

    with pytest.raises(ClusterError, match=f"dry run: apply {SERVING[position]['kind']}.*admission webhook denied it"):
        apply(_cluster(fake), SERVING)
    assert fake.objects == {}
    assert fake.writes == []


@pytest.mark.parametrize("position", range(1, len(SERVING)))
def test_what_stops_half_way_is_named_and_finished_by_the_next_call(fake: FakeCluster, position: int) -> None:
    """The error lists applied and missing objects, and the next call completes them."""
    cluster = _cluster(fake)
    _fail_second(fake, path(ref(SERVING[position])))

    with pytest.raises(HalfAppliedError) as error:
        apply(cluster, SERVING)

    refs = [ref(manifest) for manifest in SERVING]
    assert error.value.done == tuple(refs[:position])
    assert error.value.failed == refs[position]
    assert error.value.left == tuple(refs[position + 1 :])
    assert f"{refs[position - 1]} changed, {refs[position]}" in str(error.value)
    assert "fix the error and retry" in str(error.value)
    apply(cluster, SERVING)
    assert {key: value["spec"] for key, value in fake.objects.items()} == _undisturbed()


def _fail_second(fake: FakeCluster, where: str) -> None:
    """Let the dry run of an object pass and its apply fail."""
    answer = fake.answer

    def answered(verb: str, target: str, sent: Any, kind: str) -> tuple[int, Any]:
        if verb == "PATCH" and target.startswith(f"{where}?") and "dryRun" not in target:
            fake.answer = answer  # type: ignore[method-assign]
            return 422, _REFUSED
        return answer(verb, target, sent, kind)

    fake.answer = answered  # type: ignore[method-assign]


def _undisturbed() -> dict[str, Any]:
    other = FakeCluster()
    for manifest in SERVING:
        other.answer("PATCH", f"{path(ref(manifest))}?fieldManager=mlops-constructs", copy.deepcopy(manifest), _APPLY)
    other.answer("PATCH", f"{_DEPLOYMENT}/scale?fieldManager=mlops-constructs", {"spec": {"replicas": 2}}, "")
    return {key: value["spec"] for key, value in other.objects.items()}


_APPLY = "application/apply-patch+yaml"


def test_a_conflict_is_seen_before_anything_is_written(fake: FakeCluster) -> None:
    """With field and manager; other objects are unchanged."""
    cluster = _cluster(fake)
    apply(cluster, SERVING)
    fake.update(_SCALER, "kubectl-edit", {"spec": {"maxReplicas": 50}})
    fake.requests.clear()
    more = replace(VERSION, config="demand-forecast-ffffffff")

    with pytest.raises(ConflictError, match=r"\.spec\.maxReplicas is managed by 'kubectl-edit'"):
        apply(cluster, slot_manifests(SPEC, "blue", more))
    assert fake.writes == []


def test_applying_again_changes_nothing(fake: FakeCluster) -> None:
    """Nor is the autoscaler's number reset."""
    cluster = _cluster(fake)
    apply(cluster, SERVING)
    fake.update(_DEPLOYMENT, "kube-controller-manager", {"spec": {"replicas": 5}})
    before = copy.deepcopy(fake.objects)
    apply(cluster, SERVING)

    assert fake.objects == before
    assert fake.objects[_DEPLOYMENT]["spec"]["replicas"] == 5


def test_a_slot_goes_to_rest_whatever_the_autoscaler_manages(fake: FakeCluster) -> None:
    """The autoscaler is removed first, or it would start pods again; its field causes no conflict."""
    cluster = _cluster(fake)
    apply(cluster, SERVING)
    fake.update(_DEPLOYMENT, "kube-controller-manager", {"spec": {"replicas": 5}})
    fake.requests.clear()
    applied = apply(cluster, IDLE)

    assert [str(reference) for reference in applied.removed] == [
        "HorizontalPodAutoscaler bu-demand/demand-forecast-blue"
    ]
    assert fake.writes[-3:] == [("DELETE", _SCALER), ("PATCH", f"{_DEPLOYMENT}/scale"), ("PATCH", _DEPLOYMENT)]
    assert fake.objects[_DEPLOYMENT]["spec"]["replicas"] == 0
    assert apply(cluster, IDLE).removed == ()


def test_a_slot_that_rested_serves_again(fake: FakeCluster) -> None:
    """An autoscaler ignores a Deployment with zero pods, so its minimum is set."""
    cluster = _cluster(fake)
    for made in (SERVING, IDLE, SERVING, IDLE, SERVING):
        apply(cluster, made)

    assert fake.objects[_DEPLOYMENT]["spec"]["replicas"] == 2
    assert _SCALER in fake.objects


def test_a_slot_can_be_made_at_rest(fake: FakeCluster) -> None:
    """As by a platform team's YAML."""
    apply(_cluster(fake), IDLE)
    assert fake.objects[_DEPLOYMENT]["spec"]["replicas"] == 0
    apply(_cluster(fake), SERVING)
    assert fake.objects[_DEPLOYMENT]["spec"]["replicas"] == 2


def test_an_autoscaler_that_is_not_ours_is_not_taken_away(fake: FakeCluster) -> None:
    """The slot then keeps its pods."""
    cluster = _cluster(fake)
    apply(cluster, SERVING)
    fake.objects[_SCALER]["metadata"]["labels"] = {}

    with pytest.raises(HalfAppliedError, match="it was not created by this library"):
        apply(cluster, IDLE)
    assert fake.objects[_DEPLOYMENT]["spec"]["replicas"] == 2


def test_what_was_scaled_counts_as_changed(fake: FakeCluster) -> None:
    """Scaling to zero is a change, though the manifest is not applied."""
    cluster = _cluster(fake)
    apply(cluster, SERVING)
    del fake.objects[_SCALER]
    alone = [manifest for manifest in IDLE if manifest["kind"] == "Deployment"]
    _fail_second(fake, _DEPLOYMENT)

    with pytest.raises(HalfAppliedError, match="Deployment bu-demand/demand-forecast-blue changed"):
        apply(cluster, alone)
    assert apply(cluster, alone).objects == (ref(alone[0]),)


def test_a_new_namespace_comes_before_what_stands_in_it(fake: FakeCluster) -> None:
    """A dry run needs the namespace; in an existing one everything is tried first."""
    made = [*tenant_manifests(TENANT), *service_manifests(SPEC)]
    apply(_cluster(fake), made)

    requested = [(verb, path.split("/")[-2], "dryRun" in query) for verb, path, query, _ in fake.requests]
    assert requested[:3] == [
        ("GET", "namespaces", False),
        ("PATCH", "namespaces", True),
        ("PATCH", "namespaces", False),
    ]
    assert [dry for _, _, dry in requested[3:]] == [True] * 9 + [False] * 9
    fake.requests.clear()
    apply(_cluster(fake), made)
    assert ["dryRun" in query for _, _, query, _ in fake.requests[1:]] == [True] * 10 + [False] * 10


def test_a_refusal_inside_a_new_namespace_names_the_namespace(fake: FakeCluster) -> None:
    """It was created; the rest was not started."""
    fake.fail("PATCH", "rolebindings", 403, {"kind": "Status", "message": "may not grant"})

    with pytest.raises(HalfAppliedError) as error:
        apply(_cluster(fake), tenant_manifests(TENANT))

    assert [str(reference) for reference in error.value.done] == ["Namespace bu-demand"]
    assert (error.value.failed.kind, len(error.value.left)) == ("RoleBinding", 6)
    assert len(fake.objects) == 1


def test_every_kind_has_its_place_in_a_deletion() -> None:
    """A new kind needs one."""
    assert sorted(_DELETE_ORDER) == sorted({kind for _, kind in KINDS})


def _everything(fake: FakeCluster) -> list[Manifest]:
    made = [*service_manifests(SPEC), *SERVING, *slot_manifests(SPEC, "green", VERSION, replicas="idle")]
    apply(_cluster(fake), made)
    fake.requests.clear()
    return made


def test_what_sends_traffic_is_deleted_first(fake: FakeCluster) -> None:
    """Then autoscalers, pods, and their dependencies; each once."""
    made = _everything(fake)
    references = [ref(manifest) for manifest in made]
    gone = remove(_cluster(fake), references)

    kinds = list(dict.fromkeys(reference.kind for reference in gone))
    assert kinds == [
        "TargetGroupBinding",
        "HorizontalPodAutoscaler",
        "Deployment",
        "PodDisruptionBudget",
        "Service",
        "NetworkPolicy",
        "ServiceAccount",
    ]
    assert fake.objects == {}
    assert remove(_cluster(fake), references) == ()


def test_nothing_is_deleted_that_is_not_ours(fake: FakeCluster) -> None:
    """One foreign object prevents the whole deletion."""
    made = _everything(fake)
    fake.objects[_DEPLOYMENT]["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
    before = copy.deepcopy(fake.objects)

    with pytest.raises(ClusterError, match="must be 'mlops-constructs', got 'Helm'; delete it by hand"):
        remove(_cluster(fake), [ref(manifest) for manifest in made])
    assert fake.objects == before


def test_a_deletion_that_stops_half_way_is_finished_by_the_next(fake: FakeCluster) -> None:
    """The error lists deleted objects."""
    made = _everything(fake)
    references = [ref(manifest) for manifest in made]
    fake.fail("DELETE", "deployments", 403, {"kind": "Status", "message": "no"})

    with pytest.raises(HalfAppliedError, match="Deployment bu-demand/demand-forecast-blue") as error:
        remove(_cluster(fake), references)
    assert {reference.kind for reference in error.value.done} == {"TargetGroupBinding", "HorizontalPodAutoscaler"}
    remove(_cluster(fake), references)
    assert fake.objects == {}
    fake.fail("DELETE", "", 403, {})
    apply(_cluster(fake), service_manifests(SPEC))
    with pytest.raises(ClusterError) as first:
        remove(_cluster(fake), references)
    assert not isinstance(first.value, HalfAppliedError)
