"""Finding stored reports: the newest, by hour, before another one, with usable counts and baseline."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.runtime.monitor import reports

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.monitor import Counts
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import TakenBack
from mlops_runtime.monitor.archive import Archive
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.monitor.window import Window

BUCKET, ENDPOINT, URI = "artifacts", "demand-forecast", "s3://artifacts/evaluations/baseline.json"
NOW = datetime(2017, 8, 8, 6, 20, tzinfo=UTC)


class Shelf:
    """A bucket with reports of seven days."""

    def __init__(self) -> None:
        self.s3: Any = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        self.s3.create_bucket(Bucket=BUCKET)
        self.store = MonitorStore(self.s3, endpoint=ENDPOINT, artifacts=BUCKET)
        self.archive = Archive(self.s3, endpoint=ENDPOINT, artifacts=BUCKET)
        self.counts = reports.counts_of(reports.BASELINE)
        self.s3.put_object(Bucket=BUCKET, Key="evaluations/baseline.json", Body=canonical_json(reports.BASELINE))
        for day in range(2, 9):
            self.put(reports.report_of(day, reports.QUIET, baseline_uri=URI), self.counts)

    def put(self, report: MonitorReport, counts: Counts | None) -> None:
        """Write the files of a run."""
        files = {"objects.json": b"{}", **({} if counts is None else {"counts.json": canonical_json(counts)})}
        self.store.put_report(report, files, datetime.fromisoformat(report.window_until))


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    """Return a shelf in moto's S3."""
    with mock_aws():
        yield Shelf()


def _days(found: list[MonitorReport]) -> list[str]:
    return [report.window_until[8:10] for report in found]


def test_the_newest_come_first(shelf: Shelf) -> None:
    """Includes this hour's report and falls back to those of earlier years; an empty bucket has none."""
    assert _days(shelf.archive.newest(NOW)) == ["08"]
    assert _days(shelf.archive.newest(NOW, most=3)) == ["08", "07", "06"]
    assert _days(shelf.archive.newest(NOW - timedelta(days=1), most=2)) == ["07", "06"]
    assert _days(shelf.archive.newest(NOW + timedelta(days=700))) == ["08"]
    assert shelf.archive.newest(NOW - timedelta(days=30)) == []


def test_a_model_that_nothing_watches_costs_two_calls(shelf: Shelf) -> None:
    """One call lists the last days, one checks for any report."""
    requests: list[str] = []
    shelf.s3.meta.events.register("provide-client-params.s3.*", lambda model, **_: requests.append(model.name))

    assert Archive(shelf.s3, endpoint="other", artifacts="artifacts").newest(NOW) == []
    assert requests == ["ListObjectsV2", "ListObjectsV2"]


def test_a_window_is_found_by_the_hour_in_which_it_ended(shelf: Shelf) -> None:
    """Any minute of the hour finds it."""
    found = shelf.archive.at(NOW - timedelta(days=3))

    assert found is not None
    assert found.window_until == "2017-08-05T06:00:00Z"
    assert shelf.archive.at(NOW - timedelta(hours=1)) is None
    assert shelf.archive.at(NOW + timedelta(hours=1)) is None


def test_history_is_what_came_before(shelf: Shelf) -> None:
    """Newest first, up to the requested number."""
    report = shelf.archive.newest(NOW - timedelta(days=2))[0]

    assert _days(shelf.archive.history(report, most=2)) == ["05", "04"]
    assert _days(shelf.archive.history(report, most=50)) == ["05", "04", "03", "02"]


def test_a_report_comes_with_its_counts_and_baseline(shelf: Shelf) -> None:
    """Both are read back unchanged."""
    kept = shelf.archive.kept(shelf.archive.newest(NOW)[0])

    assert (kept.baseline, kept.counts, kept.problem) == (reports.BASELINE, shelf.counts, "")


def test_what_cannot_be_used_is_left_out_with_the_reason(shelf: Shelf) -> None:
    """Reasons: a changed, missing or unreadable baseline, a flaw known to the run, and missing or invalid counts."""
    report = shelf.archive.newest(NOW)[0]

    def problem(**changes: Any) -> str:
        kept = shelf.archive.kept(replace(report, **changes))
        assert kept.baseline is None
        return kept.problem

    assert problem(baseline_flaw="it was changed") == "it was changed"
    assert problem(baseline_uri=None) == "no model was live"
    assert (
        problem(baseline_uri="s3://artifacts/nowhere")
        == "the baseline s3://artifacts/nowhere is missing, or may not be read"
    )
    assert problem(baseline_sha256="f" * 64) == f"the baseline {URI} was changed after this window was decided"
    other = reports.report_of(10, reports.QUIET, baseline_uri=URI)
    shelf.put(other, None)
    assert shelf.archive.kept(other).problem == "this run stored no counts"
    folder = "monitor/demand-forecast/reports/2017-08-10T06"
    shelf.s3.put_object(Bucket=BUCKET, Key=f"{folder}/counts.json", Body=b"{}")
    assert shelf.archive.kept(other).counts is None


def test_counts_by_hour_are_of_one_baseline(shelf: Shelf) -> None:
    """Several objects per hour are read; those of another baseline are counted, other hours ignored."""
    window = Window.before(NOW, 24)
    other = replace(shelf.counts, baseline_sha256="f" * 64)
    for hours, name, counts in (
        (1, "a", shelf.counts),
        (1, "b", shelf.counts),
        (3, "c", other),
        (30, "d", shelf.counts),
    ):
        at = window.end - timedelta(hours=hours)
        shelf.store.put_counts(f"monitor/{ENDPOINT}/counts/AllTraffic/{at:%Y/%m/%d/%H}/{name}.json", counts)

    found = shelf.archive.hourly("AllTraffic", window, reports.BASELINE)

    assert [hour for hour, _ in found.parts] == [window.end - timedelta(hours=1)] * 2
    assert {counts.baseline_sha256 for _, counts in found.parts} == {content_hash(reports.BASELINE)}
    assert found.others == 1


def test_objects_with_calls_of_a_rollout_that_was_taken_back_are_left_out(shelf: Shelf) -> None:
    """Excludes them like the monitor; objects of another baseline are classed as such at any time."""
    other = replace(shelf.counts, baseline_sha256="f" * 64)
    for name, counts, minute in (("a", shelf.counts, 5), ("b", shelf.counts, 45), ("c", other, 5)):
        timed = replace(counts, first=f"2017-08-08T04:{minute:02}:00Z", last=f"2017-08-08T04:{minute + 10:02}:00Z")
        shelf.store.put_counts(f"monitor/{ENDPOINT}/counts/AllTraffic/2017/08/08/04/{name}.json", timed)
    aside = [TakenBack(since="2017-08-08T04:10:00Z", until="2017-08-08T04:20:00Z")]

    found = shelf.archive.hourly("AllTraffic", Window.before(NOW, 24), reports.BASELINE, aside=aside)

    assert [counts.first for _, counts in found.parts] == ["2017-08-08T04:45:00Z"]
    assert (found.others, found.taken_back) == (1, 1)
    assert len(shelf.archive.hourly("AllTraffic", Window.before(NOW, 24), reports.BASELINE).parts) == 2
