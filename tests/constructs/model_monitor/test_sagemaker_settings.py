"""What may be asked of SageMaker Model Monitor."""

from typing import Any

import aws_cdk as cdk
import pytest

from mlops_constructs import ValidationError
from mlops_constructs.model_monitor._sagemaker_settings import MonitorBaseline, SageMakerModelMonitor


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
    """The window of a monitor with labels is as long as its period, and a delay ago."""
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
    """At synth, where AWS would say so at deployment or not at all."""
    with pytest.raises(ValidationError, match=message):
        SageMakerModelMonitor(**given)


def test_every_problem_is_named_at_once() -> None:
    """One error, not one after the other."""
    with pytest.raises(ValidationError) as error:
        SageMakerModelMonitor(monitors=("bias",), schedule="NOW", instance_count=101)

    assert all(word in str(error.value) for word in ("schedule", "instance_count", "analysis_configs"))
