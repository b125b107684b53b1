"""Slots in any state, and the facts of their service."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.runtime.eks.samples import EKS, SPEC, VERSION

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.contracts.rollout import (
    AuditRecord,
    DeployReason,
    DeployRequest,
    LivePointer,
    LockRow,
    Outcome,
    ServingSpec,
    spec_key,
)
from mlops_runtime.contracts.serving import SLOTS, SlotState
from mlops_runtime.eks.live_slots import Slots, serving, versions
from mlops_runtime.registry.model_package import package_request, read_package
from mlops_runtime.rollout.deploy_plan import Facts

NOW = datetime(2017, 8, 1, 9, tzinfo=UTC)
EXECUTION = "arn:aws:states:eu-west-1:111122223333:execution:Deploy:one"
ENDPOINT = SPEC.endpoint
BLUE, GREEN = f"{ENDPOINT}-b1b1b1b1", f"{ENDPOINT}-93939393"  # versions, named after the slots that run them here
PACKAGES = "arn:aws:sagemaker:eu-west-1:111122223333:model-package/demand-forecast"
CHAMPION, CHALLENGER = f"{PACKAGES}/1", f"{PACKAGES}/2"


def state(slot: str, config: str | None, *, package: str = CHAMPION, desired: int = 2, ready: int = 2) -> SlotState:
    """Return a slot; without a version it has never run anything."""
    if config is None:
        return SlotState(slot=slot, version=None)
    version = replace(VERSION, config=config, package=package)
    return SlotState(slot=slot, version=version, desired=desired, ready=ready, updated=ready)


def slots(blue: int, *states: SlotState) -> Slots:
    """Return both slots; blue has the given share of the traffic."""
    found = {each: SlotState(slot=each, version=None) for each in SLOTS} | {each.slot: each for each in states}
    return Slots(
        weights={"blue": blue, "green": 100 - blue}, states=found, rule=EKS.rule, target_groups=EKS.target_groups
    )


def rule(weights: Mapping[str, int]) -> dict[str, Any]:
    """Return a rule in the format of DescribeRules."""
    groups = [{"TargetGroupArn": EKS.target_groups[slot], "Weight": weight} for slot, weight in weights.items()]
    return {"RuleArn": EKS.rule, "Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]}


def pointer(config: str, package: str = CHAMPION, spec: ServingSpec = SPEC, **changes: Any) -> LivePointer:
    """Return the pointer of the live version."""
    digest = content_hash(spec)
    made = LivePointer(
        endpoint=ENDPOINT,
        config=config,
        model=config,
        model_package_arn=package,
        model_sha256="c" * 64,
        artifact_uri=VERSION.artifact_uri,
        baseline_uri="s3://artifacts/baseline.json",
        baseline_sha256="8" * 64,
        evaluation_uri="s3://artifacts/evaluation.json",
        training_set_id="e" * 64,
        spec_sha256=digest,
        spec_uri="s3://artifacts/" + spec_key(ENDPOINT, digest),
        execution="earlier",
        since="2017-07-01T00:00:00Z",
        artifact_sha256="b" * 64,
        container_sha256=read_package(described(package)).container_sha256,
    )
    return replace(made, **changes)


def described(arn: str, **changes: Any) -> dict[str, Any]:
    """Return an approved package in the format of DescribeModelPackage."""
    spec = ModelPackageSpec(
        group=ENDPOINT,
        image=VERSION.image,
        artifact_uri=VERSION.artifact_uri,
        artifact_sha256="b" * 64,
        model_sha256="c" * 64,
        training_set_id="e" * 64,
        execution="arn",
        baseline_uri="s3://artifacts/baseline.json",
        baseline_sha256="8" * 64,
        evaluation_uri="s3://artifacts/evaluation.json",
        environment={"OMP_NUM_THREADS": "1"},
    )
    return {
        **package_request(spec, approval="Approved"),
        "ModelPackageArn": arn,
        "ModelPackageStatus": "Completed",
        **changes,
    }


def request(reason: str = "approval", package: str | None = CHALLENGER, **changes: Any) -> DeployRequest:
    """Return an input of the Deploy machine."""
    return DeployRequest(
        reason=DeployReason(reason),
        requested_by="ann",
        requested_at="2017-08-01T09:00:00Z",
        model_package_arn=package,
        **changes,
    )


def promoted(package: str) -> AuditRecord:
    """Return the record of a package's promotion."""
    return AuditRecord(
        endpoint=ENDPOINT,
        sequence=1,
        previous="0" * 64,
        outcome=Outcome.PROMOTED,
        reason="",
        execution="earlier",
        at="2017-07-01T00:00:00Z",
        requested_by="ann",
        candidate_package=package,
        container_sha256=read_package(described(package)).container_sha256,
    )


def facts(
    both: Slots, live: LivePointer | None = None, *, spec: ServingSpec = SPEC, package: str = CHALLENGER, **changes: Any
) -> Facts:
    """Return the facts of a service with these slots."""
    row = LockRow(
        endpoint=ENDPOINT,
        desired="s3://artifacts/" + spec_key(ENDPOINT, content_hash(spec)),
        live=None if live is None else canonical_json(live).decode(),
    )
    made = Facts(
        row=row,
        spec=spec,
        serving=serving(both),
        package=described(package),
        alarm_states={},
        group=ENDPOINT,
        versions=versions(both, live),
        slots=both,
        promotion=promoted(package),
    )
    return replace(made, **changes)
