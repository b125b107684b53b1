"""Resources of an erasure: tables, manifests, training sets, builds and the online store of a client."""

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
    """Resources of an erasure, and how it waits for builds."""

    tables: Sequence[Table]  # all feature tables of the database
    manifests: Manifests  # manifests, tombstones and records
    sets: Objects  # entity rows and training sets
    builds: Builds  # builds of training sets
    open: Callable[[str], Objects]  # returns the objects at a location to which a copy was written
    remove: Callable[[str], None]  # removes a file of a table permanently
    # whether the process of a build in S3 is known to have ended; in a local folder, its lock shows it
    ended: Callable[[BuildIntent], bool]
    # returns incomplete uploads to a table's files that began before a time
    uploads: Callable[[Table, datetime], Sequence[str]]
    deleted: Callable[[Table], Sequence[str]]  # returns deleted files of a table of which a bucket retains versions
    forget_statistics: Callable[[str], None]  # removes the catalog's column statistics of a table, by name
    # removes an entity from the online store, if there is one: rows up to these sequence numbers, by table; returns the
    # number of removed rows, by table
    forget: Callable[[Mapping[str, object], Mapping[str, int]], Mapping[str, int]]
    now: Callable[[], datetime]  # the clock
    wait: timedelta  # longest wait for builds
    pause: Callable[[float], None] = time.sleep  # waits for a number of seconds


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
    """Return the resources of an erasure in a store; ``online`` returns the online store, if one exists at that time.

    Raises:
        ErasureError: If ``ended`` names an unknown build.
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
        known = ", ".join(f"{build.id} by {build.process.name}" for build in builds.unclosed()) or "none"
        raise ErasureError(
            f"ended names {', '.join(unknown)}, which are not builds in {builds}; open builds: {known}; give full ids, as in "
            "pending"
        )


def _forgotten(
    online: OnlineStore | None, tables: Tables, entity: Mapping[str, object], until: Mapping[str, int]
) -> Mapping[str, int]:
    """Remove an entity from the online store; return the number of removed rows by table."""
    if online is None:
        return {}
    keys = {}
    for name in tables.names():
        table = tables.load(name)
        try:
            entities = TableMeaning.of(name, table.properties).entities
        except FeatureTableError:
            continue  # not a feature table
        types = feature_types(table)
        keys[name] = {each: types[each] for each in entities}
    texts = {name: value.isoformat() if isinstance(value, date) else str(value) for name, value in entity.items()}
    return online.forget_entity(texts, keys, until=until)
