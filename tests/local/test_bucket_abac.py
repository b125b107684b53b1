"""Bucket tags: without effect on IAM until the bucket enables ABAC, then they control access to it and its objects."""

import json

import pytest
from botocore.exceptions import ClientError

TAGGED = {"TagSet": [{"Key": "mlops:data", "Value": "state"}]}
PUT = {"Status": "Enabled"}


def reads(key: str) -> dict[str, object]:
    """Return a statement that allows reading what has a tag."""
    return {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": "*",
        "Condition": {"StringEquals": {f"{key}/mlops:data": "state"}},
    }


@pytest.fixture
def bucket(cloud, unique):
    """A tagged bucket with an object."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_bucket_tagging(Bucket=unique, Tagging=TAGGED)
    s3.put_object(Bucket=unique, Key="k", Body=b"1")
    return unique


@pytest.mark.parametrize("key", ["aws:ResourceTag", "s3:BucketTag"])
def test_tags_of_a_bucket_decide_once_it_is_set_to_it(cloud, bucket, make_role, acting_as, key):
    """For the bucket and its objects; disabling ABAC ends the effect."""
    s3, reader = cloud.client("s3"), acting_as(make_role(reads(key)))("s3")

    def denied() -> list[bool]:
        found = []
        for call in (lambda: reader.get_object(Bucket=bucket, Key="k"), lambda: reader.list_objects_v2(Bucket=bucket)):
            try:
                call()
                found.append(False)
            except ClientError as error:
                found.append(error.response["Error"]["Code"] == "AccessDenied")
        return found

    assert s3.get_bucket_abac(Bucket=bucket)["AbacStatus"] == {"Status": "Disabled"}
    assert denied() == [True, True]
    s3.put_bucket_abac(Bucket=bucket, AbacStatus=PUT)
    assert s3.get_bucket_abac(Bucket=bucket)["AbacStatus"] == PUT
    assert denied() == [False, False]
    s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Disabled"})
    assert denied() == [True, True]


def test_another_bucket_is_not_read_for_the_tags_of_this_one(cloud, bucket, unique, make_role, acting_as):
    """A bucket with ABAC and another tag, or none, is denied."""
    s3, reader = cloud.client("s3"), acting_as(make_role(reads("aws:ResourceTag")))("s3")
    s3.put_bucket_abac(Bucket=bucket, AbacStatus=PUT)
    s3.create_bucket(Bucket=f"{unique}-other")
    s3.put_object(Bucket=f"{unique}-other", Key="k", Body=b"1")
    s3.put_bucket_abac(Bucket=f"{unique}-other", AbacStatus=PUT)

    with pytest.raises(ClientError, match="not authorized to perform: s3:GetObject"):
        reader.get_object(Bucket=f"{unique}-other", Key="k")


def test_who_may_set_it_is_asked_of_iam(cloud, bucket, make_role, acting_as):
    """`s3:PutBucketAbac`, without permission to tag or write."""
    may = {"Effect": "Allow", "Action": "s3:PutBucketAbac", "Resource": f"arn:aws:s3:::{bucket}"}
    tags = {"Effect": "Allow", "Action": ["s3:PutBucketTagging", "s3:PutObject"], "Resource": "*"}
    acting_as(make_role(may))("s3").put_bucket_abac(Bucket=bucket, AbacStatus=PUT)

    with pytest.raises(ClientError, match="AccessDenied"):
        acting_as(make_role(tags))("s3").put_bucket_abac(Bucket=bucket, AbacStatus=PUT)


def test_tags_that_decide_are_not_changed_by_the_old_operations(cloud, bucket):
    """TagResource has to be allowed instead; a stack that sets both still deploys."""
    s3 = cloud.client("s3")
    s3.put_bucket_abac(Bucket=bucket, AbacStatus=PUT)

    with pytest.raises(ClientError, match="TagResource"):
        s3.put_bucket_tagging(Bucket=bucket, Tagging=TAGGED)
    with pytest.raises(ClientError, match="TagResource"):
        s3.delete_bucket_tagging(Bucket=bucket)
    with pytest.raises(ClientError, match="MalformedXML"):
        s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "On"})


def test_a_template_sets_it_and_drops_it(cloud, unique):
    """Like other settings."""
    client, s3 = cloud.client("cloudformation"), cloud.client("s3")

    def template(**properties):
        resource = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": f"{unique}-made", **properties}}
        return json.dumps({"Resources": {"Bucket": resource}})

    tags = [{"Key": "mlops:data", "Value": "state"}]
    client.create_stack(StackName=unique, TemplateBody=template(AbacStatus="Enabled", Tags=tags))
    client.get_waiter("stack_create_complete").wait(StackName=unique, WaiterConfig={"Delay": 0.1})
    assert s3.get_bucket_abac(Bucket=f"{unique}-made")["AbacStatus"] == PUT
    assert s3.get_bucket_tagging(Bucket=f"{unique}-made")["TagSet"] == tags
    client.update_stack(StackName=unique, TemplateBody=template(Tags=tags))
    client.get_waiter("stack_update_complete").wait(StackName=unique, WaiterConfig={"Delay": 0.1})
    assert s3.get_bucket_abac(Bucket=f"{unique}-made")["AbacStatus"] == {"Status": "Disabled"}
