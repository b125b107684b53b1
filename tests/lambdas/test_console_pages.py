"""The function that writes a console's pages into their bucket, staged as deployed."""

from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.loaded_module import load_module

from mlops_constructs import _assets
from mlops_runtime.console.page_files import FILES, page_document, page_files


def test_the_pages_travel_with_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies them from its asset into the bucket, and responds to CloudFormation."""
    staged = _assets._staged("console_pages", {FILES: page_document().text})
    monkeypatch.setenv("BUCKET", "pages")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    answers: list[dict[str, Any]] = []
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="pages")
        module = load_module(staged / "handler.py")
        monkeypatch.setattr(module, "answer", lambda _, **found: answers.append(found))
        module.handler({"RequestType": "Create", "ResourceProperties": {"Config": "{}"}}, None)

        keys = {each["Key"] for each in s3.list_objects_v2(Bucket="pages")["Contents"]}
    assert answers == [{"physical_id": "pages/index.html", "failure": None}]
    assert keys == {"index.html", "config.json", *(address[1:] for address in page_files() if address != "/")}
