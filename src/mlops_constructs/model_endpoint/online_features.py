"""Access of an endpoint to the online feature table that its model reads by key."""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_iam as iam

from mlops_constructs._arguments import checked

ONLINE_TABLE = "MLOPS_ONLINE_TABLE"


@checked("InvalidOnlineFeatures")
@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineFeatures:
    """The online table of a feature store with permissions to read some feature groups; see ``FeatureStore.online_features()``.

    Args:
        table_name: Name of the DynamoDB table.
        statements: IAM statements that allow reading the groups.

    Example:
        >>> OnlineFeatures(table_name="demand-online", statements=()).table_name
        'demand-online'
    """

    table_name: str
    statements: Sequence[iam.PolicyStatement]
