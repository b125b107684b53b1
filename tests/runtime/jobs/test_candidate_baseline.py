"""The baseline of a candidate: settings of the plan, the split of each part, and all problems together."""

import importlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import Baseline, Condition, Facet
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.jobs.candidate_baseline import Evaluated, make_baseline, plan_problems
from mlops_runtime.jobs.holdout_labels import Labels
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.monitor.monitors import facet_bias as bias
from mlops_runtime.monitor.monitors.label_measures import Target
from mlops_runtime.monitor.monitors.rows import Rows, Texts
from mlops_runtime.serving.onnx_model import load_archive

PLAN = EvaluationPlan(label="units", block="store", baselines=("last_week",), cluster="week", timestamp="at")
MONDAY = datetime(2017, 8, 7, tzinfo=UTC)


def rows(count: int, seed: int) -> Any:
    """Return a split; the buyers' age is not an input of the model."""
    random = np.random.default_rng(seed)
    price = random.lognormal(1, 0.4, count)
    return pa.table(
        {
            "price": price,
            "stock": pa.array(random.poisson(3, count).astype(float), mask=random.random(count) < 0.1),
            "store": random.choice(["north", "south, old", "west"], count),
            "units": np.round(price * 2 + 5),
            "last_week": price * 2 + 5,
            "week": random.integers(0, 8, count),
            "age": random.choice([30, 50], count),
            "at": pa.array([MONDAY + timedelta(hours=i % 72) for i in range(count)], pa.timestamp("us", tz="UTC")),
        }
    )


@pytest.fixture(scope="module")
def evaluated(models: Any, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Return a candidate whose last prediction is missing."""
    train, holdout = rows(1500, 1), rows(300, 2)
    actual = holdout.column("units").to_numpy()
    predictions = actual + np.random.default_rng(3).normal(0, 2, 300)
    predictions[-1] = np.nan
    archive = models.archive(tmp_path_factory.mktemp("candidate") / "model.tar.gz")
    return Evaluated(
        model=load_archive(archive),
        train=train,
        holdout=holdout,
        predictions=predictions,
        labels=Labels(metric="wape", actual=actual, weights=actual),
        quality={"wape": 0.25},
        is_able=True,
    )


def make(plan: EvaluationPlan, evaluated: Evaluated) -> Baseline:
    """Return the baseline as read back."""
    baseline = make_baseline(plan, evaluated, training_set_id="set-1", created="2017-09-01T00:00:00Z")
    assert from_json(Baseline, canonical_json(baseline)) == baseline
    return baseline


def test_a_plain_plan_gives_distributions_and_quality(evaluated: Evaluated) -> None:
    """Covers every metric of the target over rows with a prediction, and the metric that the gate measured."""
    baseline = make(PLAN, evaluated)
    assert (baseline.target, baseline.source, baseline.rows) == ("regression", "training", 1500)
    assert baseline.prediction is not None
    assert (sum(baseline.prediction.counts), baseline.prediction.counts[-1]) == (300, 1)
    given = Rows.of(evaluated.predictions[:-1], evaluated.labels.actual[:-1])
    expected = Target.of(baseline).values(given)
    assert set(baseline.quality) == {"wape", "bias", "mae", "rmse", "r2"}
    assert baseline.quality["wape"] == 0.25
    assert baseline.quality["rmse"] == pytest.approx(expected["rmse"])
    absent = (
        baseline.segments,
        baseline.facets,
        baseline.bias,
        baseline.conditions,
        baseline.pairs,
        baseline.attributions,
    )
    assert absent == (None,) * 6


def test_a_baseline_knows_how_long_its_clusters_last(evaluated: Evaluated) -> None:
    """Only for clusters of time, also without a condition of time; random week numbers have no length."""
    days = pa.array([f"{at:%j}" for at in evaluated.train.column("at").to_pylist()])
    daily = replace(evaluated, train=evaluated.train.append_column("day", days))
    daily = replace(daily, holdout=evaluated.holdout.append_column("day", days.slice(0, 300)))

    assert make(replace(PLAN, cluster="day"), daily).cluster_hours == 24
    assert make(PLAN, evaluated).cluster_hours is None
    assert make(replace(PLAN, timestamp="week"), evaluated).cluster_hours is None


def test_a_baseline_knows_which_numbers_are_booleans(evaluated: Evaluated) -> None:
    """From the signature; monitors count a caller's true as 1."""
    price, *others = evaluated.model.signature.inputs
    signature = replace(evaluated.model.signature, inputs=(replace(price, kind="boolean"), *others))
    model: Any = SimpleNamespace(signature=signature)
    train = evaluated.train.set_column(0, "price", pa.array([i % 2 == 0 for i in range(1500)]))
    baseline = make(PLAN, replace(evaluated, model=model, train=train))
    assert [feature.kind for feature in baseline.features] == ["boolean", None, None]
    assert baseline.features[0].mean == 0.5


def test_a_classifier_has_its_own_metrics(evaluated: Evaluated) -> None:
    """AUC and others; a prediction that is not a probability is excluded."""
    label = (evaluated.labels.actual > 10).astype(float)
    predictions = np.where(label == 1, 0.8, 0.3)
    predictions[0] = 1.5
    judged = replace(
        evaluated,
        labels=Labels(metric="log_loss", actual=label, weights=label),
        predictions=predictions,
        quality={"log_loss": 0.4},
    )
    baseline = make(replace(PLAN, metric="log_loss", positive=0.7), judged)
    assert (baseline.target, baseline.positive) == ("classification", 0.7)
    assert (baseline.quality["auc"], baseline.quality["recall"], baseline.quality["log_loss"]) == (1.0, 1.0, 0.4)


def test_the_holdout_teaches_what_to_expect_before_labels_come(evaluated: Evaluated) -> None:
    """From its labelled predictions, in the cells of the training split, by the plan's clusters; none for too few rows."""
    found = make_baseline(PLAN, evaluated, training_set_id="t", created="2017-08-01T00:00:00Z").estimator
    assert found is not None
    assert (found.rows, found.groups, found.columns) == (299, 8, ("price", "stock", "store"))
    assert [sum(cells) for cells in found.labelled] == [299] * 4
    assert sum(found.scores[0].counts) == 299
    short = replace(
        evaluated,
        holdout=evaluated.holdout.slice(0, 150),
        predictions=evaluated.predictions[:150],
        labels=replace(evaluated.labels, actual=evaluated.labels.actual[:150], weights=evaluated.labels.weights[:150]),
    )
    assert make_baseline(PLAN, short, training_set_id="t", created="2017-08-01T00:00:00Z").estimator is None


def test_each_of_several_outputs_has_an_estimate(evaluated: Evaluated) -> None:
    """Each has its own scores and losses; rows without a prediction are skipped."""
    doubled = replace(
        evaluated,
        predictions=np.stack([evaluated.predictions, 2 * evaluated.predictions], axis=1),
        labels=replace(
            evaluated.labels,
            actual=np.stack([evaluated.labels.actual, 2 * evaluated.labels.actual], axis=1),
            outputs=("units", "pairs"),
        ),
    )
    found = make_baseline(PLAN, doubled, training_set_id="t", created="2017-08-01T00:00:00Z").estimator
    assert found is not None
    assert (found.rows, [score.name for score in found.scores]) == (299, ["prediction/units", "prediction/pairs"])
    base = {loss.name: loss.base for loss in found.losses}
    assert base["absolute/pairs"] == pytest.approx(2 * base["absolute/units"], rel=1e-4)


def test_the_plan_says_what_is_compared_given_and_watched_together(evaluated: Evaluated) -> None:
    """Strata cover all rows and the holdout's predictions; pairs have tables; identifiers are excluded."""
    plan = replace(
        PLAN,
        conditions=(Condition(name="store"), Condition(name="day", kind="day_of_week")),
        pairs=(("price", "stock"),),
        identifiers=("price",),
    )
    baseline = make(plan, evaluated)
    assert baseline.strata is not None
    assert {stratum.key.partition("|")[2] for stratum in baseline.strata} == {"Mon", "Tue", "Wed"}
    assert sum(stratum.rows for stratum in baseline.strata) == 1500
    assert sum(sum(stratum.prediction.counts) for stratum in baseline.strata if stratum.prediction is not None) == 300
    assert baseline.pairs is not None
    assert (baseline.pairs[0].first, baseline.pairs[0].second, sum(baseline.pairs[0].counts)) == (
        "price",
        "stock",
        1500,
    )
    assert set(baseline.left_out or {}) == {"price"}


def test_bias_is_of_the_holdout_by_any_of_its_columns(evaluated: Evaluated) -> None:
    """Segments are inputs; facets may be other columns. Values come from the rows, in draws of blocks."""
    facets = (Facet(name="age", threshold=40.0), Facet(name="store", values=("north",)))
    plan = replace(PLAN, facets=facets, positive=11.0, segments=("store", "age"), block="week")
    baseline = make(plan, evaluated)
    assert (baseline.segments, baseline.facets, baseline.positive) == (("store",), facets, 11.0)
    assert baseline.bias is not None
    assert baseline.bias_deviation is not None
    table = evaluated.holdout.slice(0, 299)
    columns = {
        "age": Texts.of([str(age) for age in table.column("age").to_pylist()]),
        "store": Texts.of(table.column("store").to_pylist()),
    }
    given = Rows.of(
        evaluated.predictions[:-1], evaluated.labels.actual[:-1], call=table.column("week").to_numpy(), columns=columns
    )
    values, deviations = bias.of_holdout(given, facets, positive=11.0, strata=("store",))
    assert {name: value for name, value in baseline.bias.items() if not name.endswith("/FT")} == pytest.approx(values)
    assert dict(baseline.bias_deviation) == pytest.approx(deviations)


def test_the_flip_test_is_where_all_other_inputs_are_numbers(evaluated: Evaluated) -> None:
    """Clarify does not measure it with text inputs; such a model has it only if the facet is the text."""
    facets = (Facet(name="age", threshold=40.0), Facet(name="store", values=("north",)))
    found = make(replace(PLAN, facets=facets, positive=11.0), evaluated).bias or {}
    assert "age=40/FT" not in found
    assert -1 <= found["store=north/FT"] <= 1


def test_attributions_are_of_rows_spread_over_the_holdout(
    evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the image's package; a stand-in here, which calls the model."""
    real, explained = importlib.import_module, []

    def permutation(predict: Any, masker: Any, seed: int) -> Any:
        def explain(matrix: Any, **_: Any) -> Any:
            explained.append(len(matrix))
            return SimpleNamespace(values=predict(matrix)[:, None] * np.array([1.0, 2.0, 0.0]))

        return explain

    shap = SimpleNamespace(
        explainers=SimpleNamespace(Permutation=permutation),
        maskers=SimpleNamespace(Independent=lambda background, **_: background),
    )
    monkeypatch.setattr(importlib, "import_module", lambda name, *a: shap if name == "shap" else real(name, *a))
    plan = replace(PLAN, attribution_rows=20)
    found = make(plan, evaluated).attributions
    assert found is not None
    assert explained == [20]
    assert found["stock"] == pytest.approx(2 * found["price"]) != 0
    assert make(plan, replace(evaluated, is_able=False)).attributions is None


def test_fails_when_the_image_has_no_shap(evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the plan's setting and the package."""
    real = importlib.import_module

    def missing(name: str, *more: Any) -> Any:
        if name == "shap":
            raise ModuleNotFoundError("No module named 'shap'", name="shap")
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(JobError, match=r"attribution_rows is 5: .*shap"):
        make(replace(PLAN, attribution_rows=5), evaluated)


def test_infinite_values_do_not_fail_a_training(evaluated: Evaluated) -> None:
    """An infinite price is counted separately."""
    train = evaluated.train.set_column(0, "price", pa.array([np.inf] * 1500))
    price = make(PLAN, replace(evaluated, train=train)).features[0]
    assert (price.name, price.infinite, sum(price.counts)) == ("price", 1500, 0)


def test_every_problem_of_a_plan_is_told(evaluated: Evaluated) -> None:
    """Conditions, pairs, identifiers, facets and row counts are checked together."""
    plan = replace(
        PLAN,
        conditions=(Condition(name="age"), Condition(name="season", kind="week_of_year")),
        pairs=(("price", "age"),),
        identifiers=("week",),
        attribution_rows=0,
        facets=(Facet(name="store", threshold=3.0), Facet(name="age", values=("30",), threshold=40.0)),
    )
    found = "; ".join(plan_problems(plan, evaluated.model.signature, evaluated.train, evaluated.holdout))
    for part in (
        "condition 'age' must be one of the model's columns",
        "'week_of_year' needs two seasons",
        "'age'",
        "identifier 'week' must be an input of the model ('price', 'stock', 'store')",
        "attribution_rows must be at least 1, got 0",
        "facet 'store' has a threshold and must be a number, got string",
        "facet 'age' must have values or a threshold, got both",
    ):
        assert part in found
    assert plan_problems(PLAN, evaluated.model.signature, evaluated.train, evaluated.holdout) == []


def test_a_timestamp_that_is_no_time_is_told(evaluated: Evaluated) -> None:
    """A number has no calendar; without such a condition the type does not matter."""
    plan = replace(PLAN, timestamp="week", conditions=(Condition(name="day", kind="day_of_week"),))
    (problem,) = plan_problems(plan, evaluated.model.signature, evaluated.train, evaluated.holdout)
    assert problem == "timestamp 'week' must be a time for conditions of time, got int64"
    make(replace(plan, conditions=(Condition(name="store"),)), evaluated)


def test_flags_are_told_apart_as_callers_send_them(evaluated: Evaluated, tmp_path: Path) -> None:
    """True is 1, an integer is its digits."""
    flag = pa.array([index % 2 == 0 for index in range(300)])
    holdout = evaluated.holdout.append_column("flag", flag)
    plan = replace(PLAN, facets=(Facet(name="flag"), Facet(name="age")), positive=11.0)
    found = make(plan, replace(evaluated, holdout=holdout)).bias or {}
    assert {name.partition("/")[0] for name in found} == {"flag=0", "flag=1", "age=30", "age=50"}
