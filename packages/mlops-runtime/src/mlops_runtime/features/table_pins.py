"""Tables at the state that a training set reads: snapshots with a tag that keeps them, and what a manifest says of them."""

from collections.abc import Iterable, Sequence

from pyiceberg.table import Table

from mlops_runtime.contracts.features import PinnedTable
from mlops_runtime.features.iceberg_tables import FeatureTableError, TableMeaning, schema_at
from mlops_runtime.features.table_commits import committed


def tag_snapshot(table: Table, snapshot_id: int, tag: str) -> None:
    """Give a snapshot a tag, once; retention keeps tagged snapshots.

    Raises:
        FeatureTableError: If the tag already names another snapshot; pyiceberg would move it without a word.
    """

    def attempt(fresh: Table) -> None:
        reference = fresh.metadata.refs.get(tag)
        if reference is None:
            fresh.manage_snapshots().create_tag(snapshot_id, tag).commit()
        elif reference.snapshot_id != snapshot_id:
            raise FeatureTableError(
                f"tag {tag} of {'.'.join(fresh.name())} names snapshot {reference.snapshot_id}, not {snapshot_id}"
            )

    committed(table, attempt)


def pin(
    table: Table, snapshot_id: int, tag: str | None, columns: Iterable[str], names: Sequence[str] | None = None
) -> PinnedTable:
    """Describe a table at a snapshot, which ``tag`` names and keeps.

    Args:
        table: The table.
        snapshot_id: The snapshot.
        tag: Its tag. ``None``: no tag, for snapshots that need not be kept.
        columns: What is read of it.
        names: What the columns are called in the training set. Default: as in the table.

    Raises:
        FeatureTableError: If the tag does not name the snapshot.
    """
    reference = None if tag is None else table.metadata.refs.get(tag)
    snapshot = table.snapshot_by_id(snapshot_id)
    if snapshot is None or (tag is not None and (reference is None or reference.snapshot_id != snapshot_id)):
        raise FeatureTableError(f"table {'.'.join(table.name())} has no snapshot {snapshot_id} with tag {tag}")
    columns = tuple(columns)
    meaning = TableMeaning.of(table.name()[-1], table.properties)
    schema = schema_at(table, snapshot_id)
    return PinnedTable(
        group=meaning.group,
        version=meaning.version,
        database=table.name()[-2],
        table=table.name()[-1],
        table_uuid=str(table.metadata.table_uuid),
        snapshot_id=snapshot_id,
        schema_id=schema.schema_id,
        tag="" if tag is None else tag,
        columns=columns,
        entities=meaning.entities,
        ttl_seconds=None if meaning.ttl is None else int(meaning.ttl.total_seconds()),
        ttl_bound=None if meaning.ttl is None else meaning.ttl_bound,
        names=None if names is None else tuple(names),
        field_ids=tuple(schema.find_field(name).field_id for name in columns),
    )
