"""What an endpoint gets of a feature store whose features its model looks up by key."""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_iam as iam

from mlops_constructs._arguments import checked

ONLINE_TABLE = "MLOPS_ONLINE_TABLE"


@checked("InvalidOnlineFeatures")
@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineFeatures:
    """The online table of a feature store, and the right to read rows of some groups: ``FeatureStore.online_features()``.

    Args:
        table_name: Name of the table.
        statements: What reading takes.

    Example:
        >>> OnlineFeatures(table_name="demand-online", statements=()).table_name
        'demand-online'
    """

    table_name: str
    statements: Sequence[iam.PolicyStatement]
