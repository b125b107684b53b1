"""Who approves a model package that passed the gate."""

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration

DEFAULT_TIMEOUT = cdk.Duration.days(7)


@checked("InvalidApproval")
@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """How a registered package becomes approved: by the gate's verdict, or by a person. Use one of the two factories.

    Example:
        >>> Approval.automatic().is_automatic
        True
    """

    is_automatic: bool
    topic: sns.ITopic | None = None
    timeout: cdk.Duration | None = None
    approver: iam.IRole | None = None

    @classmethod
    def automatic(cls, *, approver: iam.IRole | None = None) -> "Approval":
        """Approve every package that passed the gate, unless automatic work rests; then a person may.

        Args:
            approver: Role that people approve in where the machine left a package. Default: the registry defines one.
        """
        return cls(is_automatic=True, approver=approver)

    @classmethod
    def manual(
        cls,
        *,
        topic: sns.ITopic | None = None,
        timeout: cdk.Duration | None = None,
        approver: iam.IRole | None = None,
    ) -> "Approval":
        """Wait for a person to approve the package, with ``mlops models approve``.

        Args:
            topic: Who hears that a package waits. Default: the unit's topic.
            timeout: How long after its registration a package may be approved: its training set grows stale. Default: 7 days.
            approver: Role that people approve in. Default: the registry defines one, which people of the account may take
                whose own policies name it; no role of the unit may.

        Raises:
            ValidationError: If the timeout is shorter than an hour or longer than a year.
        """
        hour, year = cdk.Duration.hours(1), cdk.Duration.days(365)
        problem = check_duration("timeout", timeout, minimum=hour, maximum=year)
        if problem is not None:
            raise ValidationError("InvalidApproval", [problem])
        return cls(is_automatic=False, topic=topic, timeout=timeout, approver=approver)
