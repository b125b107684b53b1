"""An account with a service in two slots: the account of the campaigns with a load balancer and a cluster in memory.

The cluster stores applied objects and starts pods after a while. A slot with traffic and without a ready pod, weights that do not
sum to 100 and pods replaced under traffic are noted as violations when they happen.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.awsrequest import AWSResponse
from tests.campaign.account import ACCOUNT, ENDPOINT, REGION, Account, _Client

from mlops_runtime.contracts.serving import SLOTS
from mlops_runtime.eks.kubernetes_objects import Manifest, Ref, ref
from mlops_runtime.eks.live_slots import all_to

ELB = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"
RULE = f"{ELB}:listener-rule/app/demand/1/2/3"
URLS = {slot: f"http://{slot}.internal" for slot in SLOTS}
TARGET_GROUPS = {slot: f"{ELB}:targetgroup/{slot}/0123456789abcdef" for slot in SLOTS}
START_SECONDS = 45.0  # of pods: two polls
GIVEN_UP_SECONDS = 600.0  # progressDeadlineSeconds


@dataclass
class Slots(Account):
    """The account.

    Args:
        pods: The candidate's pods: ``ready``, ``never`` (Kubernetes gives up) or ``slow`` (longer than the machine waits).
        targets: Whether the load balancer finds the candidate's pods healthy.
        fires: Suffix of the alarm that fires once the candidate has traffic; empty for no alarm.
        fires_at: Smallest share of the traffic at which it fires.
        live_pods: Number of ready pods of the live slot.
        asked_from: Smallest share of the traffic at which the candidate gets requests.
        told_after: Seconds after the last step in which the load balancer does not report its requests yet.
    """

    pods: str = "ready"
    targets: bool = True
    fires: str = ""
    fires_at: int = 1
    live_pods: int = 2
    asked_from: int = 0
    told_after: float = 0.0
    live_slot: str = "blue"
    weights: dict[str, int] = field(default_factory=lambda: all_to("blue"))
    objects_of: dict[Ref, Manifest] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    moves: list[dict[str, int]] = field(default_factory=list)
    moved: float = 0.0
    violations: list[str] = field(default_factory=list)

    def client(self, service: str, **given: Any) -> Any:
        """Return the functions' replacement of ``boto3.client`` and a session's ``client``."""
        return _Client(self, "elasticloadbalancingv2") if service == "elbv2" else super().client(service, **given)

    def settle(self) -> None:
        """Note a slot that has traffic and no ready pod."""
        for slot in SLOTS:
            is_served = self.weights[slot] > 0 and self.has_run(slot)
            if is_served and self.ready(slot) == 0 and not (slot == self.live_slot and self.live_pods == 0):
                self.violations.append(f"slot {slot} has {self.weights[slot]} % of the traffic and no ready pod")

    def has_run(self, slot: str) -> bool:
        """Whether a slot has a Deployment."""
        return self.deployment(slot) is not None

    def deployment(self, slot: str) -> Manifest | None:
        """Return the Deployment of a slot."""
        found = [m for r, m in self.objects_of.items() if r.kind == "Deployment" and r.name == f"{ENDPOINT}-{slot}"]
        return found[0] if found else None

    def config(self, slot: str) -> str | None:
        """Return the name of the version in a slot."""
        found = self.deployment(slot)
        return None if found is None else str(found["metadata"]["annotations"]["mlops.constructs/config"])

    def desired(self, slot: str) -> int:
        """Return the desired number of pods of a slot."""
        found = self.deployment(slot)
        return 0 if found is None else int(found["spec"]["replicas"])

    def ready(self, slot: str) -> int:
        """Return the number of ready pods of a slot."""
        if slot == self.live_slot:
            return min(self.desired(slot), self.live_pods) if slot not in self.since else self._started(slot)
        return self._started(slot)

    def _started(self, slot: str) -> int:
        takes = {"ready": START_SECONDS}.get(self.pods, float("inf"))
        return self.desired(slot) if self.now - self.since.get(slot, 0.0) >= takes else 0

    # the load balancer

    def _elasticloadbalancingv2_describeRules(self, request: Mapping[str, Any]) -> Any:  # noqa: N802 - the call's own name
        assert request["RuleArns"] == [RULE]
        groups = [{"TargetGroupArn": TARGET_GROUPS[slot], "Weight": self.weights[slot]} for slot in SLOTS]
        return {
            "Rules": [{"RuleArn": RULE, "Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]}]
        }

    def _elasticloadbalancingv2_modifyRule(self, request: Mapping[str, Any]) -> Any:  # noqa: N802
        assert request["RuleArn"] == RULE
        groups = request["Actions"][0]["ForwardConfig"]["TargetGroups"]
        slots = {arn: slot for slot, arn in TARGET_GROUPS.items()}
        self.weights = {slots[group["TargetGroupArn"]]: int(group["Weight"]) for group in groups}
        self.moves.append(dict(self.weights))
        self.moved = self.now
        if sum(self.weights.values()) != 100 or set(self.weights) != set(SLOTS):
            self.violations.append(f"weights {self.weights}")
        self.settle()
        return {"Rules": []}

    def _elasticloadbalancingv2_describeTargetHealth(self, request: Mapping[str, Any]) -> Any:  # noqa: N802
        (slot,) = [slot for slot, arn in TARGET_GROUPS.items() if arn == request["TargetGroupArn"]]
        is_healthy = self.targets or slot == self.live_slot
        states = ["healthy" if is_healthy else "unhealthy"] * self.ready(slot)
        return {
            "TargetHealthDescriptions": [{"Target": {"Id": "10.0.0.1"}, "TargetHealth": {"State": s}} for s in states]
        }

    def post(self, url: str) -> AWSResponse:
        """Golden requests: the live slot returns 1, the candidate the scenario's value."""
        (slot,) = [slot for slot, address in URLS.items() if url.startswith(address)]
        before, again = self.golden
        number = 1.0 if slot == self.live_slot else again if self.weights[slot] else before
        answer = AWSResponse(url, 200, {"Content-Type": "application/json"}, None)
        answer._content = json.dumps({"predictions": [number]}).encode()
        return answer

    # CloudWatch

    def _cloudwatch_describeAlarms(self, request: dict[str, Any]) -> Any:  # noqa: N802
        answer = super()._cloudwatch_describeAlarms(request)
        candidate = next(slot for slot in SLOTS if slot != self.live_slot)
        for alarm in answer["MetricAlarms"]:
            if self.fires and alarm["AlarmName"].endswith(self.fires) and self.weights[candidate] >= self.fires_at:
                alarm |= {"StateValue": "ALARM", "StateReason": "it fires"}
        return answer

    def call_count(self, metric: dict[str, Any]) -> int:
        """Return the number of requests that the load balancer reports."""
        candidate = next(slot for slot in SLOTS if slot != self.live_slot)
        group = next((each["Value"] for each in metric["Dimensions"] if each["Name"] == "TargetGroup"), "")
        is_late = self.now < self.moved + self.told_after or self.weights[candidate] < self.asked_from
        return 0 if f"/{candidate}/" in group and is_late else self.invocations

    # the cluster

    def get(self, reference: Ref) -> Manifest | None:
        """Return an object with its status."""
        found = self.objects_of.get(reference)
        if found is None or reference.kind != "Deployment":
            return found
        slot = reference.name.rpartition("-")[2]
        ready = self.ready(slot)
        is_given_up = self.pods == "never" and ready == 0 and self.now - self.since.get(slot, 0.0) >= GIVEN_UP_SECONDS
        conditions = (
            [{"type": "Progressing", "status": "False", "message": "timed out progressing"}] if is_given_up else []
        )
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), ready)
        return {**found, "status": {"observedGeneration": 1, **counts, "conditions": conditions}}

    def apply(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Apply a manifest; a manifest without a number of pods keeps the current one."""
        if dry_run:
            return manifest
        reference = ref(manifest)
        before = self.objects_of.get(reference)
        spec, metadata = dict(manifest.get("spec", {})), {**manifest["metadata"], "generation": 1, "uid": "u"}
        if reference.kind == "Deployment":
            slot = reference.name.rpartition("-")[2]
            spec.setdefault("replicas", 1 if before is None else before["spec"]["replicas"])
            if before is None or before["spec"]["template"] != spec["template"]:
                self._restart(slot)
        self.objects_of[reference] = {**manifest, "metadata": metadata, "spec": spec}
        return self.objects_of[reference]

    def scale(self, deployment: Ref, replicas: int) -> None:
        """Set the number of pods."""
        slot = deployment.name.rpartition("-")[2]
        if replicas < self.objects_of[deployment]["spec"]["replicas"] and self.weights[slot] > 0:
            self.violations.append(
                f"slot {slot} has {self.weights[slot]} % of the traffic and was scaled to {replicas}"
            )
        self.objects_of[deployment]["spec"]["replicas"] = replicas

    def delete(self, reference: Ref, *, uid: str | None = None) -> bool:
        """Delete an object."""
        del uid
        return self.objects_of.pop(reference, None) is not None

    def _restart(self, slot: str) -> None:
        if self.weights[slot] > 0 and self.has_run(slot):
            self.violations.append(f"slot {slot} has {self.weights[slot]} % of the traffic and its pods were exchanged")
        self.since[slot] = self.now
