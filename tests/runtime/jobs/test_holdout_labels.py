"""Classes and several outputs of real tables through evaluation and gate, checked against scikit-learn."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, log_loss, mean_absolute_error, recall_score
from sklearn.utils.class_weight import compute_sample_weight
from tests.runtime import explain, kinds

from mlops_runtime.contracts import from_json, to_dict
from mlops_runtime.contracts.model import Evaluation, GateVerdict
from mlops_runtime.contracts.monitor import Baseline, Facet
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.jobs.evaluate import evaluate
from mlops_runtime.jobs.holdout_labels import Labels, read_labels
from mlops_runtime.jobs.holdout_losses import block_losses
from mlops_runtime.jobs.holdout_predictions import holdout_sha256, read_predictions, write_predictions
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.predict import predict
from mlops_runtime.retraining.evaluation_evidence import loss_of
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.serving.model_source import ModelEnvironment

FACET = Facet(name="alcohol", threshold=13.0)
SPEC = GateSpec(resamples=200, minimum_rows=20)


@pytest.fixture(scope="module")
def wines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Baseline]:
    """Return the evaluation of the wines."""
    inputs = kinds.evaluation_inputs(tmp_path_factory.mktemp("wines"), "classes")
    return evaluate(kinds.PLANS["classes"], inputs, kinds.URI)


@pytest.fixture(scope="module")
def men(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Baseline]:
    """Return the evaluation of the men."""
    return evaluate(
        kinds.PLANS["numbers"], kinds.evaluation_inputs(tmp_path_factory.mktemp("men"), "numbers"), kinds.URI
    )


def _holdout(kind: str) -> tuple[Any, Any, Any]:
    """Return the holdout, scikit-learn's predictions and the labels."""
    if kind == "classes":
        table = kinds.wine().slice(118)
        label = [kinds.CULTIVARS.index(name) for name in table.column("cultivar").to_pylist()]
        return table, kinds.classifier().predict_proba(kinds.matrix(table, kinds.wine_inputs())), np.array(label)
    table = kinds.men().slice(160)
    predicted = kinds.regressor().predict(kinds.matrix(table, kinds.MEN_INPUTS))
    return table, predicted, kinds.matrix(table, kinds.MEASURES)


def test_macro_log_loss_and_confusion_are_scikit_learns(wines: tuple[Evaluation, Baseline]) -> None:
    """With balanced weights the loss is the mean over classes of each one's loss."""
    evaluation, _ = wines
    _, predicted, label = _holdout("classes")
    expected = log_loss(label, predicted, sample_weight=compute_sample_weight("balanced", label))
    assert evaluation.metrics["candidate"] == pytest.approx(expected, rel=1e-3)
    each = [log_loss(label[label == c], predicted[label == c], labels=[0, 1, 2]) for c in range(3)]
    assert evaluation.metrics["candidate"] == pytest.approx(np.mean(each), rel=1e-3)
    assert evaluation.confusion is not None
    table = confusion_matrix(label, predicted.argmax(axis=1))
    assert [list(line) for line in evaluation.confusion["candidate"]] == table.tolist()
    assert evaluation.classes == kinds.CULTIVARS


def test_the_naive_guess_of_a_class_is_what_the_training_split_says_of_a_name(
    wines: tuple[Evaluation, Baseline],
) -> None:
    """Shares of the cultivars among dark and light wines, with one row of each added."""
    evaluation, _ = wines
    train, holdout = kinds.wine().slice(0, 118).to_pandas(), kinds.wine().slice(118).to_pandas()
    counts = train.groupby(["colour", "cultivar"]).size().unstack(fill_value=0)[list(kinds.CULTIVARS)] + 1
    shares = counts.div(counts.sum(axis=1), axis=0).loc[holdout["colour"]].to_numpy()
    label = np.array([kinds.CULTIVARS.index(name) for name in holdout["cultivar"]])
    expected = log_loss(label, shares, sample_weight=compute_sample_weight("balanced", label))
    assert evaluation.metrics["colour"] == pytest.approx(expected)


def test_each_output_and_both_together_are_scikit_learns(men: tuple[Evaluation, Baseline]) -> None:
    """WAPE of each and the mean of both; the naive prediction has a column for each output."""
    evaluation, _ = men
    table, predicted, label = _holdout("numbers")
    wapes = [mean_absolute_error(label[:, i], predicted[:, i]) / np.abs(label[:, i]).mean() for i in range(2)]
    assert evaluation.outputs is not None
    assert [evaluation.outputs[name]["candidate"] for name in kinds.MEASURES] == pytest.approx(wapes, rel=1e-4)
    assert evaluation.metrics["candidate"] == pytest.approx(np.mean(wapes), rel=1e-4)
    last = kinds.matrix(table, ("last_weight", "last_waist"))
    naive = [mean_absolute_error(label[:, i], last[:, i]) / np.abs(label[:, i]).mean() for i in range(2)]
    assert evaluation.metrics["last"] == pytest.approx(np.mean(naive), rel=1e-4)


def test_mean_absolute_errors_of_outputs_are_over_the_spread_of_their_labels(tmp_path: Path) -> None:
    """Units do not weigh outputs; single errors keep them. Constant medians have an error of 1."""
    plan = replace(kinds.PLANS["numbers"], metric="mae")
    evaluation, _ = evaluate(plan, kinds.evaluation_inputs(tmp_path, "numbers"), kinds.URI)
    _, predicted, label = _holdout("numbers")
    errors = np.abs(predicted - label).mean(axis=0)
    spread = np.abs(label - np.median(label, axis=0)).mean(axis=0)
    assert evaluation.metrics["candidate"] == pytest.approx((errors / spread).mean(), rel=1e-4)
    assert evaluation.outputs is not None
    assert [evaluation.outputs[name]["candidate"] for name in kinds.MEASURES] == pytest.approx(errors, rel=1e-4)
    labels = read_labels(plan, kinds.signature("numbers"), kinds.men().slice(160))
    assert labels.losses(np.tile(np.median(label, axis=0), (80, 1))).mean() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_the_gate_decides_on_the_real_tables(kind: str, request: pytest.FixtureRequest) -> None:
    """Both candidates beat their champions of few rows; JSON keeps the evaluation, and sums are those of its blocks."""
    evaluation, baseline = request.getfixturevalue("wines" if kind == "classes" else "men")
    again = from_json(Evaluation, json.dumps(to_dict(evaluation)))
    assert again == evaluation
    assert from_json(Baseline, json.dumps(to_dict(baseline))) == baseline
    result = evaluate_gate(again, SPEC, uri="s3://a/e", sha256="0")
    beaten = {check.rival: check.passed for check in result.checks if check.segment is None}
    assert beaten["champion"]
    assert (result.verdict is GateVerdict.PASSED) == all(check.passed for check in result.checks)
    assert loss_of(again.blocks, again.metric, "candidate") == pytest.approx(again.metrics["candidate"])


def test_the_segments_of_classes_add_up_to_the_whole(wines: tuple[Evaluation, Baseline]) -> None:
    """Losses and weights: a segment's loss is a weighted mean of the same rows."""
    evaluation, _ = wines
    assert evaluation.segments is not None
    assert {segment.name for segment in evaluation.segments} == {"colour=dark", "colour=light"}
    parts = [block for segment in evaluation.segments for block in segment.blocks]
    total = sum(block.absolute_error["candidate"] for block in parts) / sum(block.actual_sum for block in parts)
    assert total == pytest.approx(evaluation.metrics["candidate"])


def test_a_class_that_is_found_too_seldom_is_refused(wines: tuple[Evaluation, Baseline]) -> None:
    """Its recall on the holdout is scikit-learn's; an unknown class is named."""
    evaluation, _ = wines
    _, predicted, label = _holdout("classes")
    found = recall_score(label, predicted.argmax(axis=1), average=None)
    table = np.array(evaluation.confusion["candidate"])  # type: ignore[index] # of classes there is one
    assert (np.diag(table) / table.sum(axis=1)).tolist() == pytest.approx(found)
    worse = np.zeros_like(table) + np.diag(table.sum(axis=1))
    worse[2] = [0, 6, int(table[2].sum()) - 6]
    weak = replace(evaluation, confusion={"candidate": tuple(map(tuple, worse.tolist()))})
    least = {"barbera": 0.8, "barolo": 0.8, "merlot": 0.5}
    reason = evaluate_gate(weak, replace(SPEC, min_recall=least), uri="s3://a/e", sha256="0").reason
    assert (
        f"the candidate finds {1 - 6 / table[2].sum():.1%} of {table[2].sum()} rows of class barbera, the minimum is 80.0%"
        in reason
    )
    assert "min_recall names 'merlot', the classes are barolo, grignolino, barbera" in reason
    assert "barolo, the minimum" not in reason


def test_a_recall_is_not_asked_of_what_has_no_classes(men: tuple[Evaluation, Baseline]) -> None:
    """Nor for a confusion matrix that does not match the row count."""
    spec = replace(SPEC, min_recall={"weight": 0.5})
    reason = evaluate_gate(men[0], spec, uri="s3://a/e", sha256="0").reason
    assert "min_recall needs a model of classes, the evaluation has none; leave it out" in reason


def test_three_classes_where_the_holdout_has_two_is_one_message(tmp_path: Path) -> None:
    """Also for a class unknown to the candidate: both errors have the fix."""
    inputs = kinds.evaluation_inputs(tmp_path, "classes")
    two = inputs.holdout.filter(pa.compute.not_equal(inputs.holdout.column("cultivar"), "barbera"))
    message = "label 'cultivar' has classes barolo, grignolino, the candidate barolo, grignolino, barbera: barbera is missing in "
    with pytest.raises(JobError, match=f"^{message}the holdout; train on and hold out rows of every class"):
        evaluate(kinds.PLANS["classes"], replace(inputs, holdout=two), kinds.URI)
    names = pa.array(
        ["nebbiolo" if name == "barolo" else name for name in inputs.holdout.column("cultivar").to_pylist()]
    )
    other = inputs.holdout.set_column(inputs.holdout.column_names.index("cultivar"), "cultivar", names)
    with pytest.raises(JobError, match="nebbiolo is unknown to the candidate and barolo is missing in the holdout"):
        evaluate(kinds.PLANS["classes"], replace(inputs, holdout=other), kinds.URI)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            "classes",
            {"metric": "log_loss"},
            "metric log_loss does not measure a candidate of kind 'classes'; use macro_log_loss",
        ),
        ("numbers", {"metric": "brier"}, "metric brier does not measure several outputs; use wape or mae"),
        ("numbers", {"labels": None}, "labels must be the candidate's outputs in their order, weight, waist, got none"),
        (
            "numbers",
            {"labels": ("waist", "weight"), "label": "waist"},
            "outputs in their order, weight, waist, got waist, weight",
        ),
        ("numbers", {"label": "waist"}, "label must be the first of labels, weight, got waist"),
        ("classes", {"labels": ("cultivar",)}, 'its signature must have "kind": "numbers" with these as outputs'),
    ],
)
def test_a_plan_of_another_kind_is_refused_by_name(kind: str, change: dict[str, Any], message: str) -> None:
    """The error has the candidate's kind and the correct setting."""
    table = kinds.wine() if kind == "classes" else kinds.men()
    with pytest.raises(JobError) as raised:
        read_labels(replace(kinds.PLANS[kind], **change), kinds.signature(kind), table)
    assert message in str(raised.value)


def test_a_vector_without_a_function_is_refused_by_name() -> None:
    """It has no default loss. A function measures no other kind."""
    vector = replace(kinds.signature("classes"), kind="vector", classes=None, width=16)
    with pytest.raises(
        JobError, match="a vector of 16 numbers, which macro_log_loss does not measure; pass a file with"
    ):
        read_labels(kinds.PLANS["classes"], vector, kinds.wine())
    plan = kinds.PLANS["vector"]
    with pytest.raises(JobError, match="custom_loss measures a vector, the candidate is of kind 'numbers'"):
        read_labels(plan, kinds.signature("numbers"), kinds.men_as_vectors())
    with pytest.raises(
        JobError, match="custom_loss needs the file of the metric function, which the job does not have"
    ):
        read_labels(plan, kinds.signature("vector"), kinds.men_as_vectors())


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Baseline]:
    """Return the evaluation of the men as vectors."""
    return evaluate(*_measured_by(tmp_path_factory.mktemp("vectors")), kinds.URI)


def _measured_by(folder: Path, text: str = kinds.METRIC, **changes: Any) -> tuple[Any, Any]:
    file, digest = kinds.metric_file(folder / "metric", text)
    inputs = kinds.evaluation_inputs(folder, "vector", metric=file, **changes)
    return replace(kinds.PLANS["vector"], metric_sha256=digest), inputs


def test_a_vector_loses_what_the_function_says(vectors: tuple[Evaluation, Baseline]) -> None:
    """For candidate, champion and baseline; the gate's reason names the function."""
    evaluation, baseline = vectors
    holdout = kinds.men().slice(160)
    labels, rows = kinds.matrix(holdout, kinds.MEASURES), kinds.matrix(holdout, kinds.MEN_INPUTS)
    last = kinds.matrix(holdout, tuple(f"last_{name}" for name in kinds.MEASURES))
    predicted = {"candidate": kinds.regressor(), "champion": kinds.regressor(8)}
    given = {name: model.predict(rows) for name, model in predicted.items()} | {"last_measures": last}
    expected = {name: (np.abs(values - labels) / kinds.SCALES).sum(axis=1).mean() for name, values in given.items()}
    assert dict(evaluation.metrics) == pytest.approx(expected, rel=1e-4)
    digest = evaluation.metric_sha256
    assert digest is not None
    spec = replace(SPEC, metric_sha256=digest)
    result = evaluate_gate(evaluation, spec, uri="u", sha256="s")
    assert (result.verdict, f"measured by the metric function {digest}" in result.reason) == (GateVerdict.PASSED, True)
    other = evaluate_gate(evaluation, replace(SPEC, metric_sha256="0" * 64), uri="u", sha256="s")
    assert f"the losses are of the metric function {digest}, the pipeline's is 0000" in other.reason
    assert "the pipeline's is none" in evaluate_gate(evaluation, SPEC, uri="u", sha256="s").reason
    assert (baseline.target, baseline.width, baseline.columns, baseline.predicted) == ("vector", 2, 2, ())
    assert dict(baseline.quality) == {"custom_loss": evaluation.metrics["candidate"]}


def test_a_changed_function_measures_the_champion_again(tmp_path: Path, vectors: tuple[Evaluation, Baseline]) -> None:
    """Stored predictions belong to the model, losses to the function."""
    inputs, folder = kinds.evaluation_inputs(tmp_path, "vector"), tmp_path / "holdout"
    folder.mkdir()
    pq.write_table(inputs.holdout, folder / "part-0.parquet")
    assert inputs.champion is not None
    digest, sha256 = holdout_sha256(folder), str(inputs.champion_sha256)
    made = predict(inputs.champion, folder, ModelEnvironment(), artifact_sha256=sha256)
    file = write_predictions(tmp_path / "predictions", made)
    kept = read_predictions(file, artifact_sha256=sha256, holdout=digest, rows=inputs.holdout.num_rows)
    doubled = kinds.METRIC.replace("return", "return 2 *")
    plan, again = _measured_by(tmp_path / "again", doubled, champion=None, champion_predictions=kept)
    found, _ = evaluate(plan, replace(again, champion_sha256=inputs.champion_sha256), kinds.URI)
    before, _ = vectors
    assert dict(found.metrics) == pytest.approx({name: 2 * loss for name, loss in before.metrics.items()}, rel=1e-6)
    assert found.metric_sha256 != before.metric_sha256


def test_a_champion_of_another_width_is_not_compared(tmp_path: Path) -> None:
    """It has no prediction of this label."""
    narrow = kinds.LinearRegression().fit(
        kinds.matrix(kinds.men(), kinds.MEN_INPUTS), kinds.matrix(kinds.men(), ("weight",))
    )
    champion = kinds.archive(tmp_path / "narrow" / "model.tar.gz", "vector", narrow, width=1)
    plan, inputs = _measured_by(tmp_path)
    digest = hashlib.sha256(champion.read_bytes()).hexdigest()
    found, _ = evaluate(plan, replace(inputs, champion=champion, champion_sha256=digest), kinds.URI)
    assert found.non_finite["champion"] == found.rows
    gate = evaluate_gate(found, replace(SPEC, metric_sha256=found.metric_sha256), uri="u", sha256="s")
    assert "the champion has no finite prediction for 80 rows and is not compared" in gate.reason


def test_a_function_that_fails_names_whose_predictions(tmp_path: Path) -> None:
    """No model is rejected for it: the evaluation fails."""
    plan, inputs = _measured_by(tmp_path, kinds.METRIC.replace("return", "return 1 / 0 or"))
    with pytest.raises(
        JobError, match=r"failed: row 0 of the holdout: ZeroDivisionError: .* \(predictions of candidate\)"
    ):
        evaluate(plan, inputs, kinds.URI)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            pa.array([[1.0, 2.0], None] * 40),
            "label 'measures' must be a list of finite numbers in every holdout row, 40 of 80",
        ),
        (pa.array([[1.0, 2.0], []] * 40), "40 of 80 are null or empty and 0 numbers are not finite"),
        (pa.array([[1.0, float("nan")]] * 80), "0 of 80 are null or empty and 80 numbers are not finite"),
        (pa.array([1.0] * 80), "column 'measures' must have lists of numbers, got double"),
        (pa.array([["a"]] * 80), "column 'measures' must have lists of numbers, got list<"),
    ],
)
def test_fails_for_labels_that_are_no_lists_of_numbers(tmp_path: Path, column: Any, message: str) -> None:
    """The error has name and count."""
    plan, inputs = _measured_by(tmp_path)
    place = inputs.holdout.column_names.index("measures")
    holdout = inputs.holdout.set_column(place, "measures", column)
    with pytest.raises(JobError) as raised:
        evaluate(plan, replace(inputs, holdout=holdout), kinds.URI)
    assert message in str(raised.value)


def test_a_naive_vector_may_be_missing_and_not_of_another_width(tmp_path: Path) -> None:
    """Such a row counts against the baseline, like any missing prediction."""
    plan, inputs = _measured_by(tmp_path)
    place = inputs.holdout.column_names.index("last_measures")
    values = inputs.holdout.column("last_measures").to_pylist()
    some = inputs.holdout.set_column(place, "last_measures", pa.array([None, *values[1:]]))
    found, _ = evaluate(plan, replace(inputs, holdout=some), kinds.URI)
    assert found.non_finite["last_measures"] == 1
    wide = inputs.holdout.set_column(place, "last_measures", pa.array([*values[:-1], [1.0, 2.0, 3.0]]))
    with pytest.raises(JobError, match=r"baseline 'last_measures' must have 2 numbers per row, .*, row 79 has 3"):
        evaluate(plan, replace(inputs, holdout=wide), kinds.URI)


def test_a_vector_has_neither_bias_nor_attributions(tmp_path: Path) -> None:
    """Both are rejected by name."""
    plan, inputs = _measured_by(tmp_path)
    requested = replace(plan, facets=(Facet(name="chins", threshold=9.0),), attribution_rows=5)
    with pytest.raises(JobError, match=r"bias is not measured for a vector, .*; a vector is not explained, since its"):
        evaluate(requested, inputs, kinds.URI)


def test_a_champion_is_asked_by_the_names_of_its_classes() -> None:
    """In another order, with an additional class, and with a missing one."""
    labels = Labels(metric="macro_log_loss", actual=np.array([0.0, 1.0]), weights=np.ones(2), classes=("a", "b", "c"))
    turned = labels.of_model(np.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]]), ("c", "b", "a"))
    assert turned.tolist() == [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]
    more = labels.of_model(np.array([[0.3, 0.1, 0.1, 0.5]] * 2), ("a", "b", "c", "old"))
    assert more[0].tolist() == pytest.approx([0.6, 0.2, 0.2])
    assert labels.given(more).all()
    fewer = labels.of_model(np.array([[0.4, 0.6]] * 2), ("b", "c"))
    assert labels.given(fewer).tolist() == [False, True]
    assert np.isnan(labels.of_model(np.array([0.4, 0.6]), None)).all()


def test_what_is_no_probability_of_each_class_is_no_prediction() -> None:
    """Negative values, a wrong sum and non-numbers have no loss and count as failures."""
    labels = Labels(metric="macro_log_loss", actual=np.zeros(4), weights=np.ones(4), classes=("a", "b"))
    predictions = np.array([[0.5, 0.5], [-0.1, 1.1], [0.5, 0.4], [np.nan, 1.0]])
    assert labels.given(predictions).tolist() == [True, False, False, False]
    assert labels.losses(predictions)[1:].tolist() == [0.0, 0.0, 0.0]
    assert sum(map(sum, labels.confusion(predictions))) == 1


@given(data=st.data(), size=st.integers(3, 6), rows=st.integers(6, 60))
@settings(max_examples=60, deadline=None)
def test_the_macro_log_loss_of_any_blocks_is_scikit_learns(data: st.DataObject, size: int, rows: int) -> None:
    """For any division into blocks: sums of losses over sums of weights."""
    seed = data.draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    label = np.concatenate([np.arange(size), random.integers(0, size, rows)])
    predicted = random.dirichlet(np.ones(size), len(label))
    names = tuple(f"class {place}" for place in range(size))
    signature = replace(kinds.signature("classes"), classes=names)
    table = pa.table({"cultivar": [names[place] for place in label]})
    labels = read_labels(kinds.PLANS["classes"], signature, table)
    blocks = block_losses(
        [str(place) for place in random.integers(0, 5, len(label))],
        labels.weights,
        {"candidate": labels.losses(predicted)},
    )
    expected = log_loss(label, predicted, sample_weight=compute_sample_weight("balanced", label))
    assert loss_of(blocks, "macro_log_loss", "candidate") == pytest.approx(expected)
    assert np.array(labels.confusion(predicted)).tolist() == confusion_matrix(label, predicted.argmax(axis=1)).tolist()


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        (
            "classes",
            {"facets": (FACET,)},
            "bias of classes needs a positive class; set positive_class to one of",
        ),
        (
            "classes",
            {"positive_class": "merlot"},
            "positive_class is 'merlot', the classes are barolo, grignolino, barbera",
        ),
        (
            "classes",
            {"positive": 0.5},
            "positive is a limit of one number, the candidate has classes; set positive_class to one of barolo",
        ),
        (
            "numbers",
            {"positive_class": "barolo"},
            "positive_class is 'barolo', the candidate has no classes; use positive",
        ),
        ("numbers", {"facets": (replace(FACET, name="chins"),)}, "bias is not measured for several outputs"),
        (
            "numbers",
            {"attribution_rows": 10},
            "several outputs are not explained, since their attributions have different",
        ),
    ],
)
def test_what_a_kind_does_not_have_is_refused_by_name(
    kind: str, change: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    """Before anything is measured."""
    with pytest.raises(JobError) as raised:
        evaluate(replace(kinds.PLANS[kind], **change), kinds.evaluation_inputs(tmp_path, kind), kinds.URI)
    assert problem in str(raised.value)


def test_bias_and_attributions_of_classes_are_of_one_class_and_of_all(tmp_path: Path) -> None:
    """Bias of the class barolo for strong wines; mean SHAP value of each measure over the classes."""
    explain.require()
    plan = replace(kinds.PLANS["classes"], facets=(FACET,), positive_class="barolo", attribution_rows=5)
    _, baseline = evaluate(plan, kinds.evaluation_inputs(tmp_path, "classes"), kinds.URI)
    table, _, label = _holdout("classes")
    strong = np.asarray(table.column("alcohol")) > FACET.threshold
    expected = (label[~strong] == 0).mean() - (label[strong] == 0).mean()
    assert baseline.bias is not None
    assert {name: round(value, 6) for name, value in baseline.bias.items() if name.endswith("/DPL")} == {
        "alcohol=13/DPL": round(float(expected), 6)
    }
    assert set(baseline.attributions or ()) == set(kinds.wine_inputs())
    assert baseline.positive_class == "barolo"


def test_predictions_of_lists_are_kept_and_read(tmp_path: Path) -> None:
    """As written by the job in a champion's own image, with column names."""
    inputs, folder = kinds.evaluation_inputs(tmp_path, "classes"), tmp_path / "holdout"
    folder.mkdir()
    pq.write_table(inputs.holdout, folder / "part.parquet")
    assert inputs.champion is not None
    sha256 = str(inputs.champion_sha256)
    predicted = predict(inputs.champion, folder, ModelEnvironment(), artifact_sha256=sha256)
    path = write_predictions(tmp_path / "predictions", predicted)
    again = read_predictions(path, artifact_sha256=sha256, holdout=holdout_sha256(folder), rows=inputs.holdout.num_rows)
    assert again.values.tolist() == predicted.values.tolist()
    assert again.of.names == kinds.CULTIVARS
    there, _ = evaluate(kinds.PLANS["classes"], inputs, kinds.URI)
    read = replace(inputs, champion=None, champion_predictions=again)
    here, _ = evaluate(kinds.PLANS["classes"], read, kinds.URI)
    assert here.metrics == there.metrics


def test_the_job_evaluates_classes_as_a_process(tmp_path: Path) -> None:
    """From files to files, as SageMaker runs it."""
    inputs, root = kinds.evaluation_inputs(tmp_path / "made", "classes"), tmp_path / "processing"
    for split, table in (("train", inputs.train), ("holdout", inputs.holdout)):
        (root / "input" / split).mkdir(parents=True)
        pq.write_table(table, root / "input" / split / "part.parquet")
    for name, archive in (("candidate", inputs.candidate), ("champion", inputs.champion)):
        assert archive is not None
        (root / "input" / name).mkdir()
        (root / "input" / name / "model.tar.gz").write_bytes(archive.read_bytes())
    (root / "input" / "manifest").mkdir()
    (root / "input" / "manifest" / "manifest.json").write_text(json.dumps(to_dict(inputs.manifest)))
    command = [
        sys.executable,
        "-m",
        "mlops_runtime.jobs.evaluate",
        "--plan",
        json.dumps(to_dict(kinds.PLANS["classes"])),
    ]
    command += ["--baseline-uri", kinds.URI, "--champion-sha256", str(inputs.champion_sha256)]
    ran = subprocess.run(
        command, env={**os.environ, "MLOPS_OPT_ML": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    report = root / "output" / "report"
    evaluation = from_json(Evaluation, (report / "evaluation.json").read_bytes())
    baseline = from_json(Baseline, (report / "baseline.json").read_bytes())
    assert (evaluation.classes, baseline.classes, baseline.target) == (kinds.CULTIVARS, kinds.CULTIVARS, "classes")
    assert set(evaluation.milliseconds_a_row or ()) == {"candidate", "champion"}


@pytest.mark.parametrize("kind", ["classes", "numbers", "vector"])
def test_the_teams_own_lists_are_compared(tmp_path: Path, kind: str) -> None:
    """Lists of scikit-learn pass; a row with reversed numbers is named, by class or output if named."""
    plan, inputs = kinds.PLANS[kind], kinds.evaluation_inputs(tmp_path, kind)
    if kind == "vector":
        plan, inputs = _measured_by(tmp_path)
    rows = kinds.matrix(inputs.holdout, kinds.wine_inputs() if kind == "classes" else kinds.MEN_INPUTS)
    own = kinds.classifier().predict_proba(rows) if kind == "classes" else kinds.regressor().predict(rows)
    found, _ = evaluate(plan, replace(inputs, expected=pa.table({"prediction": own.tolist()})), kinds.URI)
    assert found.failures is None
    own[5] = own[5][::-1].copy()
    found, _ = evaluate(plan, replace(inputs, expected=pa.table({"prediction": own.tolist()})), kinds.URI)
    assert found.failures is not None
    name = {"classes": "as b", "numbers": "as w", "vector": "as number "}[kind]
    assert f" {name}" in found.failures[0]
    assert " for row 5 of the holdout" in found.failures[0]
