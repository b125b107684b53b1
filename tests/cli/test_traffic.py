"""A replay with the command, on the embedded cloud: rows at their times, labels when due, resumable."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit

from mlops_cli.aws_account import Account

Run = Callable[..., Any]


@pytest.fixture
def model() -> Iterator[tuple[str, list[Any]]]:
    """A model that adds the columns and rejects negative values; it records its input."""
    seen: list[Any] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
            seen.append(rows)
            self.send_response(400 if any(row["x"] < 0 for row in rows) else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"predictions": [row["x"] for row in rows]}).encode())

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


@pytest.fixture
def shop(model: tuple[str, list[Any]], deployed: DeployedUnit) -> DeployedUnit:
    """An endpoint with an address and a bucket for labels."""
    bucket = f"{deployed.name}-captures"
    deployed.s3.create_bucket(Bucket=bucket)
    deployed.publish(replace(deployed.endpoint_entry, url=model[0], capture_bucket=bucket))
    return deployed


def _write(path: Path, start: datetime, xs: list[float]) -> Path:
    lines = [f"{start + timedelta(hours=hour):%Y-%m-%dT%H:%M},{x},{10 * x:g}" for hour, x in enumerate(xs)]
    path.write_text("\n".join(["at,x,units", *lines]))
    return path


def _now(unit: DeployedUnit) -> datetime:
    return datetime.fromisoformat(unit.cloud.clock()["now"]).astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def test_rows_come_at_their_times_and_labels_when_they_are_due(
    shop: DeployedUnit, on_cloud: Run, tmp_path: Path
) -> None:
    """The JSON has the outcome of each row; the clock is past the last label."""
    start = _now(shop) + timedelta(hours=2)
    file = _write(tmp_path / "rows.csv", start + timedelta(minutes=5), [1, 2, -3, 4])
    done = on_cloud(
        *(
            "traffic",
            "replay",
            shop.endpoint,
            file,
            "--time",
            "at",
            "--labels",
            "units",
            "--label-delay",
            "3h",
            "--json",
        )
    )
    assert done.returncode == 0
    output = json.loads(done.stdout)
    assert (output["rows"], output["calls"], output["answers"]) == (4, 4, {"200": 3, "400": 1})
    assert (output["labels_added"], output["labels_unknown"]) == (4, 0)
    assert f"{start:%Y-%m-%dT%H}: 1 of 4 rows" in done.stderr
    assert _now(shop) == start + timedelta(hours=7)
    keys = [e["Key"] for e in shop.s3.list_objects_v2(Bucket=f"{shop.name}-captures", Prefix="labels/")["Contents"]]
    assert [key.split("/", 2)[2][:13] for key in keys] == [
        f"{start + timedelta(hours=hour):%Y/%m/%d/%H}" for hour in (4, 5, 6, 7)
    ]


def test_rows_of_the_past_are_shifted(
    model: tuple[str, list[Any]], shop: DeployedUnit, on_cloud: Run, tmp_path: Path
) -> None:
    """The shift is printed and has whole weeks; without the option nothing is sent."""
    file = _write(tmp_path / "rows.csv", _now(shop) - timedelta(weeks=52) + timedelta(hours=3), [1, 2])
    refused = on_cloud("traffic", "replay", shop.endpoint, file, "--time", "at")
    assert (refused.returncode, model[1]) == (1, [])
    assert "cannot be set back; add --shift to move the rows by whole weeks" in refused.stderr
    done = on_cloud("traffic", "replay", shop.endpoint, file, "--time", "at", "--shift", "--leave-out", "units")
    assert done.stdout == f"{shop.endpoint}: 2 rows in 2 calls\n200: 2 rows\n"
    assert model[1] == [[{"x": 1}], [{"x": 2}]]


def test_an_account_gets_all_rows_now(
    shop: DeployedUnit, on_cloud: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a movable clock `--now` is required."""
    monkeypatch.setattr(Account, "has_movable_clock", lambda _: False)
    before = _now(shop)
    file = _write(tmp_path / "rows.csv", before - timedelta(weeks=52), [1, 2])
    arguments = ("traffic", "replay", shop.endpoint, file, "--time", "at", "--labels", "units")
    assert (
        "only on the embedded cloud, which has a movable clock; add --now to send them now"
        in on_cloud(*arguments).stderr
    )
    done = on_cloud(*arguments, "--now", "--json")
    assert (json.loads(done.stdout)["rows"], json.loads(done.stdout)["labels_added"]) == (2, 2)
    assert _now(shop) - before <= timedelta(hours=1)


def test_an_interrupted_replay_says_where_to_go_on(
    shop: DeployedUnit, on_cloud: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resume time is in the file's time, even if rows are shifted; sent rows stay sent."""
    start = _now(shop) - timedelta(weeks=52) + timedelta(hours=3)
    file = _write(tmp_path / "rows.csv", start, [1, 2, 3])
    move, moved = Account.move_clock, []

    def moves(aws: Account, to: datetime) -> None:
        moved.append(to)
        if len(moved) == 3:
            raise KeyboardInterrupt
        move(aws, to)

    monkeypatch.setattr(Account, "move_clock", moves)
    done = on_cloud("traffic", "replay", shop.endpoint, file, "--time", "at", "--shift", "--json")
    assert done.returncode == 130
    output = json.loads(done.stdout)
    assert output["rows"] == 2
    last, later = start + timedelta(hours=1), start + timedelta(hours=2)
    assert (
        f"the last complete hour is {last:%Y-%m-%dT%H}; to continue, use the same options and --from {later:%Y-%m-%dT%H}"
        in output["error"]
    )


def test_fails_on_what_cannot_be_replayed(shop: DeployedUnit, on_cloud: Run, tmp_path: Path) -> None:
    """Covers invalid times, delays below an hour, a range without rows, and labels without capture."""
    file = _write(tmp_path / "rows.csv", _now(shop) + timedelta(hours=2), [1])
    arguments = ("traffic", "replay", shop.endpoint, file, "--time")
    assert "a time must be a timestamp or ISO 8601; 1 row has another value" in on_cloud(*arguments, "x").stderr
    assert on_cloud(*arguments, "at", "--label-delay", "90m").returncode == 2
    far = on_cloud(*arguments, "at", "--label-delay", "9999999d")
    assert (far.returncode, far.stderr.startswith("mlops: --label-delay must stay within the years 1 to 9999")) == (
        1,
        True,
    )
    assert "no row is in the requested period, got 1" in on_cloud(*arguments, "at", "--to", "2017-08-07").stderr
    shop.publish(replace(shop.endpoint_entry, url="http://127.0.0.1:9"))
    assert "captures nothing" in on_cloud(*arguments, "at", "--labels", "units").stderr
    assert "no call of the first hour succeeded (no answer)" in on_cloud(*arguments, "at", "--now").stderr
