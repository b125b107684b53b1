"""The stock SageMaker SDK in an environment of its own: only environment variables lead it to the embedded cloud."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.local.sagemaker.conftest import BUCKET, IMAGE, SCRIPTS, Plane, plane

__all__ = ["plane"]
SCRIPT = Path(__file__).with_name("sagemaker_calls.py")
# permissions of a data scientist: the embedded cloud grants none of them by itself
ALLOWED = [
    {"Effect": "Allow", "Action": ["sagemaker:*", "s3:*", "logs:Describe*", "logs:Get*"], "Resource": "*"},
    {
        "Effect": "Allow",  # registering a version requires reading its image
        "Action": [
            "ecr:BatchGetImage",
            "ecr:BatchCheckLayerAvailability",
            "ecr:GetDownloadUrlForLayer",
            "ecr:DescribeImages",
        ],
        "Resource": "arn:aws:ecr:us-east-1:000000000000:repository/tiny",
    },
    {"Effect": "Allow", "Action": "iam:GetRole", "Resource": "arn:aws:iam::000000000000:role/scientist"},
    {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::000000000000:role/execution"},
]
# unsupported by the embedded cloud: the call is rejected by its operation's name
REFUSED = {
    "CreateFeatureGroup", "CreatePipeline", "ListHyperParameterTuningJobs", "ListInferenceComponents",
    "ListModelCards", "Search",
}  # fmt: skip

# SDK 3.27 reads a member that CreateModelPackage does not return (botocore: sagemaker 2017-07-24 CreateModelPackageOutput); the
# version is registered nevertheless, and the later calls find it
FAULTS_OF_THE_SDK = {"register": "KeyError: 'ModelPackageName'"}


def _python() -> str:
    """Return the interpreter of the SDK's environment."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to find the SageMaker SDK's environment with")
    command = [uv, "python", "find", "--offline", "--script", str(SCRIPT)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    python = found.stdout.strip()
    if found.returncode == 0 and python:
        # without importing it, which takes seconds
        look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('sagemaker.core') is None)"
        done = subprocess.run([python, "-c", look], capture_output=True, check=False)
        if done.returncode == 0:
            return python
    pytest.skip("the SageMaker SDK is not installed; run: uv sync --script tests/local/foreign/sagemaker_calls.py")


@pytest.fixture(scope="module")
def calls(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Make all calls once, as a data scientist's role; return each result by name."""
    python = _python()
    iam = plane.cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="scientist", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": ALLOWED})
    iam.put_role_policy(RoleName="scientist", PolicyName="all", PolicyDocument=policy)
    keys = plane.cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="ada")["Credentials"]
    default = "arn:aws:s3:::sagemaker-us-east-1-000000000000"
    jobs = [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
            "Resource": [default, f"{default}/*"],
        }
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": jobs})
    iam.put_role_policy(RoleName="execution", PolicyName="default-bucket", PolicyDocument=document)
    home = tmp_path_factory.mktemp("sdk")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        **{name: os.environ[name] for name in ("MLOPS_TESTS_OUTSIDE", "PYTHONPATH")},
        **plane.cloud.environment(),
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
    }
    given = {"role": plane.role, "image": IMAGE, "model": plane.put_model("sdk"), "script": str(SCRIPTS / "job.py")}
    done = subprocess.run(
        [python, str(SCRIPT), json.dumps(given)], env=environment, cwd=home, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    (home / "stderr.txt").write_text(done.stderr)
    (home / "stdout.txt").write_text(done.stdout)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"call"')]
    assert done.returncode == 0, done.stderr[-3000:]
    return {row["call"]: row for row in rows}


def test_seventeen_of_eighteen_calls_work(calls: dict[str, dict[str, Any]]) -> None:
    """Session, default bucket, training, processing, models, endpoints, invocations, tags and the registry.

    The other call would fail on AWS too.
    """
    made = {name: row.get("error") for name, row in calls.items() if name not in REFUSED}

    assert len(made) == 18
    assert {name: error for name, error in made.items() if error} == FAULTS_OF_THE_SDK


def test_the_others_are_refused_by_name(calls: dict[str, dict[str, Any]]) -> None:
    """With the operation and the alternative."""
    assert calls.keys() >= REFUSED
    for name in REFUSED:
        assert f"{name} is not an operation of the embedded SageMaker" in calls[name]["error"]


def test_nothing_left(calls: dict[str, dict[str, Any]], plane: Plane) -> None:
    """STS was called at its AWS address, and the SDK's telemetry at a bucket; both ended at the embedded cloud."""
    hosts = plane.cloud.status()["hosts"]

    assert calls
    assert "sts.us-east-1.amazonaws.com" in hosts["served"]
    assert hosts["passed_on"] == {}


def test_the_default_bucket_is_on_the_embedded_cloud(calls: dict[str, dict[str, Any]], plane: Plane) -> None:
    """``Session().default_bucket()`` must not create it on AWS."""
    names = {bucket["Name"] for bucket in plane.s3.list_buckets()["Buckets"]}

    assert calls
    assert {BUCKET, "sagemaker-us-east-1-000000000000"} <= names
