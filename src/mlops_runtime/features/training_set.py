"""A training set from a plan: labels and features as they were known, split by time, with its manifest."""

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.table import Table

from mlops_runtime.contracts import content_hash as document_hash
from mlops_runtime.contracts.features import Build, Output, OutputFile, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.group import CREATED_TIME, EVENT_TIME, INGEST_ID, RESERVED
from mlops_runtime.features.hashing import content_hash
from mlops_runtime.features.iceberg import pin, read_rows, tag_snapshot
from mlops_runtime.features.planner import PLANNER, ROW_ID, GroupRows, point_in_time

SPLITS = ("train", "holdout")
SPLIT = "split"
_VERSION = re.compile(r"_v\d+$")


class TrainingSetError(ValueError):
    """A training set cannot be built from its plan; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """Rows of both splits, the Parquet bytes of each, and the manifest that describes them."""

    train: pa.Table
    holdout: pa.Table
    files: dict[str, bytes]
    manifest: TrainingSetManifest

    @property
    def id(self) -> str:
        """The SHA-256 of the manifest."""
        return document_hash(self.manifest)


def build(
    load: Callable[[str], Table], tables: Sequence[str], plan: TrainingSetPlan, *, as_of: datetime, uri: str = ""
) -> TrainingSet:
    """Tag the current snapshots of the plan's tables, then build from them.

    Args:
        load: Loads a table by name.
        tables: Names of the tables that there are.
        plan: Labels, features and split. A group is named by its table, or by its name alone while it has one version.
        as_of: Nothing that became known later is used.
        uri: Where the files will lie.

    Raises:
        TrainingSetError: If the plan does not fit the tables, or a split is empty.
    """
    problems: list[str] = []
    found = {group: _resolved(group, tables, problems) for group in (plan.label_group, *plan.features)}
    if problems:
        raise TrainingSetError(f"plan {plan.name}: " + "; ".join(problems))
    loaded = {group: load(name) for group, name in found.items()}
    _check_columns(plan, loaded)
    snapshots = {}
    for group, table in loaded.items():
        snapshot = table.current_snapshot()
        if snapshot is None:
            raise TrainingSetError(f"plan {plan.name}: table {found[group]} holds no rows yet")
        snapshots[group] = snapshot.snapshot_id
    read = {found[group]: snapshot for group, snapshot in snapshots.items()}
    tag = f"ts-{document_hash({'plan': plan, 'as_of': as_of.astimezone(UTC), 'read': read})[:16]}"
    for group, table in loaded.items():
        tag_snapshot(table, snapshots[group], tag)
    label_columns = (*loaded[plan.label_group].properties["mlops.entities"].split(","), plan.timestamp, plan.label)
    labels = pin(loaded[plan.label_group], tag, dict.fromkeys(label_columns))
    pinned = tuple(pin(loaded[group], tag, columns) for group, columns in plan.features.items())
    return assemble(
        {p.table: loaded[g] for g, p in zip((plan.label_group, *plan.features), (labels, *pinned), strict=True)},
        plan,
        labels,
        pinned,
        as_of=as_of,
        uri=uri,
    )


def assemble(
    tables: dict[str, Table],
    plan: TrainingSetPlan,
    labels: PinnedTable,
    groups: Sequence[PinnedTable],
    *,
    as_of: datetime,
    uri: str,
) -> TrainingSet:
    """Build a training set from tables at their pinned snapshots.

    The holdout ends with the newest label known at ``as_of`` and holds the rows that were predicted in the ``holdout_days`` before.
    A training at the cut between the two would have seen the rows of ``train``, with the labels as known then; rows that were
    predicted before the cut and whose label came after it belong to neither.

    Raises:
        TrainingSetError: If a split is empty, or a label was known before the time of its prediction.
    """
    known = _labels(tables[labels.table], labels, plan, as_of)
    if known.num_rows == 0:
        raise TrainingSetError(f"plan {plan.name}: no label of {labels.table} was known at {as_of.isoformat()}")
    available = _available(known)
    early = pc.sum(pc.less(available, known[plan.timestamp])).as_py()
    if early:
        raise TrainingSetError(
            f"plan {plan.name}: {early} labels were known before their {plan.timestamp}, nothing to predict"
        )
    cut = pc.max(available).as_py() - timedelta(days=plan.holdout_days)
    at_cut = _labels(tables[labels.table], labels, plan, cut)
    train = at_cut.filter(pc.less(at_cut[plan.timestamp], cut))
    if plan.history_days is not None:
        train = train.filter(pc.greater_equal(train[plan.timestamp], cut - timedelta(days=plan.history_days)))
    holdout = known.filter(pc.greater_equal(known[plan.timestamp], cut))
    for name, part in zip(SPLITS, (train, holdout), strict=True):
        if part.num_rows == 0:
            raise TrainingSetError(
                f"plan {plan.name}: no rows for {name}; labels known at {as_of.isoformat()} are split at {cut.isoformat()}, "
                f"change holdout_days ({plan.holdout_days})"
            )
    parts = [
        part.select(list(labels.columns)).append_column(SPLIT, pa.array([name] * part.num_rows))
        for name, part in zip(SPLITS, (train, holdout), strict=True)
    ]
    rows = pa.concat_tables(parts)
    oldest = pc.min(rows[plan.timestamp]).as_py()
    inputs = [_group_rows(tables[group.table], group, oldest, as_of) for group in groups]
    result = point_in_time(rows, plan.timestamp, inputs)
    split = {
        "trained_until": _iso(pc.max(_available(train)).as_py()),
        "holdout_from": _iso(pc.min(holdout[plan.timestamp]).as_py()),
        "holdout_until": _iso(pc.max(available).as_py()),
        "cut": _iso(cut),
        "timestamp": plan.timestamp,
        "label": plan.label,
        "holdout_days": str(plan.holdout_days),
    }
    if plan.history_days is not None:
        split["history_days"] = str(plan.history_days)
    by_split = {name: result.filter(pc.equal(result[SPLIT], name)).drop_columns([SPLIT]) for name in SPLITS}
    files = {f"{name}/part-0.parquet": parquet_bytes(table) for name, table in by_split.items()}
    rows_of = {f"{name}/part-0.parquet": table.num_rows for name, table in by_split.items()}
    manifest = TrainingSetManifest(
        name=plan.name,
        semantics=Semantics(as_of="known_at", cutoff=_iso(as_of)),
        entities=labels,
        features=tuple(groups),
        build=Build(
            engine="duckdb", engine_version=duckdb.__version__, planner=PLANNER, client=version("mlops-constructs")
        ),
        output=Output(
            uri=uri,
            rows=result.num_rows,
            content_hash=content_hash(result),
            files=tuple(
                OutputFile(
                    path=path, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), rows=rows_of[path]
                )
                for path, content in files.items()
            ),
            columns={field.name: str(field.type) for field in by_split["train"].schema},
            order_by=ROW_ID,
        ),
        split=split,
    )
    return TrainingSet(train=by_split["train"], holdout=by_split["holdout"], files=files, manifest=manifest)


def parquet_bytes(table: pa.Table) -> bytes:
    """Return the one file of a table: the same rows give the same bytes with the same version of Arrow."""
    sink = io.BytesIO()
    plain = table.replace_schema_metadata(None).combine_chunks()
    pq.write_table(plain, sink, compression="zstd", row_group_size=1 << 20, version="2.6")
    return sink.getvalue()


def _labels(table: Table, labels: PinnedTable, plan: TrainingSetPlan, known_by: datetime) -> pa.Table:
    """Return the newest known row of each label, in a total order; a label restated to null is none."""
    columns = tuple(dict.fromkeys((*labels.columns, *RESERVED)))
    rows = read_rows(table, labels.snapshot_id, columns, known_by=known_by)
    key = [*labels.entities, EVENT_TIME]
    newest = [(name, "descending") for name in (CREATED_TIME, INGEST_ID, plan.label, plan.timestamp)]
    ordered = rows.sort_by([*((name, "ascending") for name in key), *newest])
    ordered = ordered.append_column("place", pa.array(range(ordered.num_rows), pa.int64()))
    firsts = ordered.group_by(key).aggregate([("place", "min")])["place_min"].combine_chunks()
    kept = ordered.drop_columns(["place"]).take(firsts)
    kept = kept.filter(pc.and_(pc.is_valid(kept[plan.label]), pc.is_valid(kept[plan.timestamp])))
    return kept.sort_by([(name, "ascending") for name in (plan.timestamp, *key)])


def _available(rows: pa.Table) -> pa.ChunkedArray:
    """Return when each row was first known: the later of its event and created times."""
    event, created = rows[EVENT_TIME], rows[CREATED_TIME]
    return pc.if_else(pc.greater(event, created), event, created)


def _group_rows(table: Table, group: PinnedTable, oldest: datetime, as_of: datetime) -> GroupRows:
    ttl = None if group.ttl_seconds is None else timedelta(seconds=group.ttl_seconds)
    columns = tuple(dict.fromkeys((*group.entities, *RESERVED, *group.columns)))
    since = None if ttl is None else oldest - ttl
    rows = read_rows(table, group.snapshot_id, columns, known_by=as_of, since=since)
    return GroupRows(name=group.group, entities=group.entities, columns=group.columns, ttl=ttl, rows=rows)


def _resolved(group: str, tables: Sequence[str], problems: list[str]) -> str:
    versions = [name for name in tables if name == group or _VERSION.sub("", name) == group]
    if len(versions) == 1:
        return versions[0]
    if versions:
        problems.append(f"group {group!r} has versions {', '.join(versions)}; name the one you want")
    else:
        problems.append(f"there is no feature table of group {group!r}, there are {', '.join(tables) or 'none'}")
    return group


def _check_columns(plan: TrainingSetPlan, loaded: dict[str, Table]) -> None:
    wanted = {plan.label_group: (plan.timestamp, plan.label), **plan.features}
    problems = []
    for group, columns in wanted.items():
        names = [field.name for field in loaded[group].schema().fields]
        problems += [
            f"{group} has no column {column!r}, it has {', '.join(names)}" for column in columns if column not in names
        ]
    if plan.holdout_days < 1:
        problems.append(f"holdout_days must be at least 1, got {plan.holdout_days}")
    if problems:
        raise TrainingSetError(f"plan {plan.name}: " + "; ".join(problems))


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
