"""What a stack is for: trying things out, or keeping them."""

from enum import Enum

import aws_cdk as cdk


class Profile(Enum):
    """Whether data stay when the stack goes, and over how many zones it spreads.

    ``DEVELOPMENT``: everything is deleted with the stack, no Object Lock, one zone.
    ``PRODUCTION``: data, keys and logs stay, the audit bucket is locked, two zones.
    """

    DEVELOPMENT = "development"
    PRODUCTION = "production"

    @property
    def removal_policy(self) -> cdk.RemovalPolicy:
        """What becomes of stateful resources when they leave the stack."""
        return cdk.RemovalPolicy.RETAIN if self is Profile.PRODUCTION else cdk.RemovalPolicy.DESTROY

    @property
    def zones(self) -> int:
        """Availability zones of a made network, and instances at least of an endpoint."""
        return 2 if self is Profile.PRODUCTION else 1
