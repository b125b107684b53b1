"""Resources of an erasure: tables, manifests, training sets, builds and the online store of a client."""

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from pyiceberg.table import Table

from mlops_runtime.contracts.features import BuildIntent, BuildProcess
from mlops_runtime.features.build_intent import Builds
from mlops_runtime.features.entity_search import ErasureError
from mlops_runtime.features.iceberg_tables import feature_types
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.table_catalog import Tables
from mlops_runtime.features.table_description import FeatureTableError, TableMeaning
from mlops_runtime.features.training_set_manifest import Manifests, Objects, remove


class Places:
    """Resources of an erasure, and how it waits for builds.

    Args:
        tables: The feature tables.
        manifests: Manifests, tombstones and records.
        sets: Entity rows and training sets.
        builds: Builds of training sets.
        s3: A boto3 client of S3, for a store in S3.
        online: Returns the online store, if one exists at that time.
        has_ended: Returns whether the process of a build in S3 has ended, if known; in a local folder, its lock shows it.
        ended: Ids of builds whose processes are known to have ended.
        now: The clock.
        wait: Longest wait for builds.

    Raises:
        ErasureError: If ``ended`` names an unknown build.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        manifests: Manifests,
        sets: Objects,
        builds: Builds,
        s3: Any,
        online: Callable[[], OnlineStore | None],
        has_ended: Callable[[BuildProcess], bool] | None,
        ended: Collection[str],
        now: Callable[[], datetime],
        wait: timedelta,
    ) -> None:
        _check_ended(builds, ended)
        self.tables = [tables.load(name) for name in tables.names()]
        self.manifests, self.sets, self.builds, self.now, self.wait = manifests, sets, builds, now, wait
        self.forget_statistics = tables.forget_statistics
        self._tables, self._s3, self._online, self._has_ended, self._ended = tables, s3, online, has_ended, ended

    def open(self, uri: str) -> Objects:
        """Return the objects at a location to which a copy was written."""
        return Objects(uri, s3=self._s3)

    def remove(self, file: str) -> None:
        """Remove a file of a table permanently."""
        remove(file, s3=self._s3)

    def ended(self, build: BuildIntent) -> bool:
        """Return whether the process of a build in S3 is known to have ended."""
        return build.id in self._ended or (self._has_ended is not None and self._has_ended(build.process))

    def uploads(self, table: Table, before: datetime) -> list[str]:
        """Return incomplete uploads to a table's files that began before a time."""
        return self.open(table.location()).uploads(before)

    def deleted(self, table: Table) -> list[str]:
        """Return deleted files of a table of which a bucket retains versions."""
        return self.open(table.location()).deleted()

    def forget(self, entity: Mapping[str, object], until: Mapping[str, int]) -> Mapping[str, int]:
        """Remove an entity from the online store, if there is one: rows up to these sequence numbers, by table.

        Return the number of removed rows, by table.
        """
        online = self._online()
        if online is None:
            return {}
        keys = {}
        for name in self._tables.names():
            table = self._tables.load(name)
            try:
                entities = TableMeaning.of(name, table.properties).entities
            except FeatureTableError:
                continue  # not a feature table
            types = feature_types(table)
            keys[name] = {each: types[each] for each in entities}
        texts = {name: value.isoformat() if isinstance(value, date) else str(value) for name, value in entity.items()}
        return online.forget_entity(texts, keys, until=until)


def _check_ended(builds: Builds, ended: Collection[str]) -> None:
    unknown = sorted(map(repr, set(ended) - builds.ids())) if ended else []
    if unknown:
        known = ", ".join(f"{build.id} by {build.process.name}" for build in builds.unclosed()) or "none"
        raise ErasureError(
            f"ended names {', '.join(unknown)}, which are not builds in {builds}; open builds: {known}; give full ids, as in "
            "pending"
        )
