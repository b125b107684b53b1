"""Validation of pipelines: combinations of arguments, and columns of the store."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import ModelImage
from mlops_constructs.retraining.retraining_checks import (
    container_problems,
    evaluation_problems,
    feature_problems,
    gate_problems,
    kind_problems,
    metric_problems,
    monitoring_problems,
    signature_problems,
    source_problem,
)
from mlops_constructs.retraining.training_declaration import ServingContainer, TrainingJob, TrainingSetSource
from mlops_runtime.contracts.monitor import Condition, Facet
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, SegmentLimit, SignaturePlan, TrainingSetPlan

PLAN = TrainingSetPlan(
    name="sales",
    label_group="sales",
    timestamp="event_time",
    label="units",
    features={"sales": ("price",)},
    holdout_days=28,
)


def test_a_plan_needs_a_store_and_a_place_in_s3_none(demand: Any):
    """Names each that lacks the other."""
    source = TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix="exports", label="units")
    assert source_problem(PLAN, demand.store) is source_problem(source, None) is None
    assert str(source_problem(PLAN, None)).startswith("store must be given")
    assert str(source_problem(source, demand.store)).startswith("store must not be given")


def test_every_group_and_column_that_is_missing_is_named(demand: Any):
    """Reports all at once; a set from S3 has no known columns."""
    wrong = TrainingSetPlan(
        name="sales",
        label_group="orders",
        timestamp="event_time",
        label="units",
        features={"sales": ("cost", "price")},
        holdout_days=28,
    )
    found = feature_problems(TrainingSetSource.features(store=demand.store, plan=wrong))
    assert [problem.split(",")[0] for problem in found] == [
        "training_set names group 'orders'",
        "training_set uses 'cost' of group 'sales'",
    ]
    assert feature_problems(TrainingSetSource.features(store=demand.store, plan=PLAN)) == []
    source = TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix="exports", label="units")
    assert feature_problems(source) == []


def test_naive_predictions_of_a_plan_are_columns_of_its_sets(demand: Any):
    """The evaluation may name those that can be computed."""
    plan = replace(PLAN, baselines=("naive_median_by_store", "naive_last_by_shelf", "guess"))
    source = TrainingSetSource.features(store=demand.store, plan=plan)
    assert [each.split(",")[0] for each in feature_problems(source)] == [
        "training_set: baseline 'naive_last_by_shelf' needs a column 'shelf'",
        "training_set: baseline 'guess' is neither a column nor a computed one: naive_median",
    ]
    naive = TrainingSetSource.features(store=demand.store, plan=replace(PLAN, baselines=("naive_median_by_store",)))
    evaluation = EvaluationPlan(label="units", block="store", baselines=("naive_median_by_store",))
    assert feature_problems(naive) == evaluation_problems(evaluation, naive) == []


def test_a_gate_asks_only_what_its_evaluation_answers():
    """Metric and segments must be the evaluation's; the default gate fits every evaluation."""
    plan = EvaluationPlan(label="units", block="store", baselines=("last_week",), segments=("promoted",))
    limits = {"promoted=1": SegmentLimit(maximum_loss=0.4)}
    assert not any(gate_problems(GateSpec(), plan))
    assert not any(gate_problems(GateSpec(metric="wape", segments=limits, maximum_loss=0.5), plan))


def test_fails_with_every_limit_that_nothing_could_keep():
    """Fails at synthesis instead of after the first training."""
    plan = EvaluationPlan(label="units", block="store", baselines=(), segments=("promoted",), max_unknown=5)
    gate = GateSpec(
        metric="brier",
        confidence=95,
        resamples=10,
        max_slowdown=0.5,
        max_segment_ratio=0.9,
        minimum_loss=0.5,
        maximum_loss=0.5,
        segments={"promoted": SegmentLimit(), "store=7": SegmentLimit(), "promoted=1": SegmentLimit()},
    )
    found = [problem for problem in gate_problems(gate, plan) if problem is not None]
    assert [problem.split(" must ")[0] for problem in found] == [
        "evaluation.baselines",
        "gate.metric",
        "gate.confidence",
        "gate.resamples",
        "gate.max_segment_ratio",
        "evaluation.max_unknown",
        "gate.max_slowdown",
        "gate.minimum_loss",
        "gate.segments",
        "gate.segments",
    ]


def test_bands_are_cut_in_order():
    """Limits are finite and ascending, of a column that is not a plain segment; a gate may limit a band."""
    plan = EvaluationPlan(label="units", block="store", baselines=("last_week",), bands={"sold": (5, 20)})
    assert not any(gate_problems(GateSpec(segments={"sold=below 5": SegmentLimit(maximum_loss=1)}), plan))
    wrong = replace(plan, segments=("price",), bands={"sold": (5, 5), "price": (), "lag": (float("nan"),)})
    found = [problem for problem in gate_problems(GateSpec(), wrong) if problem is not None]
    assert [problem.rpartition(" for ")[2] for problem in found[:3]] == ["'sold'", "'price'", "'lag'"]
    assert found[3:] == ["evaluation.segments and evaluation.bands must not both name 'price'"]


def test_an_evaluation_names_columns_that_the_set_will_have(demand: Any):
    """Entities of the label group, time, label, features; columns in S3 are unknown at synthesis."""
    plan = EvaluationPlan(
        label="units", block="store", baselines=("price",), segments=("store",), cluster="store", timestamp="event_time"
    )
    source = TrainingSetSource.features(store=demand.store, plan=PLAN)
    assert evaluation_problems(plan, source) == []
    wrong = EvaluationPlan(label="units", block="shop", baselines=("lag",), segments=("promoted",), cluster="week")
    wrong = replace(wrong, bands={"mailer": (0.5,)}, period="week")
    found = evaluation_problems(wrong, source)
    assert [problem.split(" must ")[0] for problem in found] == [
        "evaluation.block",
        "evaluation.baselines",
        "evaluation.segments",
        "evaluation.bands",
        "evaluation.cluster",
        "evaluation.period",
    ]
    assert found[0].endswith("('store', 'event_time', 'units', 'price'), got 'shop'")
    exported = TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix="exports", label="units")
    assert evaluation_problems(wrong, exported) == []


def test_fails_with_every_column_that_monitors_would_miss(demand: Any):
    """Time conditions need no column; other conditions, pairs, identifiers and facets do."""
    plan = EvaluationPlan(
        label="units",
        block="store",
        baselines=("price",),
        conditions=(Condition(name="promoted"), Condition(name="day", kind="day_of_week")),
        pairs=(("price", "cost"),),
        identifiers=("basket",),
        facets=(Facet(name="age", threshold=40),),
    )
    source = TrainingSetSource.features(store=demand.store, plan=PLAN)
    found = evaluation_problems(plan, source)
    assert [problem.rpartition("got ")[2] for problem in found] == ["'promoted'", "'cost'", "'basket'", "'age'"]
    assert (
        evaluation_problems(plan, TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix="x", label="units"))
        == []
    )


def test_fails_with_what_no_baseline_could_hold():
    """Checks edges, pairs, facets and numbers of rows; valid values pass."""
    plan = EvaluationPlan(label="units", block="store", baselines=("last_week",))
    broken = replace(
        plan,
        conditions=(Condition(name="price", edges=(2, 1)), Condition(name="day", kind="day_of_week", edges=(1,))),
        pairs=(("price", "price"), ("price",)),
        facets=(Facet(name="age", values=("30",), threshold=40),),
        attribution_rows=0,
    )
    found = [problem for problem in monitoring_problems(broken) if problem is not None]
    assert [problem.split(" must ")[0] for problem in found] == [
        "evaluation.attribution_rows",
        "evaluation.conditions",
        "evaluation.conditions",
        "evaluation.pairs",
        "evaluation.pairs",
        "evaluation.facets",
    ]
    sound = replace(
        plan,
        conditions=(Condition(name="price", edges=(1, 2)), Condition(name="day", kind="day_of_week")),
        pairs=(("price", "stock"),),
        facets=(Facet(name="age", threshold=40), Facet(name="sex", values=("f",)), Facet(name="region")),
        attribution_rows=100,
    )
    assert not any(monitoring_problems(sound) + monitoring_problems(plan))


def test_a_signature_names_columns_that_the_set_will_have(demand: Any):
    """Checks known columns, the length of a hyperparameter, and that the label is not an input."""
    built = TrainingSetSource.features(store=demand.store, plan=PLAN)
    given = TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix="exports", label="units")
    plan = SignaturePlan(label="units", inputs=("price", "colour", "units"))
    assert [problem for problem in signature_problems(plan, built) if problem] == [
        "training.inputs must not name the label 'units'",
        "training.inputs must be columns of the training set ('store', 'event_time', 'units', 'price'), got 'colour'",
    ]
    assert not any(signature_problems(None, built))
    assert not any(signature_problems(SignaturePlan(label="units", inputs=("colour",)), given))
    long = SignaturePlan(label="units", inputs=tuple(f"column_{number}" for number in range(300)))
    (problem,) = filter(None, signature_problems(long, given))
    assert problem.startswith("the columns of training.inputs must fit into a hyperparameter of 2500 characters, got ")


CLASSES = EvaluationPlan(label="cultivar", block="shelf", baselines=("colour",), metric="macro_log_loss")
OUTPUTS = EvaluationPlan(label="weight", labels=("weight", "waist"), block="club", baselines=("last",))


def test_classes_and_several_outputs_are_declared_as_such(demand: Any):
    """Covers recalls, bias of one class, and labels of a training set in S3."""
    source = TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix="exports", label="weight")
    facets = (Facet(name="colour", values=("red",)),)
    requested = replace(CLASSES, facets=facets, positive_class="barolo", attribution_rows=10)
    assert not any(kind_problems(GateSpec(min_recall={"barolo": 0.8}), requested, source))
    assert not any(kind_problems(GateSpec(), OUTPUTS, source))
    assert not any(kind_problems(GateSpec(), replace(OUTPUTS, metric="mae"), source))


@pytest.mark.parametrize(
    ("gate", "plan", "problem"),
    [
        (GateSpec(min_recall={"a": 0.5}), replace(CLASSES, metric="wape"), "gate.min_recall requires classes; set"),
        (GateSpec(min_recall={"a": 5.0}), CLASSES, "gate.min_recall of 'a' must be from 0 to 1, got 5.0"),
        (GateSpec(), replace(OUTPUTS, positive_class="a"), "evaluation.positive_class requires classes; use positive"),
        (GateSpec(), replace(CLASSES, positive=0.5), "evaluation.positive is a limit of one number; for classes"),
        (GateSpec(), replace(CLASSES, facets=(Facet(name="age"),)), "evaluation.facets of classes require a positive"),
        (GateSpec(), replace(OUTPUTS, labels=("weight",)), "evaluation.labels must be two columns or more, each once"),
        (GateSpec(), replace(OUTPUTS, label="waist"), "evaluation.label must be the first of labels, got 'waist'"),
        (GateSpec(), replace(OUTPUTS, metric="brier"), "evaluation.metric of several labels must be one of wape, mae"),
        (
            GateSpec(),
            replace(OUTPUTS, facets=(Facet(name="age"),)),
            "evaluation.facets are not measured for several labels",
        ),
        (
            GateSpec(),
            replace(OUTPUTS, attribution_rows=9),
            "evaluation.attribution_rows is not supported for several labels",
        ),
    ],
)
def test_fails_for_what_a_kind_does_not_have(demand: Any, gate: GateSpec, plan: EvaluationPlan, problem: str):
    """Reports one problem for each, with the fix."""
    source = TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix="exports", label="weight")
    (found,) = [each for each in kind_problems(gate, plan, source) if each is not None]
    assert found.startswith(problem)


def test_several_labels_are_those_of_the_training_set(demand: Any):
    """All are columns of the label's group; naive predictions have a column each."""
    source = TrainingSetSource.features(store=demand.store, plan=replace(PLAN, labels=("units", "cost")))
    plan = replace(OUTPUTS, label="units", labels=("units", "price"), block="store", baselines=("price",))
    (found,) = [each for each in kind_problems(GateSpec(), plan, source) if each is not None]
    assert found == "evaluation.labels must be those of the training set, ('units', 'cost'), got ('units', 'price')"
    assert [each.rpartition("got ")[2] for each in evaluation_problems(plan, source)] == [
        "'price_units'",
        "'price_price'",
    ]
    assert [each.split(",")[0] for each in feature_problems(source)] == ["training_set uses 'cost' of group 'sales'"]
    assert not any(kind_problems(GateSpec(), replace(plan, labels=("units", "cost")), source))


def test_fails_with_what_cannot_be_asked_of_a_container():
    """Jobs do not load such a model, and do not time rows; the registry must allow the container's trust."""
    image = ModelImage.from_ecr(repository_name="mlflow", digest="sha256:" + "5" * 64)
    serving = ServingContainer(image=image, trust="pickle")
    evaluation = EvaluationPlan(label="units", block="store", baselines=("last_week",))
    assert not any(container_problems(serving, evaluation, GateSpec(), allowed=("data", "code", "pickle")))
    assert container_problems(None, replace(evaluation, attribution_rows=5), GateSpec(), allowed=()) == []
    gate = GateSpec(max_slowdown=2, max_milliseconds_a_row=5)
    found = container_problems(serving, replace(evaluation, attribution_rows=5), gate, allowed=("data", "code"))
    assert [problem and problem.partition("; ")[0] for problem in found] == [
        "the model is loaded by a container with trust 'pickle', the registry allows data, code",
        "evaluation.attribution_rows is not supported with training.serving, since attributions load the model",
        "gate.max_milliseconds_a_row is not supported with training.serving, since a transform job does not time single rows",
        "gate.max_slowdown is not supported with training.serving, since a transform job does not time single rows",
    ]
    assert "allow it with ModelRegistry(trust=('data', 'code', 'pickle'))" in str(found[0])


def test_a_metric_function_measures_custom_loss_and_nothing_else(tmp_path: Path):
    """The function needs one label column, without bias and attributions, which vectors do not support."""
    (tmp_path / "train.py").write_text("pass")
    (tmp_path / "metric.py").write_text("def loss(label, prediction):\n    return 0.0\n")
    training = TrainingJob(
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
        source=tmp_path,
        script="train.py",
        instance_type="ml.m5.large",
        max_runtime=cdk.Duration.hours(1),
        metric="metric.py",
    )
    plan = EvaluationPlan(label="axes", block="store", baselines=("naive",), metric="custom_loss")
    assert [problem for problem in metric_problems(training, plan) if problem] == []
    wrong = replace(plan, labels=("axes", "b"), facets=(Facet(name="price", threshold=1.0),), attribution_rows=3)
    found = [str(problem).split()[0] for problem in metric_problems(replace(training, metric=None), wrong) if problem]
    assert found == ["evaluation.metric", "evaluation.labels", "evaluation.facets", "evaluation.attribution_rows"]
    (problem,) = metric_problems(training, replace(plan, metric="mae"))
    assert str(problem).startswith("training.metric requires evaluation.metric 'custom_loss', got 'mae'")
    assert metric_problems(replace(training, metric=None), replace(plan, metric="mae")) == [None]
