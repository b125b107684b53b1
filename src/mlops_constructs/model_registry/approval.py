"""Who approves a model package that passed the gate."""

from dataclasses import dataclass

from aws_cdk import aws_sns as sns


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """How a registered package becomes approved: by the gate's verdict, or by a person. Use one of the two factories.

    Example:
        >>> Approval.automatic().is_automatic
        True
    """

    is_automatic: bool
    topic: sns.ITopic | None = None

    @classmethod
    def automatic(cls) -> "Approval":
        """Approve every package that passed the gate."""
        return cls(is_automatic=True)

    @classmethod
    def manual(cls, *, topic: sns.ITopic | None = None) -> "Approval":
        """Wait for a person to approve the package at SageMaker.

        Args:
            topic: Who hears that a package waits. Default: the unit's topic.
        """
        return cls(is_automatic=False, topic=topic)
