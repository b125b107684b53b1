"""Metrics, logs and traces of several accounts in CloudWatch of one: the sink there, and the link of each account."""

from collections.abc import Sequence

from aws_cdk import aws_oam as oam

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import check_pattern, is_known, raise_if_any

_METRICS, _LOGS, _TRACES = "AWS::CloudWatch::Metric", "AWS::Logs::LogGroup", "AWS::XRay::Trace"
_ACCOUNT = r"[0-9]{12}"
_ORGANIZATION = r"o-[a-z0-9]{10,32}"
# https://docs.aws.amazon.com/OAM/latest/APIReference/API_CreateSink.html
_NAME = r"[a-zA-Z0-9_.-]{1,255}"
_SINK = r"arn:[a-z-]+:oam:([a-z0-9-]+):[0-9]{12}:sink/[a-zA-Z0-9-]+"


def _types(*, logs: bool, traces: bool) -> list[str]:
    return [_METRICS, *([_LOGS] if logs else []), *([_TRACES] if traces else [])]


@checked("InvalidObservabilitySink")
class ObservabilitySink(Construct):
    """Define what other accounts link to, so that CloudWatch here shows their metrics, logs and traces. Stateful.

    An account has one sink in a Region, and shows sources of that Region. Who may link is said here, what is shared is said on both
    sides: a link that shares more than the sink takes is refused. The sink is deleted once no account is linked to it.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Unified-Cross-Account.html

    Args:
        scope: Parent.
        id: Construct id.
        accounts: Accounts that may link, 12 digits each. Default: every account of the organization.
        organization_id: Organization of the accounts that may link. Default: it is not asked for, and ``accounts`` must be given.
        name: Name of the sink. Default: ``mlops``.
        logs: Whether log groups may be shared. Default: no, as lines may say more of people than metrics.
        traces: Whether traces may be shared. Default: no.

    Raises:
        ValidationError: If an argument is not possible, or neither accounts nor an organization are named.

    Example:
        >>> sink = ObservabilitySink(self, "Sink", accounts=["111111111111", "222222222222"])
        >>> self.resolve(sink.sink_arn)["Fn::GetAtt"][1]
        'Arn'
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        accounts: Sequence[str] = (),
        organization_id: str | None = None,
        name: str = "mlops",
        logs: bool = False,
        traces: bool = False,
    ) -> None:
        super().__init__(scope, id)
        problems = [
            *(check_pattern("accounts", each, pattern=_ACCOUNT, allowed="12 digits each") for each in accounts),
            check_pattern("organization_id", organization_id, pattern=_ORGANIZATION, allowed="such as 'o-a1b2c3d4e5'"),
            check_pattern("name", name, pattern=_NAME, allowed="1 to 255 letters, digits, '_', '.' or '-'"),
            None
            if accounts or organization_id is not None
            else "accounts or organization_id must be given, else every account of AWS may link",
        ]
        raise_if_any(self, "InvalidObservabilitySink", problems)
        # https://docs.aws.amazon.com/OAM/latest/APIReference/API_PutSinkPolicy.html#API_PutSinkPolicy_Examples
        conditions: dict[str, object] = {
            "ForAllValues:StringEquals": {"oam:ResourceTypes": _types(logs=logs, traces=traces)}
        }
        if organization_id is not None:
            conditions["StringEquals"] = {"aws:PrincipalOrgID": organization_id}
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": list(accounts)} if accounts else "*",
            "Action": ["oam:CreateLink", "oam:UpdateLink"],
            "Resource": "*",
            "Condition": conditions,
        }
        sink = oam.CfnSink(self, "Resource", name=name, policy={"Version": "2012-10-17", "Statement": [statement]})
        self._arn = sink.attr_arn

    @property
    def sink_arn(self) -> str:
        """ARN of the sink, which each ``ObservabilityLink`` takes; AWS gives it when the sink is deployed."""
        return self._arn


@checked("InvalidObservabilityLink")
class ObservabilityLink(Construct):
    """Link this account to the sink of another, which then shows its metrics of this Region in CloudWatch. Stateless.

    What is shared stays in this account, and is paid for here alone.

    See: https://docs.aws.amazon.com/OAM/latest/APIReference/API_CreateLink.html

    Args:
        scope: Parent.
        id: Construct id.
        sink_arn: ARN of the sink, of this stack's Region.
        logs: Whether log groups are shared; the sink must take them. Default: no.
        traces: Whether traces are shared; the sink must take them. Default: no.

    Raises:
        ValidationError: If the ARN is not of a sink, or of another Region.

    Example:
        >>> link = ObservabilityLink(self, "Link", sink_arn="arn:aws:oam:us-east-1:999999999999:sink/1a2b3c4d")
        >>> link.node.id
        'Link'
    """

    def __init__(self, scope: Construct, id: str, *, sink_arn: str, logs: bool = False, traces: bool = False) -> None:
        super().__init__(scope, id)
        region = stack_values(self).region
        there = sink_arn.split(":")[3] if is_known(sink_arn) and sink_arn.count(":") > 4 else region
        problems = [
            check_pattern("sink_arn", sink_arn, pattern=_SINK, allowed="arn:aws:oam:REGION:ACCOUNT:sink/ID"),
            f"sink_arn must be of {region}, as a link reaches sinks of its own Region alone, got one of {there}"
            if is_known(region) and there != region
            else None,
        ]
        raise_if_any(self, "InvalidObservabilityLink", problems)
        oam.CfnLink(
            self,
            "Resource",
            sink_identifier=sink_arn,
            resource_types=_types(logs=logs, traces=traces),
            label_template="$AccountName",
        )
