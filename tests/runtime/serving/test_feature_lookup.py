"""Features looked up by the server: the request's values win, missing ones are null and counted, late ones are a 503."""

import asyncio
import json
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.feature_service import FeatureLookup
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.feature_service import FeatureService
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.online_items import OnlineStoreError
from mlops_runtime.features.online_rows import FileRows
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.serving.feature_lookup import FeatureLookups, LookupUnavailableError, lookup_problems
from mlops_runtime.serving.http_app import Application
from mlops_runtime.serving.request_payload import PayloadError
from mlops_runtime.serving.served_model import ModelError
from mlops_runtime.serving.server_capture import Recorder
from mlops_runtime.serving.settings import CaptureSettings

DAY = datetime(2017, 1, 2, tzinfo=UTC)
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"), Entity("item", "long", "item")),
    features=(
        Feature("on_hand", "long", "units"),
        Feature("shelf", "string", "where", nullable=True),
        Feature("is_cold", "boolean", "cooled", nullable=True),
    ),
    owner="demand",
    description="stock",
)
PRICE = FeatureGroup(
    name="price",
    entities=(Entity("item", "long", "item"),),
    features=(
        Feature("list_price", "double", "price", nullable=True),
        Feature("vat", "decimal(4,2)", "v", nullable=True),
    ),
    owner="demand",
    description="prices",
    ttl=timedelta(days=3),
)
SERVICE = FeatureService(name="shelves", features=(STOCK, PRICE))
LOOKUP = FeatureLookup(service=SERVICE.spec, keys={"store_id": "store"}, budget_milliseconds=30_000)
SIGNATURE = ModelSignature(
    inputs=(
        SignatureColumn(name="asked", type="number"),
        SignatureColumn(name="stock__on_hand", type="number", nullable=True),
        SignatureColumn(name="stock__shelf", type="category", categories=("a", "b"), nullable=True),
        SignatureColumn(name="stock__is_cold", type="number", nullable=True, kind="boolean"),
        SignatureColumn(name="price__list_price", type="number", nullable=True),
        SignatureColumn(name="price__vat", type="number", nullable=True),
    ),
    output="units",
    passes="values",
    lookup=LOOKUP,
)


class Sums:
    """A model that records its rows and returns the number of values in each."""

    manifest = None
    signature, sha256, signature_sha256 = SIGNATURE, "0" * 64, "1" * 64

    def predict(self, rows: Any) -> Any:
        """Count the values that are neither null nor NaN."""
        self.rows = rows.tolist()
        return np.array([sum(value is not None and value == value for value in row) for row in self.rows], np.float64)  # noqa: PLR0124

    def close(self) -> None:
        """Do nothing."""


class Late:
    """An online store that responds on release, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go, self.error = threading.Event(), error

    def read(self, *_: Any, **__: Any) -> Any:
        """Wait or fail."""
        if self.error is not None:
            raise self.error
        self.go.wait(60)
        return {}


@pytest.fixture
def rows(tmp_path: Any) -> FileRows:
    """Return an online store with two stocks and a price."""
    online = OnlineStore.local(tmp_path / "online.db")
    times = {"event_time": [DAY] * 2, "created_time": [DAY] * 2, "ingest_id": ["0"] * 2}
    stocks = {"store_id": ["e", "w"], "item": [1, 1], "on_hand": [5, 6], "shelf": ["b", None], "is_cold": [True, None]}
    online.publish(STOCK, pa.table(stocks | times), now=DAY)
    vats = pa.array(["7.50", "0.00"]).cast(pa.decimal128(4, 2))
    online.publish(PRICE, pa.table({"item": [1, 2], "list_price": [0.5, None], "vat": vats} | times), now=DAY)
    return FileRows(tmp_path / "online.db")


def lookups(rows: Any, *, days: float = 1, **changed: Any) -> FeatureLookups:
    """Return lookups some days after the rows."""
    at = (DAY + timedelta(days=days)).timestamp()
    return FeatureLookups(replace(LOOKUP, **changed), SIGNATURE, rows, clock=lambda: at)


def post(app: Any, *instances: Any, path: str = "/invocations") -> httpx.Response:
    """Send instances to the application without a socket."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://server.test") as client:
            return await client.post(path, json={"instances": instances})

    return asyncio.run(send())


def test_left_out_columns_are_looked_up(rows: FileRows) -> None:
    """For each group by its key; keys are not inputs of the model and are removed."""
    model = Sums()
    answer = post(Application(model, lookups=lookups(rows)), {"asked": 3, "store": "e", "item": 1})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [6.0]})
    assert model.rows == [[3.0, 5.0, "b", 1.0, 0.5, 7.5]]
    assert answer.headers["x-features-missing"] == "0"
    version = answer.headers["x-model-version"]
    assert answer.headers["x-amzn-sagemaker-custom-attributes"] == f"model={version}; features-missing=0"


def test_columns_of_the_request_win(rows: FileRows) -> None:
    """Null too; a group with all columns in the request is not read, nor are arrays supplemented."""
    filled = lookups(rows).fill(
        [
            {"asked": 1, "store": "e", "item": 1, "stock__on_hand": 9, "stock__shelf": None},
            {"asked": 1, "item": 1, "stock__on_hand": 1, "stock__shelf": "a", "stock__is_cold": False},
            [1, 2, "a", True, 4, 5],
        ]
    )
    assert [each["stock__on_hand"] for each in filled.instances[:2]] == [9, 1]
    assert [each["stock__shelf"] for each in filled.instances[:2]] == [None, "a"]
    assert (filled.instances[2], filled.missing) == ([1, 2, "a", True, 4, 5], 0)


def test_a_missing_entity_gives_nulls_and_is_counted(rows: FileRows) -> None:
    """An unknown key, a null or absent one, and an expired row."""
    model = Sums()
    requested: list[dict[str, Any]] = [
        {"store": "x", "item": 1},
        {"store": None, "item": 1},
        {"item": 2},
        {"store": "w", "item": 1},
    ]
    answer = post(Application(model, lookups=lookups(rows)), *({"asked": 1, **each} for each in requested))
    assert answer.headers["x-features-missing"] == "3"
    assert [row[1] for row in model.rows][3] == 6.0
    assert all(np.isnan(row[1]) for row in model.rows[:3])
    assert [row[5] for row in model.rows] == [7.5, 7.5, 0.0, 7.5]
    old = post(Application(model, lookups=lookups(rows, days=4)), {"asked": 1, "store": "e", "item": 1})
    assert (old.headers["x-features-missing"], model.rows[0][1]) == ("1", 5.0)


def test_keys_of_other_types_are_refused(rows: FileRows) -> None:
    """Each with its position; text is not a number."""
    with pytest.raises(PayloadError) as error:
        lookups(rows).fill([{"store": 1, "item": "1"}, {"store": "e", "item": 2**63}])
    assert error.value.problems == (
        "instances[0].store must be text, got 1",
        'instances[0].item must be a 64-bit integer, got "1"',
        'instances[0].item must be a 64-bit integer, got "1"',
        "instances[1].item must be a 64-bit integer, got 9223372036854775808",
        "instances[1].item must be a 64-bit integer, got 9223372036854775808",
    )
    with pytest.raises(PayloadError, match="1 keys have more than 2048 bytes"):
        lookups(rows).fill([{"store": "é" * 1100, "item": 1}])


def test_dates_and_times_are_keys(tmp_path: Any) -> None:
    """As ISO 8601 strings; times need a zone."""
    week = FeatureGroup(
        name="week",
        entities=(Entity("day", "date", "d"), Entity("at", "timestamp", "a"), Entity("shop", "int", "s")),
        features=(Feature("units", "double", "u"),),
        owner="demand",
        description="weeks",
    )
    online = OnlineStore.local(tmp_path / "online.db")
    keys = {"day": pa.array([DAY.date()]), "at": [DAY], "shop": pa.array([7], pa.int32())}
    times = {"event_time": [DAY], "created_time": [DAY], "ingest_id": ["0"]}
    online.publish(week, pa.table({**keys, **times, "units": [1.5]}), now=DAY)
    signature = ModelSignature(inputs=(SignatureColumn(name="week__units", type="number", nullable=True),), output="y")
    lookup = FeatureLookup(service=FeatureService(name="w", features=(week,)).spec, budget_milliseconds=30_000)
    found = FeatureLookups(lookup, signature, FileRows(tmp_path / "online.db"))
    requested = {"day": "2017-01-02", "at": "2017-01-02T01:00:00+01:00", "shop": 7}
    assert found.fill([requested]).instances == [{"week__units": 1.5}]
    wrong = {"day": "monday", "at": "2017-01-02T00:00:00", "shop": True}
    with pytest.raises(PayloadError) as error:
        found.fill([wrong])
    assert [problem.partition(",")[0] for problem in error.value.problems] == [
        "instances[0].day must be a date such as 2017-01-02",
        "instances[0].at must be a time with a zone such as 2017-01-02T00:00:00Z",
        "instances[0].shop must be a 32-bit integer",
    ]


def test_a_group_that_is_used_twice_is_looked_up_by_each_key(rows: FileRows) -> None:
    """Columns and keys have the use's names; the request may name keys differently."""
    uses = tuple(GroupJoin(group=PRICE, name=name, on={"item": name}) for name in ("bought", "returned"))
    spec = FeatureService(name="two", features=uses).spec
    inputs = tuple(
        SignatureColumn(name=f"{name}__list_price", type="number", nullable=True) for name in ("bought", "returned")
    )
    lookup = FeatureLookup(service=spec, keys={"returned": "back"}, budget_milliseconds=30_000)
    signature = ModelSignature(inputs=inputs, output="y")
    at = (DAY + timedelta(days=1)).timestamp()
    found = FeatureLookups(lookup, signature, rows, clock=lambda: at).fill([{"bought": 1, "back": 9}])
    assert found.instances == [{"bought__list_price": 0.5, "returned__list_price": None}]
    assert found.missing == 1


def test_what_is_late_is_a_503(caplog: pytest.LogCaptureFixture) -> None:
    """Within the budget or not at all; the message has the waiting time."""
    late = Late()
    answer = post(
        Application(Sums(), lookups=lookups(late, budget_milliseconds=15)), {"asked": 1, "store": "e", "item": 1}
    )
    late.go.set()
    assert answer.status_code == 503
    assert "features were not read within 15 ms" in answer.text
    assert "features were not read within 15 ms" in caplog.text


def test_a_store_that_fails_is_a_503_without_its_words() -> None:
    """Names of tables and roles stay in the log."""
    with pytest.raises(LookupUnavailableError) as error:
        lookups(Late(OnlineStoreError("BatchGetItem of table secret failed"))).fill([{"store": "e", "item": 1}])
    assert str(error.value) == "features were not read"


def test_a_model_that_takes_nulls_answers_all_the_same() -> None:
    """All requested features count as missing."""
    late = Late()
    app = Application(Sums(), lookups=lookups(late, budget_milliseconds=15, allows_nulls=True))
    answer = post(app, {"asked": 1, "store": "e", "item": 1})
    late.go.set()
    assert (answer.status_code, answer.json(), answer.headers["x-features-missing"]) == (
        200,
        {"predictions": [1.0]},
        "2",
    )


def test_captures_hold_what_the_model_got(rows: FileRows) -> None:
    """Monitors compare features with those of the training."""
    lines: list[bytes] = []
    settings = CaptureSettings(bucket="b", prefix="p", endpoint="e", variant="v", percent=100, queue_bytes=1 << 20)
    recorder = Recorder(settings, lambda _, body: lines.append(body))
    answer = post(Application(Sums(), lookups=lookups(rows), recorder=recorder), {"asked": 3, "store": "e", "item": 1})
    recorder.close(10)
    assert answer.status_code == 200
    (captured,) = lines
    assert b"stock__on_hand" in captured


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (SignatureColumn(name="stock__on_hand", type="number"), 'so it may be missing; set "nullable": true'),
        (
            SignatureColumn(name="stock__on_hand", type="category", nullable=True, categories=("1",)),
            "a long is not a category",
        ),
        (SignatureColumn(name="stock__shelf", type="number", nullable=True), "a string is not a number"),
        (
            SignatureColumn(name="other", type="number"),
            "the model takes no column of feature service 'shelves' version 1",
        ),
    ],
)
def test_a_signature_that_cannot_be_filled_is_refused(rows: FileRows, column: SignatureColumn, problem: str) -> None:
    """Before the server is ready."""
    signature = replace(SIGNATURE, inputs=(column,))
    with pytest.raises(ModelError, match=problem):
        FeatureLookups(LOOKUP, signature, rows)


def test_each_problem_of_a_lookup_is_named() -> None:
    """Keys without a group, a zero budget, and types that are not inputs."""
    lists = replace(PRICE, features=(Feature("tags", "list<string>", "t"),), name="tagged")
    spec = FeatureService(name="s", features=(lists,)).spec
    signature = replace(SIGNATURE, inputs=(SignatureColumn(name="tagged__tags", type="category", nullable=True),))
    problems = lookup_problems(FeatureLookup(service=spec, keys={"shop": "s"}, budget_milliseconds=0), signature)
    assert [problem.partition(";")[0] for problem in problems] == [
        "column 'tagged__tags' is looked up, and a list<string> cannot be an input of a model",
        "lookup names key 'shop', feature service 's' version 1 has item",
        "budget_milliseconds must be at least 1, got 0",
    ]


def test_a_signature_without_a_lookup_is_as_it_was() -> None:
    """Bytes and hash are unchanged; with a lookup it is read back."""
    assert "lookup" not in json.loads(canonical_json(replace(SIGNATURE, lookup=None)))
    assert from_json(ModelSignature, canonical_json(SIGNATURE)) == SIGNATURE


def test_a_server_without_lookups_loads_no_boto3() -> None:
    """Loading boto3 takes as long as the rest of the server."""
    code = "import sys, mlops_runtime.serving.server; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
