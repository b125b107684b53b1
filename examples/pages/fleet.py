"""Stacks of a platform team: one for each account of a fleet, beside the units' stacks, and one for the operations account."""

import aws_cdk as cdk

from mlops_constructs import Environment, FleetReader, ObservabilityLink, ObservabilitySink

OPERATIONS = "999999999999"


# [start:platform]
class PlatformAccount(cdk.Stack):
    """The role with which the operations account reads this account, and the link that shares its metrics."""

    def __init__(
        self, app: cdk.App, here: Environment, *, operations: str = OPERATIONS, sink_arn: str | None = None
    ) -> None:
        super().__init__(app, f"Platform{here.name.capitalize()}", env=here.cdk)
        FleetReader(self, "FleetReader", account=operations, trusted_roles=["Operator"])
        if sink_arn is not None:
            ObservabilityLink(self, "Link", sink_arn=sink_arn)


class Operations(cdk.Stack):
    """The sink to which the accounts are linked; its ARN is known after its deployment."""

    def __init__(self, app: cdk.App, here: Environment, *, accounts: list[str]) -> None:
        super().__init__(app, f"Platform{here.name.capitalize()}", env=here.cdk)
        sink = ObservabilitySink(self, "Observability", accounts=accounts)
        cdk.CfnOutput(self, "Sink", value=sink.sink_arn)


# [end:platform]
