"""A slot runs a candidate, is read, and is scaled to zero."""

import io
from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.eks.samples import EKS, SPEC, VERSION
from tests.runtime.eks.slots import BLUE, CHALLENGER, EXECUTION, GREEN, NOW, facts, pointer, request, rule, slots, state

from mlops_runtime.contracts import canonical_json, content_hash, to_dict
from mlops_runtime.contracts.rollout import ServingSpec, spec_key
from mlops_runtime.eks.cluster_client import Address, Cluster, ConflictError
from mlops_runtime.eks.kubernetes_objects import deployment_ref, path, scaler_ref
from mlops_runtime.eks.manifests import slot_manifests
from mlops_runtime.eks.slot import NotHolderError, SlotError, SlotKeeper
from mlops_runtime.eks.slot_reader import SlotReader
from mlops_runtime.rollout.preflight import decide
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.serving_limits import SpecError


class World:
    """A service whose blue slot serves, on a cluster over HTTP, and a candidate's plan for green."""

    def __init__(self, fake: Any, weights: dict[str, int] | None = None) -> None:
        self.fake, self.objects = fake, dict[str, bytes]()
        self.rule = rule({"blue": 100, "green": 0} if weights is None else weights)
        self.cluster = Cluster(Address(url=fake.url), token=lambda: "t", sleep=lambda _: None)
        self.owner: str | None = EXECUTION
        self.store(SPEC)
        self.keeper = SlotKeeper(
            s3=self,
            bucket="artifacts",
            table=RolloutTable(self, "rollout", SPEC.endpoint),
            reader=SlotReader(
                elbv2=self,
                connect=lambda: self.cluster,
                endpoint=SPEC.endpoint,
                namespace=EKS.namespace,
                rule=EKS.rule,
                target_groups=EKS.target_groups,
            ),
        )
        both = slots(100, state("blue", BLUE, desired=4))
        self.plan = decide(request(), facts(both, pointer(BLUE)), execution=EXECUTION, now=NOW).as_dict()

    def store(self, spec: ServingSpec) -> str:
        """Store a spec and return its URI."""
        key = spec_key(spec.endpoint, content_hash(spec))
        self.objects[key] = canonical_json(spec)
        return f"s3://artifacts/{key}"

    def get_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: N803 - S3's own names
        """GetObject."""
        assert Bucket == "artifacts"
        return {"Body": io.BytesIO(self.objects[Key])}

    def get_item(self, **request: Any) -> Any:
        """GetItem."""
        assert request["ConsistentRead"]
        return {"Item": {} if self.owner is None else {"owner": {"S": self.owner}}}

    def describe_rules(self, **_: Any) -> Any:
        """DescribeRules."""
        return {"Rules": [self.rule]}

    def ask(self, action: str, *, outcome: str = "ROLLED_BACK", **plan: Any) -> dict[str, Any]:
        """Ask the function."""
        event = {"action": action, "plan": self.plan | plan, "outcome": outcome, "execution": EXECUTION}
        return self.keeper.handle(event)

    def apply(self, slot: str, config: str, spec: ServingSpec = SPEC) -> None:
        """Make a slot run a version, as after an earlier rollout."""
        for manifest in slot_manifests(spec, slot, replace(VERSION, config=config)):
            self.cluster.apply(manifest)

    def deployment(self, slot: str) -> dict[str, Any]:
        """Return a slot's Deployment."""
        found = self.fake.objects[path(deployment_ref(namespace=EKS.namespace, endpoint=SPEC.endpoint, slot=slot))]
        return dict(found)

    def scaler(self, slot: str) -> dict[str, Any] | None:
        """Return a slot's autoscaler."""
        return self.fake.objects.get(path(scaler_ref(namespace=EKS.namespace, endpoint=SPEC.endpoint, slot=slot)))

    def status(self, slot: str, *, ready: int, **status: Any) -> None:
        """Set the state of a slot's pods."""
        found = self.fake.objects[path(deployment_ref(namespace=EKS.namespace, endpoint=SPEC.endpoint, slot=slot))]
        found["metadata"]["generation"] = 1
        found["status"] = {
            "observedGeneration": 1,
            "replicas": ready,
            "updatedReplicas": ready,
            "readyReplicas": ready,
            **status,
        }


@pytest.fixture
def world(fake: Any) -> World:
    """A service whose blue slot serves."""
    return World(fake)


def test_a_candidate_is_applied_with_the_pods_of_what_serves(world: World) -> None:
    """Four pods serve, so four are requested: by the Deployment, and by its autoscaler's bounds until it serves alone."""
    assert world.ask("apply") == {"slot": "green", "objects": 5}
    annotations = world.deployment("green")["metadata"]["annotations"]
    assert annotations["mlops.constructs/config"] == world.plan["config_name"]
    assert annotations["mlops.constructs/package"] == CHALLENGER
    assert world.deployment("green")["spec"]["replicas"] == 4
    scaler = world.scaler("green")
    assert scaler is not None
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (4, 6)


@pytest.mark.parametrize("owner", [None, EXECUTION.replace(":one", ":two")])
@pytest.mark.parametrize("action", ["apply", "idle"])
def test_who_does_not_hold_the_lock_changes_no_slot(world: World, action: str, owner: str | None) -> None:
    """A stopped execution's call may arrive later, when another execution has the lock and a slot."""
    world.apply("green", GREEN)
    before, world.owner = len(world.fake.writes), owner
    with pytest.raises(NotHolderError, match=f"owns the lock, {owner or 'none'}, got {EXECUTION}; nothing was changed"):
        world.ask(action)
    assert len(world.fake.writes) == before
    assert world.ask("observe")["is_ready"] is False


def test_applying_twice_changes_nothing_twice(world: World) -> None:
    """A state is retried after a lost response."""
    world.ask("apply")
    before = {key: dict(value) for key, value in world.fake.objects.items()}
    world.ask("apply")
    assert world.fake.objects == before


@pytest.mark.parametrize("weights", [{"blue": 0, "green": 100}, {"blue": 99, "green": 1}])
def test_a_slot_with_traffic_is_not_touched(fake: Any, weights: dict[str, int]) -> None:
    """Its serving pods would be replaced."""
    world = World(fake, weights)
    with pytest.raises(SlotError, match=f"slot green has {weights['green']} % of the traffic"):
        world.ask("apply")
    assert fake.writes == []


def test_a_conflict_says_what_to_do_and_changes_nothing(world: World) -> None:
    """Another manager has a field of the slot."""
    world.apply("green", GREEN)
    place = path(deployment_ref(namespace=EKS.namespace, endpoint=SPEC.endpoint, slot="green"))
    world.fake.update(place, "kubectl-edit", {"spec": {"revisionHistoryLimit": 9}})
    before = len(world.fake.writes)
    with pytest.raises(ConflictError, match="'kubectl-edit'"):
        world.ask("apply")
    assert len(world.fake.writes) == before


def test_a_spec_that_was_changed_after_it_was_stored_is_not_applied(world: World) -> None:
    """Its key contains its hash."""
    key = world.plan["eks"]["service"].removeprefix("s3://artifacts/")
    world.objects[key] = canonical_json(replace(SPEC, execution_role="arn:aws:iam::111122223333:role/admin"))
    with pytest.raises(SpecError, match="was changed after it was stored"):
        world.ask("apply")


@pytest.mark.parametrize(
    ("ready", "status", "expected"),
    [
        (4, {}, {"is_ready": True, "is_failed": False, "reason": ""}),
        (3, {}, {"is_ready": False, "is_failed": False, "reason": "3 of 4 pods are ready"}),
        (
            0,
            {
                "conditions": [
                    {"type": "Progressing", "status": "False", "message": "ReplicaSet has timed out progressing."}
                ]
            },
            {
                "is_ready": False,
                "is_failed": True,
                "reason": "0 of 4 pods are ready: ReplicaSet has timed out progressing.",
            },
        ),
        (
            0,
            {
                "observedGeneration": 0,
                "conditions": [{"type": "Progressing", "status": "False", "message": "of the revision before"}],
            },
            {
                "is_ready": False,
                "is_failed": False,
                "reason": "0 of 4 pods are ready: the cluster has not observed the newest revision yet",
            },
        ),
    ],
)
def test_a_slot_is_ready_when_enough_pods_of_the_candidate_are(
    world: World, ready: int, status: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Permanent failures are not waited for; unobserved changes are."""
    world.ask("apply")
    world.status("green", ready=ready, **status)
    assert world.ask("observe") == {**expected, "pods": 4}


def test_a_slot_that_runs_something_else_is_not_ready(world: World) -> None:
    """Nor one that runs nothing."""
    assert world.ask("observe")["reason"] == f"the slot runs nothing, not {world.plan['config_name']}"
    world.apply("green", GREEN)
    world.status("green", ready=9)
    answer = world.ask("observe")
    assert (answer["is_ready"], answer["is_failed"]) == (False, False)
    assert answer["reason"].startswith(f"the slot runs {GREEN}, not ")


def test_the_slot_without_traffic_rests(world: World) -> None:
    """Its autoscaler goes first, or it would restore the pods; the serving slot is unchanged."""
    world.apply("blue", BLUE)
    world.ask("apply")
    assert world.ask("idle") == {"slot": "green"}
    assert world.scaler("green") is None
    assert world.deployment("green")["spec"]["replicas"] == 0
    assert world.scaler("blue") is not None
    assert world.ask("idle") == {"slot": "green"}


def test_what_was_promoted_gets_its_own_bounds(fake: Any) -> None:
    """It needed the predecessor's number of pods until that was gone."""
    world = World(fake)
    world.apply("blue", BLUE)
    world.ask("apply")
    world.rule = rule({"blue": 0, "green": 100})
    assert world.ask("idle", outcome="PROMOTED") == {"slot": "blue"}
    scaler = world.scaler("green")
    assert scaler is not None
    assert scaler["spec"]["minReplicas"] == EKS.minimum
    assert world.scaler("blue") is None


def test_nothing_rests_while_both_have_traffic(fake: Any) -> None:
    """The weights could not be reset: the next execution does it and cleans up."""
    world = World(fake, {"blue": 90, "green": 10})
    world.apply("green", GREEN)
    assert world.ask("idle") == {"slot": None}
    assert world.scaler("green") is not None


def test_what_served_before_stays_where_the_traffic_could_not_be_put_back_to_it(fake: Any) -> None:
    """The load balancer rejected it: the candidate has all traffic until the next execution returns it."""
    world = World(fake, {"blue": 0, "green": 100})
    world.apply("blue", BLUE)
    assert world.ask("idle", outcome="FAILED") == {"slot": None}
    assert world.scaler("blue") is not None


def test_a_recovery_rests_what_was_left_and_knows_no_spec(world: World) -> None:
    """No model serves yet, and an execution died after it created pods."""
    world.apply("green", GREEN)
    assert world.ask("idle", live={}) == {"slot": "green"}
    assert world.deployment("green")["spec"]["replicas"] == 0


def test_a_slot_that_never_ran_anything_rests_already(world: World) -> None:
    """There is nothing to scale."""
    assert world.ask("idle") == {"slot": "green"}
    assert world.fake.writes == []


def test_what_is_live_under_another_spec_keeps_its_bounds_by_that(world: World) -> None:
    """After a rollback the plan has the candidate's spec, which must not affect the live slot; a recovery's is the live one."""
    live, candidate = (replace(SPEC, eks=replace(EKS, minimum=pods)) for pods in (3, 5))
    world.store(live)
    world.apply("blue", BLUE, candidate)
    world.ask("idle")
    assert world.scaler("blue")["spec"]["minReplicas"] == 5  # type: ignore[index]
    world.ask("idle", live=to_dict(pointer(BLUE, spec=live)))
    assert world.scaler("blue")["spec"]["minReplicas"] == 3  # type: ignore[index]


def test_an_unknown_action_is_refused(world: World) -> None:
    """The error lists the actions."""
    with pytest.raises(SlotError, match="action must be apply, observe or idle, got 'promote'"):
        world.ask("promote")
