"""Calls on another account's resources: both sides must allow them, and the owner's state is used."""

import base64
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from mlops_local.accounts import CloudAccount
from mlops_local.cloud import Cloud

BUILD, STAGING = "111111111111", "222222222222"
_number = itertools.count(1)


def document(*statements: dict[str, Any]) -> str:
    """Return a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """Return a statement of an identity policy."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def of_root(*actions: str, resource: str | list[str] = "*", role: str = "", **operators: Any) -> dict[str, Any]:
    """Return a statement for the root of staging that one role of it may use."""
    condition = {**operators, **({"ArnEquals": {"aws:PrincipalArn": role}} if role else {})}
    statement = allow(*actions, resource=resource, Principal={"AWS": f"arn:aws:iam::{STAGING}:root"})
    return {**statement, "Condition": condition} if condition else statement


@dataclass
class Role:
    """A role of staging: its ARN, and its clients."""

    place: CloudAccount
    arn: str
    keys: dict[str, str] = field(default_factory=dict)

    def may(self, *statements: dict[str, Any]) -> None:
        """Replace its policy."""
        name = self.arn.rpartition("/")[2]
        self.place.client("iam").put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))

    def client(self, service: str, region: str | None = None) -> Any:
        """Return a client with a session of the role."""
        if not self.keys:
            got = self.place.client("sts").assume_role(RoleArn=self.arn, RoleSessionName="tester")["Credentials"]
            secret, token = got["SecretAccessKey"], got["SessionToken"]
            self.keys = {
                "aws_access_key_id": got["AccessKeyId"],
                "aws_secret_access_key": secret,
                "aws_session_token": token,
            }
        return boto3.client(
            service, endpoint_url=self.place.endpoint_url, region_name=region or self.place.region, **self.keys
        )


@pytest.fixture(params=["us-east-1", "eu-west-1"])
def build(cloud: Cloud, request: pytest.FixtureRequest) -> CloudAccount:
    """The account that owns all resources."""
    return cloud.at(BUILD, request.param)


@pytest.fixture
def role(cloud: Cloud, build: CloudAccount) -> Iterator[Role]:
    """A role of the other account without permissions."""
    place, name = cloud.at(STAGING, build.region), f"reader{next(_number)}"
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    principals = ({"AWS": f"arn:aws:iam::{STAGING}:root"}, {"Service": "states.amazonaws.com"})
    trusts = document(*({**trust, "Principal": principal} for principal in principals))
    arn = place.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trusts)["Role"]["Arn"]
    yield Role(place, arn)
    place.client("iam").delete_role_policy(RoleName=name, PolicyName="p")
    place.client("iam").delete_role(RoleName=name)


@pytest.fixture
def bucket(build: CloudAccount, unique: str) -> Iterator[str]:
    """A bucket with an encrypted object `secret`, whose key policy allows only its account."""
    s3, name = build.client("s3"), f"{unique}-{build.region}"
    key = build.client("kms").create_key()["KeyMetadata"]["Arn"]
    where = {"CreateBucketConfiguration": {"LocationConstraint": build.region}} if build.region != "us-east-1" else {}
    s3.create_bucket(Bucket=name, **where)
    s3.put_object(Bucket=name, Key="secret", Body=b"one", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    yield name
    s3.delete_object(Bucket=name, Key="secret")
    s3.delete_bucket(Bucket=name)


def key_of(build: CloudAccount, bucket: str) -> str:
    """Return the key of the object."""
    return str(build.client("s3").head_object(Bucket=bucket, Key="secret")["SSEKMSKeyId"])


def key_policy(*statements: dict[str, Any]) -> str:
    """Return a key policy: access of its own account, and more."""
    own = allow("kms:*", Principal={"AWS": f"arn:aws:iam::{BUILD}:root"})
    return document(own, *statements)


def refused(call: Callable[[], Any]) -> str:
    """Return the error of a call."""
    with pytest.raises(ClientError) as error:
        call()
    return str(error.value.response["Error"]["Message"])


def test_an_object_is_read_where_four_statements_allow_it(build: CloudAccount, role: Role, bucket: str) -> None:
    """Bucket and key on each side; each missing statement is reported with its side, and other roles are denied."""
    objects, key = f"arn:aws:s3:::{bucket}/*", key_of(build, bucket)
    via = {"StringEquals": {"kms:ViaService": f"s3.{build.region}.amazonaws.com"},
           "StringLike": {"kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}*"}}  # fmt: skip
    reads = allow(
        "s3:GetObject", resource="arn:aws:s3:::*/secret", Condition={"StringEquals": {"aws:ResourceAccount": BUILD}}
    )
    decrypts = allow(
        "kms:Decrypt",
        resource=f"arn:aws:kms:{build.region}:{BUILD}:key/*",
        Condition={"StringEquals": via["StringEquals"]},
    )
    bucket_policy = of_root("s3:GetObject", resource=objects, role=role.arn)
    decrypt_policy = of_root("kms:Decrypt", role=role.arn, **via)
    s3, kms = build.client("s3"), build.client("kms")

    def apply(*, without: str = "") -> None:
        role.may(
            *(s for name, s in (("mine-s3", reads), ("mine-kms", decrypts)) if name != without),
            allow("sts:GetCallerIdentity"),
        )
        s3.put_bucket_policy(
            Bucket=bucket,
            Policy=document(
                {**bucket_policy, "Action": "s3:ListBucketVersions", "Resource": objects[:-2]}
                if without == "theirs-s3"
                else bucket_policy
            ),
        )
        kms.put_key_policy(KeyId=key, Policy=key_policy(*([] if without == "theirs-kms" else [decrypt_policy])))

    def read() -> Any:
        return role.client("s3").get_object(Bucket=bucket, Key="secret", ExpectedBucketOwner=BUILD)["Body"].read()

    for missing, action, side in (
        ("mine-s3", "s3:GetObject", "identity"), ("mine-kms", "kms:Decrypt", "identity"),
        ("theirs-s3", "s3:GetObject", "resource"), ("theirs-kms", "kms:Decrypt", "resource"),
    ):  # fmt: skip
        apply(without=missing)
        words = refused(read)
        assert f"because no {side}-based policy allows the {action} action" in words, (missing, words)
        assert role.arn.rpartition("/")[2] in words
    apply()
    assert read() == b"one"

    name = f"other{next(_number)}"
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{STAGING}:root"}, "Action": "sts:AssumeRole"}
    made = role.place.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
    other = Role(role.place, made["Role"]["Arn"])
    other.may(allow("*"))
    call = other.client("s3").get_object
    assert "no resource-based policy allows the s3:GetObject action" in refused(
        lambda: call(Bucket=bucket, Key="secret")
    )
    assert "no resource-based policy" in refused(
        lambda: role.place.client("s3").get_object(Bucket=bucket, Key="secret")
    )  # its root


def test_a_task_copies_from_another_account(build: CloudAccount, role: Role, bucket: str, cloud: Cloud) -> None:
    """Into a bucket of its own with the checksum; the expected owner is checked for source and target."""
    target = cloud.at(STAGING, "eu-central-1")
    name = f"target-{bucket}"
    target.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    role.may(allow("s3:*", "kms:*"))
    key, s3 = key_of(build, bucket), build.client("s3")
    statement = of_root("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*", role=role.arn)
    s3.put_bucket_policy(Bucket=bucket, Policy=document(statement))
    arguments = {
        "Bucket": name, "Key": "copied", "CopySource": f"{bucket}/secret", "ChecksumAlgorithm": "SHA256",
        "ExpectedBucketOwner": STAGING, "ExpectedSourceBucketOwner": BUILD,
    }  # fmt: skip

    def run(**changed: str) -> dict[str, Any]:
        states, number = target.client("stepfunctions"), next(_number)
        task = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:copyObject",
            "Arguments": {**arguments, **changed},
            "End": True,
        }
        definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "T", "States": {"T": task}})
        machine = states.create_state_machine(name=f"copy{number}", definition=definition, roleArn=role.arn)[
            "stateMachineArn"
        ]
        execution = states.start_execution(stateMachineArn=machine)["executionArn"]
        end = time.monotonic() + 20
        while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
            assert time.monotonic() < end
            time.sleep(0.05)
        states.delete_state_machine(stateMachineArn=machine)
        return dict(found)

    failed = run()
    assert "no resource-based policy allows the kms:Decrypt action" in failed["cause"], failed
    build.client("kms").put_key_policy(KeyId=key, Policy=key_policy(of_root("kms:Decrypt", role=role.arn)))
    done = run()
    assert done["status"] == "SUCCEEDED", done
    digest = json.loads(done["output"])["CopyObjectResult"]["ChecksumSHA256"]
    assert digest == base64.b64encode(hashlib.sha256(b"one").digest()).decode()
    assert target.client("s3").get_object(Bucket=name, Key="copied")["Body"].read() == b"one"
    failed = run(CopySource=f"{bucket}/secret?versionId=1")
    assert "s3:GetObjectVersion" in failed["cause"]
    versions = {**statement, "Action": ["s3:GetObject", "s3:GetObjectVersion"]}
    s3.put_bucket_policy(Bucket=bucket, Policy=document(versions))
    assert "name the object without versionId" in run(CopySource=f"{bucket}/secret?versionId=1")["cause"]
    for wrong in ({"ExpectedSourceBucketOwner": STAGING}, {"ExpectedBucketOwner": BUILD}):
        failed = run(**wrong)
        assert (failed["status"], failed["error"]) == ("FAILED", "S3.AccessDeniedException"), failed
    s3.delete_bucket_policy(Bucket=bucket)
    assert "no resource-based policy allows the s3:GetObject action" in run()["cause"]
    assert "AccessDenied" in run(Bucket=bucket, ExpectedBucketOwner=BUILD)["cause"] or "s3:PutObject" in run(
        Bucket=bucket, ExpectedBucketOwner=BUILD
    ).get("cause", "")


def test_a_boundary_of_the_callers_account_is_asked_too(build: CloudAccount, role: Role, bucket: str) -> None:
    """The boundary denies what policy and bucket allow."""
    name = role.arn.rpartition("/")[2]
    iam = role.place.client("iam")
    limit = iam.create_policy(PolicyName=f"limit-{name}", PolicyDocument=document(allow("s3:ListBucket")))["Policy"][
        "Arn"
    ]
    role.may(allow("*"))
    statement = of_root("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*")
    build.client("s3").put_bucket_policy(Bucket=bucket, Policy=document(statement))
    build.client("kms").put_key_policy(KeyId=key_of(build, bucket), Policy=key_policy(of_root("kms:Decrypt")))
    assert role.client("s3").get_object(Bucket=bucket, Key="secret")["Body"].read() == b"one"
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=limit)
    words = refused(lambda: role.client("s3").get_object(Bucket=bucket, Key="secret"))
    assert "identity-based policy" in words
    iam.delete_role_permissions_boundary(RoleName=name)
    iam.delete_policy(PolicyArn=limit)


def test_a_key_of_another_account_works_by_its_arn(build: CloudAccount, role: Role) -> None:
    """It encrypts there and decrypts here, with the encryption context that the key's policy requires."""
    kms = build.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    role.may(allow("kms:Encrypt", "kms:Decrypt", resource=key))
    mine = role.client("kms")
    context = {"unit": "demand"}
    words = refused(lambda: mine.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context))
    assert f"kms:Encrypt on resource: {key} because no resource-based policy allows the kms:Encrypt action" in words
    statement = of_root("kms:*", role=role.arn, StringEquals={"kms:EncryptionContext:unit": "demand"})
    kms.put_key_policy(KeyId=key, Policy=key_policy(statement))
    blob = mine.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"x"
    assert mine.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"x"
    assert "kms:Encrypt" in refused(lambda: mine.encrypt(KeyId=key, Plaintext=b"x"))
    role.may(allow("sts:GetCallerIdentity"))
    assert "no identity-based policy" in refused(
        lambda: mine.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)
    )


def test_packages_are_read_by_arn_where_the_groups_policy_allows(build: CloudAccount, role: Role, unique: str) -> None:
    """It can describe and list, but not approve; the policy denies another role with full permissions."""
    maker, name = build.client("sagemaker"), f"{unique}-{build.region}"
    group = maker.create_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"]
    package = maker.create_model_package(ModelPackageGroupName=name)["ModelPackageArn"]
    role.may(allow("sagemaker:*", resource=f"arn:aws:sagemaker:*:{BUILD}:*"))
    mine = role.client("sagemaker")
    words = refused(lambda: mine.describe_model_package(ModelPackageName=package))
    assert (
        f"on resource: {package} because no resource-based policy allows the sagemaker:DescribeModelPackage action"
        in words
    )
    versions = package.rpartition("/")[0] + "/*"
    statement = of_root(
        "sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages", resource=[group, versions], role=role.arn
    )
    maker.put_model_package_group_policy(ModelPackageGroupName=name, ResourcePolicy=document(statement))
    assert json.loads(maker.get_model_package_group_policy(ModelPackageGroupName=name)["ResourcePolicy"])[
        "Statement"
    ] == [statement]
    assert mine.describe_model_package(ModelPackageName=package)["ModelPackageArn"] == package
    (row,) = mine.list_model_packages(ModelPackageGroupName=group, ModelPackageType="Versioned")[
        "ModelPackageSummaryList"
    ]
    assert row["ModelPackageArn"] == package
    words = refused(lambda: mine.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved"))
    assert "no resource-based policy allows the sagemaker:UpdateModelPackage action" in words
    role.may(allow("sagemaker:ListModelPackages"))
    assert "no identity-based policy" in refused(lambda: mine.describe_model_package(ModelPackageName=package))
    maker.delete_model_package_group_policy(ModelPackageGroupName=name)
    assert "no resource-based" in refused(
        lambda: mine.list_model_packages(ModelPackageGroupName=group, ModelPackageType="Versioned")
    )


def test_images_are_found_where_the_repositorys_policy_allows(build: CloudAccount, role: Role, unique: str) -> None:
    """By `registryId`, in the owner's registry."""
    ecr, name = build.client("ecr"), f"{unique}-{build.region}"
    ecr.create_repository(repositoryName=name)
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "unit": name})
    pushed = ecr.put_image(repositoryName=name, imageManifest=manifest, imageTag="v1")["image"]["imageId"][
        "imageDigest"
    ]
    role.may(allow("ecr:DescribeImages", "ecr:BatchGetImage"))
    mine = role.client("ecr")
    requested = {"registryId": BUILD, "repositoryName": name, "imageIds": [{"imageDigest": pushed}]}
    words = refused(lambda: mine.describe_images(**requested))
    assert f":{BUILD}:repository/{name} because no resource-based policy allows the ecr:DescribeImages action" in words
    statement = {
        k: v for k, v in of_root("ecr:DescribeImages", "ecr:BatchGetImage", role=role.arn).items() if k != "Resource"
    }
    ecr.set_repository_policy(repositoryName=name, policyText=document(statement))
    (image,) = mine.describe_images(**requested)["imageDetails"]
    assert (image["registryId"], image["imageDigest"]) == (BUILD, pushed)
    assert mine.batch_get_image(**requested)["images"][0]["registryId"] == BUILD
    ecr.delete_repository(repositoryName=name, force=True)


def test_what_has_no_resource_policy_is_refused_to_other_accounts(build: CloudAccount, role: Role, unique: str) -> None:
    """Whatever the caller's own policies; a session belongs to its role's account wherever it calls."""
    role.may(allow("*"))
    arn = f"arn:aws:states:{build.region}:{BUILD}:stateMachine:{unique}"
    assert "no resource-based policy allows the states:StartExecution action" in refused(
        lambda: role.client("stepfunctions").start_execution(stateMachineArn=arn)
    )
    assert role.client("sts").get_caller_identity()["Account"] == STAGING


def test_a_policy_may_ask_for_the_organization(build: CloudAccount, role: Role, bucket: str) -> None:
    """`aws:PrincipalOrgID` is the organization of the first account and its members; another organization is denied."""
    s3, call = build.client("s3"), role.client("s3").get_object
    build.client("kms").put_key_policy(KeyId=key_of(build, bucket), Policy=key_policy(of_root("kms:Decrypt")))
    role.may(allow("s3:GetObject", "kms:Decrypt"))

    def ask_for(organization: str) -> None:
        condition = {"StringEquals": {"aws:PrincipalOrgID": organization}}
        statement = of_root("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*", **condition)
        s3.put_bucket_policy(Bucket=bucket, Policy=document(statement))

    # an account has an organization from its first call
    own = (
        role.place.at("000000000000", "us-east-1").client("organizations").describe_organization()["Organization"]["Id"]
    )
    ask_for("o-another0000")
    assert "no resource-based policy" in refused(lambda: call(Bucket=bucket, Key="secret"))
    ask_for(own)
    assert call(Bucket=bucket, Key="secret")["Body"].read() == b"one"
