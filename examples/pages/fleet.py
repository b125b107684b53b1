"""What a platform team deploys to each account of a fleet, beside the stacks of its units."""

import aws_cdk as cdk

from mlops_constructs import Environment, FleetReader

OPERATIONS = "999999999999"


# [start:platform]
class PlatformAccount(cdk.Stack):
    """The role in which the account of operations reads this one."""

    def __init__(self, app: cdk.App, here: Environment, *, operations: str = OPERATIONS) -> None:
        super().__init__(app, f"Platform{here.name.capitalize()}", env=here.cdk)
        FleetReader(self, "FleetReader", account=operations, trusted_roles=["Operator"])


# [end:platform]
