"""Classes and several outputs of real tables through evaluation and gate, with scikit-learn as the oracle."""

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
    """The evaluation of the wines."""
    inputs = kinds.evaluation_inputs(tmp_path_factory.mktemp("wines"), "classes")
    return evaluate(kinds.PLANS["classes"], inputs, kinds.URI)


@pytest.fixture(scope="module")
def men(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Baseline]:
    """The evaluation of the men."""
    return evaluate(
        kinds.PLANS["numbers"], kinds.evaluation_inputs(tmp_path_factory.mktemp("men"), "numbers"), kinds.URI
    )


def _holdout(kind: str) -> tuple[Any, Any, Any]:
    """Return holdout, scikit-learn's predictions and the labels."""
    if kind == "classes":
        table = kinds.wine().slice(118)
        label = [kinds.CULTIVARS.index(name) for name in table.column("cultivar").to_pylist()]
        return table, kinds.classifier().predict_proba(kinds.matrix(table, kinds.wine_inputs())), np.array(label)
    table = kinds.men().slice(160)
    predicted = kinds.regressor().predict(kinds.matrix(table, kinds.MEN_INPUTS))
    return table, predicted, kinds.matrix(table, kinds.MEASURES)


def test_macro_log_loss_and_confusion_are_scikit_learns(wines: tuple[Evaluation, Baseline]) -> None:
    """The loss of balanced weights is the mean over classes of the loss of each."""
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
    """Shares of the cultivars among dark and among light wines, one row of each added."""
    evaluation, _ = wines
    train, holdout = kinds.wine().slice(0, 118).to_pandas(), kinds.wine().slice(118).to_pandas()
    counts = train.groupby(["colour", "cultivar"]).size().unstack(fill_value=0)[list(kinds.CULTIVARS)] + 1
    shares = counts.div(counts.sum(axis=1), axis=0).loc[holdout["colour"]].to_numpy()
    label = np.array([kinds.CULTIVARS.index(name) for name in holdout["cultivar"]])
    expected = log_loss(label, shares, sample_weight=compute_sample_weight("balanced", label))
    assert evaluation.metrics["colour"] == pytest.approx(expected)


def test_each_output_and_both_together_are_scikit_learns(men: tuple[Evaluation, Baseline]) -> None:
    """WAPE of each, and the mean of both; the naive guess is a column for each output."""
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
    """So that no output weighs more for its unit; each by itself keeps it. A constant guess of the medians has 1."""
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
    """Both candidates beat their champions of few rows; the evaluation survives its JSON, and its sums are those of its blocks."""
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
    """Losses and weights: the loss of a segment is a weighted mean of the same rows."""
    evaluation, _ = wines
    assert evaluation.segments is not None
    assert {segment.name for segment in evaluation.segments} == {"colour=dark", "colour=light"}
    parts = [block for segment in evaluation.segments for block in segment.blocks]
    total = sum(block.absolute_error["candidate"] for block in parts) / sum(block.actual_sum for block in parts)
    assert total == pytest.approx(evaluation.metrics["candidate"])


def test_a_class_that_is_found_too_seldom_is_refused(wines: tuple[Evaluation, Baseline]) -> None:
    """Its recall on the holdout is scikit-learn's; a name that is no class is named."""
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
    """Nor of a confusion that does not count the rows."""
    spec = replace(SPEC, min_recall={"weight": 0.5})
    reason = evaluate_gate(men[0], spec, uri="s3://a/e", sha256="0").reason
    assert "min_recall is of a model of classes, the evaluation has none; leave it out" in reason


def test_three_classes_where_the_holdout_has_two_is_one_message(tmp_path: Path) -> None:
    """And a class that the candidate does not know: both with the fix."""
    inputs = kinds.evaluation_inputs(tmp_path, "classes")
    two = inputs.holdout.filter(pa.compute.not_equal(inputs.holdout.column("cultivar"), "barbera"))
    told = "label 'cultivar' has classes barolo, grignolino, the candidate barolo, grignolino, barbera: barbera is missing in the "
    with pytest.raises(JobError, match=f"^{told}holdout; train on and hold out rows of every class"):
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
        ("classes", {"labels": ("cultivar",)}, 'its signature must say "kind": "numbers" with these as outputs'),
    ],
)
def test_a_plan_of_another_kind_is_refused_by_name(kind: str, change: dict[str, Any], message: str) -> None:
    """With what the candidate is, and what to write."""
    table = kinds.wine() if kind == "classes" else kinds.men()
    with pytest.raises(JobError) as raised:
        read_labels(replace(kinds.PLANS[kind], **change), kinds.signature(kind), table)
    assert message in str(raised.value)


def test_a_vector_is_refused_by_name() -> None:
    """It has no loss: nothing is made up."""
    vector = replace(kinds.signature("classes"), kind="vector", classes=None, width=16)
    with pytest.raises(
        JobError, match="the candidate gives a vector of 16 numbers, which has no loss; evaluate a model"
    ):
        read_labels(kinds.PLANS["classes"], vector, kinds.wine())


def test_a_champion_is_asked_by_the_names_of_its_classes() -> None:
    """In another order; with a class that is not here any more; and without one that is."""
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
    """Below 0, not adding up to 1, or not a number: it has no loss and counts as a failure."""
    labels = Labels(metric="macro_log_loss", actual=np.zeros(4), weights=np.ones(4), classes=("a", "b"))
    predictions = np.array([[0.5, 0.5], [-0.1, 1.1], [0.5, 0.4], [np.nan, 1.0]])
    assert labels.given(predictions).tolist() == [True, False, False, False]
    assert labels.losses(predictions)[1:].tolist() == [0.0, 0.0, 0.0]
    assert sum(map(sum, labels.confusion(predictions))) == 1


@given(data=st.data(), size=st.integers(3, 6), rows=st.integers(6, 60))
@settings(max_examples=60, deadline=None)
def test_the_macro_log_loss_of_any_blocks_is_scikit_learns(data: st.DataObject, size: int, rows: int) -> None:
    """However rows are cut into blocks: sums of losses over sums of weights."""
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
            "bias of classes needs the one that counts as positive; set positive_class to one of",
        ),
        (
            "classes",
            {"positive_class": "merlot"},
            "positive_class is 'merlot', the classes are barolo, grignolino, barbera",
        ),
        (
            "classes",
            {"positive": 0.5},
            "positive is a limit of one number, the candidate has classes; name one of barolo",
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
    """Whether barolo is predicted where wines are strong; the mean SHAP value over the classes of each measure."""
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
    """As the job in a champion's own image writes them, with what the columns are called."""
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
