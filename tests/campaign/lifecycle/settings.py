"""Settings of an account's resources by service and name, for a comparison before and after a failed change."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.campaign.lifecycle.inventory import Cloud, listed, pages

# times, counters and versions, which change without a difference in settings: a rolled-back update is two updates
_VOLATILE = re.compile(
    r"(?i)date$|time$|timestamp|time.?in.?millis|modified|updated|revision|etag|version_?id|versionnumber|^version$"
    r"|approximate|responsemetadata|itemcount|sizebytes|storedbytes|reason|sequence|metadata_location|previous_metadata"
    r"|nexttoken|^mastertoken$|lastupdat"
)
_PASSING = (("State", "Pending"), ("State", "Active"))


def settings(cloud: Cloud) -> dict[str, str]:
    """Return the settings as JSON by ``service kind name``.

    Args:
        cloud: Makes the clients.
    """
    found: dict[str, list[Any]] = {}
    for name, entry in listed(cloud):
        found.setdefault(name, []).append(entry)
    for look in _LOOKS:
        for name, entry in look(cloud):
            found.setdefault(name, []).append(entry)
    return {name: json.dumps(_steady(entries), sort_keys=True, default=str) for name, entries in found.items()}


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Name the differences, with the settings before and after."""
    problems = [f"left {name}" for name in sorted(after.keys() - before.keys())]
    problems += [f"lost {name}" for name in sorted(before.keys() - after.keys())]
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            problems.append(f"changed {name}: {_first_difference(json.loads(before[name]), json.loads(after[name]))}")
    return problems


def _first_difference(before: Any, after: Any, path: str = "") -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                return _first_difference(before.get(key), after.get(key), f"{path}/{key}")
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (one, other) in enumerate(zip(before, after, strict=True)):
            if one != other:
                return _first_difference(one, other, f"{path}/{at}")
    return f"{path} was {str(before)[:200]}, is {str(after)[:200]}"


def _steady(value: Any) -> Any:
    """Remove volatile fields, parse documents in strings, and sort lists."""
    if isinstance(value, dict):
        # a function whose code or network has just changed is briefly pending
        steady = {key: item for key, item in value.items() if (key, item) not in _PASSING}
        return {key: _steady(item) for key, item in steady.items() if not _VOLATILE.search(str(key))}
    if isinstance(value, list):
        return sorted((_steady(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True, default=str))
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _steady(json.loads(value))
        except ValueError:
            return value
    return value


def _buckets(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    s3 = cloud.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        name = bucket["Name"]
        for setting in ("bucket_lifecycle_configuration", "bucket_policy", "bucket_tagging", "bucket_encryption"):
            try:
                yield f"s3 Buckets {name}", getattr(s3, f"get_{setting}")(Bucket=name)
            except s3.exceptions.ClientError as error:
                yield f"s3 Buckets {name}", {setting: error.response["Error"]["Code"]}


def _queues(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    sqs = cloud.client("sqs")
    for page in pages(sqs, "list_queues"):
        for url in page.get("QueueUrls", ()):
            yield f"sqs QueueUrls {url}", sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            yield f"sqs QueueUrls {url}", sqs.list_queue_tags(QueueUrl=url).get("Tags", {})


def _topics(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    sns = cloud.client("sns")
    for topic in sns.list_topics()["Topics"]:
        arn = topic["TopicArn"]
        yield f"sns Topics {arn}", sns.get_topic_attributes(TopicArn=arn)["Attributes"]


def _keys(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    kms = cloud.client("kms")
    for page in pages(kms, "list_keys"):
        for key in page["Keys"]:
            about = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            if about["KeyState"] != "PendingDeletion":
                policy = kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]
                yield f"kms Keys {key['KeyId']}", [about, policy]


def _rights(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    """Describe roles and policies by one call instead of a hundred."""
    kinds = ["Role", "LocalManagedPolicy"]
    for page in pages(cloud.client("iam"), "get_account_authorization_details", Filter=kinds):
        for policy in page["Policies"]:
            documents = [one["Document"] for one in policy["PolicyVersionList"] if one["IsDefaultVersion"]]
            yield f"iam Policies {policy['PolicyName']}", documents
        for role in page["RoleDetailList"]:
            yield f"iam Roles {role['RoleName']}", role


def _tables(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    dynamodb = cloud.client("dynamodb")
    for page in pages(dynamodb, "list_tables"):
        for name in page["TableNames"]:
            yield f"dynamodb TableNames {name}", dynamodb.describe_table(TableName=name)["Table"]


def _machines(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    client = cloud.client("stepfunctions")
    for page in pages(client, "list_state_machines"):
        for machine in page["stateMachines"]:
            arn = machine["stateMachineArn"]
            yield f"stepfunctions stateMachines {arn}", client.describe_state_machine(stateMachineArn=arn)


def _dashboards(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    client = cloud.client("cloudwatch")
    for page in pages(client, "list_dashboards"):
        for entry in page["DashboardEntries"]:
            name = entry["DashboardName"]
            yield (
                f"cloudwatch DashboardEntries {name}",
                client.get_dashboard(DashboardName=name)["DashboardBody"],
            )


_LOOKS: tuple[Callable[[Cloud], Iterator[tuple[str, Any]]], ...] = (
    _buckets, _queues, _topics, _keys, _rights, _tables, _machines, _dashboards,
)  # fmt: skip
