"""Cross-account observability of CloudWatch: the sink of the observing account, and the link of each source account."""

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
    """The sink to which other accounts link, so that CloudWatch in this account shows their metrics, logs and traces. Stateful.

    An account has one sink per Region, which shows sources of that Region. The sink's policy determines the accounts that may link;
    what is shared is configured on both sides: a link that shares more types than the sink allows is rejected. The sink can be
    deleted only when no account is linked to it.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Unified-Cross-Account.html

    Args:
        scope: Parent.
        id: Construct id.
        accounts: Accounts that may link, 12 digits each. Default: every account of the organization.
        organization_id: Organization of the accounts that may link. Default: any organization; ``accounts`` is then required.
        name: Name of the sink. Default: ``mlops``.
        logs: Whether log groups may be shared. Default: no, as log lines may contain more personal data than metrics.
        traces: Whether traces may be shared. Default: no.

    Raises:
        ValidationError: If an argument is not allowed, or neither accounts nor an organization are set.

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
            else "accounts or organization_id must be set, otherwise every AWS account may link",
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
        """ARN of the sink, for ``ObservabilityLink``; only known at deployment."""
        return self._arn


@checked("InvalidObservabilityLink")
class ObservabilityLink(Construct):
    """A link from this account to the sink of another, which then shows this Region's metrics in CloudWatch. Stateless.

    Shared data are stored and billed in this account only.

    See: https://docs.aws.amazon.com/OAM/latest/APIReference/API_CreateLink.html

    Args:
        scope: Parent.
        id: Construct id.
        sink_arn: ARN of the sink, in this stack's Region.
        logs: Whether log groups are shared; the sink must allow it. Default: no.
        traces: Whether traces are shared; the sink must allow it. Default: no.

    Raises:
        ValidationError: If the ARN is not that of a sink, or is in another Region.

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
            f"sink_arn must be in {region}, as a link requires a sink of its own Region, got one in {there}"
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
