"""What a platform team deploys to each account of a fleet, beside the stacks of its units, and to the account of operations."""

import aws_cdk as cdk

from mlops_constructs import Environment, FleetReader, ObservabilityLink, ObservabilitySink

OPERATIONS = "999999999999"


# [start:platform]
class PlatformAccount(cdk.Stack):
    """The role in which the account of operations reads this one, and the link by which it sees its metrics."""

    def __init__(
        self, app: cdk.App, here: Environment, *, operations: str = OPERATIONS, sink_arn: str | None = None
    ) -> None:
        super().__init__(app, f"Platform{here.name.capitalize()}", env=here.cdk)
        FleetReader(self, "FleetReader", account=operations, trusted_roles=["Operator"])
        if sink_arn is not None:
            ObservabilityLink(self, "Link", sink_arn=sink_arn)


class Operations(cdk.Stack):
    """What the accounts are linked to; its ARN is known once it is deployed."""

    def __init__(self, app: cdk.App, here: Environment, *, accounts: list[str]) -> None:
        super().__init__(app, f"Platform{here.name.capitalize()}", env=here.cdk)
        sink = ObservabilitySink(self, "Observability", accounts=accounts)
        cdk.CfnOutput(self, "Sink", value=sink.sink_arn)


# [end:platform]
