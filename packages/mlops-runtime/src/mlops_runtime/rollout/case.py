"""A request that may be carried out: what it is about, what stays to go back to, and the pointer that it ends in."""

from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.contracts import content_hash, to_dict
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, LivePointer, ServingSpec
from mlops_runtime.registry.package import RegisteredPackage
from mlops_runtime.rollout.plan import Facts, live_pointer
from mlops_runtime.rollout.succession import Succession, package_of, succession
from mlops_runtime.rollout.tags import version_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request that may be carried out: what it is about, and what follows from it."""

    request: DeployRequest
    facts: Facts
    spec: ServingSpec
    package: RegisteredPackage
    execution: str
    now: datetime

    @property
    def name(self) -> str:
        """Name of the config and the model to be made."""
        return version_name(self.spec.endpoint, self.execution)

    @property
    def is_rollback(self) -> bool:
        """Whether it goes back."""
        return self.request.reason is DeployReason.ROLLBACK

    @property
    def is_approval(self) -> bool:
        """Whether it is about a new model."""
        return self.request.reason is DeployReason.APPROVAL

    @property
    def follows(self) -> Succession:
        """What stays to go back to."""
        keep = 1 if self.spec.rollout.keep is None else self.spec.rollout.keep
        return succession(self.facts, self.package.arn, is_rollback=self.is_rollback, keep=keep)


def pointer(case: Case) -> LivePointer:
    """Return the live pointer as it will be once the version serves."""
    package, live, follows = case.package, live_pointer(case.facts.row), case.follows
    # another spec does not end the probation of a model
    probation = None if live is None or live.model_package_arn != package.arn else live.probation_until
    return LivePointer(
        endpoint=case.spec.endpoint,
        config=case.name,
        model=case.name,
        model_package_arn=package.arn,
        model_sha256=package.spec.model_sha256,
        artifact_uri=package.spec.artifact_uri,
        baseline_uri=package.spec.baseline_uri,
        evaluation_uri=package.spec.evaluation_uri,
        training_set_id=package.spec.training_set_id,
        spec_sha256=content_hash(case.facts.spec),
        spec_uri=str(case.facts.row.desired),
        execution=case.execution,
        since=str(to_dict(case.now)),
        previous=follows.previous,
        # the slot that held it will hold another one
        previous_package=None if case.facts.slots is None else package_of(case.facts, follows.previous),
        kept=follows.kept or None,
        probation_until=probation,
        baseline_sha256=package.spec.baseline_sha256,
        artifact_sha256=package.spec.artifact_sha256,
        container_sha256=package.container_sha256,
    )
