"""The outbox: events are kept before they are delivered, and delivered until they are taken."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from mlops_runtime.features.lineage_outbox import (
    LineageOutbox,
    LineageOutboxError,
    file_transport,
    http_transport,
)

NOW = datetime(2017, 1, 1, tzinfo=UTC)


def event(run: str, state: str, time: str = "2017-01-01T00:00:00Z"):
    """Return an event."""
    return {"eventType": state, "eventTime": time, "run": {"runId": run}}


EVENTS = [event("b", "START"), event("b", "COMPLETE"), event("a", "START", "2017-01-01T00:00:01Z")]


class Collector:
    """A transport that takes what it is told to take."""

    def __init__(self, refuse=()):
        self.got, self.refuse = [], set(refuse)

    def emit(self, event):
        """Take an event, or be away."""
        name = f"{event['run']['runId']}-{event['eventType']}"
        if name in self.refuse:
            raise ConnectionError(f"{name}: nobody there")
        self.got.append(name)


@pytest.fixture(params=["folder", "s3"])
def outbox(request, tmp_path):
    """Give an outbox in a folder, and one in S3."""
    if request.param == "folder":
        yield LineageOutbox(tmp_path / "lineage")
        return
    import boto3

    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="sets")
        yield LineageOutbox("s3://sets/lineage/", s3=s3)


def test_events_are_kept_once_and_delivered_in_order(outbox):
    """START before the end of its run, older runs first; what was taken is not sent again."""
    assert outbox.put(EVENTS) == ("b-START", "b-COMPLETE", "a-START")
    assert outbox.put(EVENTS) == ()
    assert outbox.pending() == ("a-START", "b-COMPLETE", "b-START")
    collector = Collector()
    delivery = outbox.deliver_pending(collector, now=NOW)
    assert delivery.delivered == ("b-START", "b-COMPLETE", "a-START") == tuple(collector.got)
    assert delivery.problem is None
    assert outbox.pending() == ()
    assert outbox.put(EVENTS) == ()
    assert outbox.deliver_pending(collector, now=NOW).delivered == ()


def test_what_nobody_takes_waits_and_is_said(outbox):
    """When the collector is away the rest is not tried; the next delivery takes all."""
    outbox.put(EVENTS)
    delivery = outbox.deliver_pending(Collector(refuse={"b-COMPLETE"}), now=NOW)
    assert (delivery.delivered, delivery.untried) == (("b-START",), ("a-START",))
    assert delivery.problem == (
        "2 lineage events wait for the next delivery: b-COMPLETE: ConnectionError: b-COMPLETE: nobody there"
    )
    assert outbox.pending() == ("a-START", "b-COMPLETE")
    collector = Collector()
    assert outbox.deliver_pending(collector, now=NOW).problem is None
    assert collector.got == ["b-COMPLETE", "a-START"]


@given(st.lists(st.sampled_from(["put", "away", "deliver"]), max_size=8), st.data())
def test_no_event_is_lost_or_reordered_within_its_run(tmp_path_factory, steps, data):
    """Whatever goes wrong in between, at the end every event that was kept was delivered, START first."""
    outbox, collector = LineageOutbox(tmp_path_factory.mktemp("outbox")), Collector()
    put = []
    for number, step in enumerate(steps):
        if step == "put":
            run, time = f"r{number}", f"2017-01-01T00:00:0{data.draw(st.integers(0, 9))}Z"
            put += outbox.put([event(run, "START", time), event(run, "COMPLETE", time)])
        elif put:
            collector.refuse = {data.draw(st.sampled_from(put))} if step == "away" else set()
            outbox.deliver_pending(collector, now=NOW)
    collector.refuse = set()
    outbox.deliver_pending(collector, now=NOW)
    assert outbox.pending() == ()
    assert sorted(collector.got) == sorted(put)
    for name in put:
        run = name.partition("-")[0]
        assert collector.got.index(f"{run}-START") < collector.got.index(f"{run}-COMPLETE")


class Marquez(BaseHTTPRequestHandler):
    """A collector over HTTP that answers with what the test says."""

    answers: list[int]
    got: list[tuple[str, str, dict]]

    def do_POST(self):
        """Take an event."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.got.append((self.path, self.headers.get("authorization", ""), body))
        self.send_response(self.answers.pop(0) if self.answers else 201)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def marquez():
    """Run a collector; give its URL and handler."""
    handler = type("Handler", (Marquez,), {"answers": [], "got": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_events_go_over_http_by_openlineages_own_transport(tmp_path, marquez):
    """POST to /api/v1/lineage with the key as bearer token; a refused event is told and the others go on."""
    url, handler = marquez
    handler.answers += [201, 422, 201]
    outbox = LineageOutbox(tmp_path)
    outbox.put(EVENTS)
    delivery = outbox.deliver_pending(http_transport(url, api_key="secret"), now=NOW)
    assert [(path, key) for path, key, _ in handler.got] == [("/api/v1/lineage", "Bearer secret")] * 3
    assert handler.got[0][2] == EVENTS[0]
    assert delivery.delivered == ("b-START", "a-START")
    assert delivery.problem.startswith("1 lineage events wait for the next delivery: b-COMPLETE: HTTPError: 422")


def test_a_collector_that_is_away_costs_one_event(tmp_path, marquez):
    """A broken collector is asked for one event alone, three times; the rest stays untried."""
    url, handler = marquez
    handler.answers += [503] * 3
    outbox = LineageOutbox(tmp_path)
    outbox.put(EVENTS)
    delivery = outbox.deliver_pending(http_transport(url), now=NOW)
    assert (delivery.delivered, len(delivery.untried), len(handler.got)) == ((), 2, 3)
    assert outbox.deliver_pending(http_transport(url), now=NOW).problem is None


def test_events_go_to_a_file_one_a_line(tmp_path):
    """OpenLineage's file transport appends them."""
    outbox = LineageOutbox(tmp_path / "outbox")
    outbox.put(EVENTS[:2])
    assert outbox.deliver_pending(file_transport(tmp_path / "events.jsonl"), now=NOW).problem is None
    assert [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()] == EVENTS[:2]
    outbox.put(EVENTS[2:])
    (tmp_path / "none").touch()
    failed = outbox.deliver_pending(file_transport(tmp_path / "none" / "x"), now=NOW)
    assert "a-START: RuntimeError: Failed to write to log file" in failed.problem


def test_fails_when_the_outbox_cannot_be_written(tmp_path):
    """A folder that is a file, a bucket that is not there, a client that is missing: each is said with its name."""
    (tmp_path / "file").touch()
    with pytest.raises(LineageOutboxError, match=r"cannot write events/b-START.json in .*file: "):
        LineageOutbox(tmp_path / "file").put(EVENTS)
    with pytest.raises(LineageOutboxError, match="s3://sets/lineage is in S3; give a client"):
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
