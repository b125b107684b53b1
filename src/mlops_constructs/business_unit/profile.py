"""What a stack is for: trying things out, or keeping them."""

from enum import Enum

import aws_cdk as cdk


class Profile(Enum):
    """Whether data stay when the stack goes, and over how many zones it spreads.

    ``DEVELOPMENT``: everything is deleted with the stack, no Object Lock, one zone.
    ``PRODUCTION``: data, keys and logs stay, the audit bucket is locked, two zones. What a failed creation made does not stay.
    """

    DEVELOPMENT = "development"
    PRODUCTION = "production"

    @property
    def keeps_data(self) -> bool:
        """Whether stateful resources stay when they leave the stack."""
        return self is Profile.PRODUCTION

    @property
    def removal_policy(self) -> cdk.RemovalPolicy:
        """What becomes of stateful resources when they leave the stack.

        In PRODUCTION they stay when an update or a deletion takes them from it, and go when the operation that created them is
        rolled back: what stayed would keep its fixed names, and the next creation would fail by them.
        See: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html
        """
        return cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if self.keeps_data else cdk.RemovalPolicy.DESTROY

    @property
    def zones(self) -> int:
        """Availability zones of a made network, and instances at least of an endpoint."""
        return 2 if self is Profile.PRODUCTION else 1
