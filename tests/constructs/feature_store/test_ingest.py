"""What ingests batches as they arrive."""

import json
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
)
from mlops_constructs.compliance.harness import check
from mlops_constructs.feature_store.store_access import FeatureAccess
from mlops_runtime.features.lock_file import write_lock

Group = Callable[..., FeatureGroup]
DefineStore = Callable[..., FeatureStore]
Resources = Callable[[Any, str], dict[str, dict[str, Any]]]


pytestmark = pytest.mark.usefixtures("wheels")


def _one(found: dict[str, dict[str, Any]], part: str) -> dict[str, Any]:
    (properties,) = (value for name, value in found.items() if part in name)
    return properties


def _statements(found: dict[str, dict[str, Any]], part: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = _one(found, part)["PolicyDocument"]["Statement"]
    return statements


def _end(arn: Any) -> str:
    text: str = arn["Fn::Join"][1][-1]
    return text


def test_without_it_nothing_is_defined(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """A store that only clients write to pays for no function."""
    store = define_store(group())

    assert store.incoming_bucket is None
    assert not [name for name in resources(store, "AWS::Lambda::Function") if "Ingest" in name]
    with pytest.raises(
        ValidationError, match=r"NoIngest: this store takes no batches .* give it ingest=FeatureIngest\(\)"
    ):
        store.grant_deliver(iam.Role(store, "Caller", assumed_by=iam.AccountRootPrincipal()))


def test_a_batch_goes_from_its_bucket_to_the_function(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """A bucket that no table shares, S3's event on the default bus, a queue with dead letters and their alarm."""
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
    """Limits come by environment, the declaration as a file of its zip: another group is another zip."""
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
    """It deletes nothing, and puts no batch of its own."""
    store = define_store(group(), ingest=FeatureIngest())

    statements = _statements(resources(store, "AWS::IAM::ManagedPolicy"), "FeaturesIngestSmallRolePolicy")

    actions = {a for s in statements for a in (s["Action"] if isinstance(s["Action"], list) else [s["Action"]])}
    assert not [action for action in actions if "Delete" in action and action != "sqs:DeleteMessage"]
    put = [s["Resource"] for s in statements if s["Action"] == "s3:PutObject"]
    assert [_end(arn) for arn in put] == ["/rejected/*"]
    assert "glue:StartJobRun" not in actions
    assert {"glue:UpdateTable", "events:PutEvents"} <= actions


def test_lake_formation_lets_the_function_write(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """Its statements alone would not do."""
    store = define_store(group(), ingest=FeatureIngest(), access=FeatureAccess.LAKE_FORMATION)

    permissions = resources(store, "AWS::LakeFormation::PrincipalPermissions").values()
    principals = [p["Principal"]["DataLakePrincipalIdentifier"] for p in permissions if "INSERT" in p["Permissions"]]
    assert any("FeaturesIngestSmallRole" in json.dumps(principal) for principal in principals)


def test_who_delivers_reaches_batches_and_reports_of_its_tables(define_store: DefineStore, group: Group) -> None:
    """Neither other tables' batches nor any table."""
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
    """The message lists those that there are."""
    store = define_store(group(), ingest=FeatureIngest())

    with pytest.raises(ValidationError, match="UnknownFeatureGroup: group must be one of 'stock_v1', got 'sales_v1'"):
        store.grant_deliver(iam.User(store, "Caller"), groups=[group("sales")])


def test_a_network_without_glue_gets_its_endpoint_at_a_price(tmp_path: Path, group: Group) -> None:
    """Only where it is needed: a network with the default endpoints has it."""
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
        told = Annotations.from_stack(stack).find_info(
            "*", Match.string_like_regexp("glue for unit 'demand' cost another")
        )
        assert len(told) == (0 if "glue" in endpoints else 1)


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
    """Batches are never kept longer than their keys are remembered."""
    with pytest.raises(ValidationError) as error:
        FeatureIngest(**arguments)
    assert str(error.value) == f"InvalidFeatureIngest: {problem}"


@pytest.fixture(params=[Profile.DEVELOPMENT, Profile.PRODUCTION], ids=lambda profile: profile.name)
def app(request: pytest.FixtureRequest, tmp_path: Path, group: Group) -> Iterator[cdk.App]:
    """A store with everything that ingests, in one profile."""
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
    """Six packs find nothing that is not acknowledged, and each acknowledgement covers something."""
    (stack,) = check(app).stacks

    assert stack.problems == []
