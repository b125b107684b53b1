"""A candidate's responses before traffic, stored in S3 for later checks."""

from dataclasses import replace

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from tests.campaign.deploy import SPEC

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.serving import AsynchronousSpec, GoldenSpec
from mlops_runtime.rollout.rehearsed_answers import RehearsedAnswers, golden_repeat

GOLDEN = GoldenSpec(uri="s3://assets/golden.jsonl", sha256="0" * 64)


@pytest.fixture
def answers():
    """Return the store with a bucket."""
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="artifacts")
        yield RehearsedAnswers(s3=s3, bucket="artifacts")


def test_what_is_kept_is_read(answers: RehearsedAnswers) -> None:
    """Responses to another set, and missing ones, are ignored."""
    answers.keep("kept.json", "a", {"one": (1.5, -2.0), "two": (1e-30,)})
    assert answers.read("kept.json", "a") == {"one": (1.5, -2.0), "two": (1e-30,)}
    assert answers.read("kept.json", "b") == answers.read("gone.json", "a") == {}


def test_fails_when_the_bucket_is_gone(answers: RehearsedAnswers) -> None:
    """An unreadable object differs from a missing one."""
    with pytest.raises(ClientError, match="NoSuchBucket"):
        replace(answers, bucket="other").read("kept.json", "a")


def test_an_endpoint_that_answers_no_call_is_not_asked_again() -> None:
    """Covers an asynchronous endpoint, and one without golden requests."""
    golden = replace(SPEC, rollout=replace(SPEC.rollout, golden=GOLDEN))
    assert to_dict(golden_repeat(golden, "fleet")) == {
        "golden": {"uri": GOLDEN.uri, "sha256": GOLDEN.sha256},
        "answers": f"rehearsals/{SPEC.endpoint}/fleet.json",
    }
    assert golden_repeat(SPEC, "fleet") is None
    queued = replace(golden, asynchronous=AsynchronousSpec(output="s3://o/o", failures="s3://o/f"))
    assert golden_repeat(queued, "fleet") is None
