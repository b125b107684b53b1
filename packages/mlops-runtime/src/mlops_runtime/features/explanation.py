"""What building a training set would take: engine, plan by table, and the statement for the engines that are not here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow.compute as pc

from mlops_runtime.contracts.features import PinnedTable
from mlops_runtime.features.engine import EngineChoice
from mlops_runtime.features.group import FeatureType
from mlops_runtime.features.iceberg import arrow_types, feature_types
from mlops_runtime.features.planner import explained
from mlops_runtime.features.plans import PlanChoice
from mlops_runtime.features.request import Load, Request, engine_of, located
from mlops_runtime.features.sql import ROW_ID, Dialect, SqlEntities, SqlGroup, SqlPlan, SqlPlanError, SqlTable, render
from mlops_runtime.features.training_set import group_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a training set would be built; nothing was tagged or written.

    Attributes:
        engine: The engine, why, and what would be read.
        plans: DuckDB's plan by table, and why; none where another engine builds.
        tables: What would be read of each table.
        types: Types of columns by table; those of the entity rows under ``""``.
        request: What was asked.
    """

    engine: EngineChoice
    plans: Mapping[str, PlanChoice]
    tables: tuple[PinnedTable, ...]
    types: Mapping[str, Mapping[str, FeatureType]]
    request: Request

    def sql(self, dialect: Dialect, entities: SqlTable, *, catalog: str | None = None) -> str:
        """Return the statement that builds the same rows in Spark or Athena.

        Args:
            dialect: ``spark`` or ``athena``.
            entities: Where the entity rows lie as an Iceberg table, with a ``row_id``.
            catalog: The catalog of the tables. Default: the session's, and Athena's own.

        Raises:
            SqlPlanError: If the dialect cannot say it.
        """
        if not isinstance(entities, SqlTable):
            raise SqlPlanError(f"entities must be a SqlTable: where the entity rows lie, got {entities!r}")
        columns = {name: kind for name, kind in self.types[""].items() if name != ROW_ID}
        odd = [field for field in self.request.rows.schema if field.name not in (*columns, ROW_ID)]
        if odd:
            said = "; ".join(f"column {field.name!r} of the entity rows is {field.type}" for field in odd)
            raise SqlPlanError(f"{said}, which no column of a feature table is; cast it, or leave it out")
        times = self.request.rows[self.request.timestamp]
        plan = SqlPlan(
            entities=SqlEntities(table=entities, timestamp=self.request.timestamp, columns=columns),
            groups=tuple(self._group(pinned) for pinned in self.tables),
            semantics=self.request.semantics,
            as_of=self.request.as_of,
            within=(pc.min(times).as_py(), pc.max(times).as_py()),
        )
        return render(plan, dialect, catalog=catalog)

    def _group(self, pinned: PinnedTable) -> SqlGroup:
        types = self.types[pinned.table]
        return SqlGroup(
            name=pinned.group,
            table=SqlTable(database=pinned.database, table=pinned.table, snapshot_id=pinned.snapshot_id),
            entities={name: types[name] for name in pinned.entities},
            columns={name: types[name] for name in pinned.columns},
            ttl=None if pinned.ttl_seconds is None else timedelta(seconds=pinned.ttl_seconds),
            ttl_inclusive=pinned.ttl_bound != "exclusive",
            names=dict(zip(pinned.columns, pinned.names or pinned.columns, strict=True)),
        )


def explain(load: Load, tables: Sequence[str], request: Request) -> Explanation:
    """Say how a training set would be built.

    Args:
        load: Loads a table by name.
        tables: Names of the tables that there are.
        request: What is asked.

    Raises:
        TrainingSetError: If groups, columns or snapshots are not there.
        EngineError: If there is no such engine.
    """
    found = located(load, tables, request)
    engine, pinned = engine_of(found, request), found.pinned(None)
    by_name = {table.name()[-1]: table for table in found.tables.values()}
    plans = {}
    if engine.engine == "duckdb":
        oldest = pc.min(request.rows[request.timestamp]).as_py()
        for group in pinned:
            rows = group_rows(by_name[group.table], group, oldest=oldest, created_by=request.as_of)
            plans[group.table] = explained(request.rows, request.timestamp, rows)
    types = {name: feature_types(table) for name, table in by_name.items()}
    return Explanation(
        engine=engine,
        plans=plans,
        tables=pinned,
        types={**types, "": arrow_types(request.rows.schema)},
        request=request,
    )
