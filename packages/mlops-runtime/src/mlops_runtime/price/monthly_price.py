"""Estimate the monthly price of a template's resources, as an interval, before and after a deployment."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from mlops_runtime.changes.template import Template, unknown
from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.monitor.cloudwatch_metrics import metric_names
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.price.price_table import PriceTable
from mlops_runtime.retraining.decision_metric import COUNTED

# hours per month in AWS's calculator: https://docs.aws.amazon.com/pricing-calculator/latest/userguide/ec2-estimates.html
HOURS = 730
# resources of other services that are billed by time without a price in the table; a plan lists them
_UNPRICED_TYPES = (
    "AWS::ApiGatewayV2::VpcLink",
    "AWS::DirectoryService::MicrosoftAD",
    "AWS::EC2::Instance",
    "AWS::EC2::NatGateway",
    "AWS::EC2::TransitGatewayAttachment",
    "AWS::EKS::Cluster",
    "AWS::EKS::Nodegroup",
    "AWS::ElastiCache::ReplicationGroup",
    "AWS::KMS::ReplicaKey",
    "AWS::Kinesis::Stream",
    "AWS::MSK::Cluster",
    "AWS::OpenSearchService::Domain",
    "AWS::RDS::DBCluster",
    "AWS::RDS::DBInstance",
    "AWS::SageMaker::NotebookInstance",
    "AWS::SecretsManager::Secret",
)
# assumptions of the upper bounds
ROLLOUTS = 5  # per month: about one a week
LOG_GB = 0.1  # ingested per month by each log group of an idle unit
# five pollers poll every 20 seconds: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
POLLS = 5 * 3 * 60 * HOURS
# duration of a call of the console's function, with about 30 calls of AWS
ANSWER_SECONDS = 0.5
_CONSOLE = {"READER_ROLE", "ON_CALL_ROLE", "APPROVER_ROLE"}
_Kind = TypeVar("_Kind")

FORMAT = "mlops.price/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """Monthly price of resources of one kind."""

    what: str  # their number and kind, for display
    resources: tuple[str, ...]  # their logical ids
    low: float  # minimum USD per month
    high: float  # maximum USD per month
    is_serving: bool = False  # whether it is only billed while a model is served


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyPrice:
    """Monthly price of a template."""

    lines: tuple[PriceLine, ...]  # by kind of resource
    unpriced: tuple[str, ...]  # resources billed by time without a price in the table, one sentence each

    @property
    def idle(self) -> tuple[float, float]:
        """Minimum and maximum USD per month while no model is served."""
        return self._sum([line for line in self.lines if not line.is_serving])

    @property
    def serving(self) -> tuple[float, float]:
        """Minimum and maximum USD per month while a model is served."""
        return self._sum(list(self.lines))

    @staticmethod
    def _sum(lines: list[PriceLine]) -> tuple[float, float]:
        return round(sum(line.low for line in lines), 2), round(sum(line.high for line in lines), 2)


def monthly_price(template: Template, table: PriceTable) -> MonthlyPrice:
    """Estimate the monthly price of a template.

    Args:
        template: The template; parameters without a value count as unknown.
        table: Prices of the region.

    Example:
        >>> from mlops_runtime.price import price_table
        >>> key = {"Type": "AWS::KMS::Key", "Properties": {"EnableKeyRotation": False}}
        >>> monthly_price(Template(document={"Resources": {"Key": key}}), price_table("us-east-1")).idle
        (1.0, 1.0)
    """
    by_type: dict[str, dict[str, dict[str, object]]] = defaultdict(dict)
    for name, body in template.resources().items():
        by_type[str(body["Type"])][name] = template.properties(body)
    lines = [*_network(by_type, table), *_keys(by_type, table), *_watching(by_type, table), *_standing(by_type, table)]
    lines += _doors(by_type, table)
    unpriced = [f"{name}: the table has no price for {kind}" for kind in _UNPRICED_TYPES for name in by_type[kind]]
    unpriced += [
        f"{name}: users of the pool are billed per month, by the pool's plan"
        for name in by_type["AWS::Cognito::UserPool"]
    ]
    unpriced += [
        f"{name}: requests and traffic of a distribution are billed by the viewers' location, beyond its free tier"
        for name in by_type["AWS::CloudFront::Distribution"]
    ]
    for name, properties in by_type["Custom::MLOpsServingSpec"].items():
        spec = _serving_spec(properties.get("Spec"))
        if spec is None:
            unpriced.append(f"{name}: its instances are only known at deployment")
        else:
            lines += _fleet(name, spec, table, unpriced)
    for name, properties in by_type["AWS::SageMaker::EndpointConfig"].items():
        lines += _variants(name, properties, table, unpriced)
    return MonthlyPrice(lines=tuple(lines), unpriced=tuple(unpriced))


def _network(by_type: Mapping[str, Mapping[str, Any]], table: PriceTable) -> Iterator[PriceLine]:
    endpoints: dict[int, list[str]] = defaultdict(list)  # by their number of zones
    for name, properties in by_type["AWS::EC2::VPCEndpoint"].items():
        if properties.get("VpcEndpointType") == "Interface":
            endpoints[_length(properties.get("SubnetIds"))].append(name)
    for zones, names in sorted(endpoints.items()):
        price = len(names) * zones * HOURS * table.usd["interface_endpoint_hour"]
        yield _line(f"{_counted(len(names), 'interface endpoint')} in {_counted(zones, 'zone')}", tuple(names), price)
    balancers = tuple(by_type["AWS::ElasticLoadBalancingV2::LoadBalancer"])
    if balancers:
        price = len(balancers) * HOURS * table.usd["load_balancer_hour"]
        yield _line(f"{_counted(len(balancers), 'load balancer')}, without its capacity units", balancers, price)


def _keys(by_type: Mapping[str, Mapping[str, Any]], table: PriceTable) -> Iterator[PriceLine]:
    keys = by_type["AWS::KMS::Key"]
    if keys:
        price = table.usd["key_month"]
        # the first two rotations of a key each cost as much as another key: https://aws.amazon.com/kms/pricing/
        rotated = sum(str(properties.get("EnableKeyRotation")).lower() == "true" for properties in keys.values())
        what = _counted(len(keys), "key") + (", up to two rotations each" if rotated else "")
        yield _line(what, tuple(keys), (len(keys) + 2 * rotated) * price, low=len(keys) * price)


def _watching(by_type: Mapping[str, Mapping[str, Any]], table: PriceTable) -> Iterator[PriceLine]:
    alarms = by_type["AWS::CloudWatch::Alarm"]
    if alarms:
        watched = sum(_watched(properties) for properties in alarms.values())
        what = f"{_counted(len(alarms), 'alarm')} on {_counted(watched, 'metric')}"
        yield _line(what, tuple(alarms), watched * table.usd["alarm_month"])
    composites = tuple(by_type["AWS::CloudWatch::CompositeAlarm"])
    if composites:
        price = len(composites) * table.usd["composite_alarm_month"]
        yield _line(_counted(len(composites), "composite alarm"), composites, price)
    boards = tuple(by_type["AWS::CloudWatch::Dashboard"])
    if boards:
        yield _line(_counted(len(boards), "dashboard"), boards, len(boards) * table.usd["dashboard_month"])
    for name, properties in by_type["AWS::Lambda::Function"].items():
        variables = properties.get("Environment", {}).get("Variables", {})
        if {"PIPELINE", "RETRAIN_MACHINE_ARN", "RETRAINING_TABLE"} <= set(variables):
            what = f"up to {_counted(len(COUNTED), 'metric')} of a guard's decisions"
            yield _line(what, (name,), len(COUNTED) * table.usd["metric_month"], low=0.0)
        spec = _read(MonitorSpec, variables.get("MONITOR"))
        if spec is not None:
            count = len(metric_names(spec))
            what = f"up to {_counted(count, 'metric')} of a monitor"
            yield _line(what, (name,), count * table.usd["metric_month"], low=0.0, is_serving=True)


def _standing(by_type: Mapping[str, Mapping[str, Any]], table: PriceTable) -> Iterator[PriceLine]:
    mappings = tuple(by_type["AWS::Lambda::EventSourceMapping"])
    if mappings:
        high = len(mappings) * POLLS / 1e6 * table.usd["queue_million_requests"]
        what = f"polling of {_counted(len(mappings), 'queue')}, free below a million requests of the account"
        yield _line(what, mappings, high, low=0.0)
    groups = tuple(by_type["AWS::Logs::LogGroup"])
    if groups:
        high = len(groups) * LOG_GB * table.usd["log_gb"]
        what = f"{_counted(len(groups), 'log group')} at up to {LOG_GB} GB each"
        yield _line(what, groups, high, low=0.0)


def _doors(by_type: Mapping[str, Mapping[str, Any]], table: PriceTable) -> Iterator[PriceLine]:
    """Yield firewalls, and the first million calls of APIs in the stack that defines them; bodies over 16 KB cost more."""
    firewalls = by_type["AWS::WAFv2::WebACL"]
    if firewalls:
        rules = sum(_length(properties.get("Rules")) for properties in firewalls.values())
        price = len(firewalls) * table.usd["firewall_month"] + rules * table.usd["firewall_rule_month"]
        what = f"{_counted(len(firewalls), 'web firewall')} with {_counted(rules, 'rule')}"
        yield _line(what, tuple(firewalls), price)
    apis = tuple(by_type["AWS::ApiGateway::RestApi"])
    if apis:
        each = table.usd["api_million_requests"] + (table.usd["firewall_million_requests"] if firewalls else 0)
        what = f"up to a million calls of {_counted(len(apis), 'API')} at {each:.2f}"
        yield _line(what, apis, len(apis) * each, low=0.0, is_serving=True)
    for name, properties in by_type["AWS::Lambda::Function"].items():
        if set(properties.get("Environment", {}).get("Variables", {})) >= _CONSOLE:
            seconds = ANSWER_SECONDS * float(properties.get("MemorySize", 128)) / 1024
            high = seconds * table.usd["function_million_gb_seconds"] + table.usd["function_million_requests"]
            what = f"up to a million calls of a console, of {ANSWER_SECONDS:g} seconds: about 20 people all day"
            yield _line(what, (name,), high, low=0.0, is_serving=True)


def _fleet(name: str, spec: ServingSpec, table: PriceTable, unpriced: list[str]) -> Iterator[PriceLine]:
    """Yield the serving instances, and the second fleet of rollouts."""
    if spec.eks is not None:
        unpriced.append(f"{spec.endpoint}: its pods are billed with the nodes of the cluster")
    if spec.serverless is not None and spec.serverless.provisioned_concurrency:
        kept = _counted(spec.serverless.provisioned_concurrency, "concurrent call")
        unpriced.append(
            f"{spec.endpoint}: the table has no price for {kept} provisioned at {spec.serverless.memory_mb} MB"
        )
    fleets = Counter({spec.instance_type: spec.instance_count})
    for variant in spec.variants or ():
        fleets[variant.instance_type] += variant.instance_count
    for kind, count in sorted(fleets.items()):
        if not kind:  # serverless, or on EKS
            continue
        if kind not in table.hosting_hour:
            unpriced.append(f"{spec.endpoint}: no price for {kind} in {table.region}")
            continue
        bounds = (count, count)
        if spec.scaling is not None and kind == spec.instance_type:
            others = count - spec.instance_count
            bounds = (spec.scaling.minimum + others, spec.scaling.maximum + others)
        month = HOURS * table.hosting_hour[kind]
        number = _counted(bounds[0], kind) if bounds[0] == bounds[1] else f"{bounds[0]} to {_counted(bounds[1], kind)}"
        yield _line(f"{number} of {spec.endpoint}", (name,), bounds[1] * month, low=bounds[0] * month, is_serving=True)
        hours = spec.rollout.maximum / 3600
        each = bounds[1] * hours * table.hosting_hour[kind]
        what = (
            f"second fleet of up to {ROLLOUTS} rollouts, each at most {spec.rollout.maximum // 60} min and {each:.2f}"
        )
        yield _line(what, (name,), ROLLOUTS * each, low=0.0, is_serving=True)


def _variants(name: str, properties: Mapping[str, Any], table: PriceTable, unpriced: list[str]) -> Iterator[PriceLine]:
    """Yield the instances of an endpoint that CloudFormation manages."""
    for variant in (*properties.get("ProductionVariants", ()), *properties.get("ShadowProductionVariants", ())):
        if variant.get("ServerlessConfig", {}).get("ProvisionedConcurrency"):
            unpriced.append(f"{name}: the table has no price for provisioned concurrency")
        kind, count = variant.get("InstanceType"), variant.get("InitialInstanceCount")
        if kind is None:
            continue
        if unknown(kind) or not str(count).isdigit() or kind not in table.hosting_hour:
            unpriced.append(f"{name}: no price for {kind} in {table.region}")
            continue
        price = int(count) * HOURS * table.hosting_hour[kind]
        yield _line(f"{_counted(int(count), kind)} of {name}", (name,), price, is_serving=True)


def _serving_spec(value: Any) -> ServingSpec | None:
    """Read a serving spec in which names of resources are only known at deployment."""
    parts = value.get("Fn::Join", ["", []])[1] if isinstance(value, Mapping) else [value]
    return _read(ServingSpec, "".join(part if isinstance(part, str) else "unknown" for part in parts))


def _read(kind: type[_Kind], text: object) -> _Kind | None:
    """Read a contract from a template; None if the value is only known at deployment or invalid."""
    try:
        return from_json(kind, text) if isinstance(text, str) else None
    except ContractError:
        return None


def _watched(properties: Mapping[str, Any]) -> float:
    """Return the number of metrics that an alarm is billed for; with a period below a minute, each counts three times."""
    queries = properties.get("Metrics")
    if queries is None:
        return _per_metric(properties.get("Period"))
    return sum(_per_metric(query["MetricStat"].get("Period")) for query in queries if "MetricStat" in query)


def _per_metric(period: object) -> int:
    return 3 if str(period).isdigit() and int(str(period)) < 60 else 1


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 1


def _line(
    what: str, names: tuple[str, ...], high: float, *, low: float | None = None, is_serving: bool = False
) -> PriceLine:
    """Return the line of some resources. ``low``: default: the price is exact."""
    low = round(high if low is None else low, 2)
    return PriceLine(what=what, resources=names, low=low, high=round(high, 2), is_serving=is_serving)


def _counted(count: float, noun: str) -> str:
    number = f"{count:g}"
    return f"{number} {noun}" if noun.startswith("ml.") or number == "1" else f"{number} {noun}s"


def price_lines(
    before: Mapping[str, MonthlyPrice], after: Mapping[str, MonthlyPrice], table: PriceTable
) -> Iterator[str]:
    """Yield the text for people: each stack by kind of resource, then the total."""
    yield f"monthly price in {table.region}, USD, list prices of {table.date}; usage (calls, bytes, jobs) is additional"
    for stack, price in after.items():
        yield f"  {stack}"
        for line in price.lines:
            yield f"    {line.what:<72}{span((line.low, line.high)):>20}{'  while serving' if line.is_serving else ''}"
        for sentence in price.unpriced:
            yield f"    not counted: {sentence}"
        yield f"    {_totals(price, before.get(stack))}"
    if len(after) > 1:
        yield f"  all stacks: {_totals(_merged(after), _merged(before) if before else None)}"


def price_document(
    before: Mapping[str, MonthlyPrice], after: Mapping[str, MonthlyPrice], table: PriceTable
) -> dict[str, object]:
    """Return the prices for programs, as JSON values."""
    return {
        "format": FORMAT,
        "region": table.region,
        "date": table.date,
        "currency": "USD",
        "sources": dict(table.sources),
        "stacks": [
            {"stack": stack, "before": _entry(before.get(stack)), "after": _entry(price)}
            for stack, price in after.items()
        ],
        "total": {"before": _sums(_merged(before)), "after": _sums(_merged(after))},
    }


def span(bounds: tuple[float, float]) -> str:
    """Return an interval of USD as a string.

    Example:
        >>> span((58.4, 58.4)), span((1.0, 3.0))
        ('58.40', '1.00 to 3.00')
    """
    low, high = bounds
    return f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def _totals(price: MonthlyPrice, before: MonthlyPrice | None) -> str:
    texts = [f"idle {span(price.idle)}, serving {span(price.serving)}"]
    if before is not None and (before.idle, before.serving) != (price.idle, price.serving):
        texts.append(f"before: idle {span(before.idle)}, serving {span(before.serving)}")
    return "; ".join(texts)


def _merged(prices: Mapping[str, MonthlyPrice]) -> MonthlyPrice:
    return MonthlyPrice(
        lines=tuple(line for price in prices.values() for line in price.lines),
        unpriced=tuple(sentence for price in prices.values() for sentence in price.unpriced),
    )


def _entry(price: MonthlyPrice | None) -> dict[str, object] | None:
    if price is None:
        return None
    lines = [{**asdict(line), "resources": list(line.resources)} for line in price.lines]
    return {**_sums(price), "lines": lines, "unpriced": list(price.unpriced)}


def _sums(price: MonthlyPrice) -> dict[str, list[float]]:
    return {"idle": list(price.idle), "serving": list(price.serving)}
