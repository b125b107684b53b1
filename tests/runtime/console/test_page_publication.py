"""Pages in the bucket of a distribution."""

import json
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.console.page_files import page_files
from mlops_runtime.console.page_publication import PagePublication, page_document

EVENT = {
    "RequestType": "Create",
    "LogicalResourceId": "Pages",
    "ResourceProperties": {"Config": '{"signIn": {"kind": "cognito"}, "api": "/api"}'},
}
Answers = list[dict[str, Any]]


class Published:
    """A publication into a bucket, and what CloudFormation was answered."""

    def __init__(self, bucket: str) -> None:
        self.s3 = boto3.client("s3", region_name="us-east-1")
        self.answers: Answers = []
        self.publication = PagePublication(s3=self.s3, bucket=bucket, document=page_document().text)

    def handle(self, **changes: Any) -> dict[str, Any]:
        """Handle a request, and return the answer."""
        self.publication.handle({**EVENT, **changes}, lambda _, **answer: self.answers.append(answer))
        return self.answers[-1]

    def object(self, key: str) -> tuple[bytes, str, str]:
        """Content, type and how long a browser may keep it."""
        found = self.s3.get_object(Bucket="pages", Key=key)
        return found["Body"].read(), found["ContentType"], found["CacheControl"]


@pytest.fixture
def published() -> Any:
    """A bucket without files."""
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="pages")
        yield Published("pages")


def test_the_bucket_has_what_the_local_console_serves(published: Published) -> None:
    """To the byte, with the same headers, and the configuration uncached as the index."""
    answer = published.handle()

    assert answer == {"physical_id": "pages/index.html", "failure": None}
    for address, file in page_files().items():
        key = "index.html" if address == "/" else address[1:]
        assert published.object(key) == (file.content, file.content_type, file.cache_control)
    content, kind, cached = published.object("config.json")
    assert json.loads(content) == {"signIn": {"kind": "cognito"}, "api": "/api"}
    assert (kind, cached) == ("application/json", "no-store")


def test_the_index_comes_last(published: Published) -> None:
    """Until then a browser gets the release before, whose files stay."""
    keys: list[str] = []
    published.s3.put_object(Bucket="pages", Key="static/old/app.js", Body=b"old")
    published.s3.meta.events.register(
        "provide-client-params.s3.PutObject", lambda params, **_: keys.append(params["Key"])
    )
    published.handle(RequestType="Update")

    assert keys[-2:] == ["config.json", "index.html"]
    assert published.s3.get_object(Bucket="pages", Key="static/old/app.js")["Body"].read() == b"old"


def test_a_deletion_leaves_the_bucket_to_its_own_policy(published: Published) -> None:
    """The bucket is emptied by its unit, or stays."""
    assert published.handle(RequestType="Delete")["failure"] is None
    assert published.s3.list_objects_v2(Bucket="pages")["KeyCount"] == 0


def test_cloudformation_gets_the_reason_of_a_failure(published: Published) -> None:
    """It would wait an hour otherwise."""
    published.s3.delete_bucket(Bucket="pages")

    assert "NoSuchBucket" in published.handle()["failure"]
