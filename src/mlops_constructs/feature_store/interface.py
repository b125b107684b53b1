"""What every feature store offers to readers, defined here or elsewhere."""

from collections.abc import Sequence
from typing import Protocol

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from mlops_runtime.features.feature_group import FeatureGroup


class IFeatureStore(Protocol):
    """A feature store that is read."""

    @property
    def database_name(self) -> str:
        """Name of the Glue database."""
        ...

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        """Its feature groups, as far as they are known here."""
        ...

    @property
    def data_bucket(self) -> s3.IBucket:
        """Bucket of the tables."""
        ...

    @property
    def key(self) -> kms.IKey:
        """Key of the tables."""
        ...

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of the groups' tables."""
        ...

    def table_name(self, group: FeatureGroup) -> str:
        """Return the name of a group's table."""
        ...

    def read_statements(self, *, groups: Sequence[FeatureGroup] | None = None) -> list[iam.PolicyStatement]:
        """Return what a role of ours needs to read tables."""
        ...

    def grant_read(
        self,
        grantee: iam.IGrantable,
        *,
        groups: Sequence[FeatureGroup] | None = None,
        columns: Sequence[str] | None = None,
    ) -> iam.Grant:
        """Let somebody read tables, or columns of one."""
        ...
