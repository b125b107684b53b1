"""Settings of monitor engines: functions, a job, or SageMaker Model Monitor."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import ModelImage, MonitorEngine, SageMakerModelMonitor, ValidationError
from mlops_constructs.model_monitor.monitor_engine import MonitorBaseline
from mlops_runtime.monitor.spec import MonitorSpec

IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ("cron(0 * ? * * *)", 1),
        ("cron(0 12 ? * * *)", 24),
        ("cron(0 0/2 ? * * *)", 2),
        ("cron(0 17/12 ? * * *)", 12),
    ],
)
def test_the_documented_schedules_are_taken(schedule: str, hours: int) -> None:
    """The window of a monitor with labels has the length of its period and ends before the label delay."""
    settings = SageMakerModelMonitor(schedule=schedule, label_delay=cdk.Duration.hours(3))

    assert settings.period_hours == hours
    assert settings.offsets() == (f"-PT{3 + hours}H", "-PT3H")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"monitors": ()}, "monitors must name at least one of data_quality"),
        ({"monitors": ("drift",)}, "monitors must be a tuple of 'data_quality', .*, got .*'drift'"),
        ({"monitors": ("data_quality", "data_quality")}, "name each once, got 'data_quality' twice"),
        ({"monitors": ("model_quality",)}, "problem_type must be one of Regression, .* got None"),
        ({"problem_type": "Ranking"}, "got 'Ranking'"),
        ({"schedule": "rate(1 hour)"}, r"schedule must be cron\(0 \* \? \* \* \*\)"),
        ({"schedule": "NOW"}, "schedule must be"),
        ({"schedule": "cron(30 5 ? * * *)"}, "schedule must be"),
        ({"schedule": "cron(0 24 ? * * *)"}, "schedule must be"),
        ({"schedule": "cron(0 0/25 ? * * *)"}, "schedule must be"),
        ({"instance_type": "m5.xlarge"}, "instance_type must be a type such as"),
        ({"instance_count": 0}, "instance_count must be a whole number from 1 to 100"),
        ({"max_runtime": cdk.Duration.hours(1)}, "max_runtime of an hourly schedule must be from"),
        ({"schedule": "cron(0 5 ? * * *)", "max_runtime": cdk.Duration.days(2)}, "max_runtime must be from"),
        ({"probability_threshold": 1.5}, "probability_threshold must be from 0 to 1"),
        ({"label_delay": cdk.Duration.minutes(90)}, "label_delay must be whole hours"),
        ({"monitors": ("bias", "explainability")}, "analysis_config.json of bias, explainability"),
        ({"analysis_configs": {"bias": "s3://bucket/c.json"}}, "must be of monitors that run, got 'bias'"),
        ({"baselines": {"data_quality": MonitorBaseline(constraints="c.json")}}, "constraints must be an S3 URI"),
        ({"record_preprocessor": "s3://bucket"}, "record_preprocessor must be an S3 URI of an object"),
        (
            {"monitors": "data_quality"},
            r"monitors must be a tuple of 'data_quality', .*, got 'data_quality'; write \('data_quality',\) for a tuple of one",
        ),
        ({"volume": 20}, r"volume must be a cdk.Size such as Size.gibibytes\(30\), got 20"),
        ({"label_delay": 24}, r"label_delay must be a cdk.Duration such as Duration.days\(90\), got 24"),
        (
            {"baselines": {"data_quality": "s3://bucket/c.json"}},
            "baselines must be a mapping of .* to MonitorBaseline, got .*'s3://bucket/c",
        ),
        (
            {"analysis_configs": "s3://bucket/c.json"},
            "analysis_configs must be a mapping of .* to strings, got 's3://bucket/c.json'",
        ),
    ],
)
def test_fails_when_sagemaker_would_refuse(given: dict[str, Any], message: str) -> None:
    """Rejects settings at synthesis that AWS rejects at deployment or not at all."""
    with pytest.raises(ValidationError, match=message):
        SageMakerModelMonitor(**given)


def test_every_problem_is_named_at_once() -> None:
    """Reports them in one error."""
    with pytest.raises(ValidationError) as error:
        SageMakerModelMonitor(monitors=("bias",), schedule="NOW", instance_count=101)

    assert all(word in str(error.value) for word in ("schedule", "instance_count", "analysis_configs"))


def test_each_engine_has_the_name_that_reports_carry():
    """Names match the contract ``MonitorReport.engine``."""
    assert [
        MonitorEngine.on_lambda().name,
        MonitorEngine.processing(image=IMAGE).name,
        MonitorEngine.sagemaker_model_monitor(SageMakerModelMonitor()).name,
    ] == ["LAMBDA", "PROCESSING", "SAGEMAKER_MODEL_MONITOR"]


def test_a_job_has_defaults():
    """Defaults to one hour on one instance with 30 GiB, in processes, without explanations."""
    job = MonitorEngine.processing(image=IMAGE).job
    assert job is not None
    assert (job.instance_type, job.instance_count, job.spark, job.attribution_rows) == ("ml.m5.xlarge", 1, False, 0)
    assert (job.max_runtime.to_hours(), job.volume_gigabytes) == (1, 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"instance_type": "m5.large"}, "instance_type must be a type such as 'ml.m5.xlarge', got 'm5.large'"),
        (
            {"instance_count": 2},
            "instance_count must be 1 without Spark, got 2; give spark=True, or a larger instance_type",
        ),
        ({"instance_count": 101, "spark": True}, "instance_count must be a whole number from 1 to 100, got 101"),
        ({"attribution_rows": -1}, "attribution_rows must be a whole number from 0 to 100000, got -1"),
        ({"max_runtime": cdk.Duration.days(6)}, "max_runtime must be from 1 minute to 5 days, got 6 days"),
        ({"volume": cdk.Size.mebibytes(1)}, "volume in GiB must be a whole number from 1 to 16384, got 0"),
        ({"volume": 30}, r"volume must be a cdk.Size such as Size.gibibytes\(30\), or left out, got 30"),
        ({"image": "runtime"}, r"image must be a ModelImage such as ModelImage.from_ecr\(...\), got 'runtime'"),
    ],
)
def test_fails_on_a_job_that_cannot_be(arguments: dict[str, Any], message: str):
    """Errors name the allowed values."""
    with pytest.raises(ValidationError, match=message):
        MonitorEngine.processing(**{"image": IMAGE, **arguments})


@pytest.mark.parametrize("settings", ["hourly", None])
def test_fails_on_model_monitors_settings_of_another_type(settings: Any):
    """Rejects None too, which would mean another engine."""
    message = rf"settings must be a SageMakerModelMonitor\(\.\.\.\), got {settings!r}"
    with pytest.raises(ValidationError, match=message):
        MonitorEngine.sagemaker_model_monitor(settings)


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        (
            {"spec": MonitorSpec(alarm_features=tuple(f"f{number}" for number in range(51)))},
            "spec.alarm_features must be at most 50, got 51; each is a metric that is billed monthly",
        ),
        (
            {"spec": MonitorSpec(features=tuple(f"feature_number_{number}" for number in range(200)))},
            r"spec must have at most 2500 characters as JSON, got \d+; name fewer features",
        ),
    ],
)
def test_fails_on_a_spec_that_costs_too_much_or_does_not_fit(define: Callable[..., Any], monitor: Any, message: str):
    """Bounds the number of metrics and the size of a function's environment."""
    with pytest.raises(ValidationError, match=message):
        define(monitor=monitor)


def test_fails_on_the_psi_of_a_feature_without_a_metric(demand: Any):
    """Only ``alarm_features`` have a metric."""
    with pytest.raises(ValidationError, match=r"feature must be one of alarm_features \(none\), got 'price'"):
        demand.monitor.metric_psi("price")
