"""Interfaces of feature stores: for readers, and of the unit's own store for its pipelines."""

from collections.abc import Sequence
from typing import Literal, Protocol

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from mlops_runtime.features.feature_group import FeatureGroup


class IFeatureStore(Protocol):
    """A feature store to read from."""

    @property
    def database_name(self) -> str:
        """Name of the Glue database."""
        ...

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        """Its feature groups; of an imported store, those that were passed."""
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
        """Return a role's permissions to read tables."""
        ...

    def grant_read(
        self,
        grantee: iam.IGrantable,
        *,
        groups: Sequence[FeatureGroup] | None = None,
        columns: Sequence[str] | None = None,
    ) -> iam.Grant:
        """Grant read access to tables, or to columns of one."""
        ...


class ITrainingSetJob(Protocol):
    """A Spark job that builds training sets of a feature store that do not fit one machine."""

    @property
    def job_name(self) -> str:
        """Name of the Glue job."""
        ...

    @property
    def job_arn(self) -> str:
        """ARN of the Glue job."""
        ...

    @property
    def max_runtime(self) -> cdk.Duration:
        """Longest run."""
        ...

    @property
    def store(self) -> IFeatureStore:
        """The store whose training sets it builds."""
        ...


class IUnitFeatureStore(IFeatureStore, Protocol):
    """The feature store of the unit itself, from which training sets are built; other units' stores are read-only."""

    @property
    def training_sets_bucket(self) -> s3.IBucket:
        """Bucket of training sets."""
        ...

    @property
    def manifests_bucket(self) -> s3.IBucket:
        """Bucket of manifests and of lineage."""
        ...

    def write_statements(self, *, groups: Sequence[FeatureGroup] | None = None) -> list[iam.PolicyStatement]:
        """Return a role's permissions to read tables and append to them."""
        ...

    def build_statements(self, *, tagged: bool = False) -> list[iam.PolicyStatement]:
        """Return a role's permissions to build training sets."""
        ...

    def tag_statements(self) -> list[iam.PolicyStatement]:
        """Return a role's permissions to tag snapshots: metadata and commits of tables, no rows."""
        ...

    def snapshot_statements(self, group: FeatureGroup) -> list[iam.PolicyStatement]:
        """Return a role's permissions to read a table's metadata, no rows."""
        ...

    def admit(
        self,
        role: iam.IRole,
        *,
        to: Literal["build", "describe", "erase", "read", "tag", "write"],
        groups: Sequence[FeatureGroup] | None = None,
    ) -> None:
        """Grant Lake Formation permissions to a role that already has the store's IAM statements; without effect with IAM."""
        ...

    def grant_describe(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant reading the descriptions of tables and the training sets that read them; no rows."""
        ...

    def grant_write(self, grantee: iam.IGrantable, *, groups: Sequence[FeatureGroup] | None = None) -> iam.Grant:
        """Grant reading tables and appending to them."""
        ...

    def grant_build_training_sets(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant building training sets, and tagging the snapshots that they read."""
        ...
