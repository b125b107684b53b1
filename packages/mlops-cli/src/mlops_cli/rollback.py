"""``mlops rollback``: back to what served before, or to a version that is named."""

import time
from typing import Annotated

import typer

from mlops_cli.account import Profile, account
from mlops_cli.errors import UserError
from mlops_cli.local import Home
from mlops_cli.pause import checked_reason

_LOOK_SECONDS = 1.0


def rollback(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
    to: Annotated[
        str | None,
        typer.Option(help="Version or ARN of the model package. Default: what served before.", show_default=False),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it goes with the request.", show_default=False)] = None,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Go back: abort the rollout that runs, else deploy the version before; exit 1 unless the wanted one serves."""
    from mlops_cli.audit import open_chain
    from mlops_cli.entries import Entries
    from mlops_runtime.contracts import to_dict
    from mlops_runtime.contracts.rollout import DeployReason, DeployRequest
    from mlops_runtime.rollout.audit_chain import AuditError
    from mlops_runtime.rollout.rollback import RollbackError, WayBack, target_package

    comment = None if reason is None else checked_reason(reason)
    with account(profile, home) as aws:
        entry = Entries(ssm=aws.client("ssm")).endpoint(endpoint)
        by, now = aws.caller()
        try:
            request = DeployRequest(
                reason=DeployReason.ROLLBACK,
                requested_by=by,
                requested_at=str(to_dict(now)),
                model_package_arn=None
                if to is None
                else target_package(to, group=entry.group, machine_arn=entry.deploy_machine),
                comment=comment,
            )
            way = WayBack(
                stepfunctions=aws.client("stepfunctions"),
                cloudwatch=aws.client("cloudwatch"),
                chain=open_chain(aws, entry),
                machine_arn=entry.deploy_machine,
                wait=lambda: time.sleep(_LOOK_SECONDS),
                say=typer.echo,
            )
            answer = way.go(request)
        except (RollbackError, AuditError) as error:
            raise UserError(str(error)) from error
    if not answer.is_served:
        raise UserError(f"not rolled back: {answer.text}")
    typer.echo(answer.text)
