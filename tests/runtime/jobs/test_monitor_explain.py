"""A sample of captured rows, explained with the real live model and package."""

import hashlib
import random
import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.runtime import explain as package

from mlops_runtime.contracts.monitor import Baseline, MonitorState
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.jobs.monitor_explain import explain, sample
from mlops_runtime.monitor.counting.baseline import category_baseline, number_baseline
from mlops_runtime.monitor.monitors.attribution_ranking import attribution_violations
from mlops_runtime.monitor.monitors.attributions import attributions
from mlops_runtime.serving.onnx_model import load, load_archive

PREFIX = "capture/demand-forecast/AllTraffic/2017/08/07"
SINCE = "2017-08-07T01:00:00Z"
STORES = ["north", "south, old", "east"]


@pytest.fixture
def model(models):
    """Return the model 2 x price + 0.5 x stock + 10 x store."""
    return load(models.onnx(), models.signature_json())


@pytest.fixture
def put_live(models, s3, tmp_path):
    """Put a model with the given weights into the bucket and make it live."""

    def put_model(weights=(2.0, 0.5, 10.0)) -> LivePointer:
        path = models.archive(tmp_path / "model.tar.gz", models.onnx(weights))
        s3.upload_file(str(path), "artifacts", "models/model.tar.gz")
        return LivePointer(
            endpoint="demand-forecast",
            config="c",
            model="m",
            model_package_arn="arn",
            model_sha256=load_archive(path).sha256,
            artifact_uri="s3://artifacts/models/model.tar.gz",
            baseline_uri="",
            baseline_sha256="8" * 64,
            evaluation_uri="",
            training_set_id="set-1",
            spec_sha256="",
            spec_uri="",
            execution="",
            since=SINCE,
            container_sha256="c" * 64,
            artifact_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )

    return put_model


def training(model, scale) -> Baseline:
    """Return a baseline with the attributions of its rows."""
    chance = np.random.default_rng(3)
    price, stock = (chance.normal(10, s, 400).astype(np.float32) for s in scale)
    store = chance.choice(STORES, 400)
    rows = np.stack([price, stock, [STORES.index(s) for s in store]], axis=1).astype(np.float32)
    features = (
        number_baseline("price", price),
        number_baseline("stock", stock),
        category_baseline("store", store.tolist()),
    )
    bare = Baseline(features=features, rows=400, training_set_id="set-1", created="2017-08-01T00:00:00Z")
    return replace(bare, attributions=attributions(model, bare, rows[:100]))


def put(s3, lines, hours, calls, *, scale=(1.0, 1.0), time="02:00:00") -> dict[str, int]:
    """Write an object per hour, alternately CSV and JSON; return the sizes."""
    chance, sizes = random.Random(9), {}
    for hour in range(hours):
        made = []
        for i in range(calls):
            values = [chance.gauss(10, s) for s in scale]
            store = chance.choice(STORES)
            at = f"2017-08-07T{time}Z"
            if i % 2:
                data = ",".join([*map(repr, values), f'"{store}"'])
                made.append(lines.call(data, "1.0", event_id=f"e-{hour}-{i}", time=at))
            else:
                data = f'{{"instances": [[{values[0]!r}, {values[1]!r}, "{store}"]]}}'
                made.append(lines.call(data, None, encoding="JSON", event_id=f"e-{hour}-{i}", time=at))
        body = "\n".join(made).encode()
        key = f"{PREFIX}/{hour:02}/a.jsonl"
        s3.put_object(Bucket="captures", Key=key, Body=body)
        sizes[key] = len(body)
    return sizes


def test_the_same_traffic_is_no_drift_and_other_traffic_is(s3, lines, models, put_live):
    """Price ranked first in training; in the other traffic it hardly varies and stock does."""
    package.require()
    weights = (1.0, 1.0, 0.01)
    baseline = training(load(models.onnx(weights), models.signature_json()), scale=(5.0, 0.1))
    live = put_live(weights)
    for scale, state in (((5.0, 0.1), MonitorState.OK), ((0.1, 5.0), MonitorState.VIOLATION)):
        sizes = put(s3, lines, 3, 60, scale=scale)
        found = explain(live, baseline, sizes, s3=s3, captures="captures", rows=90, minimum_ndcg=0.9)
        assert found.problems is None
        assert found.state is state
        assert list(found.attributions) == ["price", "stock", "store"]
        reported = attribution_violations(baseline.attributions, found, 0.9, "label0")
        assert len(reported) == (state is MonitorState.VIOLATION)


def test_every_hour_has_its_share_and_the_same_window_the_same_sample(s3, lines, model):
    """An hour with twice the traffic gives twice the rows; values are the model's input."""
    baseline = Baseline(features=training_features(), rows=400, training_set_id="set-1", created="2017-08-01T00:00:00Z")
    sizes = {}
    for hour, calls in ((1, 40), (2, 80), (3, 40)):
        body = "\n".join(
            lines.call(f"{hour},{i},east", "1.0", event_id=f"e-{hour}-{i:02}", time="2017-08-07T02:00:00Z")
            for i in range(calls)
        ).encode()
        key = f"{PREFIX}/{hour:02}/b.jsonl"
        s3.put_object(Bucket="captures", Key=key, Body=body)
        sizes[key] = len(body)
    take = lambda rows: sample(model, baseline, sizes, s3=s3, captures="captures", rows=rows, since=SINCE)  # noqa: E731
    rows = take(40)
    assert np.array_equal(rows, take(40))
    seen = {hour: int((rows[:, 0] == hour).sum()) for hour in (1, 2, 3)}
    assert sum(seen.values()) == 40
    assert [seen[1], seen[2], seen[3]] == pytest.approx([10, 20, 10], abs=1)
    assert set(rows[:, 2]) == {2.0}
    # more than exist: each call once
    all_rows = take(240)
    assert len(all_rows) == len(np.unique(all_rows, axis=0)) > 100


def training_features():
    """Return the baselines of the model's columns."""
    one = np.ones(10, dtype=np.float32)
    return (number_baseline("price", one), number_baseline("stock", one), category_baseline("store", ["east"] * 10))


def test_calls_of_others_are_never_sampled(s3, lines, model):
    """The platform's own, an earlier model's, broken lines, and rejected rows."""
    made = [
        lines.call("1,1,east", "1.0", inference_id="mlops-synthetic-1"),
        lines.call("2,1,east", "1.0", time="2017-08-07T00:59:59Z"),
        lines.call(None, "1.0"),
        lines.call(",1,east", "1.0", event_id="null where none may be"),
        '{"captureData":',
        "",
        lines.call("7,1,east", "1.0", event_id="the only one", time="2017-08-07T02:00:00Z"),
    ]
    body = "\n".join(made).encode()
    s3.put_object(Bucket="captures", Key=f"{PREFIX}/05/c.jsonl", Body=body)
    baseline = Baseline(features=training_features(), rows=10, training_set_id="set-1", created="2017-08-01T00:00:00Z")
    sizes = {f"{PREFIX}/05/c.jsonl": len(body)}
    where = {"s3": s3, "captures": "captures", "rows": 20, "since": SINCE}
    rows = sample(model, baseline, sizes, **where, announced=lambda *_: True)
    assert rows.tolist() == [[7.0, 1.0, 2.0]]
    assert {1.0, 7.0} == set(
        sample(model, baseline, sizes, **where)[:, 0].tolist()
    )  # not announced, so it is a caller's
    assert sample(model, baseline, {}, s3=s3, captures="captures", rows=20, since=SINCE).shape == (0, 3)


def test_what_cannot_be_explained_says_why(s3, lines, put_live, monkeypatch):
    """No calls, too few rows, another model than approved, no package."""
    live = put_live()
    bare = Baseline(features=training_features(), rows=10, training_set_id="set-1", created="2017-08-01T00:00:00Z")
    how = {"s3": s3, "captures": "captures", "rows": 60, "minimum_ndcg": 0.9}
    assert explain(live, bare, {}, **how) is None
    requested = replace(bare, attributions={"price": 1.0, "stock": 1.0, "store": 1.0})
    assert explain(live, requested, put(s3, lines, 1, 20), **how).state is MonitorState.INSUFFICIENT_DATA
    other = explain(replace(live, model_sha256="0" * 64), requested, put(s3, lines, 1, 20), **how)
    assert (other.state, other.ndcg) == (MonitorState.MONITOR_NOT_RUN, None)
    assert "not the registered model" in str(other.problems)
    for digest in ("0" * 64, None):
        changed = explain(replace(live, artifact_sha256=digest), requested, put(s3, lines, 1, 20), **how)
        assert (changed.state, changed.ndcg) == (MonitorState.MONITOR_NOT_RUN, None)
        assert next(iter(changed.problems)).endswith(f"the live pointer has {digest}")
    monkeypatch.setitem(sys.modules, "shap", None)
    missing = explain(live, requested, put(s3, lines, 2, 100), **how)
    assert missing.state is MonitorState.MONITOR_NOT_RUN
    assert "need the package 'shap'" in str(missing.problems)
