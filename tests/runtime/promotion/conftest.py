"""The rollout world, with the objects of a release in its bucket."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.promotion_target import place
from tests.runtime.rollout import world as rollout_world

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.model import GateResult, GateVerdict
from mlops_runtime.contracts.release import ReleaseRecord, ReleaseRequest
from mlops_runtime.contracts.rollout import AuditRecord
from mlops_runtime.contracts.unit_entries import FreezeSpec
from mlops_runtime.promotion.release_objects import ObjectReader
from mlops_runtime.promotion.release_writer import Released, ReleaseWriter
from mlops_runtime.registry.model_package import registered_metadata
from mlops_runtime.registry.package_approval import ApprovalRule
from mlops_runtime.rollout.rollout_table import RolloutTable

__all__ = ["place"]

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Release:one"
ARTIFACT, EVALUATION, BASELINE = b"archive", b'{"metric": "wape"}', b'{"features": []}'
PREFIX = "evaluations/demand-forecast/one"
GATE_KEY = "gates/demand-forecast/one.json"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class ReleaseWorld:
    """A releasable package, and the writer of its release."""

    world: Any
    freeze: FreezeSpec = field(default_factory=FreezeSpec)
    is_served: bool = False
    now: Any = rollout_world.NOW

    @property
    def s3(self) -> Any:
        """Return the client."""
        return self.world.s3

    def put(self, key: str, content: bytes, **arguments: Any) -> None:
        """Write an object of the artifacts bucket."""
        self.s3.put_object(Bucket="artifacts", Key=key, Body=content, **arguments)

    def keep(self) -> None:
        """Write a retraining's output: archive with checksum, evaluation, baseline and gate result."""
        key = rollout_world.PACKAGE.artifact_uri.removeprefix("s3://artifacts/")
        self.put(key, ARTIFACT, ChecksumAlgorithm="SHA256")
        self.put(f"{PREFIX}/evaluation.json", EVALUATION)
        self.put(f"{PREFIX}/baseline.json", BASELINE)
        self.put(GATE_KEY, canonical_json(self.gate()))

    def gate(self, **changes: Any) -> GateResult:
        """Return the gate's result of the package."""
        uri = f"s3://artifacts/{PREFIX}/evaluation.json"
        made = GateResult(
            verdict=GateVerdict.PASSED,
            checks=(),
            evaluation_uri=uri,
            evaluation_sha256=_sha256(EVALUATION),
            reason="better",
        )
        return replace(made, **changes)

    def package(self, approval: str = "Approved", *, more: dict[str, str] | None = None, **changes: Any) -> str:
        """Register a package of these objects, with the evaluation's hash that the gate adds."""
        spec = replace(
            rollout_world.PACKAGE,
            artifact_sha256=_sha256(ARTIFACT),
            baseline_sha256=_sha256(BASELINE),
            **changes,
        )
        request: dict[str, Any] = rollout_world.package_request(spec, approval=approval)
        container = request["InferenceSpecification"]["Containers"][0]
        bound = {"evaluation_sha256": _sha256(EVALUATION)} if more is None else more
        metadata = registered_metadata(container, {**request["CustomerMetadataProperties"], **bound})
        request["CustomerMetadataProperties"] = metadata
        return str(self.world.sagemaker.create_model_package(**request)["ModelPackageArn"])

    def writer(self, **changes: Any) -> ReleaseWriter:
        """Return the writer; its chain is the endpoint's."""
        made = ReleaseWriter(
            sagemaker=self.world.sagemaker,
            chain=self.world.chain,
            automation=Automation(freeze=self.freeze, table=RolloutTable(self.world.dynamodb, "automation", "demand")),
            rule=ApprovalRule.from_environment(rollout_world.ENVIRONMENT),
            objects=ObjectReader(s3=self.s3, bucket="artifacts", names=("demand-forecast",)),
            unit="demand",
            group="demand-forecast",
            is_served=self.is_served,
        )
        return replace(made, **changes)

    def release(self, package: str, execution: str = EXECUTION, **changes: Any) -> Released:
        """Release a package."""
        request = ReleaseRequest(package_arn=package, requested_by="approved e1", requested_at="2017-08-01T09:00:00Z")
        return self.writer(**changes).release(request, execution=execution, now=self.now)

    def records(self) -> list[ReleaseRecord]:
        """Return every written release."""
        found = self.world.contents("artifacts")
        return [from_json(ReleaseRecord, found[key]) for key in sorted(found) if key.startswith("releases/")]

    def audit(self) -> list[AuditRecord]:
        """Return the chain's records, oldest first."""
        return list(self.world.chain.newest(self.world.table.read(), 100))


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def releasing(_nobody: None) -> Iterator[ReleaseWorld]:
    """Return a new world with a retraining's output."""
    with rollout_world.world() as made:
        kept = ReleaseWorld(world=made)
        kept.keep()
        yield kept
