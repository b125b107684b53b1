"""Images in the embedded registry. Source: BatchGetImage's errors and failures in botocore, ecr 2015-09-21."""

import hashlib
import json

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.image.requirements_lock import asset_name

ZERO, OTHER = "sha256:" + "0" * 64, "sha256:" + "1" * 64


def test_this_machine_stands_in_for_the_placeholder(cloud):
    """The all-zero digest of ``cdk.json`` is this machine's own code; other digests were never pushed."""
    answer = cloud.client("ecr").batch_get_image(
        repositoryName="mlops-runtime", imageIds=[{"imageDigest": ZERO}, {"imageDigest": OTHER}]
    )

    assert [image["imageId"]["imageDigest"] for image in answer["images"]] == [ZERO]
    assert [(failure["failureCode"], failure["imageId"]) for failure in answer["failures"]] == [
        ("ImageNotFound", {"imageDigest": OTHER})
    ]


def test_the_placeholder_is_described(cloud, unique):
    """Only where this machine has a program for the repository."""
    ecr = cloud.client("ecr")

    (found,) = ecr.describe_images(repositoryName="mlops-runtime", imageIds=[{"imageDigest": ZERO}])["imageDetails"]
    assert (found["repositoryName"], found["imageDigest"]) == ("mlops-runtime", ZERO)
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        ecr.describe_images(repositoryName=unique, imageIds=[{"imageDigest": ZERO}])


def test_an_image_that_was_pushed_is_there(cloud, unique):
    """By its digest; the repository has no other image."""
    ecr = cloud.client("ecr")
    ecr.create_repository(repositoryName=unique)
    pushed = ecr.put_image(repositoryName=unique, imageManifest=json.dumps({"layers": []}), imageTag="1")["image"]

    answer = ecr.batch_get_image(repositoryName=unique, imageIds=[pushed["imageId"], {"imageDigest": OTHER}])

    assert [image["imageId"] for image in answer["images"]] == [pushed["imageId"]]
    assert [failure["failureCode"] for failure in answer["failures"]] == ["ImageNotFound"]


def test_an_image_that_was_not_pushed_is_not_described(cloud, unique):
    """Also beside a pushed one; DescribeImages has no failures per image."""
    ecr = cloud.client("ecr")
    ecr.create_repository(repositoryName=unique)
    pushed = ecr.put_image(repositoryName=unique, imageManifest=json.dumps({"layers": []}), imageTag="1")["image"]

    with pytest.raises(ClientError, match=f"ImageNotFoundException.*{OTHER}.*{unique}"):
        ecr.describe_images(repositoryName=unique, imageIds=[pushed["imageId"], {"imageDigest": OTHER}])
    (found,) = ecr.describe_images(repositoryName=unique, imageIds=[pushed["imageId"]])["imageDetails"]
    assert found["imageDigest"] == pushed["imageId"]["imageDigest"]


def test_a_repository_that_nobody_made_is_an_error(cloud, unique):
    """With the error in the operation's model."""
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        cloud.client("ecr").batch_get_image(repositoryName=unique, imageIds=[{"imageDigest": OTHER}])


def test_a_role_is_asked_for_the_repository(cloud, make_role, acting_as, allow):
    """Permission on one repository does not cover another."""
    one = "arn:aws:ecr:us-east-1:000000000000:repository/mlops-runtime"
    ecr = acting_as(make_role(allow("ecr:BatchGetImage", resource=one)))("ecr")

    assert ecr.batch_get_image(repositoryName="mlops-runtime", imageIds=[{"imageDigest": ZERO}])["images"]
    with pytest.raises(ClientError, match="AccessDenied"):
        ecr.batch_get_image(repositoryName="mlops-explain", imageIds=[{"imageDigest": ZERO}])


def test_a_lock_of_a_stack_stands_in_for_its_image(cloud, unique):
    """In any repository; a lock that cannot be installed here is found too, and its error appears when it runs."""
    s3, ecr = cloud.client("s3"), cloud.client("ecr")
    s3.create_bucket(Bucket=f"{unique}-assets")
    digests = []
    for head in ("", "# uv pip compile --python-platform windows\n"):
        lock = f"{head}one==1.0 --hash=sha256:{'0a' * 32}\n".encode()
        digests.append(hashlib.sha256(lock).hexdigest())
        s3.put_object(Bucket=f"{unique}-assets", Key=f"{asset_name(digests[-1])}.lock", Body=lock)

    ids = [{"imageDigest": f"sha256:{digest}"} for digest in digests]
    answer = ecr.batch_get_image(repositoryName="team/forecast", imageIds=[*ids, {"imageDigest": OTHER}])
    (found,) = ecr.describe_images(repositoryName="team/forecast", imageIds=ids[:1])["imageDetails"]

    assert [image["imageId"] for image in answer["images"]] == ids
    assert [failure["imageId"] for failure in answer["failures"]] == [{"imageDigest": OTHER}]
    assert found["imageDigest"] == ids[0]["imageDigest"]
