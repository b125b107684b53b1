"""An embedded cloud that is stopped, killed, moved or interrupted, and the state of its next start."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlops_local import cloud as local_cloud
from mlops_local.cloud import Cloud, CloudError
from mlops_local.routes import Receive, Scope, Send
from mlops_local.saved_state import interruptions, saver

pytestmark = pytest.mark.cloud

LARGE = b"large" * 10_000
TRUST = json.dumps({
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}],
})  # fmt: skip


def fill(cloud: Cloud, make_function: Callable[..., str]) -> dict[str, Any]:
    """Create data in each service that units use, and return the ids for a later check."""
    s3, kms, sqs, client = cloud.client("s3"), cloud.client("kms"), cloud.client("sqs"), cloud.client
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    versions = [s3.put_object(Bucket="kept", Key="a/b", Body=body)["VersionId"] for body in (b"small", LARGE)]
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    queue = sqs.create_queue(QueueName="kept")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="a message")
    client("dynamodb").create_table(
        TableName="kept", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    )  # fmt: skip
    item = {"pk": {"S": "1"}, "sk": {"S": "2"}, "n": {"N": "1.5"}, "b": {"B": b"\x00\xff"}, "set": {"SS": ["a", "b"]}}
    client("dynamodb").put_item(TableName="kept", Item=item)
    client("ssm").put_parameter(Name="/kept", Value="1", Type="SecureString", KeyId=key)
    client("secretsmanager").create_secret(Name="kept", SecretString="a secret")
    client("logs").create_log_group(logGroupName="/kept")
    client("logs").create_log_stream(logGroupName="/kept", logStreamName="s")
    now = int(datetime.fromisoformat(cloud.clock()["now"]).timestamp() * 1000)
    events = [{"timestamp": now, "message": "a line"}]
    client("logs").put_log_events(logGroupName="/kept", logStreamName="s", logEvents=events)
    client("cloudwatch").put_metric_data(Namespace="Kept", MetricData=[{"MetricName": "m", "Value": 2.5}])
    client("cloudwatch").put_metric_alarm(
        AlarmName="kept", Namespace="Kept", MetricName="other", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold", Statistic="Sum", TreatMissingData="ignore",
    )  # fmt: skip
    client("cloudwatch").set_alarm_state(AlarmName="kept", StateValue="ALARM", StateReason="by hand")
    make_function(cloud, "kept", {"handler.py": "def handler(event, context):\n    return event['x'] * 2\n"})
    role = client("iam").create_role(RoleName="machine", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    definition = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    machine = client("stepfunctions").create_state_machine(
        name="kept", definition=json.dumps(definition), roleArn=role
    )["stateMachineArn"]
    started = client("stepfunctions").start_execution(stateMachineArn=machine, input='{"a": 1}')["executionArn"]
    while client("stepfunctions").describe_execution(executionArn=started)["status"] == "RUNNING":
        time.sleep(0.05)
    client("events").create_event_bus(Name="kept")
    client("events").put_rule(Name="kept", EventBusName="kept", EventPattern='{"source": ["a"]}')
    client("sns").create_topic(Name="kept")
    client("glue").create_database(DatabaseInput={"Name": "kept"})
    network = client("ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    cloud.call("/_mlops/quotas", {"ml.m5.large for endpoint usage": 3})
    ciphertext = kms.encrypt(KeyId=key, Plaintext=b"before")["CiphertextBlob"]
    return {
        "versions": versions, "key": key, "ciphertext": ciphertext, "queue": queue, "item": item, "machine": machine,
        "execution": started, "network": network,
    }  # fmt: skip


def look(cloud: Cloud, made: dict[str, Any]) -> dict[str, Any]:
    """Return the data as callers see them."""
    client, s3 = cloud.client, cloud.client("s3")
    alarm = client("cloudwatch").describe_alarms(AlarmNames=["kept"])["MetricAlarms"][0]
    seen = {
        "objects": [s3.get_object(Bucket="kept", Key="a/b", VersionId=v)["Body"].read() for v in made["versions"]],
        "plain": client("kms").decrypt(CiphertextBlob=made["ciphertext"])["Plaintext"],
        "item": client("dynamodb").get_item(TableName="kept", Key={"pk": {"S": "1"}, "sk": {"S": "2"}})["Item"],
        "parameter": client("ssm").get_parameter(Name="/kept", WithDecryption=True)["Parameter"],
        "secret": client("secretsmanager").get_secret_value(SecretId="kept")["SecretString"],
        "lines": client("logs").filter_log_events(logGroupName="/kept")["events"],
        "alarm": (alarm["StateValue"], alarm["StateReason"], alarm["StateUpdatedTimestamp"]),
        "metrics": client("cloudwatch").list_metrics(Namespace="Kept")["Metrics"],
        "function": client("lambda").get_function(FunctionName="kept")["Configuration"],
        "execution": client("stepfunctions").describe_execution(executionArn=made["execution"]),
        "history": client("stepfunctions").get_execution_history(executionArn=made["execution"])["events"],
        "rule": client("events").describe_rule(Name="kept", EventBusName="kept"),
        "topics": client("sns").list_topics()["Topics"],
        "databases": client("glue").get_databases()["DatabaseList"],
        "network": client("ec2").describe_vpcs(VpcIds=[made["network"]])["Vpcs"],
        "roles": client("iam").list_roles()["Roles"],
        "quotas": cloud.call("/_mlops/quotas"),
        "queues": client("sqs").list_queues()["QueueUrls"],
    }
    return {name: _bare(value) for name, value in seen.items()}


def _bare(value: Any) -> Any:
    return {key: part for key, part in value.items() if key != "ResponseMetadata"} if isinstance(value, dict) else value


def test_everything_is_there_after_down_and_up(
    own_cloud: Callable[..., Cloud], make_function: Callable[..., str]
) -> None:
    """Objects in every version, ciphertext, messages, code of functions and histories are unchanged and usable."""
    cloud = own_cloud()
    made = fill(cloud, make_function)
    before = look(cloud, made)
    saved = cloud.down()
    assert saved["bytes"] > len(LARGE)
    messages: list[str] = []
    cloud = own_cloud(on_event=messages.append)
    assert [line.partition(" of ")[0] for line in messages] == ["restored the state"]
    assert look(cloud, made) == before
    (message,) = cloud.client("sqs").receive_message(QueueUrl=made["queue"])["Messages"]
    assert message["Body"] == "a message"
    answer = cloud.client("lambda").invoke(FunctionName="kept", Payload=b'{"x": 21}')
    assert json.load(answer["Payload"]) == 42
    executions = cloud.client("stepfunctions")
    again = executions.start_execution(stateMachineArn=made["machine"])["executionArn"]
    while executions.describe_execution(executionArn=again)["status"] == "RUNNING":
        time.sleep(0.05)
    assert executions.describe_execution(executionArn=again)["status"] == "SUCCEEDED"


def test_a_killed_cloud_has_its_last_snapshot(own_cloud: Callable[..., Cloud]) -> None:
    """Later changes are lost, which is reported; a cloud terminated by another process saves by itself."""
    cloud = own_cloud()
    cloud.client("ssm").put_parameter(Name="/before", Value="1", Type="String")
    cloud.save()
    cloud.client("ssm").put_parameter(Name="/after", Value="1", Type="String")
    os.kill(cloud.pid, signal.SIGKILL)
    os.waitpid(cloud.pid, 0)
    messages: list[str] = []
    cloud = own_cloud(on_event=messages.append)
    assert messages[0].endswith("ended without `mlops local down`; changes after its last snapshot are lost")
    assert _parameters(cloud) == ["/before"]
    cloud.client("ssm").put_parameter(Name="/later", Value="1", Type="String")
    os.kill(cloud.pid, signal.SIGTERM)
    os.waitpid(cloud.pid, 0)
    assert _parameters(own_cloud()) == ["/before", "/later"]


def test_a_half_written_snapshot_gives_way_to_the_one_before(own_cloud: Callable[..., Cloud], tmp_path: Path) -> None:
    """The start reports it; if neither is readable nothing starts, and nothing is deleted."""
    cloud = own_cloud()
    for name in ("/one", "/two"):
        cloud.client("ssm").put_parameter(Name=name, Value="1", Type="String")
        cloud.save()
    os.kill(cloud.pid, signal.SIGKILL)
    os.waitpid(cloud.pid, 0)
    saved = tmp_path / "cloud" / "saved"
    half = (saved / "snapshot.json").read_bytes()[:1000]
    (saved / "snapshot.json").write_bytes(half)
    messages: list[str] = []
    cloud = own_cloud(on_event=messages.append)
    assert any("could not be read, the one before it is restored" in line for line in messages)
    assert _parameters(cloud) == ["/one"]
    cloud.down()
    for name in ("snapshot.json", "previous.json"):
        (saved / name).write_bytes(half)
    with pytest.raises(
        CloudError, match=r"(?s)did not start.*snapshot\.json cannot be read.*`mlops local down --forget`"
    ):
        own_cloud()
    assert (saved / "previous.json").read_bytes() == half


def _parameters(cloud: Cloud) -> list[str]:
    return sorted(row["Name"] for row in cloud.client("ssm").describe_parameters()["Parameters"])


def test_the_state_of_another_version_is_refused_by_name(own_cloud: Callable[..., Cloud], tmp_path: Path) -> None:
    """Before anything starts; only an explicit option deletes it."""
    own_cloud().down()
    snapshot = tmp_path / "cloud" / "saved" / "snapshot.json"
    plain = json.loads(snapshot.read_text())
    plain["versions"]["package"] = "99.1"
    snapshot.write_text(json.dumps(plain))
    with pytest.raises(
        CloudError, match=r"mlops-local 99\.1 .*, and this is mlops-local .*`mlops local down --forget`"
    ):
        own_cloud()
    assert json.loads(snapshot.read_text()) == plain
    assert local_cloud.forget(tmp_path / "cloud")
    assert not local_cloud.forget(tmp_path / "cloud")
    cloud = own_cloud()
    with pytest.raises(CloudError, match=r"runs \(pid \d+\); stop it with"):
        local_cloud.forget(tmp_path / "cloud")
    cloud.down(forget=True)
    assert not (tmp_path / "cloud" / "saved").exists()


def test_two_starts_at_once_are_one_cloud(own_cloud: Callable[..., Cloud], tmp_path: Path) -> None:
    """The other start is rejected, and there is one state."""
    cloud = own_cloud()
    cloud.client("ssm").put_parameter(Name="/one", Value="1", Type="String")
    cloud.down()

    def start(_number: int) -> Cloud | str:
        try:
            return own_cloud()
        except CloudError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(start, range(2)))
    (refused,) = [row for row in found if isinstance(row, str)]
    assert "another process is starting" in refused or "already runs" in refused
    assert _parameters(local_cloud.connect(tmp_path / "cloud")) == ["/one"]


def test_addresses_follow_the_port(own_cloud: Callable[..., Cloud], tmp_path: Path) -> None:
    """A queue's URL has the port; after a start at another port the new URL works."""
    cloud = own_cloud()
    before = cloud.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    cloud.client("sqs").send_message(QueueUrl=before, MessageBody="kept")
    cloud.down()
    with local_cloud.listen(cloud.port) as taken:
        taken.listen()
        moved = own_cloud()
    after = moved.client("sqs").get_queue_url(QueueName="q")["QueueUrl"]
    assert moved.port != cloud.port
    assert after == before.replace(str(cloud.port), str(moved.port))
    (message,) = moved.client("sqs").receive_message(QueueUrl=after)["Messages"]
    assert message["Body"] == "kept"


def test_embedded_time_stands_still_while_the_cloud_is_down(
    own_cloud: Callable[..., Cloud], wait_for: Callable[..., Any]
) -> None:
    """The clock continues at its speed from its last time, and schedules have no missed occurrences."""
    cloud = own_cloud()
    sqs, events = cloud.client("sqs"), cloud.client("events")
    queue = sqs.create_queue(QueueName="ticks")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:*", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    events.put_rule(Name="tick", ScheduleExpression="rate(1 hour)")
    events.put_targets(Rule="tick", Targets=[{"Id": "q", "Arn": arn}])
    cloud.clock_scale(2)
    cloud.clock_jump(by=timedelta(hours=30))
    before = cloud.clock()
    messages = _count(cloud, queue)
    cloud.down()
    time.sleep(1)
    cloud = own_cloud()
    after = cloud.clock()
    assert after["scale"] == 2
    assert 0 < after["epoch"] - before["epoch"] < 120
    assert datetime.fromtimestamp(after["epoch"], UTC) - datetime.now(UTC) > timedelta(hours=29)
    assert _count(cloud, queue) == messages
    cloud.clock_jump(by=timedelta(hours=1))
    wait_for(lambda: _count(cloud, queue) == messages + 1)
    cloud.down()
    assert own_cloud(clock_scale=1).clock()["scale"] == 1


def _count(cloud: Cloud, queue: str) -> int:
    name = "ApproximateNumberOfMessages"
    found = cloud.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=[name])
    return int(found["Attributes"][name])


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a file system of a size, if this process may."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if sys.platform != "linux" or shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("this process may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_the_stop(own_cloud: Callable[..., Cloud], tmp_path: Path) -> None:
    """The cloud still runs, reports the fix, and has the previous snapshot."""
    with _small_disk(tmp_path / "cloud" / "saved", "3m"):
        cloud = own_cloud()
        cloud.client("ssm").put_parameter(Name="/one", Value="1", Type="String")
        cloud.save()
        s3 = cloud.client("s3")
        s3.create_bucket(Bucket="large")
        s3.put_object(Bucket="large", Key="k", Body=os.urandom(8_000_000))
        with pytest.raises(
            CloudError, match=r"cannot be saved to .*No space left on device.*; free space and repeat, or .*--forget"
        ):
            cloud.down()
        assert "No space left" in cloud.saved_state()["problem"]
        s3.delete_object(Bucket="large", Key="k")
        cloud.down()
        cloud = own_cloud()
        assert _parameters(cloud) == ["/one"]
        cloud.down(forget=True)


def test_what_a_cloud_does_not_know_is_refused(own_cloud: Callable[..., Cloud]) -> None:
    """A request to the state other than the three supported ones."""
    with pytest.raises(CloudError, match='expected "save", "end" or "forget"'):
        own_cloud().call("/_mlops/state", {"strange": 1})


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> saver._Saver:
    """Known snapshots: none, and none is written."""
    known = saver._Saver()
    monkeypatch.setattr(saver, "_SAVER", known)
    monkeypatch.setattr(saver, "_in_fork", lambda _work: {"saved": "now", "bytes": 1, "left_out": []})
    monkeypatch.setattr(interruptions, "under_way", list)
    return known


@pytest.mark.parametrize(
    ("method", "path", "is_changed"),
    [("POST", "/", True), ("POST", "/_mlops/quotas", True), ("POST", "/_mlops/state", False), ("GET", "/", False)],
)
def test_a_change_counts_also_after_a_snapshot_that_was_made_meanwhile(
    known: saver._Saver, method: str, path: str, *, is_changed: bool
) -> None:
    """Requests at AWS's and our own addresses are changes; saving is not."""

    async def saves(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.to_thread(saver.save)

    async def nothing(*_: object) -> Any:
        return {}

    scope: Scope = {"type": "http", "method": method, "path": path, "headers": []}

    async def serve() -> None:
        await saver.with_changes(saves)(scope, nothing, nothing)

    asyncio.run(serve())
    assert known.is_changed is saver._is_due() is is_changed


def test_what_goes_on_is_saved_again(known: saver._Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution changes state without a request; it is saved once more after its end."""
    saver.save()
    assert not saver._is_due()
    monkeypatch.setattr(interruptions, "under_way", lambda: ["execution one"])
    saver.save()
    assert saver._is_due()
    monkeypatch.setattr(interruptions, "under_way", list)
    saver.save()
    assert not saver._is_due()
    assert known.last is not None


def test_a_store_that_cannot_be_written_refuses_the_stop(known: saver._Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the store, and the cloud continues; a requested snapshot reports it too."""
    left_out = ["sqs cannot be saved: a lock"]
    monkeypatch.setattr(saver, "_in_fork", lambda _work: {"saved": "now", "bytes": 1, "left_out": left_out})
    status, answer = saver.control("POST", b'"save"')
    assert (status, known.last) == (200, answer)
    assert known.problem == left_out[0]
    status, answer = saver.control("POST", b'"end"')
    assert (status, known.has_ended) == (507, False)
    fix = "the cloud still runs: repeat, or delete the state with `mlops local down --forget`"
    assert answer == {"message": f"sqs cannot be saved: a lock; {fix}"}
