"""From a file to a serving model, with the commands of the generated README, on the embedded cloud."""

from __future__ import annotations

import json
import math
import sys
from contextlib import chdir
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.pipeline_run import LOCK
from typer.testing import CliRunner

from mlops_cli import project_packages
from mlops_cli.__main__ import app as command
from mlops_cli.project_packages import PackageSources
from mlops_local import cloud as local_cloud
from mlops_runtime.image.uv_program import MissingUvError, find_uv

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cloud

STORES, DAYS = 20, 100


def write_sales(path: Path, *, days: int = DAYS, codes: bool = False) -> None:
    """Write a table in which sales fall with the price, differently per store, so that a mean cannot predict them."""
    rows = [(day, store) for day in range(days) for store in range(STORES)]
    price = [1 + (day * 7 + store * 3) % 17 / 2 for day, store in rows]
    table = {
        "store": [store if codes else f"s{store:02}" for _, store in rows],
        "day": [datetime(2026, 1, 1) + timedelta(days=day) for day, _ in rows],
        "price": price,
        "shelf": [None if (day + store) % 11 == 0 else "top" if (day + store) % 3 else "low" for day, store in rows],
        "units": [
            round(30 * math.exp(-value / 4) * (1 + store / 10)) for value, (_, store) in zip(price, rows, strict=True)
        ],
    }
    pq.write_table(pa.table(table), path)


class Shop:
    """A project and its cloud, used with the command."""

    def __init__(self, folder: Path, cloud: local_cloud.Cloud) -> None:
        self.folder, self.cloud = folder, cloud

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a verb in the project's folder, which must exit with one of the codes."""
        with chdir(self.folder):
            result = CliRunner().invoke(command, [*arguments, "--home", str(self.cloud.home)])
        assert result.exit_code in codes, (arguments, result.output, result.exception)
        return str(result.stdout)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_cloud.Cloud]:
    """Start a cloud for both projects."""
    try:
        find_uv()
    except MissingUvError as error:
        pytest.skip(str(error))
    found = local_cloud.up(tmp_path_factory.mktemp("home") / "cloud", clock_scale=60.0)
    try:
        yield found
    finally:
        found.down(forget=True)


def deployed(folder: Path, name: str, cloud: local_cloud.Cloud, *options: str) -> Shop:
    """Create a project from the sales file in a folder, and deploy it."""
    answers = ("--data", "sales.parquet", "--label", "units", "--time", "day", "--key", "store", *options)
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.setattr(project_packages, "package_sources", lambda index=None: PackageSources(index=index))
        patch.setattr(project_packages, "lock", lambda folder, name: (folder / name).write_bytes(LOCK.read_bytes()))
        made = CliRunner().invoke(command, ["new", name, *answers])
        assert made.exit_code == 0, (made.output, made.exception)
    found = Shop(folder / name, cloud)
    found.run("deploy", "--app", f"{sys.executable} app.py")
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, cloud: local_cloud.Cloud) -> Shop:
    """Create a project from a file, and deploy it."""
    folder = tmp_path_factory.mktemp("journey")
    write_sales(folder / "sales.parquet")
    return deployed(folder, "shop", cloud)


def test_a_file_becomes_a_model_that_serves(shop: Shop) -> None:
    """Trained on the file, better than the generated baselines, approved, rehearsed, invoked."""
    verdict: dict[str, Any] = json.loads(
        shop.run("train", "--data", "../sales.parquet", "--reason", "the first model", "--json")
    )
    assert verdict["outcome"] == "REGISTERED", verdict
    shown = shop.run("models", "show", "shop-units/1")
    for part in ("naive_median_by_store", "naive_last_by_store", verdict["training_set"][:12]):
        assert part in shown
    shop.run("models", "approve", "latest", "--wait", "--reason", "beats the naive guesses")
    answered = json.loads(shop.run("invoke", "shop-units", "shop_units/request.json"))
    assert len(answered["predictions"]) == 2
    assert "shop-units" in shop.run("status")


def test_a_champion_that_knows_the_holdout_is_not_compared(shop: Shop) -> None:
    """An older file is rejected; with an earlier split the serving model is no rival, and the result names the reason."""
    table = pq.read_table(shop.folder.parent / "sales.parquet")
    older = shop.folder.parent / "older.parquet"
    pq.write_table(table.slice(0, STORES * (DAYS - 10)), older)
    arguments = ["train", "--data", str(older), "--reason", "by mistake", "--home", str(shop.cloud.home)]
    with chdir(shop.folder):
        refused = CliRunner().invoke(command, arguments)
    assert refused.exit_code == 1, refused.output
    assert "nothing was published: the rows end at 2026-03-31" in str(refused.exception)
    again = (
        "train",
        "--data",
        "../sales.parquet",
        "--holdout-from",
        "2026-03-01",
        "--reason",
        "more held out",
        "--json",
    )
    verdict: dict[str, Any] = json.loads(shop.run(*again))
    assert verdict["outcome"] == "REGISTERED", verdict
    left_out = (
        "the champion is not compared: it was trained on what was known until 2026-03-25T00:00:00+00:00, and the holdout "
        "begins at 2026-03-01T00:00:00+00:00"
    )
    assert left_out in verdict["reason"]
    assert f"{left_out}\n" in shop.run("models", "show", "shop-units/2")


def test_a_project_with_a_feature_store_trains_on_what_the_store_has(tmp_path: Path, cloud: local_cloud.Cloud) -> None:
    """The same commands write the rows and train on them; the next set includes later rows without a file.

    Store codes are strings for the model. Every row has its own features, and the newest days are held out.
    """
    write_sales(tmp_path / "sales.parquet", codes=True)
    depot = deployed(tmp_path, "depot", cloud, "--feature-store")
    first = json.loads(
        depot.run("train", "depot-units", "--data", "../sales.parquet", "--reason", "the first model", "--json")
    )
    assert first["outcome"] == "REGISTERED", first
    assert first["written"] == {"units_features_v1": STORES * DAYS, "units_labels_v1": STORES * DAYS}
    shown = depot.run("models", "show", "depot-units/1")
    assert "naive_median_by_store" in shown
    assert "naive_last_by_store" in shown
    depot.run("models", "approve", "depot-units/1", "--wait", "--reason", "beats the naive guesses")
    request = json.loads((depot.folder / "depot_units/request.json").read_text())
    assert isinstance(request["instances"][0]["store"], str)
    assert len(json.loads(depot.run("invoke", "depot-units", "depot_units/request.json"))["predictions"]) == 2

    write_sales(tmp_path / "sales.parquet", days=DAYS + 5, codes=True)
    later = (
        "train",
        "depot-units",
        "--data",
        "../sales.parquet",
        "--publish-only",
        "--reason",
        "five days more",
        "--json",
    )
    assert json.loads(depot.run(*later))["written"] == {"units_features_v1": STORES * 5, "units_labels_v1": STORES * 5}
    again = ("train", "depot-units", "--reason", "what the store has now", "--json")
    second = json.loads(depot.run(*again, codes=(0, 3)))  # five days hardly tell whether it is better than the first
    assert second["outcome"] in ("REGISTERED", "REJECTED")
    (used, *earlier) = json.loads(depot.run("features", "who-used", "units_features", "--unit", "depot", "--json"))
    assert len(earlier) == 1
    assert "price" in used["columns"]


def write_newer(path: Path, rows_a_day: int, days: int) -> None:
    """Write newer days with ids, in which prices are 30 % higher and fewer units are sold at each."""
    rows = [(DAYS + number // rows_a_day, number % STORES, number) for number in range(rows_a_day * days)]
    price = [1.3 * (1 + (day * 7 + store * 3 + number) % 17 / 2) for day, store, number in rows]
    table = {
        "id": [f"row-{number}" for *_, number in rows],
        "store": [f"s{store:02}" for _, store, _ in rows],
        "day": [datetime(2026, 1, 1) + timedelta(days=day) for day, *_ in rows],
        "price": price,
        "shelf": [None if (day + store) % 11 == 0 else "top" if (day + store) % 3 else "low" for day, store, _ in rows],
        "units": [
            round(30 * math.exp(-value / 2.5) * (1 + store / 10))
            for value, (_, store, _) in zip(price, rows, strict=True)
        ],
    }
    pq.write_table(pa.table(table), path)


@pytest.mark.campaign
def test_newer_rows_drift_and_a_retraining_starts_by_itself(shop: Shop) -> None:
    """With the tutorial's commands rows are published and replayed, an alarm retrains, and the package waits for a person."""
    test_a_file_becomes_a_model_that_serves(shop)
    folder = shop.folder.parent
    write_newer(folder / "newer.parquet", 120, 8)
    newer = pq.read_table(folder / "newer.parquet")
    older = pq.read_table(folder / "sales.parquet")
    pq.write_table(
        pa.concat_tables([older, newer.select(older.column_names)], promote_options="default"), folder / "all.parquet"
    )
    shop.run("train", "--data", "../all.parquet", "--publish-only", "--reason", "the rows of the newer days")
    sent = ("--time", "day", "--ids", "id", "--labels", "units", "--shift")
    shop.run("traffic", "replay", "shop-units", "../newer.parquet", *sent)
    assert "price" in shop.run("monitor", "report", codes=(3,))
    runs = json.loads(shop.run("runs", "list", "--json"))
    by_alarm = [run["outcome"] for run in runs if run["trigger"] in ("alarm", "recheck") and run["metrics"]]
    assert "REGISTERED" in by_alarm, runs
    assert "waiting   for an approval" in shop.run("status")
