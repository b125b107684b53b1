"""``mlops console``: the web console of this account or embedded cloud, on 127.0.0.1."""

import webbrowser
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import Account, Profile, UserError, account
from mlops_cli.local import Home
from mlops_cli.termination import ended_by_sigterm

if TYPE_CHECKING:
    from datetime import datetime

    from mlops_runtime.cloud_connection import Clock, Identity

KINDS = ("reader", "on-call", "approver")


@dataclass(frozen=True, slots=True, kw_only=True)
class InRole:
    """An account in an IAM role; the embedded clock, which AWS does not have, is asked with the caller's own keys.

    Args:
        base: The account as the caller has it.
        taken: The same in the role.
    """

    base: Account
    taken: Account

    def client(self, service: str) -> Any:
        """Return the client of a service, in the role."""
        return self.taken.client(service)

    def environment(self) -> dict[str, str]:
        """Return the environment of libraries that are not boto3, in the role."""
        return self.taken.environment()

    def identity(self) -> "Identity":
        """Return the session of the role."""
        return self.taken.identity()

    def now(self) -> "datetime":
        """Return the time in the cloud."""
        clock = self.clock()
        return self.identity().answered if clock is None else clock.now

    def clock(self) -> "Clock | None":
        """Return what the embedded clock says; None elsewhere."""
        return self.base.clock()

    def move_clock(self, to: "datetime") -> None:
        """Move the embedded cloud's clock."""
        self.base.move_clock(to)


def console(
    *,
    role: Annotated[
        str | None,
        typer.Option(
            help="Act as reader, on-call or approver alone: what another role does is refused, and not offered. "
            "With on-call=NAME take that IAM role, by its name or ARN. Default: all, with your own rights.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1. Default: a free one.", min=0, max=65535, show_default=False)
    ] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open it in the browser; without this its address is only printed.")
    ] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Serve the web console to this machine until interrupted. Its address has a token: what opens it acts with your rights."""
    try:
        from mlops_cli.console_server import ConsoleServer
        from mlops_runtime.console.api import ConsoleApi
        from mlops_runtime.console.route import Role
    except ImportError as error:
        raise UserError(f"mlops console needs {error.name}; run: pip install 'mlops-runtime[monitor]'") from error
    kind, _, taken = (role or "").partition("=")
    if role is not None and kind not in KINDS:
        raise UserError(
            f"--role must be one of {', '.join(KINDS)}, or one with an IAM role, such as on-call=NAME, got {role!r}"
        )
    # people on call and approvers read too
    roles = tuple(Role) if role is None else tuple(dict.fromkeys((Role.READER, Role(kind))))
    with account(profile, home) as aws, ended_by_sigterm():
        aws.caller()  # what is wrong with the credentials is said here, not in the first page
        acting = InRole(base=aws, taken=_taken(aws, taken)) if taken else aws
        try:
            server = ConsoleServer(ConsoleApi(lambda _role: acting, roles=roles), port=port)
        except OSError as error:
            raise UserError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; give another --port") from error
        answer({"address": server.address}, f"console: {server.address}", as_json=as_json)
        if open_browser:
            webbrowser.open(server.address)
        try:
            with server:
                server.serve_forever()
        except KeyboardInterrupt:
            return


def _taken(aws: Account, role: str) -> Account:
    """Return the account in an IAM role, with a session that is named after the caller; its keys are renewed before they end.

    Raises:
        UserError: If AWS refuses the role.
    """
    import boto3
    from botocore.credentials import RefreshableCredentials
    from botocore.session import get_session

    from mlops_runtime.registry.package_registry import session_name

    caller, _ = aws.caller()
    partition, number = caller.split(":")[1], caller.split(":")[4]
    arn = role if role.startswith("arn:") else f"arn:{partition}:iam::{number}:role/{role}"
    sts = aws.client("sts")

    def keys() -> dict[str, str]:
        found = sts.assume_role(RoleArn=arn, RoleSessionName=session_name(caller))["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }

    session = get_session()
    # botocore has no public way to give a session credentials that renew themselves
    session._credentials = RefreshableCredentials.create_from_metadata(keys(), keys, "sts-assume-role")  # type: ignore[attr-defined]
    region = aws.client("sts").meta.region_name
    session.set_config_variable("region", region)
    options = {name: value for name, value in aws.options.items() if name in ("endpoint_url", "region_name")}
    return Account(session=boto3.Session(botocore_session=session), options=options)
