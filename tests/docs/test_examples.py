"""Examples of the pages synthesize, and generated pages are current."""

from datetime import UTC, datetime
from pathlib import Path

import aws_cdk as cdk
import boto3
import pyarrow as pa
import pytest
from aws_cdk import assertions
from examples.pages import feature_clients, feature_service, feature_sets, rollout
from examples.pages.business_unit import Units
from examples.pages.console import Shown
from examples.pages.feature_groups import STOCK
from examples.pages.feature_store import FeatureStores
from examples.pages.inference_api import Forecasts, with_partners
from examples.pages.model_endpoint import Endpoints
from examples.pages.model_registry import SERVED, TRAINED, Registries
from examples.pages.monitors import Monitors
from examples.pages.sagemaker_monitor import SageMakerMonitored
from moto import mock_aws
from tests.sweep_order import late_writers, writers

from mlops_constructs import Network, Profile, RolloutKind
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.unit_entries import FeatureStoreEntry
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.store_client import FeatureStoreClient
from tools import diagrams, errors_index

GOLDEN = Path(__file__).resolve().parents[2] / "examples" / "retail" / "demand_forecasting" / "golden.jsonl"


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, assertions.Template]:
    """Synthesize the stacks of the pages."""
    app = cdk.App(outdir=str(tmp_path_factory.mktemp("pages")))
    network = Network.from_shared_vpc(
        vpc_id="vpc-1", availability_zones=["a", "b"], subnet_ids=["subnet-1", "subnet-2"]
    )
    registries = Registries(app, "Registries", network=network)
    stacks = [Units(app, "Units"), registries, Endpoints(app, "Endpoints", network=network, image=SERVED)]
    forecasts = Forecasts(app, "Forecasts", profile=Profile.PRODUCTION, image=SERVED, network=network)
    with_partners(forecasts.api)
    stacks.append(forecasts)
    stacks.append(Shown(app, "Shown", profile=Profile.PRODUCTION, image=SERVED, network=network))
    stacks.append(FeatureStores(app, "FeatureStores", network=network))
    stacks.append(Monitors(app, "Monitors", network=network, image=SERVED, explainer=SERVED))
    stacks.append(SageMakerMonitored(app, "SageMakerMonitored", network=network, image=SERVED))
    found = {stack.node.id: assertions.Template.from_stack(stack) for stack in stacks}
    app.synth()
    return found


def test_units_endpoints_and_registries_synthesize(templates: dict[str, assertions.Template]) -> None:
    """Two units, three endpoints with a Deploy machine each, and an approver synthesize."""
    templates["Units"].resource_count_is("AWS::Events::EventBus", 2)
    templates["Endpoints"].resource_count_is("Custom::MLOpsServingSpec", 3)
    templates["Registries"].resource_count_is("AWS::SageMaker::ModelPackageGroup", 1)


def test_nothing_may_be_written_once_a_sweep_has_run(templates: dict[str, assertions.Template]) -> None:
    """Covers ingests, services, monitors of each kind and retrainings too."""
    stacks = {name: template.to_json()["Resources"] for name, template in templates.items()}
    assert sum(len(list(writers(resources))) for resources in stacks.values()) > 20
    assert {name: late for name, resources in stacks.items() if (late := late_writers(resources))} == {}


def test_the_api_synthesizes(templates: dict[str, assertions.Template]) -> None:
    """The API offers a model to callers who sign and have a key."""
    found = templates["Forecasts"]
    found.has_resource_properties(
        "AWS::ApiGateway::Method", {"HttpMethod": "POST", "AuthorizationType": "AWS_IAM", "ApiKeyRequired": True}
    )
    found.resource_count_is("AWS::ApiGateway::UsagePlanKey", 1)


def test_the_console_synthesizes(templates: dict[str, assertions.Template]) -> None:
    """The console serves pages and API at one address, for three groups of users."""
    found = templates["Shown"]
    found.resource_count_is("AWS::CloudFront::Distribution", 1)
    found.resource_count_is("AWS::Cognito::UserPoolGroup", 3)
    found.has_output("ConsoleUrl", {})


def test_the_feature_store_synthesizes(templates: dict[str, assertions.Template]) -> None:
    """Defines two tables, an age alarm for one of them, and a function that ingests batches."""
    found = templates["FeatureStores"]
    found.resource_count_is("AWS::Glue::Table", 2)
    found.has_resource_properties("AWS::CloudWatch::Alarm", {"MetricName": "FeatureAge"})
    found.has_resource_properties("AWS::SSM::Parameter", {"Name": "/mlops/demand/features"})


def test_monitors_by_functions_and_by_a_job_synthesize(templates: dict[str, assertions.Template]) -> None:
    """Defines composite alarms by severity with one above them per endpoint, dashboards per endpoint and one of the unit."""
    found = templates["Monitors"]
    found.resource_count_is("AWS::CloudWatch::CompositeAlarm", 6)
    found.resource_count_is("AWS::CloudWatch::Dashboard", 3)
    found.has_resource_properties("AWS::CloudWatch::Alarm", {"MetricName": "Psi", "Threshold": 0.25})


def test_monitors_of_sagemaker_synthesize(templates: dict[str, assertions.Template]) -> None:
    """Two schedules run before the function decides at 06:15; the one with labels waits two days for them."""
    found = templates["SageMakerMonitored"]
    found.resource_count_is("AWS::SageMaker::MonitoringSchedule", 2)
    found.has_resource_properties(
        "AWS::SageMaker::ModelQualityJobDefinition",
        {"ModelQualityJobInput": {"EndpointInput": {"StartTimeOffset": "-PT72H", "EndTimeOffset": "-PT48H"}}},
    )


def test_what_a_notebook_does_with_features_comes_out(tmp_path: Path) -> None:
    """A late recount is invisible before it is known; a correction changes only the next set; erasure is permanent."""
    story = feature_sets.build(tmp_path)

    assert [ingest.duplicate for ingest in story.ingests] == [False, True]
    assert story.seen.rows["stock__on_hand"].to_pylist() == [41, 35]
    assert story.restated.rows["stock__on_hand"].to_pylist() == [41, 53]
    assert story.seen.rows["price__list_price"].to_pylist() == [2.49, 2.49]
    assert story.proof.verdict is Verdict.IDENTICAL
    assert story.difference.changed == {"stock__on_hand": 1}
    assert [use.manifest_id for use in story.used] == [story.restated.id]
    assert story.latest["list_price"].to_pylist() == [2.49]
    assert (
        story.near.rows["home__on_hand"].to_pylist() == story.near.rows["work__on_hand"].to_pylist()[::-1] == [53, None]
    )
    assert set(story.erased.used_by) == {story.seen.id, story.restated.id, story.near.id}


def test_a_deployed_store_is_reached_by_its_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client only needs the parameter that the stack publishes."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    entry = FeatureStoreEntry(
        unit="demand",
        database="demand_features",
        data_bucket="demand-data",
        training_sets_bucket="demand-sets",
        manifests_bucket="demand-manifests",
        online_table="demand-online",
    )
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        session.client("ssm").put_parameter(
            Name="/mlops/demand/features", Type="String", Value=canonical_json(entry).decode()
        )
        session.client("glue").create_database(DatabaseInput={"Name": "demand_features"})
        session.client("s3").create_bucket(Bucket="demand-manifests")
        found, store = feature_clients.reach(session)

        assert found == entry
        assert (store.table_names(), store.manifests.ids()) == ((), ())


def test_a_training_set_is_explained_and_served_online(tmp_path: Path) -> None:
    """The query reads the caller's rows at the named snapshot, and the store's tables at theirs."""
    feature_sets.build(tmp_path)
    now = datetime(2017, 1, 4, tzinfo=UTC)
    store = FeatureStoreClient.local(tmp_path, now=lambda: now)
    store.ingest(STOCK, pa.table({"store_id": ["7"], "event_time": [now], "on_hand": [9], "shelf": ["back"]}))
    entities = pa.table({"store_id": ["7"], "week": pa.array([3], pa.int32()), "event_timestamp": [now]})
    why, statement = feature_clients.explain(store, entities)

    assert why
    snapshot = store.table("stock_v1").current_snapshot()
    assert snapshot is not None
    for read in (
        '"scratch"."entities" for version as of 5310972174113047382',
        f"for version as of {snapshot.snapshot_id}",
    ):
        assert read in statement
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        session.client("dynamodb").create_table(
            TableName="demand-online",
            KeySchema=[{"AttributeName": "entity", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "entity", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        written, served = feature_clients.serve(session, "demand-online", store, now)

    assert (written, served["on_hand"].to_pylist()) == (1, [9])


def test_duckdb_reads_a_table_by_pyiceberg(tmp_path: Path) -> None:
    """A restated row counts by its newest version, and DuckDB downloads no extension."""
    day = [datetime(2017, 1, n, tzinfo=UTC) for n in (1, 2, 3)]
    store = FeatureStoreClient.local(tmp_path, now=lambda: day[2])
    store.ingest(STOCK, pa.table({"store_id": ["7", "8"], "event_time": day[:2], "on_hand": [9, 4]}))
    store.correct(
        STOCK,
        pa.table({"store_id": ["7"], "event_time": day[:1], "on_hand": [5], "shelf": pa.array([None], pa.string())}),
    )

    assert feature_clients.query(store) == [("7", 5), ("8", 4)]


def test_one_service_trains_and_serves(tmp_path: Path) -> None:
    """Training set and online store have the same values; an unknown store is reported with nulls."""
    trained, served = feature_service.serve(tmp_path / "store", datetime(2017, 8, 7, tzinfo=UTC))
    for name in feature_service.SHELVES.column_names:
        assert trained.rows[name].to_pylist() == served.rows[name].to_pylist()
    assert served.rows["stock__on_hand"].to_pylist() == [12, None]
    assert served.missing == {"stock_v1": (1,), "price_v1": (1,)}
    assert trained.manifest.feature_service == feature_service.SHELVES.use


def test_policies_are_what_their_page_says() -> None:
    """Policies with two steps, many steps and an early promotion match the page."""
    assert [p.kind for p in (rollout.CANARY, rollout.LINEAR, rollout.ROLLING)] == [
        RolloutKind.CANARY,
        RolloutKind.LINEAR,
        RolloutKind.ROLLING,
    ]
    assert rollout.careful(GOLDEN).checks.own_alarms == ("verdict", "dead", "latency", "abort")
    assert TRAINED is not None


def test_the_index_of_errors_is_current() -> None:
    """``python -m tools.errors_index`` changes nothing."""
    assert errors_index.PAGE.read_text() == errors_index.page()


def test_the_diagrams_are_current() -> None:
    """``python -m tools.diagrams`` changes nothing."""
    for name, picture in diagrams.pictures().items():
        assert (diagrams.IMAGES / f"{name}.svg").read_text() == picture
