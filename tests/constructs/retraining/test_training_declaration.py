"""Declarations of training sets and training jobs."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import (
    ModelImage,
    ProcessingStep,
    ServingContainer,
    Spot,
    TrainingJob,
    TrainingSetSource,
    ValidationError,
)
from mlops_runtime.contracts.retraining import EvaluationPlan, SignaturePlan

IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)


@pytest.mark.parametrize("prefix", ["exports/demand", "a", "2017/08/01_(final)"])
def test_a_prefix_in_s3_is_the_same_for_each_training(demand: Any, prefix: str):
    """The expression has no variable."""
    source = TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix=prefix, label="units")
    assert not source.is_built
    assert source.root.endswith(f"/{prefix}'")


@pytest.mark.parametrize("prefix", ["", "/a", "a/", "a//b", "s3://b/a", "a'b\""])
def test_fails_when_a_prefix_is_none(demand: Any, prefix: str):
    """Rejects a trailing slash, an empty part, a URI."""
    with pytest.raises(ValidationError, match="prefix must be a prefix such as 'exports/demand'"):
        TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix=prefix, label="units")


def test_fails_with_every_problem_at_once(tmp_path: Path):
    """Names script, instance type, run time and hyperparameters."""
    with pytest.raises(ValidationError) as error:
        TrainingJob(
            image=IMAGE,
            source=tmp_path,
            script="train.py",
            instance_type="m5.large",
            max_runtime=cdk.Duration.seconds(1),
            hyperparameters={"rounds": "1" * 2501},
        )
    assert [problem.split()[0] for problem in error.value.problems] == [
        "script",
        "instance_type",
        "max_runtime",
        "hyperparameter",
    ]


def test_hyperparameters_leave_the_containers_names_and_one_place(tmp_path: Path):
    """SageMaker accepts 100, one of which names the script; those of the container are reserved."""
    with pytest.raises(ValidationError, match=r"hyperparameters must be from 0 to 99, got 100"):
        job(tmp_path, hyperparameters={f"h{number}": "1" for number in range(100)})
    with pytest.raises(ValidationError, match=r"must not begin with 'sagemaker_'.* got sagemaker_program"):
        job(tmp_path, hyperparameters={"sagemaker_program": "other.py"})


def job(folder: Path, **changes: Any) -> TrainingJob:
    """Return a job with changes."""
    (folder / "train.py").write_text("pass")
    values: dict[str, Any] = {
        "script": "train.py",
        "instance_type": "ml.m5.large",
        "max_runtime": cdk.Duration.hours(1),
    }
    return TrainingJob(**{"image": IMAGE, "source": folder, **values, **changes})


def test_defaults_are_on_demand_in_isolation(tmp_path: Path):
    """Defaults: thirty gibibytes, no checkpoints, no network."""
    made = job(tmp_path)
    assert (made.volume_gigabytes, made.max_wait_seconds, made.checkpoints, made.network_isolation) == (
        30,
        None,
        False,
        True,
    )
    spare = job(tmp_path, spot=Spot(max_wait=cdk.Duration.hours(6)), volume=cdk.Size.tebibytes(1))
    assert (spare.volume_gigabytes, spare.max_wait_seconds) == (1024, 21600)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"spot": Spot(max_wait=cdk.Duration.minutes(59))},
            "spot.max_wait must be from 1 hour to 28 days, got 59 minutes",
        ),
        ({"volume": cdk.Size.mebibytes(100)}, "volume in GiB must be from 1 to 16384, got 0"),
        ({"environment": {"1A": "x"}}, "environment must be names of letters, digits and underscores, got '1A'"),
        (
            {"environment": {"A": "x" * 513}},
            "environment variable 'A' must be a string of at most 512 characters, got 513",
        ),
        ({"environment": {f"A{n}": "" for n in range(100)}}, "environment must have at most 99 variables, got 100"),
        (
            {"environment": {"MLOPS_TRAINING_SET_ID": "x"}},
            "environment must not set MLOPS_TRAINING_SET_ID, which is the id of the training set",
        ),
    ],
)
def test_fails_when_sagemaker_would_refuse_the_job(tmp_path: Path, changes: dict[str, Any], message: str):
    """Fails at synthesis with the limit."""
    with pytest.raises(ValidationError) as error:
        job(tmp_path, **changes)
    assert list(error.value.problems) == [message]


EVALUATION = EvaluationPlan(label="units", block="store", baselines=("naive",), timestamp="at")


def of_lock(folder: Path) -> ModelImage:
    """Return the image of a lock."""
    (folder / "requirements.lock").write_text(f"numpy==2.5.5 --hash=sha256:{'0a' * 32}\n")
    return ModelImage.from_requirements(folder / "requirements.lock")


def test_a_script_in_an_environment_of_its_own_need_not_write_a_signature(tmp_path: Path):
    """Inputs are all columns but label, time and baselines; other scripts write their own signature."""
    made = job(tmp_path, image=of_lock(tmp_path))
    assert made.signature_plan(EVALUATION) == SignaturePlan(label="units", kind="number", without=("at", "naive"))
    assert job(tmp_path).signature_plan(EVALUATION) is None


def test_inputs_are_named_in_the_models_order(tmp_path: Path):
    """Works for any image; a loss of probabilities gives probabilities as predictions."""
    made = job(tmp_path, inputs=["price", "store"])
    assert made.signature_plan(replace(EVALUATION, metric="brier")) == SignaturePlan(
        label="units", kind="probability", inputs=("price", "store")
    )


def test_the_kind_of_a_prediction_follows_from_the_loss(tmp_path: Path):
    """Covers three or more classes, and several outputs with a baseline each."""
    made = job(tmp_path, image=of_lock(tmp_path))
    classes = made.signature_plan(replace(EVALUATION, metric="macro_log_loss"))
    assert classes is not None
    assert classes.kind == "classes"
    several = made.signature_plan(replace(EVALUATION, labels=("units", "returns")))
    assert several == SignaturePlan(
        label="units",
        kind="numbers",
        labels=("units", "returns"),
        without=("at", "naive_units", "naive_returns"),
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "inputs must name at least one column"),
        (("a", "b", "a"), "inputs must name each column once, got 'a' more than"),
    ],
)
def test_fails_on_inputs_that_are_no_columns(tmp_path: Path, inputs: tuple[str, ...], message: str):
    """Rejects missing and duplicate inputs."""
    with pytest.raises(ValidationError, match=message):
        job(tmp_path, inputs=inputs)


def test_a_written_signature_takes_a_hyperparameters_place(tmp_path: Path):
    """SageMaker accepts 100 hyperparameters."""
    with pytest.raises(ValidationError, match=r"hyperparameters must be from 0 to 98, got 99"):
        job(tmp_path, inputs=["price"], hyperparameters={f"h{number}": "1" for number in range(99)})


@pytest.mark.parametrize("channel", ["train", "code", "a b"])
def test_fails_when_a_steps_channel_is_taken(tmp_path: Path, channel: str):
    """Split and code use their own channels."""
    (tmp_path / "step.py").write_text("pass")
    with pytest.raises(ValidationError, match="channel must"):
        ProcessingStep(
            image=IMAGE,
            source=tmp_path,
            script="step.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
            channel=channel,
        )


def test_a_container_of_others_serves_what_is_trained(tmp_path: Path):
    """The job's own image only runs the jobs, writes the signature and loads no model."""
    image = ModelImage.from_ecr(repository_name="mlflow", digest="sha256:" + "5" * 64)
    with_container = job(tmp_path, serving=ServingContainer(image=image))
    assert with_container.serving_image == image
    assert job(tmp_path).serving_image == job(tmp_path).image
    plan = with_container.signature_plan(EvaluationPlan(label="units", block="store", baselines=("last_week",)))
    assert plan is not None
    assert (plan.loaded_by, plan.without) == ("container", ("last_week",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content_types": ()}, "content_types must not be empty"),
        ({"content_types": ("text/xml",)}, "content_types"),
        ({"environment": {"A-B": "1"}}, "environment must be names of letters, digits and underscores"),
        ({"environment": {"MLOPS_TRUST": "data"}}, "environment must not set MLOPS_TRUST, which the gate sets"),
        ({"environment": {f"A{n}": "" for n in range(98)}}, "environment must have at most 97 variables, got 98"),
    ],
)
def test_fails_on_a_container_that_cannot_serve(changes: dict[str, Any], message: str):
    """SageMaker accepts a hundred variables, of which the gate sets three."""
    image = ModelImage.from_ecr(repository_name="mlflow", digest="sha256:" + "5" * 64)
    with pytest.raises(ValidationError, match=message):
        ServingContainer(image=image, **changes)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("metric.txt", "def loss(label, prediction): ...", "metric must be a Python file in source, got 'metric.txt'"),
        ("metric.py", None, "metric must be a Python file in source, got 'metric.py'"),
        ("metric.py", "def loss(", "metric 'metric.py' is not Python"),
        ("metric.py", "def score(label, prediction): ...", "must define loss(label, prediction), it defines score"),
        ("metric.py", "loss = 3", "must define loss(label, prediction), it defines no function"),
        (
            "metric.py",
            "def loss(label, prediction): ...\n" + "#" * 262144,
            "must have at most 262144 bytes, got 262177",
        ),
    ],
)
def test_fails_for_what_is_not_a_metric_function(tmp_path: Path, name: str, text: str | None, problem: str):
    """Parses the file without running it."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValidationError) as error:
        job(tmp_path, metric=name)
    assert problem in str(error.value)


@pytest.mark.parametrize("name", ["../metric.py", "absolute"])
def test_fails_for_a_file_outside_of_the_source_folder(tmp_path: Path, name: str):
    """Jobs would not contain the file; covers script and metric function."""
    (tmp_path / "metric.py").write_text("def loss(label, prediction): ...")
    (tmp_path / "source" / "deep").mkdir(parents=True)
    outside = str(tmp_path / "metric.py") if name == "absolute" else name
    with pytest.raises(ValidationError) as error:
        job(tmp_path / "source", metric=outside)
    assert f"metric must be a Python file in source, got {outside!r} in" in str(error.value)
    with pytest.raises(ValidationError, match="script must be a file in source"):
        job(tmp_path / "source", script=outside)
    (tmp_path / "source" / "deep" / "metric.py").write_text("def loss(label, prediction): ...")
    assert job(tmp_path / "source", metric="deep/../deep/metric.py").metric_sha256 is not None


def test_a_metric_function_is_named_by_its_hash(tmp_path: Path):
    """The job writes the signature of a vector, if it writes one."""
    (tmp_path / "metric.py").write_text("raise SystemExit\n\ndef loss(label, prediction):\n    return 0.0\n")
    made = job(tmp_path, metric="metric.py", inputs=["price"])
    assert made.metric_sha256 == hashlib.sha256((tmp_path / "metric.py").read_bytes()).hexdigest()
    assert job(tmp_path).metric_sha256 is None
    plan = made.signature_plan(EvaluationPlan(label="axes", block="store", baselines=("naive",), metric="custom_loss"))
    assert (plan.kind, plan.label) == ("vector", "axes")
