"""Grants to write, build, erase and serve, of the store that a unit defines itself."""

from collections.abc import Sequence
from typing import Literal

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from mlops_constructs._errors import ValidationError
from mlops_constructs.feature_store._base import FeatureStoreBase
from mlops_constructs.feature_store._grants import grant_all
from mlops_constructs.feature_store._lake_formation import BUILD, DESCRIBE, MAINTAIN, READ, TAG, WRITE
from mlops_constructs.feature_store._online import (
    forget_online_statements,
    publish_online_statements,
    read_online_statements,
)
from mlops_constructs.feature_store.access import FeatureAccess
from mlops_runtime.features.feature_group import FeatureGroup

_PERMISSIONS = {"build": BUILD, "describe": DESCRIBE, "erase": MAINTAIN, "read": READ, "tag": TAG, "write": WRITE}


class OwnedFeatureStore(FeatureStoreBase):
    """What changes tables, beside what reads them; defined here."""

    _training_sets: s3.IBucket
    _manifests: s3.IBucket
    _online: dynamodb.Table | None

    @property
    def online_table(self) -> dynamodb.ITable | None:
        """Table of the newest row of each entity; None without ``online``."""
        return self._online

    def write_statements(self, *, groups: Sequence[FeatureGroup] | None = None) -> list[iam.PolicyStatement]:
        """Return what a role of ours needs to read tables and append to them; nothing is ever deleted.

        Args:
            groups: The groups. Default: all.
        """
        return self._tables(groups).write()

    def build_statements(self, *, is_tagged: bool = False) -> list[iam.PolicyStatement]:
        """Return what a role of ours needs to build training sets: read tables, tag their snapshots, write sets and manifests.

        Args:
            is_tagged: Whether another role tags the snapshots: then nothing below a table can be written, and no table changed.
                Default: the role tags them itself.
        """
        return self._tables(None).build(sets=self._training_sets, manifests=self._manifests, is_tagged=is_tagged)

    def tag_statements(self) -> list[iam.PolicyStatement]:
        """Return what a role of ours needs to tag snapshots: metadata and commits of tables, no row."""
        return self._tables(None).tag()

    def snapshot_statements(self, group: FeatureGroup) -> list[iam.PolicyStatement]:
        """Return what a role of ours needs to read a table's metadata: its snapshots and their summaries, no row.

        Args:
            group: The group.

        Raises:
            ValidationError: If the store has no such group.
        """
        return self._tables([group]).snapshots()

    def admit(
        self,
        role: iam.IRole,
        *,
        to: Literal["build", "describe", "erase", "read", "tag", "write"],
        groups: Sequence[FeatureGroup] | None = None,
    ) -> None:
        """Let a role of ours, which has the store's statements already, past Lake Formation too; under IAM there is nothing to do.

        Args:
            role: The role.
            to: Which statements it has.
            groups: Of which groups. Default: all.

        Raises:
            ValidationError: If the store has no such group.
        """
        self._permit(role, to, groups)

    def grant_write(self, grantee: iam.IGrantable, *, groups: Sequence[FeatureGroup] | None = None) -> iam.Grant:
        """Let somebody read tables and append to them, with the objects' own rights under Lake Formation too.

        Args:
            grantee: Who; under Lake Formation a role or a user.
            groups: The groups. Default: all.

        Raises:
            ValidationError: If the store has no such group, or the grant could not be given from here.
        """
        self._permit(grantee, "write", groups)
        return grant_all(grantee, self.write_statements(groups=groups), scope=self)

    def grant_build_training_sets(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody build training sets, which read whole tables, and tag what they read.

        A tag is a commit, so that a person with this grant could also point a table at other data; jobs of ours do not get it, a
        function tags for them.

        Args:
            grantee: Who; under Lake Formation a role or a user.

        Raises:
            ValidationError: If the grant could not be given from here.
        """
        self._permit(grantee, "build", None)
        return grant_all(grantee, self.build_statements(), scope=self)

    def grant_erase(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let somebody erase entities: every version of files of tables and sets may go, manifests stay and get tombstones.

        With ``online`` their items of the online table may go too.

        Args:
            grantee: Who, such as the role of a data protection officer; under Lake Formation a role or a user.

        Raises:
            ValidationError: If the grant could not be given from here.
        """
        self._permit(grantee, "erase", None)
        statements = self._tables(None).erase(sets=self._training_sets, manifests=self._manifests)
        if self._online is not None:
            statements += forget_online_statements(self._online, self._key)
        return grant_all(grantee, statements, scope=self)

    def grant_publish_online(
        self, grantee: iam.IGrantable, *, groups: Sequence[FeatureGroup] | None = None
    ) -> iam.Grant:
        """Let somebody publish rows to the online table, and forget entities there; reading the rows is ``grant_read``.

        Args:
            grantee: Who.
            groups: The groups. Default: all.

        Raises:
            ValidationError: If the store has no online table or no such group, or the grant could not be given from here.
        """
        statements = publish_online_statements(self._served(), self._key, tables=self._named(groups))
        return grant_all(grantee, statements, scope=self)

    def grant_read_online(self, grantee: iam.IGrantable, *, groups: Sequence[FeatureGroup] | None = None) -> iam.Grant:
        """Let somebody read the newest rows; the feature tables stay out of their reach.

        Args:
            grantee: Who, such as the role of a service that predicts.
            groups: The groups. Default: all.

        Raises:
            ValidationError: As for ``grant_publish_online``.
        """
        statements = read_online_statements(self._served(), self._key, tables=self._named(groups))
        return grant_all(grantee, statements, scope=self)

    def _served(self) -> dynamodb.Table:
        if self._online is None:
            problem = "this store has no online table; give it online=True"
            raise ValidationError("NoOnlineTable", [problem], self)
        return self._online

    def _named(self, groups: Sequence[FeatureGroup] | None) -> tuple[str, ...] | None:
        return None if groups is None else self._tables(groups).tables

    def _permit(
        self,
        grantee: iam.IGrantable,
        to: Literal["build", "describe", "erase", "read", "tag", "write"],
        groups: Sequence[FeatureGroup] | None,
    ) -> None:
        tables = self._tables(groups).tables
        if self._access is FeatureAccess.LAKE_FORMATION:
            self._lake_formation(tables).permit(grantee.grant_principal, _PERMISSIONS[to])
