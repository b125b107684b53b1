"""Training sets that used a table, one of its snapshots or one of its columns."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlops_runtime.features.table_description import FeatureTableError, TableDescription
from mlops_runtime.features.training_set_manifest import Manifests, pins

_AT_ONCE = 8  # concurrent reads of manifests


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A training set that read a table: the snapshot, the columns, and whether rows of the set have been erased since.

    ``alias`` names the join, if the set reads the table several times.
    """

    manifest_id: str
    name: str
    table: str
    snapshot_id: int
    columns: tuple[str, ...]
    is_erased: bool
    alias: str | None = None


def who_used(
    manifests: Manifests, table: TableDescription, *, snapshot: int | None = None, column: str | None = None
) -> tuple[Use, ...]:
    """Return the training sets that read a table, or the rows of one snapshot, or one column of it.

    A snapshot's rows are also in every later snapshot, by its sequence number: a training set that read one of these used them too,
    even if both snapshots have expired.

    Raises:
        FeatureTableError: If the table never had the column, or the snapshot is in neither the table nor a manifest.
        ManifestError: If a manifest cannot be read.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        ids = manifests.ids()
        read = dict(zip(ids, pool.map(manifests.read, ids), strict=True))
    own = [(id_, p) for id_, m in read.items() for p in pins(m) if (p.table, p.table_uuid) == (table.name, table.uuid)]
    sequences = {**{p.snapshot_id: p.sequence for _, p in own}, **table.sequences}
    problems = []
    if column is not None and column not in table.all_columns:
        problems.append(f"no column {column!r}, it has {', '.join(table.columns)}")
    if snapshot is not None and snapshot not in sequences:
        problems.append(f"no snapshot {snapshot}: it has expired, or never existed")
    if problems:
        raise FeatureTableError(f"table {table.name} has {'; '.join(problems)}")
    erased = manifests.buried()
    return tuple(
        Use(
            manifest_id=manifest_id,
            name=read[manifest_id].name,
            table=table.name,
            snapshot_id=pinned.snapshot_id,
            columns=pinned.columns,
            is_erased=manifest_id in erased,
            alias=pinned.alias,
        )
        for manifest_id, pinned in own
        if (column is None or column in (*pinned.columns, *pinned.entities))
        # tables only grow, in order of sequence numbers
        and (snapshot is None or sequences[snapshot] <= pinned.sequence)
    )
