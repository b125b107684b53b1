"""A package for a person's decision: its registration, evidence, problems of an approval, and the decision itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlops_runtime.registry.model_package import PackageError, version_of
from mlops_runtime.registry.package_approval import ApprovalRule, Review, is_settled, review, unapprovable
from mlops_runtime.registry.package_finder import PackageFinder
from mlops_runtime.registry.package_registry import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageCase:
    """One package with its evidence at a time."""

    finder: PackageFinder  # the packages of the account
    description: Mapping[str, Any]  # response of DescribeModelPackage
    rule: ApprovalRule | None  # the group's rule; None if no stack published it
    evidence: Evidence  # the package's evaluation and gate's result
    now: datetime  # current time of the cloud

    @classmethod
    def read(cls, finder: PackageFinder, package: str, now: datetime) -> "PackageCase":
        """Read a package by its name.

        Args:
            finder: The packages of the account.
            package: Name of the package; see ``PackageFinder.described``.
            now: Current time of the cloud.

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
        return version_of(self.description["ModelPackageArn"])

    @property
    def review(self) -> Review:
        """The package for review, including the problems of its evidence."""
        found = review(self.description, rule=self.rule, now=self.now)
        more = (problem for problem in self.evidence.problems if problem not in found.problems)
        return replace(found, problems=(*found.problems, *more))

    @property
    def is_settled(self) -> bool:
        """Whether it has a valid approval."""
        return is_settled(self.description, rule=self.rule, now=self.now)

    @property
    def not_compared(self) -> str | None:
        """Warning for an approver if the package was not compared with the live model; else None."""
        evaluation = self.evidence.evaluation
        left_out = None if evaluation is None else evaluation.champion_left_out
        return None if left_out is None else f"the champion is not compared: {left_out}"

    def require_approvable(self) -> None:
        """Check that an approval now would count.

        Raises:
            PackageError: With all problems.
        """
        problems = [*unapprovable(self.description, rule=self.rule, now=self.now), *self.evidence.problems]
        if problems:
            raise PackageError(self.version, problems)

    def approve(self, *, caller: str, reason: str, role: str | None = None) -> tuple[str, str]:
        """Approve the package in its described state; return the approver's ARN and the approval description.

        Args:
            caller: ARN of the caller, who assumes the approvers' role unless it is already in it.
            role: ARN of the role to assume. Default: the rule's.

        Raises:
            ValueError: If the reason is not allowed.
        """
        approver = self.finder.approver(caller, self.rule, role)
        return approver.identity, approver.approve(self.description, reason=reason)

    def reject(self, *, caller: str, reason: str, role: str | None = None) -> tuple[str, str]:
        """Reject the package; see ``approve``."""
        approver = self.finder.approver(caller, self.rule, role)
        return approver.identity, approver.reject(self.description, reason=reason)
