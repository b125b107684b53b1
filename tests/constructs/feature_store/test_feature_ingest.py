"""Ingestion of delivered batches: a function for small ones, a Glue job for large ones."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Annotations, Match, Template

from mlops_constructs import (
    BusinessUnit,
    FeatureGroup,
    FeatureIngest,
    FeatureStore,
    GlueIngestJob,
    Network,
    Profile,
    ValidationError,
    _assets,
)
from mlops_constructs.compliance.harness import check
from mlops_constructs.feature_store.store_access import FeatureAccess
from mlops_local.cloud import Cloud
from mlops_local.glue import jobs
from mlops_local.stacks import deployer
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.layers import layer_wheels

Group = Callable[..., FeatureGroup]
DefineStore = Callable[..., FeatureStore]
Resources = Callable[[Any, str], dict[str, dict[str, Any]]]


pytestmark = pytest.mark.usefixtures("wheels")


def _one(found: dict[str, dict[str, Any]], part: str = "") -> dict[str, Any]:
    (properties,) = (value for name, value in found.items() if part in name)
    return properties


def _statements(found: dict[str, dict[str, Any]], part: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = _one(found, part)["PolicyDocument"]["Statement"]
    return statements


def _end(arn: Any) -> str:
    text: str = arn["Fn::Join"][1][-1]
    return text


def test_without_it_nothing_is_defined(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """A store for clients only defines no function."""
    store = define_store(group())

    assert store.incoming_bucket is None
    assert not [name for name in resources(store, "AWS::Lambda::Function") if "Ingest" in name]
    with pytest.raises(
        ValidationError, match=r"NoIngest: this store accepts no batches .* set ingest=FeatureIngest\(\)"
    ):
        store.grant_deliver(iam.Role(store, "Caller", assumed_by=iam.AccountRootPrincipal()))


def test_a_batch_goes_from_its_bucket_to_the_function(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """Defines a dedicated bucket, S3's event on the default bus, and a queue with dead letters and their alarm."""
    store = define_store(group(), ingest=FeatureIngest(retention=cdk.Duration.days(7)))

    bucket = _one(resources(store, "AWS::S3::Bucket"), "FeaturesIngestBatches")
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert 7 in [rule.get("ExpirationInDays") for rule in bucket["LifecycleConfiguration"]["Rules"]]
    pattern = _one(resources(store, "AWS::Events::Rule"), "FeaturesIngestDelivered")["EventPattern"]
    assert pattern["detail-type"] == ["Object Created"]
    assert pattern["detail"]["object"] == {"key": [{"prefix": "incoming/"}]}
    queue = _one(resources(store, "AWS::SQS::Queue"), "FeaturesIngestSmallQueue")
    assert (queue["VisibilityTimeout"], queue["RedrivePolicy"]["maxReceiveCount"]) == (1800, 5)
    _one(resources(store, "AWS::CloudWatch::Alarm"), "FeaturesIngestSmallDeadLettersAlarm")
    mapping = _one(resources(store, "AWS::Lambda::EventSourceMapping"), "FeaturesIngestSmall")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == 1


def test_the_function_knows_limits_and_groups(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """Limits are environment variables and the declaration is a file in the zip: another group changes the zip."""
    keys = set()
    for groups in ([group()], [group(), group("sales")]):
        store = define_store(
            *groups,
            ingest=FeatureIngest(
                max_rows=5, max_object_size=cdk.Size.mebibytes(2), memory_size=cdk.Size.mebibytes(2048)
            ),
        )
        function = _one(resources(store, "AWS::Lambda::Function"), "FeaturesIngestSmall")
        values = function["Environment"]["Variables"]
        assert (values["MAXIMUM_ROWS"], values["MAXIMUM_MIB"], function["MemorySize"]) == ("5", "2", 2048)
        assert (values["DATABASE"], values["UNIT"], values["DECLARATION"]) == (
            "demand_features",
            "demand",
            "groups.json",
        )
        assert "GLUE_JOB" not in values
        assert len(function["Layers"]) == 1
        keys.add(function["Code"]["S3Key"])
    assert len(keys) == 2


def test_the_function_reads_batches_writes_reports_and_appends(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """It deletes nothing and writes no batch itself."""
    store = define_store(group(), ingest=FeatureIngest())

    statements = _statements(resources(store, "AWS::IAM::ManagedPolicy"), "FeaturesIngestSmallRolePolicy")

    actions = {a for s in statements for a in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])}
    assert not [action for action in actions if "Delete" in action and action != "sqs:DeleteMessage"]
    put = [s["Resource"] for s in statements if s["Action"] == "s3:PutObject"]
    assert [_end(arn) for arn in put] == ["/rejected/*"]
    assert "glue:StartJobRun" not in actions
    assert {"glue:UpdateTable", "events:PutEvents"} <= actions


def test_lake_formation_lets_the_function_write(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """Without Lake Formation permissions its statements are insufficient."""
    store = define_store(group(), ingest=FeatureIngest(), access=FeatureAccess.LAKE_FORMATION)

    permissions = resources(store, "AWS::LakeFormation::PrincipalPermissions").values()
    principals = [p["Principal"]["DataLakePrincipalIdentifier"] for p in permissions if "INSERT" in p["Permissions"]]
    assert any("FeaturesIngestSmallRole" in json.dumps(principal) for principal in principals)


def test_who_delivers_reaches_batches_and_reports_of_its_tables(define_store: DefineStore, group: Group) -> None:
    """Cannot read other tables' batches, or any table."""
    store = define_store(group(), group("sales"), ingest=FeatureIngest())
    role = iam.Role(store, "Producer", assumed_by=iam.AccountRootPrincipal())

    grant = store.grant_deliver(role, groups=[group("sales")])

    assert grant.success
    policies = Template.from_stack(cdk.Stack.of(store)).find_resources("AWS::IAM::Policy")
    statements = next(iter(policies.values()))["Properties"]["PolicyDocument"]["Statement"]
    assert [(s["Action"], _end(s["Resource"])) for s in statements[:2]] == [
        ("s3:PutObject", "/incoming/sales_v1/*"),
        ("s3:GetObject", "/rejected/sales_v1/*"),
    ]
    assert statements[2]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


def test_fails_to_let_a_group_be_delivered_that_is_not_there(define_store: DefineStore, group: Group) -> None:
    """The message lists the existing groups."""
    store = define_store(group(), ingest=FeatureIngest())

    with pytest.raises(ValidationError, match="UnknownFeatureGroup: group must be one of 'stock_v1', got 'sales_v1'"):
        store.grant_deliver(iam.User(store, "Caller"), groups=[group("sales")])


def test_a_network_without_glue_gets_its_endpoint_at_a_price(tmp_path: Path, group: Group) -> None:
    """Networks with the default endpoints already have it."""
    for endpoints, expected in ((("events", "kms", "glue"), 3), (("events", "kms"), 3)):
        write_lock([group()], tmp_path / "features.lock.json")
        stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="123456789012", region="eu-west-1"))
        unit = BusinessUnit(stack, "Unit", name="demand", network=Network.create(endpoints=endpoints))
        FeatureStore(
            stack,
            "Features",
            business_unit=unit,
            groups=[group()],
            lock_file=tmp_path / "features.lock.json",
            ingest=FeatureIngest(),
        )
        found = Template.from_stack(stack).find_resources("AWS::EC2::VPCEndpoint").values()
        assert len([e for e in found if e["Properties"]["VpcEndpointType"] == "Interface"]) == expected
        reported = Annotations.from_stack(stack).find_info(
            "*", Match.string_like_regexp("glue for unit 'demand' cost another")
        )
        assert len(reported) == (0 if "glue" in endpoints else 1)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"max_rows": 0}, "max_rows must be a whole number from 1 to 100000000, got 0"),
        ({"max_rows": "x"}, "max_rows must be a whole number, got 'x'"),
        ({"max_rows": 1.5}, "max_rows must be a whole number, got 1.5"),
        ({"max_object_size": cdk.Size.mebibytes(513)}, "max_object_size must be whole MiB from 1 to 512, got 513 MiB"),
        ({"max_object_size": 64}, "max_object_size must be a cdk.Size such as Size.gibibytes(30), got 64"),
        ({"memory_size": cdk.Size.mebibytes(128)}, "memory_size must be whole MiB from 1024 to 10240, got 128 MiB"),
        ({"retention": cdk.Duration.days(91)}, "retention must be from 1 day to 90 days, got 91 days"),
        ({"retention": cdk.Duration.hours(36)}, "retention must be whole days, got 1 day 12 hours"),
        ({"retention": 30}, "retention must be a cdk.Duration such as Duration.days(90), got 30"),
        ({"job": True}, "job must be a GlueIngestJob(...), or left out, got True"),
    ],
)
def test_fails_on_a_number_that_is_not_possible(arguments: dict[str, Any], problem: str) -> None:
    """Rejects invalid limits, such as batches kept longer than their idempotency keys."""
    with pytest.raises(ValidationError) as error:
        FeatureIngest(**arguments)
    assert str(error.value) == f"InvalidFeatureIngest: {problem}"


@pytest.fixture(params=[Profile.DEVELOPMENT, Profile.PRODUCTION], ids=lambda profile: profile.name)
def app(request: pytest.FixtureRequest, tmp_path: Path, group: Group) -> Iterator[cdk.App]:
    """A store with function and job, in one profile."""
    write_lock([group()], tmp_path / "features.lock.json")
    made = cdk.App()
    stack = cdk.Stack(made, "S", env=cdk.Environment(account="123456789012", region="eu-west-1"))
    unit = BusinessUnit(stack, "Unit", name="demand", profile=request.param)
    FeatureStore(
        stack,
        "Features",
        business_unit=unit,
        groups=[group()],
        lock_file=tmp_path / "features.lock.json",
        ingest=FeatureIngest(job=GlueIngestJob()),
    )
    yield made


def test_nothing_is_left_to_ask(app: cdk.App) -> None:
    """Six packs report nothing unacknowledged, and each acknowledgement is used."""
    (stack,) = check(app).stacks

    assert stack.problems == []


def _store(define_store: DefineStore, group: Group, job: GlueIngestJob | None = None, **options: Any) -> FeatureStore:
    ingest = FeatureIngest(job=GlueIngestJob() if job is None else job)
    return define_store(group(), ingest=ingest, **options)


def test_the_job_is_encrypted_bounded_and_installs_nothing_from_an_index(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """Glue 5.0 installs wheels from S3, and neither retries nor uses job bookmarks."""
    job = GlueIngestJob(worker_type="G.2X", number_of_workers=5, timeout=cdk.Duration.hours(1), max_concurrent_runs=2)
    store = _store(define_store, group, job)

    found = _one(resources(store, "AWS::Glue::Job"))
    assert (found["GlueVersion"], found["WorkerType"], found["NumberOfWorkers"]) == ("5.0", "G.2X", 5)
    assert (found["Timeout"], found["MaxRetries"]) == (60, 0)
    assert found["ExecutionProperty"] == {"MaxConcurrentRuns": 2}
    assert (found["Command"]["Name"], found["Command"]["PythonVersion"]) == ("glueetl", "3")
    arguments = found["DefaultArguments"]
    assert arguments["--python-modules-installer-option"] == "--no-index"
    assert json.dumps(arguments["--additional-python-modules"]).rstrip('"}]').endswith(".zip")
    assert arguments["--job-bookmark-option"] == "job-bookmark-disable"
    assert (arguments["--database"], arguments["--unit"]) == ("demand_features", "demand")
    encryption = _one(resources(store, "AWS::Glue::SecurityConfiguration"))["EncryptionConfiguration"]
    assert encryption["S3Encryptions"][0]["S3EncryptionMode"] == "SSE-KMS"
    assert encryption["CloudWatchEncryption"]["CloudWatchEncryptionMode"] == "SSE-KMS"
    assert encryption["JobBookmarksEncryption"]["JobBookmarksEncryptionMode"] == "CSE-KMS"
    assert found["SecurityConfiguration"]["Ref"] in resources(store, "AWS::Glue::SecurityConfiguration")
    assert found["Connections"]["Connections"][0]["Ref"] in resources(store, "AWS::Glue::Connection")


def test_the_arguments_are_those_of_its_module(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """The job or the function that starts it sets every required argument; Glue sets the others."""
    source = (_assets._SOURCES / "mlops_runtime" / "jobs" / "ingest_spark.py").read_text()
    required = re.findall(
        r'"(\w+)"', source.partition("ArgumentParser(")[2].partition("for name in (")[2].partition(")")[0]
    )
    arguments = _one(resources(_store(define_store, group), "AWS::Glue::Job"))["DefaultArguments"]

    per_run = {"--batch_uri", "--table", "--idempotency_key", "--now"}
    assert {f"--{name}" for name in required} == per_run | {
        name for name in arguments if "_" in name or name in ("--database", "--unit")
    }


def test_script_and_package_hold_what_the_module_imports(tmp_path: Path) -> None:
    """The package contains every import of this project."""
    package = _assets.job_package("ingest_spark")

    names = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    assert {
        "mlops_runtime/__init__.py",
        "mlops_runtime/jobs/__init__.py",
        "mlops_runtime/jobs/ingest_spark.py",
    } <= names
    assert {"mlops_runtime/features/batch_delivery.py", "mlops_runtime/features/batch_ingest.py"} <= names
    assert "mlops_runtime/rollout/spec_resource.py" not in names


def test_the_function_may_start_the_job_and_knows_its_name(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """The function may start only this job."""
    store = _store(define_store, group)

    (name,) = resources(store, "AWS::Glue::Job")
    variables = _one(resources(store, "AWS::Lambda::Function"), "IngestSmall")["Environment"]["Variables"]
    assert variables["GLUE_JOB"] == {"Ref": name}
    statements = _one(resources(store, "AWS::IAM::ManagedPolicy"), "IngestSmallRolePolicy")["PolicyDocument"][
        "Statement"
    ]
    (start,) = [s for s in statements if s["Action"] == "glue:StartJobRun"]
    assert start["Resource"]["Fn::Join"][1][-1] == {"Ref": name}


def test_the_job_reads_its_own_assets_and_appends(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """Reads named objects of the bootstrap bucket and writes no batch; deletes only data files of a table, never metadata."""
    store = _store(define_store, group)

    statements = _one(resources(store, "AWS::IAM::ManagedPolicy"), "IngestLargeRolePolicy")["PolicyDocument"][
        "Statement"
    ]
    actions = {a for s in statements for a in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])}
    assert {action for action in actions if "Delete" in action} == {
        "ec2:DeleteNetworkInterface",
        "ec2:DeleteTags",
        "s3:DeleteObject",
    }
    (delete,) = [s["Resource"] for s in statements if s["Action"] == "s3:DeleteObject"]
    assert "/demand_features/" in json.dumps(delete)
    assert json.dumps(delete).rstrip('"]}').endswith("data/*")
    reads = [json.dumps(r) for s in statements if s["Action"] == "s3:GetObject" for r in _list(s["Resource"])]
    assets = [text for text in reads if "cdk-hnb659fds-assets" in text]
    assert len(assets) == 4
    assert not [text for text in assets if "*" in text]
    assert {"glue:UpdateTable", "events:PutEvents", "logs:AssociateKmsKey"} <= actions


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_its_nodes_reach_each_other_and_services_only(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """Glue requires a self-referencing security group."""
    store = _store(define_store, group)

    groups = [name for name in resources(store, "AWS::EC2::SecurityGroup") if "IngestLargeGroup" in name]
    inside = _one(resources(store, "AWS::EC2::SecurityGroupIngress"), "IngestLargeGroup")
    assert inside["SourceSecurityGroupId"] == {"Fn::GetAtt": [groups[0], "GroupId"]}
    assert (inside["FromPort"], inside["ToPort"]) == (0, 65535)
    egress = _one(resources(store, "AWS::EC2::SecurityGroup"), "IngestLargeGroup")["SecurityGroupEgress"]
    assert [(rule["CidrIp"], rule["ToPort"]) for rule in egress] == [("0.0.0.0/0", 443)]


def test_a_failed_run_is_a_dead_letter(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """The dead-letter alarm notifies the unit's topic."""
    store = _store(define_store, group)

    rule = _one(resources(store, "AWS::Events::Rule"), "IngestLargeFailed")
    assert rule["EventPattern"]["detail-type"] == ["Glue Job State Change"]
    assert rule["EventPattern"]["detail"]["state"] == ["ERROR", "FAILED", "STOPPED", "TIMEOUT"]
    assert "IngestSmallDeadLetters" in json.dumps(rule["Targets"])


def test_lake_formation_lets_the_job_write(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """The job gets the same permissions as the function."""
    store = _store(define_store, group, access=FeatureAccess.LAKE_FORMATION)

    permissions = resources(store, "AWS::LakeFormation::PrincipalPermissions").values()
    writers = [json.dumps(p["Principal"]) for p in permissions if "INSERT" in p["Permissions"]]
    assert any("IngestLargeRole" in writer for writer in writers)


def test_the_network_gets_an_endpoint_for_logs_at_a_price(tmp_path: Path, group: Group) -> None:
    """Jobs write logs through their network, functions do not."""
    write_lock([group()], tmp_path / "features.lock.json")
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="123456789012", region="eu-west-1"))
    unit = BusinessUnit(stack, "Unit", name="demand", network=Network.create())
    FeatureStore(
        stack,
        "Features",
        business_unit=unit,
        groups=[group()],
        lock_file=tmp_path / "features.lock.json",
        ingest=FeatureIngest(job=GlueIngestJob()),
    )

    reported = Annotations.from_stack(stack).find_info(
        "*", Match.string_like_regexp("logs for unit 'demand' cost another")
    )
    assert len(reported) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"number_of_workers": 1}, "number_of_workers must be a whole number from 2 to 299, got 1"),
        ({"timeout": cdk.Duration.minutes(1)}, "timeout must be from 5 minutes to 1 day, got 1 minute"),
        ({"timeout": 60}, r"timeout must be a cdk.Duration such as Duration.days\(90\), got 60"),
        ({"max_concurrent_runs": 0}, "max_concurrent_runs must be a whole number from 1 to 50, got 0"),
        ({"worker_type": "G.025X"}, r"worker_type must be one of 'G.1X', 'G.2X', 'G.4X', 'G.8X', got 'G.025X'"),
    ],
)
def test_fails_on_a_number_of_the_job_that_is_not_possible(arguments: dict[str, Any], problem: str) -> None:
    """Rejects invalid settings, such as the small workers of streaming jobs."""
    with pytest.raises(ValidationError, match=f"InvalidGlueIngestJob: {problem}"):
        GlueIngestJob(**arguments)


def test_fails_when_the_wheels_are_not_built(define_store: DefineStore, group: Group, wheels: Path) -> None:
    """Synthesis downloads nothing; the error names the command."""
    wheels.unlink()

    with pytest.raises(
        ValidationError, match=r"WheelsNotBuilt: wheels of 'features' for Glue .* mlops assets build --glue"
    ):
        _store(define_store, group)


def test_it_deploys_to_the_embedded_cloud_which_runs_it_where_spark_is(
    cloud: Cloud, tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creates job, connection and role, records the security configuration; rejects a run by name without Spark."""
    python = layer_wheels.layer_folder("features", architecture="x86_64") / "python"
    (python / "pyarrow-26.0.1.dist-info").mkdir()
    (python / "pyarrow-26.0.1.dist-info" / "METADATA").write_text("Name: pyarrow\n")
    write_lock([group()], tmp_path / "features.lock.json")
    app = cdk.App(outdir=str(tmp_path / "assembly"))
    stack = cdk.Stack(app, "LargeIngest")
    unit = BusinessUnit(stack, "Unit", name="large-ingest", profile=Profile.DEVELOPMENT)
    FeatureStore(
        stack,
        "Features",
        business_unit=unit,
        groups=[group()],
        lock_file=tmp_path / "features.lock.json",
        ingest=FeatureIngest(job=GlueIngestJob()),
    )
    app.synth()

    deployer.deploy(cloud, tmp_path / "assembly")

    glue = cloud.client("glue")
    (job,) = [j for j in glue.get_jobs()["Jobs"] if j["SecurityConfiguration"] == "large_ingest_features-ingest"]
    assert job["DefaultArguments"]["--declaration_uri"].startswith("s3://cdk-hnb659fds-assets-")
    assert glue.get_connection(Name=job["Connections"]["Connections"][0])["Connection"]["ConnectionType"] == "NETWORK"
    monkeypatch.setattr(jobs, "spark_home", lambda: None)
    assert "the embedded cloud has no Spark" in str(jobs.missing_spark(job))
    deployer.destroy(cloud, tmp_path / "assembly")
