"""Failures of checks if SageMaker accepts a request, and the clean-up; the whole run covers rejected requests."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runtime.verify.answers import DEPLOYED, GROUP, NAMES, Answers, Refused, answered

from mlops_runtime.verify.package_checks import PackageChecks
from mlops_runtime.verify.problems import CheckError, NoEvidenceError
from mlops_runtime.verify.request_checks import RequestChecks

ASKED = f"{NAMES.unit}-asked"
VARIANT = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
PACKAGE = "arn:aws:sagemaker:us-east-1:000000000000:model-package/g/2"
SERVES = {
    "PutObject": {},
    "CreateModelPackage": {"ModelPackageArn": PACKAGE},
    "DescribeEndpoint": {"EndpointConfigName": "live", "EndpointStatus": "InService"},
    "DescribeEndpointConfig": {"EndpointConfigName": "live", "ProductionVariants": [VARIANT]},
    "CreateEndpointConfig": {"EndpointConfigArn": "a"},
    "DeleteEndpointConfig": {},
    "DeleteModel": {},
    "DescribeAlarms": {"MetricAlarms": [{"AlarmName": f"{NAMES.stack}-UnitAlarm"}]},
    "CreateTransformJob": {"TransformJobArn": "a"},
    "DescribeTransformJob": [{"TransformJobStatus": s} for s in ("InProgress", "Stopping", "Stopped")],
    "StopTransformJob": {},
    "CreateTrainingJob": {"TrainingJobArn": "a"},
    "DescribeTrainingJob": [{"TrainingJobStatus": s} for s in ("InProgress", "Stopping", "Stopped")],
    "StopTrainingJob": {},
    "UpdateEndpoint": {"EndpointArn": "a"},
    "CreateModel": {"ModelArn": "a"},
}


def checks(**table: Any) -> tuple[RequestChecks, Answers]:
    """Return checks of an account that accepts all requests except those rejected by the table."""
    answers = Answers(**{**SERVES, **table})
    place = answered(answers)
    packages = PackageChecks(place, DEPLOYED)
    return RequestChecks(place, DEPLOYED, packages, served=lambda: "served", beat=lambda: None), answers


@pytest.mark.parametrize(
    ("check", "words", "removed"),
    [
        ("only_approved_packages_become_models", "a package that is PendingManualApproval", "DeleteModel"),
        (
            "local_storage_takes_no_key",
            "an endpoint config of ml.g5.xlarge with a key is taken",
            "DeleteEndpointConfig",
        ),
        ("training_input_must_exist", "a training job on a prefix without objects is taken", "StopTrainingJob"),
        ("batch_strategy_needs_a_split", "BatchStrategy and without a split is taken", "StopTransformJob"),
    ],
)
def test_what_is_taken_against_a_claim_fails_and_is_removed(check: str, words: str, removed: str) -> None:
    """The check waits for jobs and updates to end."""
    found, answers = checks()
    with pytest.raises(CheckError, match=words):
        getattr(found, check)()
    changes = [name for name, text in answers.calls if ASKED in text and not name.startswith("Describe")]
    assert changes[-1] == removed
    for job in ("TrainingJob", "TransformJob"):
        if removed == f"Stop{job}":
            assert len(answers.requests_of(f"Describe{job}")) == 3


def test_a_refusal_for_another_reason_is_not_evidence() -> None:
    """The error must match the claim; an exhausted quota is inconclusive."""
    made = {"ModelArn": "a"}  # of the approved package
    for operation, check, before in (
        ("CreateTrainingJob", "training_input_must_exist", []),
        ("CreateTransformJob", "batch_strategy_needs_a_split", []),
        ("CreateModel", "only_approved_packages_become_models", [made]),
    ):
        found, _ = checks(**{operation: [*before, Refused("the name is too long")]})
        with pytest.raises(CheckError, match="for another reason, as ValidationException: the name is too long"):
            getattr(found, check)()
        found, _ = checks(**{operation: [*before, Refused("no instances", code="ResourceLimitExceeded")]})
        with pytest.raises(NoEvidenceError, match="ResourceLimitExceeded: no instances"):
            getattr(found, check)()


def test_an_endpoint_that_takes_the_update_shows_what_it_then_serves() -> None:
    """The endpoint serves the old or the new config; a rejected update that changes the endpoint fails too.

    The teardown, not the check, deletes a config that the endpoint may serve.
    """
    found, answers = checks()
    with pytest.raises(CheckError, match=f"the alarm {GROUP}-rollout-absent; the endpoint then serves the old config"):
        found.rollback_alarms_must_exist()
    assert answers.requests_of("DeleteEndpointConfig") == []

    configs = [{"EndpointConfigName": name, "ProductionVariants": [VARIANT]} for name in ("live", "live", ASKED)]
    found, _ = checks(DescribeEndpointConfig=list(configs))
    with pytest.raises(CheckError, match="the endpoint then serves the new config"):
        found.rollback_alarms_must_exist()

    found, _ = checks(DescribeEndpointConfig=list(configs), UpdateEndpoint=Refused("no such alarm"))
    with pytest.raises(CheckError, match="no such alarm, and the endpoint serves another config"):
        found.rollback_alarms_must_exist()


def test_both_kinds_of_alarm_are_asked_for() -> None:
    """First a missing alarm with a name that the role may describe, then an existing alarm with another name."""
    found, answers = checks(UpdateEndpoint=Refused("Alarms do not exist"))
    assert found.rollback_alarms_must_exist().startswith(
        "an absent alarm: ValidationException: Alarms do not exist; one"
    )
    first, second = answers.requests_of("UpdateEndpoint")
    assert f"{GROUP}-rollout-absent" in first
    assert f"{NAMES.stack}-UnitAlarm" in second

    found, _ = checks(UpdateEndpoint=Refused("no alarm"), DescribeAlarms={"MetricAlarms": []})
    with pytest.raises(NoEvidenceError, match="no alarm of another name"):
        found.rollback_alarms_must_exist()


def test_the_control_must_be_taken() -> None:
    """The control is a config without a key and a model of an approved package; its rejection would have another reason."""

    def answer(text: str) -> object:
        return Refused("no key here") if "KmsKeyId" in text else {"EndpointConfigArn": "a"}

    found, _ = checks(CreateEndpointConfig=answer)
    assert found.local_storage_takes_no_key() == "ValidationException: no key here; without a key it is taken"

    found, _ = checks(CreateEndpointConfig=Refused("no key here"))
    with pytest.raises(NoEvidenceError, match=r"ml\.g5\.xlarge without a key is refused as well: no key here"):
        found.local_storage_takes_no_key()
    found, _ = checks(CreateModel=Refused("model package is missing"))
    with pytest.raises(NoEvidenceError, match="a model of an approved package is refused as well"):
        found.only_approved_packages_become_models()
