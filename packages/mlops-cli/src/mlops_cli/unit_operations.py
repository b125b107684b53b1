"""``mlops pause | resume | rollback``: pause and resume a unit's automation, and roll an endpoint back."""

from pathlib import Path
from typing import Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import Profile, UserError, account
from mlops_cli.local import Home
from mlops_cli.rollout_wait import InterruptedWaitError, RolloutWait
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest

_MAXIMUM_REASON = 500

Unit = Annotated[str, typer.Argument(help="Name of the business unit.")]
Reason = Annotated[str, typer.Option(help="Reason, written to the audit record.")]


def pause(unit: Unit, reason: Reason, as_json: AsJson = False, profile: Profile = None, home: Home = None) -> None:
    """Pause a unit's automatic retraining, approval and promotion; rollbacks remain possible."""
    _set(unit, is_paused=True, reason=reason, as_json=as_json, profile=profile, home=home)


def resume(unit: Unit, reason: Reason, as_json: AsJson = False, profile: Profile = None, home: Home = None) -> None:
    """Resume a unit's automation."""
    _set(unit, is_paused=False, reason=reason, as_json=as_json, profile=profile, home=home)


def _set(unit: str, *, is_paused: bool, reason: str, as_json: bool, profile: str | None, home: Path | None) -> None:
    reason = checked_reason(reason)
    from mlops_runtime.business_unit.automation import paused_reason
    from mlops_runtime.business_unit.deployed_chain import open_chain
    from mlops_runtime.business_unit.pause import set_pause
    from mlops_runtime.rollout.audit_chain import AuditError

    with account(profile, home) as aws:
        entry = Entries(ssm=aws.client("ssm")).unit(unit)
        by, now = aws.caller()
        try:
            change = set_pause(open_chain(aws.client, entry), is_paused=is_paused, by=by, reason=reason, now=now)
        except AuditError as error:
            raise UserError(f"{error}; check it with: mlops audit verify {unit}") from error
    if change.record is None:
        how = f"is {paused_reason(change.state)}" if is_paused else "is not paused"
        answer({"unit": unit, "paused": is_paused, "record": None}, f"{unit} {how}; nothing changed", as_json=as_json)
        return
    what = "paused: automatic retraining, approval and promotion are stopped" if is_paused else "resumed"
    number = change.record.sequence
    answer(
        {"unit": unit, "paused": is_paused, "record": number}, f"{unit} is {what} (record {number})", as_json=as_json
    )


def checked_reason(reason: str) -> str:
    """Return a reason without surrounding whitespace.

    Raises:
        UserError: If it is blank or too long.
    """
    text = reason.strip()
    if not text:
        raise UserError("--reason must not be blank; it is stored in the audit record")
    if len(text) > _MAXIMUM_REASON:
        raise UserError(
            f"--reason must be at most {_MAXIMUM_REASON} characters, got {len(text)}; name a ticket instead"
        )
    return text


def rollback(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
    *,
    reason: Annotated[str, typer.Option(help="Reason, sent with the request and stored in the audit record.")],
    to: Annotated[
        str | None, typer.Option(help="Version or ARN of the model package. Default: the previous version.")
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Roll back: abort a running rollout, else deploy the previous version. Exit 1 unless that version serves afterwards."""
    from mlops_runtime.business_unit.deployed_chain import open_chain
    from mlops_runtime.rollout.audit_chain import AuditError
    from mlops_runtime.rollout.rollback import RollbackError, WayBack, target_package

    comment = checked_reason(reason)
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
                chain=open_chain(aws.client, entry),
                machine_arn=entry.deploy_machine,
                wait=RolloutWait(aws=aws, endpoint=endpoint),
                echo=lambda line: typer.echo(line, err=as_json),
            )
            found = way.go(request)
        except (RollbackError, AuditError) as error:
            raise UserError(str(error)) from error
        except KeyboardInterrupt:
            raise InterruptedWaitError(
                "interrupted; the rollback continues. To wait for it, run the same command again; mlops status shows it"
            ) from None
    document = {"endpoint": endpoint, "text": found.text, "record": to_dict(found.record)}
    if not found.is_served:
        raise UserError(f"not rolled back: {found.text}", document=document)
    answer(document, found.text, as_json=as_json)
