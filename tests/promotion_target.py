"""A promotion target on moto: bucket, table, state machine and group; copies follow S3's conditions and checksums."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.released import SOURCE, TARGET, Released

from mlops_runtime.promotion.offer_table import OfferTable
from mlops_runtime.promotion.release_plan import Target

MACHINE = "arn:aws:states:eu-west-1:222222222222:stateMachine:Promote"
EXECUTION = "arn:aws:states:eu-west-1:222222222222:execution:Promote:one-1"


class Copies:
    """S3 with conditional copies as AWS implements them, which moto lacks."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def copy_object(self, **arguments: Any) -> Any:
        """CopyObject; fails if the destination exists or the source's ETag differs."""
        taken = self._s3.list_objects_v2(Bucket=arguments["Bucket"], Prefix=arguments["Key"])
        source = self._s3.head_object(**arguments["CopySource"])
        if (arguments.pop("IfNoneMatch", None) and "Contents" in taken) or (
            arguments.pop("CopySourceIfMatch", source["ETag"]) != source["ETag"]
        ):
            raise self._s3.exceptions.ClientError({"Error": {"Code": "PreconditionFailed"}}, "CopyObject")
        return self._s3.copy_object(**arguments)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The target's clients and table."""

    s3: Any
    dynamodb: Any
    stepfunctions: Any
    sagemaker: Any
    kms: Any
    table: OfferTable
    target: Target

    def arrived(self, released: Released, **changed: bytes | None) -> dict[str, Any]:
        """Copy a release as the machine does; return the input of its functions. ``changed`` has other bytes, or is missing."""
        files = {
            "model.tar.gz": "artifact",
            "evaluation.json": "evaluation",
            "baseline.json": "baseline",
            "gate": "gate",
        }
        names = {key: files.get(key.rpartition("/")[2], "gate") for key in released.objects}
        contents = {names[key]: content for key, content in released.objects.items()} | changed
        keys = {"artifact": "model.tar.gz", "record": "record.json"}
        for name, content in {"record": released.content, **contents}.items():
            if content is not None:
                key = f"incoming/demand-forecast/one-1/{keys.get(name, f'{name}.json')}"
                self.s3.put_object(Bucket="here", Key=key, Body=content, ChecksumAlgorithm="SHA256")
        return {
            "record_uri": released.uri,
            "record_sha256": released.sha256,
            "execution": EXECUTION,
            "now": "2017-08-01T09:00:00.000Z",
        }


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Return a new target."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        s3, dynamodb, kms = boto3.client("s3"), boto3.client("dynamodb"), boto3.client("kms")
        for bucket in ("here", "audit", "heads"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        dynamodb.create_table(
            TableName="promotions",
            AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        machines = boto3.client("stepfunctions")
        definition = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
        role = "arn:aws:iam::123456789012:role/promote"
        machines.create_state_machine(name="Promote", definition=definition, roleArn=role)
        sagemaker = boto3.client("sagemaker")
        sagemaker.create_model_package_group(ModelPackageGroupName="demand-forecast")
        yield Place(
            s3=Copies(s3),
            dynamodb=dynamodb,
            stepfunctions=machines,
            sagemaker=sagemaker,
            kms=kms,
            table=OfferTable(dynamodb, "promotions"),
            target=Target(
                unit="demand",
                group="demand-forecast",
                here=TARGET,
                source=SOURCE,
                source_name="build",
                bucket="here",
                signing_key=key,
            ),
        )
