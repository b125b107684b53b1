"""Metrics and tags of a retraining in MLflow."""

from dataclasses import replace
from datetime import UTC, datetime

from tests.runtime.tracking.tracked_pipeline import EVALUATION, EXECUTION, PACKAGE, TRAINING

from mlops_runtime.tracking.run_mirror import MirroredPackage, MirroredRun

RUN = MirroredRun(
    pipeline="demand-forecast",
    execution=EXECUTION,
    outcome="REGISTERED",
    reason="better",
    trigger="manual",
    ended=datetime(2017, 8, 7, tzinfo=UTC),
    evaluation=EVALUATION,
    training=TRAINING,
    package=MirroredPackage(arn=PACKAGE, source="s3://b/m", metadata={"flavor": "lightgbm", "other": "x"}),
)


def test_losses_are_named_by_rival_and_segment() -> None:
    """Names have characters that MLflow allows; a curve has a value for each step, without non-finite ones."""
    training = replace(TRAINING, metrics={"best": float("nan")}, curves={"loss": (0.9, None)})
    found = {(each.key, each.step): each.value for each in replace(RUN, training=training).metrics()}
    assert found == {
        ("wape.candidate", 0): 0.1,
        ("wape.champion", 0): 0.2,
        ("wape.last_week", 0): 0.4,
        ("wape.candidate/store_north _ west", 0): 0.1,
        ("wape.champion/store_north _ west", 0): 0.2,
        ("training.loss", 0): 0.9,
    }
    assert {each.timestamp for each in RUN.metrics()} == {1502064000000}


def test_tags_name_the_run_elsewhere() -> None:
    """The tags are execution, training set, package, and selected metadata of the package."""
    assert RUN.tags() == {
        "mlops.execution": EXECUTION,
        "mlops.pipeline": "demand-forecast",
        "mlops.outcome": "REGISTERED",
        "mlops.reason": "better",
        "mlops.trigger": "manual",
        "mlops.training_set": "c" * 64,
        "mlops.model_sha256": "b" * 64,
        "mlops.package": PACKAGE,
        "mlops.flavor": "lightgbm",
    }
    empty = replace(RUN, evaluation=None, training=None, package=None, trigger="", reason="x" * 6000)
    assert list(empty.metrics()) == []
    assert set(empty.tags()) == {"mlops.execution", "mlops.pipeline", "mlops.outcome", "mlops.reason"}
    assert len(empty.tags()["mlops.reason"]) == 5000
