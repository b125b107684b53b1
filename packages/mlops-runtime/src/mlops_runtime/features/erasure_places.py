"""Where an erasure works: tables, manifests, training sets, builds and the online store of a client."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where an erasure works, and how it waits.

    Args:
        tables: All feature tables of the database.
        manifests: Manifests, tombstones and records.
        sets: Entity rows and training sets.
        builds: Builds of training sets.
        open: Returns the objects below a place that a copy was written to.
        remove: Removes a file of a table for good.
        ended: Whether the process of a build in S3 is known to have ended; in a folder its lock says so.
        uploads: Names the uploads to a table's files that began before a time and are not complete.
        deleted: Names the files of a table that were deleted and whose versions a bucket keeps.
        forget_statistics: Removes what the catalog says of the values in a table's columns, by its name.
        forget: Removes an entity from the online store, if there is one: rows up to these sequence numbers, by table; returns how
            many went, by table.
        now: The clock.
        wait: How long builds are waited for.
        pause: Waits so many seconds.
    """

    tables: Sequence[Table]
    manifests: Manifests
    sets: Objects
    builds: Builds
    open: Callable[[str], Objects]
    remove: Callable[[str], None]
    ended: Callable[[BuildIntent], bool]
    uploads: Callable[[Table, datetime], Sequence[str]]
    deleted: Callable[[Table], Sequence[str]]
    forget_statistics: Callable[[str], None]
    forget: Callable[[Mapping[str, object], Mapping[str, int]], Mapping[str, int]]
    now: Callable[[], datetime]
    wait: timedelta
    pause: Callable[[float], None] = time.sleep


def places_of(
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
) -> Places:
    """Return where an erasure in a store works.

    Args:
        tables: The feature tables.
        manifests: As for `Places`, and so are the others that it has.
        sets: The training sets.
        builds: The builds.
        s3: A boto3 client of S3, of a store that is there.
        online: Returns the online store, if there is one by then.
        has_ended: Whether a process has ended, where something says so.
        ended: Ids of builds whose processes are known to have ended.
        now: The clock.
        wait: How long builds are waited for.

    Raises:
        ErasureError: If ``ended`` names a build that never was.
    """
    _check_ended(builds, ended)

    def below(table: Table) -> Objects | None:
        return None if tables.is_folder else Objects(table.location(), s3=s3)

    def is_over(build: BuildIntent) -> bool:
        return build.id in ended or (has_ended is not None and has_ended(build.process))

    return Places(
        tables=[tables.load(name) for name in tables.names()],
        manifests=manifests,
        sets=sets,
        builds=builds,
        open=partial(Objects, s3=s3),
        remove=partial(remove, s3=s3),
        ended=is_over,
        uploads=lambda table, before: [] if (files := below(table)) is None else files.uploads(before),
        deleted=lambda table: [] if (files := below(table)) is None else files.deleted(),
        forget_statistics=tables.forget_statistics,
        forget=lambda entity, until: _forgotten(online(), tables, entity, until),
        now=now,
        wait=wait,
    )


def _check_ended(builds: Builds, ended: Collection[str]) -> None:
    unknown = sorted(map(repr, set(ended) - builds.ids())) if ended else []
    if unknown:
        known = ", ".join(f"{build.id} by {build.process.name}" for build in builds.unclosed()) or "not one"
        raise ErasureError(
            f"ended names {', '.join(unknown)}, which no build in {builds} is called; open is {known}; give whole ids, as they "
            "stand in pending"
        )


def _forgotten(
    online: OnlineStore | None, tables: Tables, entity: Mapping[str, object], until: Mapping[str, int]
) -> Mapping[str, int]:
    """Forget an entity in the online store; return how many rows went, by table."""
    if online is None:
        return {}
    keys = {}
    for name in tables.names():
        table = tables.load(name)
        try:
            entities = TableMeaning.of(name, table.properties).entities
        except FeatureTableError:
            continue  # none of ours
        types = feature_types(table)
        keys[name] = {each: types[each] for each in entities}
    texts = {name: value.isoformat() if isinstance(value, date) else str(value) for name, value in entity.items()}
    return online.forget_entity(texts, keys, until=until)
