"""The Glue job for large batches."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Annotations, Match

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
from mlops_constructs.feature_store.store_access import FeatureAccess
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.layers import layer_wheels

Group = Callable[..., FeatureGroup]
DefineStore = Callable[..., FeatureStore]
Resources = Callable[[Any, str], dict[str, dict[str, Any]]]


pytestmark = pytest.mark.usefixtures("wheels")


def _store(define_store: DefineStore, group: Group, job: GlueIngestJob | None = None, **options: Any) -> FeatureStore:
    ingest = FeatureIngest(job=GlueIngestJob() if job is None else job)
    return define_store(group(), ingest=ingest, **options)


def _one(found: dict[str, dict[str, Any]], part: str = "") -> dict[str, Any]:
    (properties,) = (value for name, value in found.items() if part in name)
    return properties


def test_the_job_is_encrypted_bounded_and_installs_nothing_from_an_index(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """Glue 5.0 with wheels from S3; it neither retries nor remembers what it read."""
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
    """What the module requires comes from the job or from the function that starts it, and Glue knows the rest."""
    source = (_assets._RUNTIME / "jobs" / "ingest_spark.py").read_text()
    required = re.findall(
        r'"(\w+)"', source.partition("ArgumentParser(")[2].partition("for name in (")[2].partition(")")[0]
    )
    arguments = _one(resources(_store(define_store, group), "AWS::Glue::Job"))["DefaultArguments"]

    per_run = {"--batch_uri", "--table", "--idempotency_key", "--now"}
    assert {f"--{name}" for name in required} == per_run | {
        name for name in arguments if "_" in name or name in ("--database", "--unit")
    }


def test_script_and_package_hold_what_the_module_imports(tmp_path: Path) -> None:
    """The package alone satisfies every import of this project."""
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
    """This job and no other."""
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
    """Named objects of the bootstrap bucket, no batch of its own; of a table it deletes data files alone, never metadata."""
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
    """Glue asks for a group that admits itself."""
    store = _store(define_store, group)

    groups = [name for name in resources(store, "AWS::EC2::SecurityGroup") if "IngestLargeGroup" in name]
    inside = _one(resources(store, "AWS::EC2::SecurityGroupIngress"), "IngestLargeGroup")
    assert inside["SourceSecurityGroupId"] == {"Fn::GetAtt": [groups[0], "GroupId"]}
    assert (inside["FromPort"], inside["ToPort"]) == (0, 65535)
    egress = _one(resources(store, "AWS::EC2::SecurityGroup"), "IngestLargeGroup")["SecurityGroupEgress"]
    assert [(rule["CidrIp"], rule["ToPort"]) for rule in egress] == [("0.0.0.0/0", 443)]


def test_a_failed_run_is_a_dead_letter(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """The alarm on the dead letters tells the unit's topic."""
    store = _store(define_store, group)

    rule = _one(resources(store, "AWS::Events::Rule"), "IngestLargeFailed")
    assert rule["EventPattern"]["detail-type"] == ["Glue Job State Change"]
    assert rule["EventPattern"]["detail"]["state"] == ["ERROR", "FAILED", "STOPPED", "TIMEOUT"]
    assert "IngestSmallDeadLetters" in json.dumps(rule["Targets"])


def test_lake_formation_lets_the_job_write(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """As the function."""
    store = _store(define_store, group, access=FeatureAccess.LAKE_FORMATION)

    permissions = resources(store, "AWS::LakeFormation::PrincipalPermissions").values()
    writers = [json.dumps(p["Principal"]) for p in permissions if "INSERT" in p["Permissions"]]
    assert any("IngestLargeRole" in writer for writer in writers)


def test_the_network_gets_an_endpoint_for_logs_at_a_price(tmp_path: Path, group: Group) -> None:
    """A job writes its logs through its network, a function does not."""
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

    told = Annotations.from_stack(stack).find_info("*", Match.string_like_regexp("logs for unit 'demand' cost another"))
    assert len(told) == 1


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
def test_fails_on_a_number_that_is_not_possible(arguments: dict[str, Any], problem: str) -> None:
    """Streaming's small workers run no batches."""
    with pytest.raises(ValidationError, match=f"InvalidGlueIngestJob: {problem}"):
        GlueIngestJob(**arguments)


def test_fails_when_the_wheels_are_not_built(define_store: DefineStore, group: Group, wheels: Path) -> None:
    """Synthesis never fetches; it names the command that does."""
    wheels.unlink()

    with pytest.raises(
        ValidationError, match=r"WheelsNotBuilt: wheels of 'features' for Glue .* mlops assets build --glue"
    ):
        _store(define_store, group)


def test_it_deploys_to_the_embedded_cloud_which_runs_no_spark(cloud: Cloud, tmp_path: Path, group: Group) -> None:
    """Job, connection and role are made, the security configuration is recorded; a run is refused by name."""
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
    with pytest.raises(glue.exceptions.InvalidInputException, match="the embedded cloud has no Spark"):
        glue.start_job_run(JobName=job["Name"])
    deployer.destroy(cloud, tmp_path / "assembly")
