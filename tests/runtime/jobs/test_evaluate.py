"""The evaluation with real models: sums checked independently, and failures reported."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.runtime.serving import model_folders
from tests.runtime.serving.model_folders import LOCK, PYTHON

from mlops_runtime.contracts import canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.feature_service import FeatureServiceUse
from mlops_runtime.contracts.features import Build, Output, OutputFile, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.model import (
    Evaluation,
    HoldoutPredictions,
    HoldoutRequests,
    ModelSignature,
    SignatureColumn,
)
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec
from mlops_runtime.jobs.evaluate import Inputs, _distinct, check_files, evaluate
from mlops_runtime.jobs.holdout_predictions import Predicted, holdout_sha256, read_predictions, write_predictions
from mlops_runtime.jobs.job_environment import JobError, OptMl
from mlops_runtime.jobs.predict import predict
from mlops_runtime.retraining.evaluation_evidence import problems
from mlops_runtime.serving.model_folder import manifest_of, write_manifest
from mlops_runtime.serving.model_source import ModelEnvironment
from mlops_runtime.serving.onnx_model import Model

TABLE = PinnedTable(
    group="demand", version=1, database="demand_features", table="demand_v1", table_uuid="u", snapshot_id=1, sequence=1,
    schema_id=0, tag="t", columns=("price",),
)  # fmt: skip
MANIFEST = TrainingSetManifest(
    name="forecast",
    semantics=Semantics(as_of="known_at", cutoff="2017-09-01T00:00:00Z"),
    entities=TABLE,
    features=(),
    build=Build(engine="duckdb", engine_version="1", planner="frontier", client="0"),
    output=Output(rows=1, content_hash="c", files=(), columns={}),
    split={
        "trained_until": "2017-08-04T00:00:00Z",
        "holdout_from": "2017-08-04T00:00:00Z",
        "holdout_until": "2017-09-01T00:00:00Z",
    },
)
HANDLER = """
def load(folder):
    return {"north": 0.0, "south, old": 1.0}


def predict(codes, frame):
    code = frame["store"].astype("object").map(codes).fillna(-1.0)
    return 2 * frame["price"] + 0.5 * frame["stock"].fillna(0) + 10 * code
"""
PLAN = EvaluationPlan(label="units", block="store", baselines=("last_week",), cluster="week")
URI = "s3://artifacts/baseline.json"
SERVED = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units", passes="values")


def rows(count: int, seed: int) -> Any:
    """Return a split in which units are 2 * price + 5."""
    random = np.random.default_rng(seed)
    price = random.lognormal(1, 0.4, count)
    return pa.table(
        {
            "price": price,
            "stock": pa.array(random.poisson(3, count).astype(float), mask=random.random(count) < 0.1),
            "store": random.choice(["north", "south, old", "west"], count),
            "units": np.round(price * 2 + 5),
            "last_week": price * 2 + random.normal(5, 2, count),
            "week": random.integers(0, 8, count),
        }
    )


@pytest.fixture
def inputs(models: Any, tmp_path: Path) -> Inputs:
    """Return a candidate with the first weights and a champion with others."""
    champion = models.archive(tmp_path / "champion" / "model.tar.gz", models.onnx((1.0, 1.0, 1.0)))
    return Inputs(
        train=rows(2000, 1),
        holdout=rows(300, 2),
        manifest=MANIFEST,
        candidate=models.archive(tmp_path / "candidate" / "model.tar.gz"),
        champion=champion,
        champion_sha256=_hash(champion),
    )


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_evaluation_has_the_signature_of_its_candidate(inputs: Inputs) -> None:
    """API requirements are compared with it; it is stored and read unchanged."""
    evaluation = evaluate(PLAN, inputs, URI)[0]
    assert evaluation.signature is not None
    assert [column.name for column in evaluation.signature.inputs] == ["price", "stock", "store"]
    assert from_json(Evaluation, canonical_json(evaluation)).signature == evaluation.signature


def test_metrics_are_sums_over_blocks(inputs: Inputs, models: Any) -> None:
    """WAPE and blocks equal plain arithmetic over the rows."""
    evaluation, baseline = evaluate(PLAN, inputs, URI)
    table = inputs.holdout
    code = {"north": 0.0, "south, old": 1.0, "west": -1.0}
    actual = np.array(table.column("units").to_pylist())
    price, stock = (
        np.array(table.column("price").to_pylist()),
        np.array([s or 0 for s in table.column("stock").to_pylist()]),
    )
    store = table.column("store").to_pylist()
    codes = np.array([code[s] for s in store])
    expected = {
        "candidate": 2 * price + 0.5 * stock + 10 * codes,
        "champion": price + stock + codes,
        "last_week": np.array(table.column("last_week").to_pylist()),
    }
    assert dict(evaluation.metrics) == pytest.approx(
        {name: np.abs(values - actual).sum() / actual.sum() for name, values in expected.items()}, rel=1e-5
    )
    north = next(block for block in evaluation.blocks if block.block == "north")
    chosen = np.array([s == "north" for s in store])
    assert (north.rows, north.actual_sum) == (int(chosen.sum()), pytest.approx(actual[chosen].sum()))
    assert north.absolute_error["candidate"] == pytest.approx(
        np.abs(expected["candidate"] - actual)[chosen].sum(), rel=1e-5
    )
    assert sum(block.rows for block in evaluation.blocks) == evaluation.rows == 300
    assert baseline.quality["bias"] == pytest.approx((expected["candidate"] - actual).sum() / actual.sum(), rel=1e-4)
    assert baseline.quality["wape"] == evaluation.metrics["candidate"]


def test_hashes_and_times_say_what_was_evaluated(inputs: Inputs, models: Any) -> None:
    """Artifact, model and training set have hashes; the split's times come from the manifest."""
    evaluation, baseline = evaluate(PLAN, inputs, URI)
    assert evaluation.artifact_sha256 == hashlib.sha256(inputs.candidate.read_bytes()).hexdigest()
    assert evaluation.model_sha256 == hashlib.sha256(models.onnx()).hexdigest()
    assert evaluation.training_set_id == baseline.training_set_id == content_hash(MANIFEST)
    assert (evaluation.trained_until, evaluation.holdout_until) == ("2017-08-04T00:00:00Z", "2017-09-01T00:00:00Z")
    assert evaluation.baseline_sha256 == hashlib.sha256(canonical_json(baseline)).hexdigest()
    assert (evaluation.baseline_uri, baseline.created) == (URI, "2017-09-01T00:00:00Z")
    assert evaluation.feature_service is None
    service = FeatureServiceUse(name="shelves", version=2, sha256="0f")
    reported, _ = evaluate(PLAN, replace(inputs, manifest=replace(MANIFEST, feature_service=service)), URI)
    assert reported.feature_service == service


def test_the_baseline_counts_every_training_row(inputs: Inputs) -> None:
    """Each feature's cells add up to the training split; predictions are those of the holdout."""
    _, baseline = evaluate(PLAN, inputs, URI)
    assert [f.name for f in baseline.features] == ["price", "stock", "store"]
    assert {sum(f.counts) for f in baseline.features} == {2000}
    assert set(baseline.features[2].levels) == {"north", "south, old", "west"}
    assert baseline.features[1].counts[-1] == inputs.train.column("stock").null_count
    assert baseline.prediction is not None
    assert (baseline.prediction.name, sum(baseline.prediction.counts)) == ("prediction", 300)


def test_the_candidate_itself_is_no_champion(inputs: Inputs) -> None:
    """The archive that serves is not compared with itself, and the evaluation reports it."""
    same = replace(inputs, champion=inputs.candidate, champion_sha256=_hash(inputs.candidate))
    evaluation, _ = evaluate(PLAN, same, URI)
    assert sorted(evaluation.metrics) == ["candidate", "last_week"]
    assert evaluation.champion_sha256 == evaluation.artifact_sha256


def test_a_champion_that_is_not_what_serves_is_not_read(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A changed archive is not opened, and both hashes are in the error."""
    forged = tmp_path / "forged.tar.gz"
    forged.write_bytes(b"no archive at all")
    monkeypatch.setattr(
        "mlops_runtime.jobs.evaluate.archived_model", lambda path, *_: pytest.fail(f"{path} was opened")
    )
    for expected, message in ((inputs.champion_sha256, f"names {inputs.champion_sha256}"), (None, "none is given")):
        with pytest.raises(JobError, match=f"the champion has SHA-256 {_hash(forged)}, but .*{message}"):
            evaluate(PLAN, replace(inputs, champion=forged, champion_sha256=expected), URI)


def test_a_model_in_its_own_process_is_measured_as_any_other(inputs: Inputs, models: Any, tmp_path: Path) -> None:
    """A handler equal to the ONNX model has its metrics; the evaluation has flavor and trust."""
    folder = tmp_path / "handler"
    folder.mkdir()
    (folder / "model.py").write_text(HANDLER)
    (folder / "signature.json").write_bytes(models.signature_json())
    digest = write_manifest(folder, manifest_of(folder, requirements_sha256=LOCK, python="3.13"))
    other = model_folders.archive(folder, tmp_path / "other" / "model.tar.gz")
    environment = ModelEnvironment(python=PYTHON, requirements_sha256=LOCK)
    found, _ = evaluate(PLAN, replace(inputs, candidate=other, environment=environment), URI)
    expected, _ = evaluate(PLAN, inputs, URI)
    assert (found.model_sha256, found.flavor, found.trust) == (digest, "handler", "code")
    assert (expected.flavor, expected.trust, found.failures) == (None, None, None)
    assert dict(found.metrics) == pytest.approx(dict(expected.metrics), rel=1e-6)


def test_predictions_of_a_champion_in_another_image_are_those_it_would_make_here(inputs: Inputs) -> None:
    """The evaluation is equal except for the time per row, which is only compared on one machine."""
    assert inputs.champion is not None
    holdout = inputs.candidate.parent / "holdout"
    holdout.mkdir()
    pq.write_table(inputs.holdout, holdout / "part-0.parquet")
    predicted = predict(inputs.champion, holdout, ModelEnvironment(), artifact_sha256=_hash(inputs.champion))
    path = write_predictions(holdout.parent / "predictions", predicted)
    read = read_predictions(path, artifact_sha256=inputs.champion_sha256, holdout=holdout_sha256(holdout), rows=300)
    given = replace(inputs, champion=None, champion_predictions=read)
    assert evaluate(PLAN, given, URI) == evaluate(PLAN, inputs, URI)


def test_missing_predictions_are_counted_not_zeros(inputs: Inputs) -> None:
    """A null of a naive baseline counts as its failure."""
    last_week = inputs.holdout.column("last_week").to_pylist()
    last_week[3] = None
    holdout = inputs.holdout.set_column(4, "last_week", pa.array(last_week))
    evaluation, _ = evaluate(PLAN, replace(inputs, holdout=holdout), URI)
    assert evaluation.non_finite == {"candidate": 0, "champion": 0, "last_week": 1}


def test_a_candidate_that_is_not_finite_is_counted(inputs: Inputs, models: Any, tmp_path: Path) -> None:
    """The evaluation stays valid JSON, and the gate gets the count."""
    broken = models.archive(tmp_path / "broken" / "model.tar.gz", models.onnx((1.0, 0.0, 5.0), log=True))
    evaluation, baseline = evaluate(PLAN, replace(inputs, candidate=broken), URI)
    assert evaluation.non_finite["candidate"] > 0
    assert baseline.prediction is not None
    assert baseline.prediction.counts[-1] == evaluation.non_finite["candidate"]
    assert from_json(Evaluation, canonical_json(evaluation)) == evaluation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": replace(PLAN, block="shop", label="sold")}, "split 'holdout' lacks 'sold', 'shop'; it has 'price'"),
        (
            {"manifest": replace(MANIFEST, split={})},
            "the manifest's split must have trained_until, holdout_from, holdout_until, it has nothing",
        ),
        ({"label": [0.0] * 300}, "label 'units' is 0 in every holdout row"),
        ({"label": [None] * 300}, "label 'units' must be known for every holdout row, 300 of 300"),
    ],
)
def test_fails_for_what_cannot_be_evaluated(inputs: Inputs, change: dict[str, Any], message: str) -> None:
    """Columns, split and labels have named errors."""
    if "label" in change:
        inputs = replace(inputs, holdout=inputs.holdout.set_column(3, "units", pa.array(change["label"], pa.float64())))
    if "manifest" in change:
        inputs = replace(inputs, manifest=change["manifest"])
    with pytest.raises(JobError) as caught:
        evaluate(change.get("plan", PLAN), inputs, URI)
    assert str(caught.value).startswith(message)


def test_a_holdout_that_could_not_be_served_is_a_failure_of_the_candidate(inputs: Inputs) -> None:
    """A null in a required column is found in any row before registration."""
    price = inputs.holdout.column("price").to_pylist()
    price[1] = None
    holdout = inputs.holdout.set_column(0, "price", pa.array(price, pa.float64()))
    evaluation, _ = evaluate(PLAN, replace(inputs, holdout=holdout), URI, timer=lambda: 0.0)
    assert evaluation.failures == (
        f"the holdout has nulls where signature.json allows none: 'price' in 1 of {len(price)} rows (1 from 0); set "
        '"nullable": true if the model accepts missing values, else fill them before training and in every request',
    )
    assert evaluation.milliseconds_a_row is None


def test_a_candidate_that_fails_has_no_predictions(
    inputs: Inputs, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is a reason for the gate and does not end the job; the champion is still measured."""
    candidate = hashlib.sha256(models.onnx()).hexdigest()
    predict = Model.predict

    def broken(self: Model, rows: Any) -> Any:
        if self.sha256 == candidate:
            raise RuntimeError("out of memory\nat node 7")
        return predict(self, rows)

    monkeypatch.setattr(Model, "predict", broken)
    evaluation, _ = evaluate(PLAN, inputs, URI)
    assert evaluation.failures == ("candidate could not predict the holdout: out of memory",)
    assert evaluation.non_finite == {"candidate": 300, "champion": 0, "last_week": 0}
    assert evaluation.distinct_predictions == 0


def test_a_champion_that_fails_is_no_failure_of_the_candidate(
    inputs: Inputs, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without predictions it is not compared."""
    candidate = hashlib.sha256(models.onnx()).hexdigest()
    predict = Model.predict

    def broken(self: Model, rows: Any) -> Any:
        if self.sha256 != candidate:
            raise RuntimeError("gone")
        return predict(self, rows)

    monkeypatch.setattr(Model, "predict", broken)
    evaluation, _ = evaluate(PLAN, inputs, URI)
    assert evaluation.failures is None
    assert evaluation.non_finite == {"candidate": 0, "champion": 300, "last_week": 0}


def test_a_constant_model_has_one_prediction(inputs: Inputs, models: Any, tmp_path: Path) -> None:
    """The gate rejects it by that number."""
    constant = models.archive(tmp_path / "constant" / "model.tar.gz", models.onnx((0.0, 0.0, 0.0)))
    assert evaluate(PLAN, replace(inputs, candidate=constant), URI)[0].distinct_predictions == 1
    assert (evaluate(PLAN, inputs, URI)[0].distinct_predictions or 0) > 100


def test_predictions_that_differ_by_rounding_are_one() -> None:
    """A constant after 32-bit arithmetic is one value; small differing probabilities are several."""
    assert _distinct(np.array([3.0, 3.0000002, 2.9999998])) == 1
    assert _distinct(np.array([1e-7, 2e-7, 3e-7])) == 3
    assert (_distinct(np.array([])), _distinct(np.zeros(5))) == (0, 1)


def test_losses_are_kept_apart_by_segment(inputs: Inputs) -> None:
    """The segments of a column add up to the whole, and each equals its rows alone."""
    evaluation, _ = evaluate(replace(PLAN, block="week", segments=("store",)), inputs, URI)
    assert evaluation.segments is not None
    assert {segment.name for segment in evaluation.segments} == {"store=north", "store=south, old", "store=west"}
    assert sum(segment.rows for segment in evaluation.segments) == 300
    north = next(segment for segment in evaluation.segments if segment.value == "north")
    chosen = inputs.holdout.filter(pa.array([s == "north" for s in inputs.holdout.column("store").to_pylist()]))
    alone, _ = evaluate(replace(PLAN, block="week"), replace(inputs, holdout=chosen), URI)
    assert north.blocks == alone.blocks
    assert from_json(Evaluation, canonical_json(evaluation)) == evaluation


@pytest.mark.parametrize("metric", ["log_loss", "brier"])
def test_a_classifier_predicts_probabilities(inputs: Inputs, models: Any, tmp_path: Path, metric: Any) -> None:
    """A prediction that is not a probability counts as missing; the loss is a mean per row."""
    price = inputs.holdout.column("price").to_numpy()
    bought = (price > 2.5).astype(float)
    holdout = inputs.holdout.set_column(3, "units", pa.array(bought)).set_column(4, "last_week", pa.array([0.5] * 300))
    model = models.archive(tmp_path / "tenth" / "model.tar.gz", models.onnx((0.1, 0.0, 0.0)))
    plan = replace(PLAN, metric=metric)
    evaluation, baseline = evaluate(plan, replace(inputs, holdout=holdout, candidate=model, champion=None), URI)
    single = np.float32(price) * np.float32(0.1)
    assert evaluation.non_finite["candidate"] == int((single > 1).sum())
    half = {"log_loss": np.log(2), "brier": 0.25}[metric]
    assert evaluation.metrics["last_week"] == pytest.approx(half)
    assert baseline.quality[metric] == evaluation.metrics["candidate"]
    assert baseline.quality["wape"] == pytest.approx(np.abs(single - bought).sum() / bought.sum(), rel=1e-4)


def test_mae_is_a_mean_a_row(inputs: Inputs) -> None:
    """Like WAPE with another denominator; defined if every label is 0."""
    wape, mae = (evaluate(replace(PLAN, metric=metric), inputs, URI)[0] for metric in ("wape", "mae"))
    total = sum(block.actual_sum for block in wape.blocks)
    assert mae.blocks == wape.blocks
    assert dict(mae.metrics) == pytest.approx({name: value * total / 300 for name, value in wape.metrics.items()})
    zeros = inputs.holdout.set_column(3, "units", pa.array([0.0] * 300))
    _, baseline = evaluate(replace(PLAN, metric="mae"), replace(inputs, holdout=zeros), URI)
    assert set(baseline.quality) == {"mae", "rmse"}


def test_a_training_split_of_the_holdouts_time_is_a_failure(inputs: Inputs) -> None:
    """It was trained on the future: the gate rejects any score."""
    plan = replace(PLAN, timestamp="at")

    def stamped(first: int) -> Any:
        return inputs.train.append_column("at", pa.array([first + i for i in range(2000)]))

    holdout = inputs.holdout.append_column("at", pa.array([5000 + i for i in range(300)]))
    fine, _ = evaluate(plan, replace(inputs, train=stamped(3000), holdout=holdout), URI)
    assert fine.failures is None
    late, _ = evaluate(plan, replace(inputs, train=stamped(3001), holdout=holdout), URI)
    assert late.failures == ("the training split reaches 5000, the holdout begins 5000: trained on the future",)


@pytest.mark.parametrize(
    ("as_of", "until", "is_left_out"),
    [
        ("known_at", "2017-08-04T00:00:00Z", False),
        ("known_at", "2017-08-04T00:00:01Z", True),
        ("event_time", "2017-08-04T00:00:00Z", True),
        ("event_time", "2017-08-03T23:59:59+00:00", False),
        ("event_time", "2018-01-01", True),
        ("event_time", None, False),
    ],
)
def test_a_champion_that_knows_the_holdout_is_left_out(
    inputs: Inputs, as_of: Any, until: str | None, is_left_out: bool
) -> None:
    """It was trained on the holdout's time, and the evaluation has the reason for its absence."""
    manifest = replace(MANIFEST, semantics=replace(MANIFEST.semantics, as_of=as_of))
    assert manifest.split["holdout_from"] == "2017-08-04T00:00:00Z"
    evaluation, _ = evaluate(PLAN, replace(inputs, manifest=manifest, champion_trained_until=until), URI)
    assert ("champion" in evaluation.metrics) is not is_left_out
    assert evaluation.champion_trained_until == until
    message = f"it was trained on what was known until {until}, and the holdout begins at 2017-08-04T00:00:00Z"
    assert evaluation.champion_left_out == (message if is_left_out else None)


def test_a_champion_that_knows_the_holdout_is_left_out_wherever_it_predicts(inputs: Inputs) -> None:
    """Also in its own image."""
    predicted = Predicted(
        values=np.zeros(300),
        of=HoldoutPredictions(artifact_sha256="a" * 64, model_sha256="b" * 64, holdout_sha256="c" * 64),
    )
    given = replace(inputs, champion=None, champion_predictions=predicted, champion_trained_until="2017-09-01")
    assert set(evaluate(PLAN, given, URI)[0].metrics) == {"candidate", "last_week"}


def test_a_manifest_says_the_times_of_its_rows(inputs: Inputs) -> None:
    """Later models are compared by them; if they are the labels' times, the feature store has them."""
    plan, begin = replace(PLAN, timestamp="at"), datetime(2017, 8, 1, tzinfo=UTC)
    train = inputs.train.append_column("at", pa.array([begin] * 2000))
    holdout = inputs.holdout.append_column("at", pa.array([begin + timedelta(days=2)] * 300))
    reported = {"trained_until": "2017-07-31", "holdout_from": "2017-08-04", "holdout_until": "2017-08-04"}
    wrong = replace(MANIFEST, semantics=replace(MANIFEST.semantics, as_of="event_time"), split=reported)
    given = replace(inputs, train=train, holdout=holdout, manifest=wrong)
    assert evaluate(plan, given, URI)[0].failures == (
        "the manifest's times do not match its rows: trained_until is 2017-07-31, the training split reaches "
        "2017-08-01T00:00:00+00:00",
        "the manifest's times do not match its rows: holdout_from is 2017-08-04, the holdout begins "
        "2017-08-03T00:00:00+00:00",
    )
    right = replace(wrong, split=reported | {"trained_until": "2017-08-01", "holdout_from": "2017-08-03"})
    assert evaluate(plan, replace(given, manifest=right), URI)[0].failures is None
    assert evaluate(plan, replace(given, manifest=replace(MANIFEST, split=reported)), URI)[0].failures is None


def test_a_row_is_timed_for_both_models(inputs: Inputs) -> None:
    """With a timer that ticks once a call, each row takes one tick."""
    ticks = iter(range(10**6))
    evaluation, _ = evaluate(PLAN, inputs, URI, timer=lambda: float(next(ticks)))
    assert evaluation.milliseconds_a_row == {"candidate": 1000.0, "champion": 1000.0}


def layout(root: Path, inputs: Inputs) -> None:
    """Write the job's inputs as SageMaker Processing does."""
    base = root / "processing" / "input"
    for name, table in (("train", inputs.train), ("holdout", inputs.holdout)):
        (base / name).mkdir(parents=True)
        pq.write_table(table, base / name / "part-0.parquet")
    (base / "manifest").mkdir()
    (base / "manifest" / f"{content_hash(MANIFEST)}.json").write_bytes(canonical_json(MANIFEST))
    for name, archive in (("candidate", inputs.candidate), ("champion", inputs.champion)):
        (base / name).mkdir()
        if archive is not None:
            (base / name / "model.tar.gz").write_bytes(archive.read_bytes())


def run(root: Path, plan: EvaluationPlan, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint over ``root``."""
    text = json.dumps(to_dict(plan))
    pieces = [text[:50], text[50:]]  # as the machine splits long arguments
    command = [sys.executable, "-m", "mlops_runtime.jobs.evaluate", "--plan", *pieces, "--baseline-uri", URI, *options]
    environment = {**os.environ, "MLOPS_OPT_ML": str(root)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_the_job_writes_both_documents(inputs: Inputs, tmp_path: Path) -> None:
    """As a process its documents equal the function's result."""
    layout(tmp_path, inputs)
    done = run(tmp_path, PLAN, "--champion-sha256", str(inputs.champion_sha256))
    assert done.returncode == 0, done.stderr
    report = tmp_path / "processing" / "output" / "report"
    evaluation, baseline = evaluate(PLAN, inputs, URI)
    written = from_json(Evaluation, (report / "evaluation.json").read_bytes())
    assert set(written.milliseconds_a_row or {}) == {"candidate", "champion"}
    assert replace(written, milliseconds_a_row=None) == evaluation
    assert from_json(Baseline, (report / "baseline.json").read_bytes()) == baseline


def test_fails_with_one_line(inputs: Inputs, tmp_path: Path) -> None:
    """A wrong column name gives one line without a traceback."""
    layout(tmp_path, inputs)
    done = run(tmp_path, replace(PLAN, baselines=("lag",)), "--champion-sha256", str(inputs.champion_sha256))
    assert done.returncode == 1
    assert done.stderr.startswith("mlops evaluate: split 'holdout' lacks 'lag'; it has 'price', 'stock'")
    assert len(done.stderr.splitlines()) == 1


def test_fails_when_the_splits_are_not_those_of_the_manifest(inputs: Inputs, tmp_path: Path) -> None:
    """Each stale, foreign or missing file is named before anything is measured."""
    layout(tmp_path, inputs)
    opt_ml = OptMl(tmp_path)
    check_files(opt_ml, MANIFEST)  # the manifest names no files
    digests = {
        f"{split}/part-0.parquet": hashlib.sha256(
            (tmp_path / "processing" / "input" / split / "part-0.parquet").read_bytes()
        ).hexdigest()
        for split in ("train", "holdout")
    }

    def manifest(files: dict[str, str]) -> TrainingSetManifest:
        named = tuple(OutputFile(path=path, sha256=sha, bytes=1, rows=1) for path, sha in files.items())
        return replace(MANIFEST, output=replace(MANIFEST.output, files=named))

    check_files(opt_ml, manifest(digests))
    wrong = {"train/part-0.parquet": "0" * 64, "train/part-1.parquet": "0" * 64}
    with pytest.raises(JobError) as error:
        check_files(opt_ml, manifest(wrong))
    assert str(error.value) == (
        "the training set is not the one of its manifest: holdout/part-0.parquet is not named, "
        "train/part-0.parquet is another, train/part-1.parquet is missing"
    )


def test_a_candidate_knows_what_it_was_trained_on(inputs: Inputs) -> None:
    """One of three stores is unknown to it where the plan allows none; by default any may be."""
    evaluation, _ = evaluate(replace(PLAN, max_unknown=0.05), inputs, URI)
    assert evaluation.failures is not None
    (failure,) = evaluation.failures
    assert failure.startswith("the candidate does not know 1 of 3 values of 'store' in the training split, 3")
    assert failure.endswith("% of its rows, allowed are 5.0%")
    for share in (None, 0.5):
        assert evaluate(replace(PLAN, max_unknown=share), inputs, URI)[0].failures is None


def test_periods_and_bands_are_kept_apart_where_the_plan_names_them(inputs: Inputs) -> None:
    """For every rival over all rows; for segments only for compared models."""
    plan = replace(PLAN, period="week", bands={"price": (2, 4)})
    evaluation, _ = evaluate(plan, inputs, URI)
    assert evaluation.periods is not None
    assert [period.period for period in evaluation.periods] == [str(week) for week in range(8)]
    assert set(evaluation.periods[0].absolute_error) == {"candidate", "champion", "last_week"}
    assert evaluation.segments is not None
    assert {segment.value for segment in evaluation.segments} == {"below 2", "2 to 4", "4 or more"}
    for segment in evaluation.segments:
        assert segment.periods is not None
        assert set(segment.periods[0].absolute_error) == {"candidate", "champion"}
    assert problems(evaluation, GateSpec(minimum_rows=1), None) == []


def test_predictions_of_the_team_are_held_to_the_models(inputs: Inputs) -> None:
    """A difference is a failure of the candidate, which the gate rejects; equal predictions add nothing."""
    ours = evaluate(PLAN, inputs, URI)[0]
    expected = pa.table({"prediction": [1e9] * inputs.holdout.num_rows})
    failures = evaluate(PLAN, replace(inputs, expected=expected), URI)[0].failures or ()
    assert ours.failures is None
    assert [failure.partition(" for row")[0].startswith("the model predicts") for failure in failures] == [True]
    assert ours.compared is None
    own = inputs.holdout.num_rows * [None]
    compared = evaluate(PLAN, replace(inputs, expected=pa.table({"prediction": pa.array(own, pa.float64())})), URI)[
        0
    ].compared
    assert compared is not None
    assert (compared.rows, compared.largest_difference) == (inputs.holdout.num_rows, 1.0)


def test_a_candidate_that_takes_the_label_as_an_input_is_a_failure(inputs: Inputs, models: Any, tmp_path: Path) -> None:
    """For any score, because requests have no label."""
    folder = tmp_path / "leaking"
    folder.mkdir()
    (folder / "model.py").write_text(
        "def load(folder):\n    return None\n\n\ndef predict(_, frame):\n    return frame['units']\n"
    )
    leaking = replace(SERVED, inputs=(SignatureColumn(name="units", type="number"),))
    (folder / "signature.json").write_bytes(canonical_json(leaking))
    write_manifest(folder, manifest_of(folder, requirements_sha256=LOCK, python="3.13"))
    archive = model_folders.archive(folder, tmp_path / "leaking.tar.gz")
    environment = ModelEnvironment(python=PYTHON, requirements_sha256=LOCK)
    found, _ = evaluate(PLAN, replace(inputs, candidate=archive, environment=environment), URI)
    assert found.metrics["candidate"] == 0.0
    assert found.failures == ("the candidate uses the label 'units' as an input, which requests do not have",)


def answered(root: Path, inputs: Inputs, answers: str, *, pickled: bool = False) -> Path:
    """Write the job's inputs for a candidate behind its own server with its responses; return its archive."""
    folder = root / "model"
    folder.mkdir()
    (folder / "model.joblib" if pickled else folder / "weights.bin").write_bytes(b"\0")
    (folder / "signature.json").write_bytes(canonical_json(SERVED))
    archive = model_folders.archive(folder, root / "served.tar.gz")
    layout(root, replace(inputs, candidate=archive))
    base = root / "processing" / "input"
    requested = HoldoutRequests(
        artifact_sha256=_hash(archive),
        holdout_sha256=holdout_sha256(base / "holdout"),
        rows=300,
        again=(0, 7),
        signature=SERVED,
        signature_sha256=_hash(folder / "signature.json"),
    )
    (base / "answers").mkdir()
    (base / "answers" / "requests.json").write_bytes(canonical_json(requested))
    (base / "answers" / "rows.jsonl.out").write_text(answers)
    return archive


def measured(root: Path, inputs: Inputs, *options: str) -> Evaluation:
    """Run the job and return the evaluation."""
    done = run(root, PLAN, "--champion-sha256", str(inputs.champion_sha256), *options)
    assert done.returncode == 0, done.stderr
    return from_json(Evaluation, (root / "processing" / "output" / "report" / "evaluation.json").read_bytes())


def test_a_candidate_behind_its_own_server_is_measured_by_what_it_answered(inputs: Inputs, tmp_path: Path) -> None:
    """Its archive is identified by its hash alone; the champion is loaded as usual."""
    units = inputs.holdout.column("units").to_pylist()
    archive = answered(tmp_path, inputs, json.dumps({"predictions": [*units, units[0], units[7]]}))
    found = measured(tmp_path, inputs)
    assert found.metrics["candidate"] == 0.0
    assert found.metrics["champion"] == evaluate(PLAN, inputs, URI)[0].metrics["champion"]
    assert found.artifact_sha256 == found.model_sha256 == _hash(archive)
    assert (found.flavor, found.trust, found.pickled, found.milliseconds_a_row) == ("container", "code", None, None)
    assert found.failures is None


@pytest.mark.parametrize(
    ("change", "pickled", "reason"),
    [
        (lambda a: a[:-1], False, "candidate could not predict the holdout: the server returned 301 predictions"),
        (lambda a: ["n/a", *a[1:]], False, "the server returned 'n/a' for row 0, expected a number"),
        (lambda a: [*a[:-1], a[-1] + 1], False, "when repeated; rows must not depend on each other"),
        (lambda a: a, True, "model.joblib is a pickle, and the container is declared with trust 'code'"),
    ],
)
def test_answers_that_cannot_serve_are_one_reason(
    inputs: Inputs, tmp_path: Path, change: Any, pickled: bool, reason: str
) -> None:
    """The gate rejects the candidate with it."""
    units = inputs.holdout.column("units").to_pylist()
    answers = change([*units, units[0], units[7]])
    answered(tmp_path, inputs, json.dumps({"predictions": answers}), pickled=pickled)
    (failure,) = measured(tmp_path, inputs).failures or ()
    assert reason in failure


def test_a_pickle_of_a_container_is_declared(inputs: Inputs, tmp_path: Path) -> None:
    """With its trust, the evaluation lists the pickle's names as far as they can be read."""
    units = inputs.holdout.column("units").to_pylist()
    answered(tmp_path, inputs, json.dumps([*units, units[0], units[7]]), pickled=True)
    found = measured(tmp_path, inputs, "--container-trust", "pickle")
    assert (found.trust, found.pickled, found.failures) == ("pickle", ("...",), None)


def test_a_champion_behind_its_own_server_is_compared_by_what_it_answered(
    inputs: Inputs, models: Any, tmp_path: Path
) -> None:
    """By its stored responses; invalid ones leave it without a loss."""
    units = inputs.holdout.column("units").to_pylist()
    archive = answered(tmp_path, inputs, json.dumps([*units, units[0], units[7]]))
    base = tmp_path / "processing" / "input"
    (base / "answers").rename(base / "champion-answers")
    models.archive(base / "candidate" / "model.tar.gz")
    shutil.rmtree(base / "champion")
    served = replace(inputs, champion_sha256=_hash(archive))
    assert measured(tmp_path, served).metrics["champion"] == 0.0
    (base / "champion-answers" / "rows.jsonl.out").write_text("[1]")
    assert measured(tmp_path, served).non_finite["champion"] == 300
