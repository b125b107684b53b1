"""Monthly cost of templates.

Prices as text and as JSON.
"""

import json
from typing import Any

from mlops_runtime.changes.template import Template
from mlops_runtime.price import HOURS, MonthlyPrice, PriceLine, monthly_price, price_document, price_lines, price_table

TABLE = price_table("us-east-1")
SPEC: dict[str, Any] = {
    "endpoint": "demand-forecast",
    "variant": "AllTraffic",
    "instance_type": "ml.m5.large",
    "instance_count": 2,
    "execution_role": "arn:aws:iam::123456789012:role/r",
    "subnets": [],
    "security_groups": [],
    "rollout": {"kind": "CANARY", "bake": 600, "maximum": 3600, "percent": 50},
    "format": "mlops.serving-spec/1",
}


TABLE_OF_IRELAND = price_table("eu-west-1")
OLD = MonthlyPrice(lines=(PriceLine(what="1 key", resources=("Key",), low=1.0, high=3.0),), unpriced=())
FLEET = PriceLine(what="1 ml.m5.large of a-b", resources=("Spec",), low=93.44, high=93.44, is_serving=True)
NEW = MonthlyPrice(lines=(*OLD.lines, FLEET), unpriced=("a-c: no price for ml.x in eu-west-1",))


def priced(**resources: dict[str, Any]) -> MonthlyPrice:
    """Return the price of a template of these resources."""
    return monthly_price(Template(document={"Resources": resources}), TABLE)


def served(**changes: Any) -> MonthlyPrice:
    """Return the price of a serving spec whose role is only known at deployment."""
    before, after = json.dumps({**SPEC, **changes}).split("arn:aws:iam::123456789012:role/r")
    spec = {"Fn::Join": ["", [before, {"Fn::GetAtt": ["Role", "Arn"]}, after]]}
    return priced(Spec={"Type": "Custom::MLOpsServingSpec", "Properties": {"Spec": spec}})


def endpoint(subnets: int, kind: str = "Interface") -> dict[str, Any]:
    """Return a VPC endpoint in a number of zones."""
    names = [{"Ref": f"Subnet{number}"} for number in range(subnets)]
    return {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"VpcEndpointType": kind, "SubnetIds": names}}


def test_interface_endpoints_are_paid_by_zone_and_hour() -> None:
    """Gateway endpoints are free."""
    price = priced(A=endpoint(1), B=endpoint(2), C=endpoint(2), Gateway=endpoint(0, "Gateway"))

    assert [(line.what, line.low) for line in price.lines] == [
        ("1 interface endpoint in 1 zone", 7.30),
        ("2 interface endpoints in 2 zones", 29.20),
    ]


def test_a_rotated_key_may_cost_three_times_as_much() -> None:
    """The first two rotations are billed like additional keys."""
    assert priced(Key={"Type": "AWS::KMS::Key", "Properties": {"EnableKeyRotation": True}}).idle == (1.0, 3.0)


def test_an_alarm_is_paid_by_metric() -> None:
    """An expression is free, its metrics are not, and a period of ten seconds costs three times as much."""
    query = [{"MetricStat": {"Period": 60}}, {"MetricStat": {"Period": 60}}, {"Expression": "a/b"}]
    price = priced(
        Ratio={"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": query}},
        Quick={"Type": "AWS::CloudWatch::Alarm", "Properties": {"Period": 10}},
        Above={"Type": "AWS::CloudWatch::CompositeAlarm"},
        Board={"Type": "AWS::CloudWatch::Dashboard"},
    )

    assert [(line.what, line.low) for line in price.lines] == [
        ("2 alarms on 5 metrics", 0.5),
        ("1 composite alarm", 0.5),
        ("1 dashboard", 3.0),
    ]


def test_instances_are_paid_only_while_a_model_serves() -> None:
    """Idle costs nothing; rollouts add a second fleet, at most one a week for at most an hour."""
    price = served()
    month = round(2 * HOURS * 0.115, 2)

    assert price.idle == (0, 0)
    assert price.serving == (month, round(month + 5 * 2 * 0.115, 2))


def test_a_scaled_fleet_is_an_interval() -> None:
    """The bounds of the scaling give the bounds of the price."""
    price = served(scaling={"minimum": 1, "maximum": 4})

    assert price.lines[0].what == "1 to 4 ml.m5.large of demand-forecast"
    assert (price.lines[0].low, price.lines[0].high) == (83.95, 335.80)


def test_what_has_no_price_is_named() -> None:
    """A type missing in the table, and a spec that is only known at deployment, are reported."""
    unknown = priced(Spec={"Type": "Custom::MLOpsServingSpec", "Properties": {"Spec": {"Ref": "Parameter"}}})

    assert served(instance_type="ml.p5.48xlarge").unpriced == (
        "demand-forecast: no price for ml.p5.48xlarge in us-east-1",
    )
    assert unknown.unpriced == ("Spec: its instances are only known at deployment",)


def test_what_is_paid_by_time_elsewhere_is_named() -> None:
    """Resources of other services, provisioned concurrency and pods are reported as not included."""
    gateway = priced(Gateway={"Type": "AWS::EC2::NatGateway"})
    warm = {"memory_mb": 2048, "max_concurrency": 5, "provisioned_concurrency": 2}
    variant = {"ServerlessConfig": {"ProvisionedConcurrency": 1}}
    config = {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ShadowProductionVariants": [variant]}}

    assert gateway.unpriced == ("Gateway: the table has no price for AWS::EC2::NatGateway",)
    assert served(instance_type="", instance_count=0, serverless=warm).unpriced == (
        "demand-forecast: the table has no price for 2 concurrent calls provisioned at 2048 MB",
    )
    assert priced(Config=config).unpriced == ("Config: the table has no price for provisioned concurrency",)


def test_an_endpoint_without_instances_has_no_fleet() -> None:
    """Serverless endpoints and services on EKS are paid by use or with their cluster."""
    assert served(instance_type="", instance_count=0).lines == ()


def test_an_endpoint_of_cloudformation_is_priced_by_its_variants() -> None:
    """This is the alternative to an endpoint of a pipeline; idle serverless variants are free."""
    variants = [{"InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 2}, {"ServerlessConfig": {}}]
    price = priced(Config={"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": variants}})

    assert price.serving == (335.80, 335.80)


def test_a_guard_counts_its_decisions() -> None:
    """There is at most one metric for each kind of decision; a kind without decisions costs nothing."""
    variables = dict.fromkeys(("PIPELINE", "RETRAIN_MACHINE_ARN", "RETRAINING_TABLE"), "x")
    guard = {"Type": "AWS::Lambda::Function", "Properties": {"Environment": {"Variables": variables}}}
    [line] = [each for each in priced(Guard=guard).lines if "decisions" in each.what]
    assert (line.what, line.low, line.high) == ("up to 13 metrics of a guard's decisions", 0.0, 3.9)


def test_what_is_not_ours_or_only_known_at_deployment_stops_nothing() -> None:
    """A team's own function may have a variable MONITOR, and a period may be a parameter."""
    variables = {"Environment": {"Variables": {"MONITOR": "on"}}}
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Period": {"Ref": "Period"}}}
    variant = {"ProductionVariants": [{"InstanceType": "ml.m5.large"}]}
    found = priced(
        Own={"Type": "AWS::Lambda::Function", "Properties": variables},
        Alarm=alarm,
        Spec={"Type": "Custom::MLOpsServingSpec", "Properties": {"Spec": "{}"}},
        Config={"Type": "AWS::SageMaker::EndpointConfig", "Properties": variant},
    )

    assert found.idle == (0.1, 0.1)
    assert [sentence.partition(":")[0] for sentence in found.unpriced] == ["Spec", "Config"]


def test_a_change_shows_both_totals() -> None:
    """The current cost is printed after the new one."""
    shown = list(price_lines({"Demand": OLD}, {"Demand": NEW}, TABLE_OF_IRELAND))

    assert shown[0].startswith("monthly price in eu-west-1, USD, list prices of ")
    assert shown[3].split() == ["1", "ml.m5.large", "of", "a-b", "93.44", "while", "serving"]
    assert shown[4].strip() == "not counted: a-c: no price for ml.x in eu-west-1"
    assert shown[5].strip() == (
        "idle 1.00 to 3.00, serving 94.44 to 96.44; before: idle 1.00 to 3.00, serving 1.00 to 3.00"
    )


def test_several_stacks_end_with_their_sum() -> None:
    """The last line is the total of all stacks."""
    *_, last = price_lines({}, {"One": OLD, "Two": OLD}, TABLE_OF_IRELAND)

    assert last == "  all stacks: idle 2.00 to 6.00, serving 2.00 to 6.00"


def test_programs_get_the_same_with_its_sources() -> None:
    """Each line has its resources; the document has its Region, date and pages."""
    document = price_document({}, {"Demand": NEW}, TABLE_OF_IRELAND)

    assert document["stacks"][0]["before"] is None
    assert document["stacks"][0]["after"]["serving"] == [94.44, 96.44]
    assert document["stacks"][0]["after"]["lines"][1]["resources"] == ["Spec"]
    assert document["total"]["before"] == {"idle": [0, 0], "serving": [0, 0]}
    assert document["sources"]["key_month"] == "https://aws.amazon.com/kms/pricing/"


def test_an_api_costs_its_firewall_and_its_calls() -> None:
    """The firewall each month, a million calls where they are made: 3.50 of API Gateway and 0.60 of the firewall."""
    resources = {
        "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {}},
        "Firewall": {"Type": "AWS::WAFv2::WebACL", "Properties": {"Rules": [{}, {}, {}]}},
        "Link": {"Type": "AWS::ApiGatewayV2::VpcLink", "Properties": {}},
    }
    price = monthly_price(Template(document={"Resources": resources}), price_table("us-east-1"))

    assert (price.idle, price.serving) == ((8.0, 8.0), (8.0, 12.1))
    assert [line.what for line in price.lines] == [
        "1 web firewall with 3 rules",
        "up to a million calls of 1 API at 4.10",
    ]
    assert price.unpriced == ("Link: the table has no price for AWS::ApiGatewayV2::VpcLink",)


def test_a_console_costs_its_answers() -> None:
    """A million calls cost 4.10, half a second of 1 GB for each, and 0.20 of Lambda; costs by user and viewer are named."""
    roles = {"READER_ROLE": "r", "ON_CALL_ROLE": "o", "APPROVER_ROLE": "a"}
    price = priced(
        Api={"Type": "AWS::ApiGateway::RestApi", "Properties": {}},
        Firewall={"Type": "AWS::WAFv2::WebACL", "Properties": {"Rules": [{}, {}, {}]}},
        Function={
            "Type": "AWS::Lambda::Function",
            "Properties": {"MemorySize": 1024, "Environment": {"Variables": roles}},
        },
        Pool={"Type": "AWS::Cognito::UserPool", "Properties": {}},
        Site={"Type": "AWS::CloudFront::Distribution", "Properties": {}},
    )

    assert (price.idle, price.serving) == ((8.0, 8.0), (8.0, 20.63))
    assert price.unpriced == (
        "Pool: users of the pool are billed per month, by the pool's plan",
        "Site: requests and traffic of a distribution are billed by the viewers' location, beyond its free tier",
    )
