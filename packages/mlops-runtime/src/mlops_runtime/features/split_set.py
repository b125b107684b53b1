"""Training sets from a plan: labels and features as they were known, split by time into training and holdout rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from mlops_runtime.contracts.features import Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.retraining import FeatureJoin, FeatureUse, TrainingSetPlan
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, INGEST_ID, RESERVED
from mlops_runtime.features.feature_service import FeatureServices, service_use
from mlops_runtime.features.group_join import key_problems
from mlops_runtime.features.iceberg_tables import check_service
from mlops_runtime.features.point_in_time import check, joined, unmatched_groups
from mlops_runtime.features.row_hashing import BLOCK
from mlops_runtime.features.snapshot_tags import training_set_tag
from mlops_runtime.features.table_description import TableMeaning
from mlops_runtime.features.table_pins import NO_SNAPSHOT, pin, pinned_rows, tag_snapshot
from mlops_runtime.features.training_set import Prepared, TrainingSet, built_by, described, iso, pinned_groups
from mlops_runtime.features.training_set_files import ROW_ID, SPLIT, SPLITS
from mlops_runtime.features.training_set_request import (
    Load,
    TrainingSetError,
    chosen_snapshots,
    column_problems,
    resolved,
)
from mlops_runtime.training_data.baseline_names import baseline_problems, method_of
from mlops_runtime.training_data.naive_baselines import with_baselines

_PLACE = "__place__"  # not a valid column name of a group


def build(
    load: Load,
    tables: Sequence[str],
    plan: TrainingSetPlan,
    *,
    as_of: datetime,
    tag: str | None = None,
    block: int = BLOCK,
) -> TrainingSet:
    """Split the labels, tag the current snapshots of the plan's tables, and build the set from them in this process.

    Raises:
        TrainingSetError: As for ``prepared``.
    """
    ready = prepared(load, tables, plan, as_of=as_of, tag=tag)
    return _assembled(ready, block=block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Labels with the name of their split, and the times of the split."""

    rows: pa.Table
    times: Mapping[str, str]


Split = Callable[[Table, PinnedTable, TrainingSetPlan, datetime], Parts]


def split_here(table: Table, labels: PinnedTable, plan: TrainingSetPlan, as_of: datetime) -> Parts:
    """Read and split the labels of a plan as they were known, in memory.

    Raises:
        TrainingSetError: If a split is empty, or a label was known before the time of its prediction.
    """
    known = _labels(table, labels, plan, as_of)
    available = _available(known)
    early = pc.sum(pc.less(available, known[plan.timestamp])).as_py() or 0
    cut = cut_of(plan, labels, as_of, newest=pc.max(available).as_py(), early=early)
    at_cut = _labels(table, labels, plan, cut)
    train = at_cut.filter(pc.less(at_cut[plan.timestamp], cut))
    if plan.history_days is not None:
        train = train.filter(pc.greater_equal(train[plan.timestamp], cut - timedelta(days=plan.history_days)))
    holdout = known.filter(pc.greater_equal(known[plan.timestamp], cut))
    until, since = pc.max(_available(train)).as_py(), pc.min(holdout[plan.timestamp]).as_py()
    times = split_times(plan, as_of, cut, trained_until=until, holdout_from=since)
    parts = [
        part.select(list(labels.columns)).append_column(SPLIT, pa.array([name] * part.num_rows))
        for name, part in zip(SPLITS, (train, holdout), strict=True)
    ]
    return Parts(rows=pa.concat_tables(parts), times=times)


def cut_of(
    plan: TrainingSetPlan, labels: PinnedTable, as_of: datetime, *, newest: datetime | None, early: int
) -> datetime:
    """Return the time between training and holdout, by the time at which the newest label became known.

    Raises:
        TrainingSetError: If there are no labels, or a label was known before the time of its prediction.
    """
    if newest is None:
        raise TrainingSetError(f"training set {plan.name}: no label of {labels.table} was known at {as_of.isoformat()}")
    if early:
        raise TrainingSetError(
            f"training set {plan.name}: {early} labels were known before their {plan.timestamp}, so there is nothing to predict"
        )
    return newest - timedelta(days=plan.holdout_days)


def split_times(
    plan: TrainingSetPlan,
    as_of: datetime,
    cut: datetime,
    *,
    trained_until: datetime | None,
    holdout_from: datetime | None,
) -> dict[str, str]:
    """Return the times of both splits in the form of manifests; ``None`` stands for a split without rows.

    Raises:
        TrainingSetError: If a split has no rows.
    """
    if trained_until is None or holdout_from is None:
        raise TrainingSetError(
            f"training set {plan.name}: no rows for {SPLITS[trained_until is not None]}; labels known at {as_of.isoformat()} are "
            f"split at {cut.isoformat()}, change holdout_days ({plan.holdout_days})"
        )
    return {
        "trained_until": iso(trained_until),
        "holdout_from": iso(holdout_from),
        "holdout_until": iso(cut + timedelta(days=plan.holdout_days)),
        "cut": iso(cut),
    }


def prepared(
    load: Load,
    tables: Sequence[str],
    plan: TrainingSetPlan,
    *,
    as_of: datetime,
    tag: str | None = None,
    split: Split = split_here,
) -> Prepared:
    """Split the labels, and tag the current snapshots of the plan's tables.

    Args:
        load: Loads a table by name.
        tables: Names of the existing tables.
        plan: Labels, features and split. A group is given by its table's name, or by its own name while it has one version.
        as_of: Cutoff; rows that became known later are not used.
        tag: Existing tag of the snapshots to read. Default: the current snapshots are read, and tagged here.
        split: Reads and splits the labels; may return only rows that bound the others. Default: all are read into memory.

    Raises:
        TrainingSetError: If the plan does not fit the tables, a split is empty, or the tag is not that of this plan.
    """
    uses = plan.uses
    found = resolved(plan.name, (plan.label_group, *dict.fromkeys(use.group for use in uses)), tables)
    loaded = {group: load(name) for group, name in found.items()}
    labels = loaded[plan.label_group]
    entities = labels.properties["mlops.entities"].split(",")
    # key columns that a join takes from other columns of the labels
    keys = [column for use in uses for column in use.on.values() if column not in entities]
    wanted = {plan.label_group: (plan.timestamp, *plan.label_columns, *keys)}
    for use in uses:
        wanted[use.group] = tuple(dict.fromkeys((*wanted.get(use.group, ()), *use.columns)))
    problems = [*column_problems(wanted, loaded), *_use_problems(plan, loaded)]
    label_columns = tuple(dict.fromkeys((*entities, *keys, plan.timestamp, *plan.label_columns)))
    columns = [*label_columns, *(name for use in uses for name in use.names)]
    made = [name for name in plan.baselines or () if method_of(name) is not None]
    problems += baseline_problems(plan.baselines or (), columns)
    names = [*columns, *made, SPLIT, ROW_ID]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"column {name!r} would appear {names.count(name)} times; omit one of them" for name in twice]
    if plan.labels is not None and plan.labels[:1] != (plan.label,):
        problems.append(f"label must be the first of labels, got {plan.label!r} and {', '.join(plan.labels) or 'none'}")
    if plan.baselines and plan.labels:
        problems.append("baselines require a single label; omit baselines or labels")
    if plan.holdout_days < 1:
        problems.append(f"holdout_days must be at least 1, got {plan.holdout_days}")
    if problems:
        raise TrainingSetError(f"training set {plan.name}: " + "; ".join(problems))
    snapshots = chosen_snapshots(plan.name, wanted, loaded, {} if tag is None else _tagged(plan, loaded, tag))
    empty = [loaded[group].name()[-1] for group, snapshot in snapshots.items() if snapshot == NO_SNAPSHOT]
    if empty:
        raise TrainingSetError(f"training set {plan.name}: no rows yet in {', '.join(empty)}; ingest some first")
    own = training_set_tag(plan, as_of, {found[group]: snapshot for group, snapshot in snapshots.items()})
    if tag not in (None, own):
        raise TrainingSetError(
            f"training set {plan.name}: tag {tag} is not that of this plan and these snapshots, which is {own}"
        )
    # reject plans that cannot be split or joined before tagging anything
    pinned_labels = pin(labels, snapshots[plan.label_group], own, label_columns)
    parts = split(labels, pinned_labels, plan, as_of)
    pinned = tuple(_pinned(use, loaded[use.group], snapshots[use.group], own) for use in uses)
    by_name = {table.name()[-1]: table for table in loaded.values()}
    check(parts.rows, plan.timestamp, pinned_groups(by_name, pinned, parts.rows, plan.timestamp, as_of), "known_at")
    if tag is None:
        for group, table in loaded.items():
            tag_snapshot(table, snapshots[group], own)
    fields = {"timestamp": plan.timestamp, "label": plan.label, "holdout_days": str(plan.holdout_days)}
    if plan.history_days is not None:
        fields["history_days"] = str(plan.history_days)
    if plan.labels is not None:
        fields["labels"] = ",".join(plan.labels)
    if plan.baselines is not None:
        fields["baselines"] = ",".join(plan.baselines)
    manifest = TrainingSetManifest(
        name=plan.name,
        semantics=Semantics(as_of="known_at", cutoff=iso(as_of)),
        entities=pinned_labels,
        features=pinned,
        build=built_by({}),
        output=Output(rows=0, content_hash="", files=(), columns={}),
        split={**fields, **parts.times},
        feature_service=None if plan.service is None else service_use(plan.service),
    )
    return Prepared(tables=by_name, manifest=manifest, rows=parts.rows)


def _use_problems(plan: TrainingSetPlan, loaded: Mapping[str, Table]) -> Iterator[str]:
    if not plan.uses or not all(use.columns for use in plan.uses):
        yield "features must name at least one column of each group; give features, joins or a service"
    if plan.service is not None and (plan.features or plan.joins):
        yield f"service {plan.service.name!r} selects all features; omit features and joins, or the service"
    for use in plan.uses:
        keys = TableMeaning.of(loaded[use.group].name()[-1], loaded[use.group].properties).entities
        yield from key_problems(use.alias or use.group, use.on, keys)
        known = [column for column in use.on.values() if column in plan.label_columns]
        yield from (
            f"on of {use.alias or use.group} names label {column!r}, which is not known ahead" for column in known
        )
    names = [use.alias or loaded[use.group].name()[-1] for use in plan.uses]
    again = sorted({name for name in names if names.count(name) > 1})
    yield from (f"{name!r} is used {names.count(name)} times; name each use with joins" for name in again)


def _pinned(use: FeatureUse, table: Table, snapshot: int, tag: str) -> PinnedTable:
    found = pin(table, snapshot, tag, use.columns, None if use.prefix is None else use.names)
    keys = tuple(use.on.get(name, name) for name in found.entities)
    return replace(found, alias=use.alias, keys=None if keys == found.entities else keys)


def keep_service(plan: TrainingSetPlan, services: FeatureServices, load: Load) -> None:
    """Check the feature service of a plan, if it has one, against its stored version and its tables, and store it unless it is.

    Raises:
        FeatureServiceError: If the version is stored with other features, or one of its groups has changed since.
    """
    if plan.service is not None:
        services.check(plan.service)
        check_service(plan.service, load)
        services.put(plan.service)


def _tagged(plan: TrainingSetPlan, loaded: Mapping[str, Table], tag: str) -> dict[str, int]:
    """Return the tagged snapshot of each table."""
    missing = [table.name()[-1] for table in loaded.values() if tag not in table.metadata.refs]
    if missing:
        raise TrainingSetError(f"training set {plan.name}: there is no tag {tag} in {', '.join(missing)}")
    return {group: table.metadata.refs[tag].snapshot_id for group, table in loaded.items()}


def assemble(tables: Mapping[str, Table], manifest: TrainingSetManifest) -> TrainingSet:
    """Build the set of a plan's manifest, whose output is ignored, from tables at their pinned snapshots.

    The holdout ends with the newest label known at the cutoff and contains the rows predicted in the ``holdout_days`` before. The
    rows of ``train``, with their labels as known then, are those that a training at the cut could have used; rows predicted before
    the cut whose label became known after it are in neither split. Columns keep their names in the tables: they are the inputs of
    the model.

    Raises:
        TrainingSetError: If a split is empty, or a label was known before the time of its prediction.
    """
    plan, labels = plan_of(manifest), manifest.entities
    if labels is None or manifest.semantics.cutoff is None:
        raise TrainingSetError(f"training set {manifest.name} was not made from a plan")
    as_of = datetime.fromisoformat(manifest.semantics.cutoff)
    parts = split_here(tables[labels.table], labels, plan, as_of)
    split = {**manifest.split, **parts.times}
    return _assembled(Prepared(tables=tables, manifest=replace(manifest, split=split), rows=parts.rows))


def _assembled(ready: Prepared, *, block: int = BLOCK) -> TrainingSet:
    manifest, rows = ready.manifest, ready.rows
    timestamp, as_of = manifest.split["timestamp"], datetime.fromisoformat(str(manifest.semantics.cutoff))
    inputs = pinned_groups(ready.tables, manifest.features, rows, timestamp, as_of)
    found = joined(rows, timestamp, inputs)
    result = baselined(found.rows, manifest)
    built = described(manifest, result, found.matched, splits=SPLITS, block=block)
    return replace(built, warnings=unmatched_groups(rows, timestamp, inputs, found.matched, "known_at"))


def baselined(rows: pa.Table, manifest: TrainingSetManifest) -> pa.Table:
    """Return the rows of both splits with a manifest's naive predictions as additional columns."""
    if (naive := manifest.split.get("baselines")) is None:
        return rows
    label, timestamp = manifest.split["label"], manifest.split["timestamp"]
    train, holdout = (rows.filter(pc.equal(rows[SPLIT], name)) for name in SPLITS)
    return pa.concat_tables(with_baselines(train, holdout, naive.split(","), label=label, timestamp=timestamp))


def plan_of(manifest: TrainingSetManifest) -> TrainingSetPlan:
    """Return the plan of a manifest; the features of a service are returned as joins.

    Raises:
        TrainingSetError: If the manifest was not made from a plan.
    """
    if manifest.entities is None:
        raise TrainingSetError(f"training set {manifest.name} was not made from a plan")
    plain = [pinned for pinned in manifest.features if pinned.names is None]
    named = [pinned for pinned in manifest.features if pinned.names is not None]
    history, labels, baselines = (manifest.split.get(name) for name in ("history_days", "labels", "baselines"))
    return TrainingSetPlan(
        name=manifest.name,
        label_group=manifest.entities.group,
        timestamp=manifest.split["timestamp"],
        label=manifest.split["label"],
        features={pinned.group: pinned.columns for pinned in plain},
        holdout_days=int(manifest.split["holdout_days"]),
        history_days=None if history is None else int(history),
        labels=None if labels is None else tuple(labels.split(",")),
        baselines=None if baselines is None else tuple(baselines.split(",")),
        joins=tuple(map(_join, named)) or None,
    )


def _join(pinned: PinnedTable) -> FeatureJoin:
    prefix = str((pinned.names or pinned.columns)[0]).removesuffix(f"__{pinned.columns[0]}")
    on = None if pinned.keys is None else {key: column for key, column in pinned.key_columns.items() if key != column}
    return FeatureJoin(group=pinned.table, name=prefix, columns=pinned.columns, on=on)


def _labels(table: Table, labels: PinnedTable, plan: TrainingSetPlan, known_by: datetime) -> pa.Table:
    """Return the newest known row of each label, in a total order; a label restated to null is dropped."""
    columns = tuple(dict.fromkeys((*labels.columns, *RESERVED)))
    rows = pinned_rows(table, labels, columns, created_by=known_by, event_by=known_by).read()
    key = [*labels.entities, EVENT_TIME]
    newest = [(name, "descending") for name in (CREATED_TIME, INGEST_ID, *plan.label_columns, plan.timestamp)]
    ordered = rows.sort_by([*((name, "ascending") for name in key), *newest])
    placed = ordered.append_column(_PLACE, pa.array(range(ordered.num_rows), pa.int64()))
    firsts = placed.group_by(key).aggregate([(_PLACE, "min")])[f"{_PLACE}_min"].combine_chunks()
    kept = ordered.take(firsts)
    for name in (*plan.label_columns, plan.timestamp):
        kept = kept.filter(pc.is_valid(kept[name]))
    return kept.sort_by([(name, "ascending") for name in (plan.timestamp, *key)])


def _available(rows: pa.Table) -> pa.ChunkedArray:
    """Return when each row was first known: the later of its event and created times."""
    event, created = rows[EVENT_TIME], rows[CREATED_TIME]
    return pc.if_else(pc.greater(event, created), event, created)
