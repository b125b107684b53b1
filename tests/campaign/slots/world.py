"""The world of a service in two slots: the state before an execution, and the invariant after it under any faults."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.campaign.account import ACCOUNT, ENDPOINT, GOLDEN, KMS, OLD, REGION, boto3_dynamodb
from tests.campaign.deploy import DAY, LOCK, PROBATION_SPEC, Deploy
from tests.campaign.machine import Fault, Run
from tests.campaign.slots.account import RULE, TARGET_GROUPS, Slots

from mlops_constructs.eks_inference.eks_target import EksTarget
from mlops_constructs.rollout.deploy_machine import deploy_machine, hold_seconds
from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.rollout import LivePointer, Outcome, RolloutSpec, ServingSpec, spec_key
from mlops_runtime.contracts.serving import SLOTS, EksSpec, GoldenSpec, SlotVersion
from mlops_runtime.eks.live_slots import other
from mlops_runtime.eks.manifests import slot_manifests
from mlops_runtime.rollout.audit_chain import verify
from mlops_runtime.rollout.fleet_alarms import alarm_prefix
from mlops_runtime.rollout.probation_alarm import probation_alarm, probation_rule
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import broken_seals

MAXIMUM = 3600
EKS = EksSpec(
    cluster="platform",
    namespace="demand",
    service_account="forecast",
    rule=RULE,
    target_groups=TARGET_GROUPS,
    minimum=2,
    maximum=4,
    cpu="500m",
    memory="1Gi",
    ingress_cidrs=("10.0.0.0/24",),
    egress_cidrs=("10.0.0.0/16",),
    alarms={slot: (f"{slot}-5xx",) for slot in SLOTS},
    zones=("us-east-1a", "us-east-1b"),
)
SPEC = ServingSpec(
    endpoint=ENDPOINT,
    variant="AllTraffic",
    instance_type="",
    instance_count=0,
    execution_role=f"arn:aws:iam::{ACCOUNT}:role/forecast",
    subnets=(),
    security_groups=(),
    rollout=RolloutSpec(kind="CANARY", bake=120, maximum=MAXIMUM, percent=10, min_invocations=20, **PROBATION_SPEC),
    eks=EKS,
)
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
TARGET = EksTarget(endpoint_name=ENDPOINT, slot_arn=f"{FUNCTION}:slot")


def machine_of(spec: ServingSpec) -> Mapping[str, Any]:
    """Return the machine of a service with a spec."""
    return deploy_machine(
        endpoint_name=ENDPOINT,
        unit_name="demand",
        target=TARGET,
        rollout=spec.rollout,
        table_name="rollout",
        preflight_arn=f"{FUNCTION}:preflight",
        record_arn=f"{FUNCTION}:record",
        verdict_arn=f"{FUNCTION}:verdict",
        bus_name="demand",
        golden_arn=None if spec.rollout.golden is None else f"{FUNCTION}:golden",
        has_watch=spec.rollout.probation is not None,
    )


# the same with golden requests: before traffic, before the last shift, in its bake, before promotion
GOLDEN_SPEC = replace(
    SPEC,
    rollout=replace(
        SPEC.rollout,
        golden=GoldenSpec(
            uri="s3://artifacts/golden.jsonl", sha256=hashlib.sha256(GOLDEN).hexdigest(), max_deviation=0.3
        ),
    ),
)
MACHINE, GOLDEN_MACHINE = machine_of(SPEC), machine_of(GOLDEN_SPEC)
_MACHINES = {content_hash(spec): machine for spec, machine in ((SPEC, MACHINE), (GOLDEN_SPEC, GOLDEN_MACHINE))}
ASKED = {"idle": "lambda:invoke slot idle", "record": "lambda:invoke record", "preflight": "lambda:invoke preflight"}


class SlotDeploy(Deploy):
    """One service whose blue slot serves package 1 (unless the account starts without a model), and package 2, which is approved.

    Args:
        account: The account.
        spec: Spec of the service.
        asks: Request of the executions, see ``Deploy``. Default: an approval.
        meets: Faults of each execution.
        follows: Faults of a finished execution a day earlier.
    """

    FUNCTIONS = {**Deploy.FUNCTIONS, "slot": "eks_slot"}  # noqa: RUF012 - never changed
    account: Slots

    def __init__(
        self,
        account: Slots,
        spec: ServingSpec = SPEC,
        *,
        asks: str = "",
        meets: Fault | None = None,
        follows: Fault | None = None,
    ) -> None:
        self.account, self.spec, self.executions = account, spec, 0
        self.machine = _MACHINES.get(content_hash(spec)) or machine_of(spec)
        self.asks, self.meets, self.asked, self.before = {}, meets, {}, spec
        self.restore_schedule()
        self.table = RolloutTable(boto3_dynamodb(), "rollout", ENDPOINT)
        boto3_dynamodb().delete_item(TableName="rollout", Key={"endpoint": {"S": ENDPOINT}})
        self.champion, self.challenger = account.package(1), account.package(2)
        for name in (*spec.rollout.alarms, *(n for names in EKS.alarms.values() for n in names)):
            account.alarms[name] = {"AlarmName": name}
        key = spec_key(ENDPOINT, content_hash(spec))
        account.objects[("artifacts", key)] = canonical_json(spec)
        account.objects[("artifacts", "golden.jsonl")] = GOLDEN
        self.table.set_desired(f"s3://artifacts/{key}")
        if account.serves:
            self._serve()
            self._point(spec)
            self.promote(self.champion)
        if account.on_probation:
            account.alarms[probation_alarm(ENDPOINT)] = {"StateValue": "ALARM"}
            account.rules[probation_rule(ENDPOINT)] = True
        if asks:
            self._begin_probation(asks)
        self.is_after_death = follows is not None and follows.kind == "crash"
        if follows:
            self.run(follows)
            account.now += DAY

    def serves(self) -> str | None:
        """Return the version with all the traffic, or None."""
        found = [self.account.config(slot) for slot in SLOTS if self.account.weights[slot] == 100]
        return found[0] if found else None

    def _serve(self) -> None:
        version = SlotVersion(
            config=OLD,
            package=self.champion,
            image=f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mlops-runtime@sha256:{'1' * 64}",
            artifact_uri="s3://artifacts/models/1/model.tar.gz",
            artifact_sha256="a" * 64,
            model_sha256=f"{1:064x}",
            spec_sha256=content_hash(self.spec),
        )
        for manifest in slot_manifests(self.spec, self.account.live_slot, version):
            self.account.apply(manifest)
        for reference, found in self.account.objects_of.items():
            if reference.kind == "Deployment":
                found["spec"]["replicas"] = 2
        self.account.since.clear()

    def _serving_problems(self, result: Run, excused: frozenset[str]) -> list[str]:
        account, problems = self.account, list(self.account.violations)
        stuck = (
            result.status == "CRASHED" or any("modifyRule" in label for label in excused) or self.cannot_clean(excused)
        )
        if 100 not in account.weights.values() and not stuck:
            problems.append(f"the weights stay at {account.weights}")
        for slot in SLOTS:
            found = account.deployment(slot)
            if account.weights[slot] == 0 or found is None:
                continue
            package = account.packages[found["metadata"]["annotations"]["mlops.constructs/package"]]
            if package["ModelApprovalStatus"] != "Approved":
                problems.append(f"{package['ModelPackageArn']} serves and is {package['ModelApprovalStatus']}")
        if account.serves and self.serves() is None and not stuck:
            problems.append("nothing serves, though a model did")
        return problems

    def _record_problems(self, result: Run, excused: frozenset[str]) -> list[str]:
        problems, row = [], self.row()
        is_of_dead = self.cannot_clean(excused) and not str(row.owner).endswith(f":run-{self.executions}")
        is_held = row.owner is not None and not is_of_dead and result.status != "CRASHED"
        if is_held and "dynamodb:updateItem unlock" not in excused:
            problems.append(f"the lock is held by {row.owner}")
        rollout = self.spec.rollout
        longest = hold_seconds(rollout.maximum, TARGET.lead_seconds(rollout))
        if row.lock_until is not None and row.lock_until > self.account.now + longest:
            problems.append("the lock is held for longer than an execution can run")
        stored = self.account.objects.items()
        objects = {key: body for (bucket, key), body in stored if bucket == "audit" and key.startswith("audit/")}
        problems += verify(objects, endpoint=ENDPOINT, head=row.audit_head, sequence=row.audit_sequence)
        published = {key: body for (bucket, key), body in self.account.objects.items() if bucket == "heads"}
        problems += broken_seals(objects, published, row=row, is_signed=KMS.public.is_signed)
        if result.status == "CRASHED" or ASKED["record"] in excused:
            return problems
        mine = self.records(self.executions)
        if len(mine) != 1:
            return [*problems, f"{len(mine)} audit records of the execution instead of one"]
        is_fixed = self.cannot_clean(excused) or any("modifyRule" in label for label in excused)
        if is_fixed and 100 not in self.account.weights.values():
            is_expected = mine[0].outcome in (Outcome.FAILED, Outcome.REFUSED)
            return problems if is_expected else [*problems, f"the record says {mine[0].outcome}"]
        serves = self.serves()
        if mine[0].serving_config != serves:
            problems.append(f"the record says that {mine[0].serving_config} serves, but {serves} does")
        live = None if row.live is None else from_json(LivePointer, row.live).config
        unlike = LOCK in excused or any("modifyRule" in label for label in excused)
        if live != serves and mine[0].outcome is not Outcome.REFUSED and not unlike:
            problems.append(f"the live pointer says {live}, but {serves} serves")
        return problems

    def _leftover_problems(self, excused: frozenset[str]) -> list[str]:
        account, problems = self.account, []
        if self.cannot_clean(excused):
            return []
        alarms = sorted(name for name in account.alarms if name.startswith(alarm_prefix(ENDPOINT)))
        # a rollout whose weights cannot be restored keeps its alarms
        is_between = 100 not in account.weights.values()
        if alarms and not excused & {"cloudwatch:deleteAlarms", ASKED["record"]} and not is_between:
            problems.append(f"orphan alarms {', '.join(alarms)}")
        unasked = excused & set(ASKED.values()) or any("modifyRule" in label for label in excused)
        ends = [slot for slot in SLOTS if account.weights[slot] == 100]
        idle = other(ends[0]) if ends else None
        if idle is not None and account.desired(idle) > 0 and not unasked:
            problems.append(f"orphan pods: slot {idle} has no traffic and {account.desired(idle)} pods")
        return problems


def with_rollout(**changes: Any) -> ServingSpec:
    """Return the spec with another policy."""
    return replace(SPEC, rollout=replace(SPEC.rollout, **changes))
