"""OpenLineage events: names, facets, run ids. What they must have is in the spec: https://openlineage.io/docs/spec/object-model."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.features import (
    Build,
    EntityRows,
    Output,
    OutputFile,
    PinnedTable,
    Semantics,
    TrainingSetManifest,
)
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.group import Entity, Feature, FeatureGroup
from mlops_runtime.features.open_lineage import (
    PRODUCER,
    CodeLocation,
    Ingest,
    LineageSource,
    ParentRun,
    ingest_events,
    ingest_failure,
    run_id,
    training_set_events,
    training_set_failure,
)

CATALOG = "arn:aws:glue:us-east-1:111122223333"
SOURCE = LineageSource(namespace="mlops.demand", catalog=CATALOG)
START, NOW = datetime(2017, 1, 1, 12, tzinfo=UTC), datetime(2017, 1, 1, 12, 5, tzinfo=UTC)
URI = "s3://sets/sets/daily/1"
PRICES = FeatureGroup(
    name="prices",
    entities=(Entity("store_id", "string", "store"),),
    features=(
        Feature("price", "double", "price in dollars", minimum=0.0, maximum=100.0),
        Feature("promotion", "string", "kind of promotion", nullable=True, allowed=("none", "display")),
    ),
    owner="demand",
    description="prices",
)


def pinned(group: str, snapshot: int, columns: tuple[str, ...], names: tuple[str, ...] = ()) -> PinnedTable:
    """Return a table at a snapshot."""
    return PinnedTable(
        group=group,
        version=1,
        database="demand_features",
        table=f"{group}_v1",
        table_uuid=f"uuid-{group}",
        snapshot_id=snapshot,
        schema_id=0,
        tag="ts-1",
        columns=columns,
        entities=("store_id",),
        names=names,
    )


MANIFEST = TrainingSetManifest(
    name="daily",
    semantics=Semantics(as_of="known_at", cutoff="2017-01-01T00:00:00Z"),
    entities=pinned("sales", 11, ("store_id", "asked_at", "units")),
    features=(pinned("prices", 22, ("price", "promotion"), ("prices__price", "prices__promotion")),),
    build=Build(engine="duckdb", engine_version="1.5.5", planner="pit/3", client="0.1.0"),
    output=Output(
        rows=6,
        content_hash="h1:00",
        files=(OutputFile(path="train/part-0.parquet", sha256="a" * 64, bytes=100, rows=6),),
        columns={"store_id": "string", "units": "double", "prices__price": "double", "prices__promotion": "string"},
    ),
)
PLAN = TrainingSetPlan(
    name="daily", label_group="sales", timestamp="asked_at", label="units", features={}, holdout_days=2
)


def built(manifest: TrainingSetManifest = MANIFEST, source: LineageSource = SOURCE):
    """Return the events of a training set."""
    return training_set_events(manifest, source, uri=URI, started=START, now=NOW)


def test_a_training_set_is_one_run_from_start_to_complete():
    """Both events have the run, whose id comes from the manifest's; times are UTC."""
    start, complete = built()
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"] == run_id(SOURCE, f"training-set/{content_hash(MANIFEST)}")
    assert (start["eventTime"], complete["eventTime"]) == ("2017-01-01T12:00:00.000000Z", "2017-01-01T12:05:00.000000Z")
    assert complete["job"]["namespace"] == "mlops.demand"
    assert complete["job"]["name"] == "training_set.daily"
    assert complete["producer"] == PRODUCER
    assert start["outputs"] == []
    assert complete["run"]["facets"]["processing_engine"]["name"] == "duckdb"


def test_inputs_are_tables_at_their_snapshots():
    """Namespace and name are those that OpenLineage gives Glue tables; the version is the Iceberg snapshot."""
    _, complete = built()
    assert [(i["namespace"], i["name"], i["facets"]["version"]["datasetVersion"]) for i in complete["inputs"]] == [
        (CATALOG, "table/demand_features/sales_v1", "11"),
        (CATALOG, "table/demand_features/prices_v1", "22"),
    ]
    doubled = replace(MANIFEST, features=(*MANIFEST.features, pinned("sales", 11, ("units",))))
    assert len(built(doubled)[1]["inputs"]) == 2


def test_the_output_is_the_set_with_schema_size_and_version():
    """Namespace is the bucket, name the key, the version the manifest's id."""
    (output,) = built()[1]["outputs"]
    assert (output["namespace"], output["name"]) == ("s3://sets", "sets/daily/1")
    assert output["facets"]["version"]["datasetVersion"] == content_hash(MANIFEST)
    assert [(f["name"], f["type"]) for f in output["facets"]["schema"]["fields"]] == list(
        MANIFEST.output.columns.items()
    )
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"], statistics["fileCount"]) == (6, 100, 1)
    (local,) = training_set_events(MANIFEST, SOURCE, uri="/data/daily", started=START, now=NOW)[1]["outputs"]
    assert (local["namespace"], local["name"]) == ("file", "/data/daily")


def test_each_column_leads_to_the_one_it_was_copied_from():
    """Renamed columns too; keys and times chose the rows."""
    lineage = built()[1]["outputs"][0]["facets"]["columnLineage"]
    from_fields = {
        name: [(i["name"], i["field"], i["transformations"][0]["type"]) for i in field["inputFields"]]
        for name, field in lineage["fields"].items()
    }
    assert from_fields["prices__price"] == [("table/demand_features/prices_v1", "price", "DIRECT")]
    assert from_fields["units"] == [("table/demand_features/sales_v1", "units", "DIRECT")]
    chose = {(i["name"].split("/")[-1], i["field"], i["transformations"][0]["subtype"]) for i in lineage["dataset"]}
    assert chose == {
        (table, field, "JOIN")
        for table in ("sales_v1", "prices_v1")
        for field in ("store_id", "event_time", "created_time")
    }


def test_entity_rows_of_a_frame_are_an_input():
    """A set without a table of labels is built from the file of its entity rows."""
    rows = EntityRows(timestamp="asked_at", rows=6, content_hash="h1:1", sha256="b" * 64, columns=("store_id",))
    _, complete = built(replace(MANIFEST, entities=None, entity_rows=rows))
    assert [(i["namespace"], i["name"]) for i in complete["inputs"]] == [
        (CATALOG, "table/demand_features/prices_v1"),
        ("s3://sets", f"entities/{'b' * 64}.parquet"),
    ]


def test_code_and_parent_are_told_where_they_are_known():
    """By the caller, or for the code by the manifest; else the facets are absent."""
    _, plain = built()
    assert "sourceCodeLocation" not in plain["job"]["facets"]
    assert "parent" not in plain["run"]["facets"]
    parent = ParentRun(run_id=str(uuid.UUID(int=7)), namespace="airflow", job="nightly")
    code = CodeLocation(url="https://git.example/a/b.py", commit="c0ffee")
    _, told = built(source=replace(SOURCE, parent=parent, code=code))
    assert told["run"]["facets"]["parent"]["run"]["runId"] == parent.run_id
    assert told["run"]["facets"]["parent"]["job"] == {"namespace": "airflow", "name": "nightly", "facets": {}}
    assert told["job"]["facets"]["sourceCodeLocation"]["url"] == code.url
    source = {"repository": "https://git.example/a.git", "commit": "beef"}
    _, read = built(replace(MANIFEST, build=replace(MANIFEST.build, source=source)))
    location = read["job"]["facets"]["sourceCodeLocation"]
    assert (location["url"], location["version"]) == (source["repository"], "beef")


def test_a_failed_build_says_why_and_each_attempt_is_a_run():
    """The run is named by plan, cutoff and start; a second attempt is another."""
    start, fail = training_set_failure(PLAN, SOURCE, as_of=START, error="no labels", started=START, now=NOW)
    assert (start["eventType"], fail["eventType"]) == ("START", "FAIL")
    assert fail["run"]["facets"]["errorMessage"]["message"] == "no labels"
    assert start["run"]["runId"] == fail["run"]["runId"]
    later = START + timedelta(hours=1)
    _, again = training_set_failure(PLAN, SOURCE, as_of=START, error="no labels", started=later, now=later)
    assert again["run"]["runId"] != fail["run"]["runId"]


def test_an_ingest_writes_a_snapshot_and_names_its_checks():
    """The table is the output, with schema, snapshot and rows; checks are told of what was read, as the spec has it."""
    ingest = Ingest(group=PRICES, database="demand_features", key="k", snapshot_id=33, rows=4)
    start, complete = ingest_events(ingest, SOURCE, started=START, now=NOW)
    (output,) = complete["outputs"]
    assert (output["namespace"], output["name"]) == (CATALOG, "table/demand_features/prices_v1")
    assert output["facets"]["version"]["datasetVersion"] == "33"
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 4
    assert [f["name"] for f in output["facets"]["schema"]["fields"]] == [c.name for c in PRICES.columns]
    (batch,) = complete["inputs"]
    assert batch["name"] == "batch/demand_features/prices_v1"
    checks = {
        (a["assertion"], a["column"], a.get("expected"), a["success"])
        for a in batch["inputFacets"]["dataQualityAssertions"]["assertions"]
    }
    assert checks == {
        *(("not_null", c, None, True) for c in ("store_id", "event_time", "created_time", "ingest_id", "price")),
        ("minimum", "price", "0.0", True),
        ("maximum", "price", "100.0", True),
        ("accepted_values", "promotion", "none, display", True),
    }
    assert start["inputs"][0]["inputFacets"] == {}
    given = replace(ingest, source=("s3://lake", "prices/today.parquet"))
    (read,) = ingest_events(given, SOURCE, started=START, now=NOW)[1]["inputs"]
    assert (read["namespace"], read["name"]) == ("s3://lake", "prices/today.parquet")


def test_a_refused_batch_fails_and_wrote_nothing():
    """FAIL has the reason and no output; the ingest that succeeds later is another run."""
    ingest = Ingest(group=PRICES, database="demand_features", key="k")
    _, fail = ingest_failure(ingest, SOURCE, error="price is null", started=START, now=NOW)
    assert (fail["eventType"], fail["outputs"]) == ("FAIL", [])
    assert fail["run"]["facets"]["errorMessage"]["message"] == "price is null"
    _, complete = ingest_events(ingest, SOURCE, started=START, now=NOW)
    assert complete["run"]["runId"] != fail["run"]["runId"]
    assert "outputStatistics" not in complete["outputs"][0]["outputFacets"]


def test_a_parent_that_is_no_uuid_is_refused():
    """Run ids are UUIDs, as the spec says."""
    parent = ParentRun(run_id="nightly", namespace="airflow", job="nightly")
    with pytest.raises(ValueError, match="badly formed hexadecimal UUID"):
        built(source=replace(SOURCE, parent=parent))


@given(st.text(), st.text(), st.text())
def test_run_ids_tell_runs_apart_and_stay_the_same(namespace, one, other):
    """The same thing in the same namespace is one run; anything else is another."""
    source = replace(SOURCE, namespace=namespace)
    assert uuid.UUID(run_id(source, one)).version == 5
    assert (run_id(source, one) == run_id(source, other)) is (one == other)
