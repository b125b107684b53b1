"""Settings: SageMaker's contract by default, and all problems together."""

from pathlib import Path

import pytest

from mlops_runtime.serving.settings import CaptureSettings, Settings


def test_settings_default_to_sagemakers_contract() -> None:
    """Without variables: /opt/ml, port 8080, all interfaces of the container."""
    settings = Settings.from_environment({})
    assert (settings.model_directory, settings.host, settings.port) == (Path("/opt/ml/model"), "0.0.0.0", 8080)  # noqa: S104 - asserted
    assert (settings.model_sha256, settings.max_body_bytes) == (None, 6_291_456)


def test_fails_with_every_bad_setting() -> None:
    """All settings are checked before anything starts."""
    with pytest.raises(ValueError) as caught:
        Settings.from_environment(
            {"SAGEMAKER_BIND_TO_PORT": "http", "MLOPS_MAX_BODY_BYTES": "0", "MLOPS_TRUST": "data,all"}
        )
    assert str(caught.value) == (
        "SAGEMAKER_BIND_TO_PORT must be a number from 1 to 65535, got 'http'; "
        "MLOPS_MAX_BODY_BYTES must be a number from 1 to 2147483648, got '0'; "
        "MLOPS_TRUST must be of data, code, pickle, got 'all'"
    )


def test_workers_and_batching_are_the_servers_choice_by_default() -> None:
    """As many processes as fit, and no batching."""
    plain = Settings.from_environment({})
    set_ = Settings.from_environment({"MLOPS_WORKERS": "3", "MLOPS_BATCH_MILLISECONDS": "5"})
    assert (plain.workers, plain.batch_seconds, set_.workers, set_.batch_seconds) == (None, 0.0, 3, 0.005)
    with pytest.raises(
        ValueError, match=r"MLOPS_WORKERS must be a number from 1 to 256, got '0'; MLOPS_BATCH_MILLI.* 0 to 1000"
    ):
        Settings.from_environment({"MLOPS_WORKERS": "0", "MLOPS_BATCH_MILLISECONDS": "5.5"})


POD = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}
CAPTURE = {"MLOPS_CAPTURE_URI": "s3://unit-capture/capture/", "MLOPS_ENDPOINT": "demand-forecast"}


def test_capture_is_off_unless_asked_for() -> None:
    """On SageMaker the endpoint captures, never both."""
    assert Settings.from_environment({"MLOPS_ENDPOINT": "demand-forecast", **POD}).capture is None
    assert Settings.from_environment({}).name == "model"


def test_capture_has_sagemakers_key() -> None:
    """Prefix, endpoint and variant of the object's key; bounds and key by name."""
    settings = Settings.from_environment({**CAPTURE, **POD})
    assert settings.name == "demand-forecast"
    assert settings.capture == CaptureSettings(
        bucket="unit-capture",
        prefix="capture",
        endpoint="demand-forecast",
        variant="AllTraffic",
        percent=100,
        queue_bytes=32 * 1024**2,
    )
    more = {
        "MLOPS_CAPTURE_PERCENT": "7",
        "MLOPS_CAPTURE_BYTES": "1000",
        "MLOPS_CAPTURE_KMS_KEY": "arn:k",
        "MLOPS_VARIANT": "B",
    }
    found = Settings.from_environment({**CAPTURE, **POD, **more}).capture
    assert found is not None
    assert (found.percent, found.queue_bytes, found.kms_key, found.variant) == (7, 1000, "arn:k", "B")


def test_fails_under_network_isolation() -> None:
    """An isolated SageMaker container has no credentials, so captures would be lost: rejected at startup.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/mkt-algo-model-internet-free.html
    """
    with pytest.raises(ValueError, match=r"network isolation: omit it there .* a pod identity association"):
        Settings.from_environment(CAPTURE)


def test_fails_with_every_bad_setting_of_capture() -> None:
    """Each with its value."""
    with pytest.raises(ValueError) as caught:
        Settings.from_environment(
            {"MLOPS_CAPTURE_URI": "s3://bucket", "MLOPS_CAPTURE_PERCENT": "101", "MLOPS_CAPTURE_BYTES": "x", **POD}
        )
    assert str(caught.value) == (
        "MLOPS_CAPTURE_PERCENT must be a number from 1 to 100, got '101'; "
        "MLOPS_CAPTURE_BYTES must be a number from 1 to 2147483648, got 'x'; "
        "MLOPS_CAPTURE_URI must be s3://bucket/prefix, got 's3://bucket'; "
        "MLOPS_ENDPOINT must name the service whose calls are captured, got ''"
    )
