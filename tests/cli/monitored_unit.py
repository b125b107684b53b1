"""A deployed unit with six days of monitor results: counts, reports and the baseline as the functions write them."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import Outcome
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.scheduled_run import DecideSettings, decide_window
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.monitor.window import Window
from mlops_runtime.rollout.rollout_table import RolloutTable

DAYS, DRIFTING = 6, 3  # on the last of these days the price is a third higher
ROWS = 600
VARIANT = "AllTraffic"
TYPES = {"price": "number", "store": "category", "basket_id": "category"}


def columns(
    random: np.random.Generator, rows: int, *, price: float = 1.0, first: int = 0
) -> dict[str, np.ndarray | list[str]]:
    """Return rows of three columns."""
    return {
        "price": (price * random.lognormal(1.0, 0.4, rows)).astype(np.float32),
        "store": [f"store {n}" for n in random.integers(0, 4, rows)],
        "basket_id": [f"basket-{first + n}" for n in range(rows)],
    }


class MonitoredUnit:
    """The unit, and the files of its monitor."""

    def __init__(self, unit: DeployedUnit) -> None:
        self.unit, self.cloud, self.endpoint = unit, unit.cloud, unit.endpoint
        self.artifacts = f"{unit.name}-artifacts"
        unit.s3.create_bucket(Bucket=self.artifacts)
        unit.s3.create_bucket(Bucket=f"{unit.name}-captures")
        unit.publish(replace(unit.unit_entry, artifacts_bucket=self.artifacts))
        self.baseline_key = f"evaluations/{self.endpoint}/1/baseline.json"
        self.store = MonitorStore(
            unit.s3, endpoint=self.endpoint, artifacts=self.artifacts, captures=f"{unit.name}-captures"
        )
        self.now = (
            datetime.fromisoformat(self.cloud.clock()["now"]).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        )
        self.random = np.random.default_rng(5)
        self.baseline = self._fit()
        self.reports = [self._day(day) for day in range(DAYS)]

    def hour(self, days: int) -> str:
        """Return the hour that is ``days`` before the end of the newest window."""
        return f"{self.now - timedelta(days=days):%Y-%m-%dT%H}"

    def first_counts(self, window: Window) -> str:
        """Return the key of the first counts object of a window."""
        by_hour = self.store.counts_by_hour(VARIANT, window)
        return next(key for objects in by_hour.values() for keys in objects.values() for key in keys)

    def _fit(self) -> Baseline:
        baseline = fit_baseline(
            columns(self.random, 8000),
            types=TYPES,
            training_set_id="c" * 64,
            created="2017-07-01T00:00:00Z",
            prediction=self.random.poisson(4, 8000).astype(np.float32),
        )
        body = canonical_json(baseline)
        self.unit.s3.put_object(Bucket=self.artifacts, Key=self.baseline_key, Body=body)
        self.unit.serve(
            1,
            Outcome.PROMOTED,
            baseline_uri=f"s3://{self.artifacts}/{self.baseline_key}",
            baseline_sha256=hashlib.sha256(body).hexdigest(),
            since="2017-07-01T00:00:00Z",
        )
        return baseline

    def _day(self, day: int) -> MonitorReport:
        end = self.now - timedelta(days=DAYS - 1 - day)
        for hours in (20, 5):
            at = end - timedelta(hours=hours)
            rows = columns(
                self.random, ROWS // 2, price=1.35 if day >= DAYS - DRIFTING else 1.0, first=10**6 * (day + hours)
            )
            counts = count_columns(
                rows, self.baseline, predictions=self.random.poisson(4, ROWS // 2).astype(np.float32)
            )
            self.store.put_counts(f"monitor/{self.endpoint}/counts/{VARIANT}/{at:%Y/%m/%d/%H}/one.json", counts)
            self.unit.s3.put_object(
                Bucket=f"{self.unit.name}-captures",
                Key=f"capture/{self.endpoint}/{VARIANT}/{at:%Y/%m/%d/%H}/one.jsonl",
                Body=b"",
            )
        settings = DecideSettings(
            endpoint=self.endpoint,
            variant=VARIANT,
            unit=self.unit.name,
            bus="default",
            window_hours=24,
            spec=MonitorSpec(minimum_rows=100),
        )
        return decide_window(
            end + timedelta(minutes=15),  # captures have arrived
            settings,
            store=self.store,
            table=RolloutTable(self.unit.dynamodb, f"{self.unit.name}-rollout", self.endpoint),
            cloudwatch=self.cloud.client("cloudwatch"),
            events=self.cloud.client("events"),
        )
