"""OpenLineage events: names, facets and run ids. The specification is at https://openlineage.io/docs/spec/object-model.

The outbox: events are stored before delivery, and delivered until the collector accepts them.
"""

import json
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

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
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.open_lineage import (
    PRODUCER,
    CodeLocation,
    Ingest,
    LineageOutbox,
    LineageOutboxError,
    LineageSource,
    ParentRun,
    file_transport,
    http_transport,
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


SENT_AT = datetime(2017, 1, 1, tzinfo=UTC)


def pinned(group: str, snapshot: int, columns: tuple[str, ...], names: tuple[str, ...] = ()) -> PinnedTable:
    """Return a table at a snapshot."""
    return PinnedTable(
        group=group,
        version=1,
        database="demand_features",
        table=f"{group}_v1",
        table_uuid=f"uuid-{group}",
        snapshot_id=snapshot,
        sequence=1,
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
    """Both events have the run, whose id derives from the manifest's; times are UTC."""
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
    """They have OpenLineage's namespace and name for Glue tables, and the Iceberg snapshot as version."""
    _, complete = built()
    assert [(i["namespace"], i["name"], i["facets"]["version"]["datasetVersion"]) for i in complete["inputs"]] == [
        (CATALOG, "table/demand_features/sales_v1", "11"),
        (CATALOG, "table/demand_features/prices_v1", "22"),
    ]
    doubled = replace(MANIFEST, features=(*MANIFEST.features, pinned("sales", 11, ("units",))))
    assert len(built(doubled)[1]["inputs"]) == 2


def test_the_output_is_the_set_with_schema_size_and_version():
    """Namespace is the bucket, name the key, version the manifest's id."""
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
    """Renamed columns too; keys and times are indirect inputs of the rows."""
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
    """Without a table of labels, the input is the file of entity rows."""
    rows = EntityRows(timestamp="asked_at", rows=6, content_hash="h1:1", sha256="b" * 64, columns=("store_id",))
    _, complete = built(replace(MANIFEST, entities=None, entity_rows=rows))
    assert [(i["namespace"], i["name"]) for i in complete["inputs"]] == [
        (CATALOG, "table/demand_features/prices_v1"),
        ("s3://sets", f"entities/{'b' * 64}.parquet"),
    ]


def test_code_and_parent_are_told_where_they_are_known():
    """The caller gives them, or the manifest gives the code; otherwise the facets are absent."""
    _, plain = built()
    assert "sourceCodeLocation" not in plain["job"]["facets"]
    assert "parent" not in plain["run"]["facets"]
    parent = ParentRun(run_id=str(uuid.UUID(int=7)), namespace="airflow", job="nightly")
    code = CodeLocation(url="https://git.example/a/b.py", commit="c0ffee")
    _, reported = built(source=replace(SOURCE, parent=parent, code=code))
    assert reported["run"]["facets"]["parent"]["run"]["runId"] == parent.run_id
    assert reported["run"]["facets"]["parent"]["job"] == {"namespace": "airflow", "name": "nightly", "facets": {}}
    assert reported["job"]["facets"]["sourceCodeLocation"]["url"] == code.url
    source = {"repository": "https://git.example/a.git", "commit": "beef"}
    _, read = built(replace(MANIFEST, build=replace(MANIFEST.build, source=source)))
    location = read["job"]["facets"]["sourceCodeLocation"]
    assert (location["url"], location["version"]) == (source["repository"], "beef")


def test_a_failed_build_says_why_and_each_attempt_is_a_run():
    """The run is identified by plan, cutoff and start; a second attempt is another run."""
    start, fail = training_set_failure(PLAN, SOURCE, as_of=START, error="no labels", started=START, now=NOW)
    assert (start["eventType"], fail["eventType"]) == ("START", "FAIL")
    assert fail["run"]["facets"]["errorMessage"]["message"] == "no labels"
    assert start["run"]["runId"] == fail["run"]["runId"]
    later = START + timedelta(hours=1)
    _, again = training_set_failure(PLAN, SOURCE, as_of=START, error="no labels", started=later, now=later)
    assert again["run"]["runId"] != fail["run"]["runId"]


def test_an_ingest_writes_a_snapshot_and_names_its_checks():
    """The table is the output with schema, snapshot and rows; checks are reported on the input, as specified."""
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
    """FAIL has the reason and no output; a later successful ingest is another run."""
    ingest = Ingest(group=PRICES, database="demand_features", key="k")
    _, fail = ingest_failure(ingest, SOURCE, error="price is null", started=START, now=NOW)
    assert (fail["eventType"], fail["outputs"]) == ("FAIL", [])
    assert fail["run"]["facets"]["errorMessage"]["message"] == "price is null"
    _, complete = ingest_events(ingest, SOURCE, started=START, now=NOW)
    assert complete["run"]["runId"] != fail["run"]["runId"]
    assert "outputStatistics" not in complete["outputs"][0]["outputFacets"]


def test_a_parent_that_is_no_uuid_is_refused():
    """Run ids are UUIDs by the specification."""
    parent = ParentRun(run_id="nightly", namespace="airflow", job="nightly")
    with pytest.raises(ValueError, match="badly formed hexadecimal UUID"):
        built(source=replace(SOURCE, parent=parent))


@given(st.text(), st.text(), st.text())
def test_run_ids_tell_runs_apart_and_stay_the_same(namespace, one, other):
    """The same operation in the same namespace is one run; any other is another."""
    source = replace(SOURCE, namespace=namespace)
    assert uuid.UUID(run_id(source, one)).version == 5
    assert (run_id(source, one) == run_id(source, other)) is (one == other)


def event(run: str, state: str, time: str = "2017-01-01T00:00:00Z"):
    """Return an event."""
    return {"eventType": state, "eventTime": time, "run": {"runId": run}}


EVENTS = [event("b", "START"), event("b", "COMPLETE"), event("a", "START", "2017-01-01T00:00:01Z")]


class Collector:
    """A transport that accepts the events that it is configured to accept."""

    def __init__(self, refuse=()):
        self.got, self.refuse = [], set(refuse)

    def emit(self, event):
        """Accept an event, or fail."""
        name = f"{event['run']['runId']}-{event['eventType']}"
        if name in self.refuse:
            raise ConnectionError(f"{name}: nobody there")
        self.got.append(name)


@pytest.fixture(params=["folder", "s3"])
def outbox(request, tmp_path):
    """Return an outbox in a folder, and one in S3."""
    if request.param == "folder":
        yield LineageOutbox(tmp_path / "lineage")
        return
    import boto3

    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="sets")
        yield LineageOutbox("s3://sets/lineage/", s3=s3)


def test_events_are_kept_once_and_delivered_in_order(outbox):
    """START precedes the end of its run, and older runs come first; accepted events are not sent again."""
    assert outbox.put(EVENTS) == ("b-START", "b-COMPLETE", "a-START")
    assert outbox.put(EVENTS) == ()
    assert outbox.pending() == ("a-START", "b-COMPLETE", "b-START")
    collector = Collector()
    delivery = outbox.deliver_pending(collector, now=SENT_AT)
    assert delivery.delivered == ("b-START", "b-COMPLETE", "a-START") == tuple(collector.got)
    assert delivery.problem is None
    assert outbox.pending() == ()
    assert outbox.put(EVENTS) == ()
    assert outbox.deliver_pending(collector, now=SENT_AT).delivered == ()


def test_what_nobody_takes_waits_and_is_said(outbox):
    """If the collector is unavailable, the rest is not tried; the next delivery sends everything."""
    outbox.put(EVENTS)
    delivery = outbox.deliver_pending(Collector(refuse={"b-COMPLETE"}), now=SENT_AT)
    assert (delivery.delivered, delivery.untried) == (("b-START",), ("a-START",))
    assert delivery.problem == (
        "2 lineage events wait for the next delivery: b-COMPLETE: ConnectionError: b-COMPLETE: nobody there"
    )
    assert outbox.pending() == ("a-START", "b-COMPLETE")
    collector = Collector()
    assert outbox.deliver_pending(collector, now=SENT_AT).problem is None
    assert collector.got == ["b-COMPLETE", "a-START"]


@given(st.lists(st.sampled_from(["put", "away", "deliver"]), max_size=8), st.data())
def test_no_event_is_lost_or_reordered_within_its_run(tmp_path_factory, steps, data):
    """After any failures, every stored event is delivered, START first."""
    outbox, collector = LineageOutbox(tmp_path_factory.mktemp("outbox")), Collector()
    put = []
    for number, step in enumerate(steps):
        if step == "put":
            run, time = f"r{number}", f"2017-01-01T00:00:0{data.draw(st.integers(0, 9))}Z"
            put += outbox.put([event(run, "START", time), event(run, "COMPLETE", time)])
        elif put:
            collector.refuse = {data.draw(st.sampled_from(put))} if step == "away" else set()
            outbox.deliver_pending(collector, now=SENT_AT)
    collector.refuse = set()
    outbox.deliver_pending(collector, now=SENT_AT)
    assert outbox.pending() == ()
    assert sorted(collector.got) == sorted(put)
    for name in put:
        run = name.partition("-")[0]
        assert collector.got.index(f"{run}-START") < collector.got.index(f"{run}-COMPLETE")


class Marquez(BaseHTTPRequestHandler):
    """An HTTP collector with scripted responses."""

    answers: list[int]
    got: list[tuple[str, str, dict]]

    def do_POST(self):
        """Accept an event."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.got.append((self.path, self.headers.get("authorization", ""), body))
        self.send_response(self.answers.pop(0) if self.answers else 201)
        self.end_headers()

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture
def marquez():
    """Run a collector; return its URL and handler."""
    handler = type("Handler", (Marquez,), {"answers": [], "got": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_events_go_over_http_by_openlineages_own_transport(tmp_path, marquez):
    """POST to /api/v1/lineage with the key as bearer token; a rejected event is reported and the others are sent."""
    url, handler = marquez
    handler.answers += [201, 422, 201]
    outbox = LineageOutbox(tmp_path)
    outbox.put(EVENTS)
    delivery = outbox.deliver_pending(http_transport(url, api_key="secret"), now=SENT_AT)
    assert [(path, key) for path, key, _ in handler.got] == [("/api/v1/lineage", "Bearer secret")] * 3
    assert handler.got[0][2] == EVENTS[0]
    assert delivery.delivered == ("b-START", "a-START")
    assert delivery.problem.startswith("1 lineage events wait for the next delivery: b-COMPLETE: HTTPError: 422")


def test_a_collector_that_is_away_costs_one_event(tmp_path, marquez):
    """A failing collector gets one event, three times; the rest is not tried."""
    url, handler = marquez
    handler.answers += [503] * 3
    outbox = LineageOutbox(tmp_path)
    outbox.put(EVENTS)
    delivery = outbox.deliver_pending(http_transport(url), now=SENT_AT)
    assert (delivery.delivered, len(delivery.untried), len(handler.got)) == ((), 2, 3)
    assert outbox.deliver_pending(http_transport(url), now=SENT_AT).problem is None


def test_events_go_to_a_file_one_a_line(tmp_path):
    """OpenLineage's file transport appends them."""
    outbox = LineageOutbox(tmp_path / "outbox")
    outbox.put(EVENTS[:2])
    assert outbox.deliver_pending(file_transport(tmp_path / "events.jsonl"), now=SENT_AT).problem is None
    assert [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()] == EVENTS[:2]
    outbox.put(EVENTS[2:])
    (tmp_path / "none").touch()
    failed = outbox.deliver_pending(file_transport(tmp_path / "none" / "x"), now=SENT_AT)
    assert "a-START: RuntimeError: Failed to write to log file" in failed.problem


def test_fails_when_the_outbox_cannot_be_written(tmp_path):
    """Names the file in place of a folder, the missing bucket or the missing client."""
    (tmp_path / "file").touch()
    with pytest.raises(LineageOutboxError, match=r"cannot write events/b-START.json in .*file: "):
        LineageOutbox(tmp_path / "file").put(EVENTS)
    with pytest.raises(LineageOutboxError, match="s3://sets/lineage is in S3; pass a client"):
        LineageOutbox("s3://sets/lineage")
    with pytest.raises(LineageOutboxError, match="url must begin with http:// or https://, got 'marquez'"):
        http_transport("marquez")
    import boto3

    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        outbox = LineageOutbox("s3://none/lineage", s3=s3)
        with pytest.raises(
            LineageOutboxError, match=r"cannot write events/b-START.json in s3://none/lineage/: .*NoSuchBucket"
        ) as error:
            outbox.put(EVENTS)
        assert isinstance(error.value.__cause__, ClientError)
        with pytest.raises(LineageOutboxError, match="cannot list s3://none/lineage/"):
            outbox.pending()
