"""A package as a person decides on it: what was registered, its evidence, what forbids an approval, and the decision itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlops_runtime.registry.model_package import PackageError
from mlops_runtime.registry.package_approval import ApprovalRule, Review, is_settled, review, unapprovable
from mlops_runtime.registry.package_finder import PackageFinder
from mlops_runtime.registry.package_registry import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageCase:
    """One package with all that is known of it at a time.

    Args:
        finder: The packages of the account.
        description: DescribeModelPackage's answer.
        rule: The group's; None if no stack published it.
        evidence: What the package's metadata point to.
        now: The time in the cloud.
    """

    finder: PackageFinder
    description: Mapping[str, Any]
    rule: ApprovalRule | None
    evidence: Evidence
    now: datetime

    @classmethod
    def read(cls, finder: PackageFinder, package: str, now: datetime) -> "PackageCase":
        """Return a package that a person names.

        Args:
            finder: The packages of the account.
            package: As ``PackageFinder.described`` takes it.
            now: The time in the cloud.

        Raises:
            PackageNotFoundError: If it is not found.
        """
        description, rule = finder.described(package)
        return cls(
            finder=finder, description=description, rule=rule, evidence=finder.catalog.evidence(description), now=now
        )

    @property
    def version(self) -> str:
        """``<group>/<number>``."""
        return str(self.description["ModelPackageArn"]).partition(":model-package/")[2]

    @property
    def review(self) -> Review:
        """What a person sees, with the problems of the evidence among the others."""
        found = review(self.description, rule=self.rule, now=self.now)
        more = (problem for problem in self.evidence.problems if problem not in found.problems)
        return replace(found, problems=(*found.problems, *more))

    @property
    def is_settled(self) -> bool:
        """Whether it is approved, and its approval counts."""
        return is_settled(self.description, rule=self.rule, now=self.now)

    @property
    def not_compared(self) -> str | None:
        """What a person who approves must know: nothing says that the package is better than the live model."""
        evaluation = self.evidence.evaluation
        left_out = None if evaluation is None else evaluation.champion_left_out
        return None if left_out is None else f"the champion is not compared: {left_out}"

    def require_approvable(self) -> None:
        """Check that an approval now would count.

        Raises:
            PackageError: With everything that forbids it.
        """
        problems = [*unapprovable(self.description, rule=self.rule, now=self.now), *self.evidence.problems]
        if problems:
            raise PackageError(self.version, problems)

    def approve(self, *, caller: str, reason: str, role: str | None = None) -> tuple[str, str]:
        """Approve the package as it is described; return in whose name, and the description that the approval carries.

        Args:
            caller: ARN of the caller, who takes the approvers' role if it is another's.
            reason: Why.
            role: ARN of the role to take. Default: the rule's.

        Raises:
            ValueError: If the reason is not allowed.
        """
        approver = self.finder.approver(caller, self.rule, role)
        return approver.identity, approver.approve(self.description, reason=reason)

    def reject(self, *, caller: str, reason: str, role: str | None = None) -> tuple[str, str]:
        """Reject the package; as ``approve``."""
        approver = self.finder.approver(caller, self.rule, role)
        return approver.identity, approver.reject(self.description, reason=reason)
