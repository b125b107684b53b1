"""Differences between two training sets, from their requests down to single values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from mlops_runtime.contracts.features import PinnedTable, TrainingSetManifest
from mlops_runtime.features.rebuild import Rebuild
from mlops_runtime.features.training_set import TrainingSet
from mlops_runtime.features.training_set_files import ROW_ID
from mlops_runtime.features.training_set_manifest import pins
from mlops_runtime.features.training_set_request import TrainingSetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The differences of training set ``b`` from ``a``.

    Attributes:
        request: Parts of the request that differ, by name: ``(a's, b's)``.
        snapshots: Snapshots that differ, by table: ``(a's, b's)``; ``None`` for a table that was not read.
        columns_added: Columns only in ``b``.
        columns_removed: Columns only in ``a``.
        rows: Number of rows of each.
        changed: For sets with the same entity rows: number of rows with a different value, by column.
        only_a: For other sets: number of rows only in ``a``, by the shared columns. ``None`` if ``changed`` applies.
        only_b: Likewise for ``b``.
    """

    request: Mapping[str, tuple[str, str]]
    snapshots: Mapping[str, tuple[int | None, int | None]]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    rows: tuple[int, int]
    changed: Mapping[str, int] = field(default_factory=dict)
    only_a: int | None = None
    only_b: int | None = None

    @property
    def is_none(self) -> bool:
        """Whether both have the same rows and columns."""
        return not (self.columns_added or self.columns_removed or self.changed or self.only_a or self.only_b)


def diff(rebuilt: Callable[[str], Rebuild], a: str, b: str) -> Difference:
    """Rebuild two training sets and compare them.

    Raises:
        TrainingSetError: If one of them cannot be rebuilt.
    """
    built = []
    for training_set_id in (a, b):
        again = rebuilt(training_set_id)
        if again.training_set is None:
            raise TrainingSetError(f"training set {training_set_id} cannot be rebuilt: {again.reason}")
        built.append(again.training_set)
    return difference(built[0], built[1])


def difference(a: TrainingSet, b: TrainingSet) -> Difference:
    """Compare two training sets, from their requests down to single values.

    Null equals null here, and NaN equals NaN.
    """
    before, after = a.rows, b.rows
    requested = {
        key: (left, right)
        for key, left in _requested(a.manifest).items()
        if left != (right := _requested(b.manifest)[key])
    }
    read_a, read_b = _read(a.manifest), _read(b.manifest)
    tables = dict.fromkeys((*read_a, *read_b))
    shared = [name for name in before.column_names if name in after.column_names]
    compared: dict[str, int] = {}
    only: tuple[int | None, int | None] = (None, None)
    entities = _entity_columns(a.manifest)
    if before.num_rows == after.num_rows and before.select(entities) == after.select(entities):
        compared = _changed(before.sort_by(ROW_ID), after.sort_by(ROW_ID), [n for n in shared if n not in entities])
    else:
        names = [name for name in shared if name != ROW_ID]
        only = (
            _count_except(before.select(names), after.select(names)),
            _count_except(after.select(names), before.select(names)),
        )
    return Difference(
        request=requested,
        snapshots={t: (read_a.get(t), read_b.get(t)) for t in tables if read_a.get(t) != read_b.get(t)},
        columns_added=tuple(name for name in after.column_names if name not in before.column_names),
        columns_removed=tuple(name for name in before.column_names if name not in after.column_names),
        rows=(before.num_rows, after.num_rows),
        changed=compared,
        only_a=only[0],
        only_b=only[1],
    )


def _requested(manifest: TrainingSetManifest) -> dict[str, str]:
    labels = manifest.entities
    rows = manifest.entity_rows.content_hash if manifest.entity_rows else f"labels of {labels.table if labels else '-'}"
    return {
        "name": manifest.name,
        "semantics": manifest.semantics.as_of,
        "as_of": str(manifest.semantics.cutoff),
        "entities": rows,
        "keys": "; ".join(f"{pinned.use}: {_keys(pinned)}" for pinned in manifest.features if pinned.keys),
        **{key: manifest.split.get(key, "") for key in ("label", "timestamp", "holdout_days", "history_days")},
    }


def _keys(pinned: PinnedTable) -> str:
    return ", ".join(f"{name} is {column}" for name, column in pinned.key_columns.items())


def _read(manifest: TrainingSetManifest) -> dict[str, int]:
    return {pinned.table: pinned.snapshot_id for pinned in pins(manifest)}


def _entity_columns(manifest: TrainingSetManifest) -> list[str]:
    given = manifest.entity_rows
    columns = given.columns if given is not None else manifest.entities.columns if manifest.entities is not None else ()
    return list(dict.fromkeys((*columns, ROW_ID)))


def _changed(before: pa.Table, after: pa.Table, names: list[str]) -> dict[str, int]:
    # in DuckDB NaN equals NaN, and with `is distinct from` null equals null
    columns = {f"{side}{i}": rows[name] for i, name in enumerate(names) for side, rows in (("a", before), ("b", after))}
    if not columns:
        return {}
    counts = ", ".join(f"count(*) filter (where a{i} is distinct from b{i})" for i in range(len(names)))
    with duckdb.connect() as connection:
        connection.register("pair", pa.table(columns))
        found = connection.execute(f"select {counts} from pair").fetchall()[0]  # noqa: S608 - names made here
    return {name: count for name, count in zip(names, found, strict=True) if count}


def _count_except(rows: pa.Table, others: pa.Table) -> int:
    with duckdb.connect() as connection:
        connection.register("mine", rows)
        connection.register("others", others)
        found = connection.execute("select count(*) from (from mine except all from others)").fetchall()
    return int(found[0][0])
