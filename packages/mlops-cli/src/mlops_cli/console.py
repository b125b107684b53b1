"""``mlops console``: serve the web console of an account or embedded cloud on 127.0.0.1."""

import json
import webbrowser
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl

import typer

from mlops_cli.answers import AsJson, answer, print_json
from mlops_cli.aws_account import Account, Profile, UserError, account
from mlops_cli.fleet import connected, named_environments
from mlops_cli.local import Home
from mlops_cli.termination import ended_by_sigterm

if TYPE_CHECKING:
    from mlops_runtime.console.api import ConsoleApi
    from mlops_runtime.console.taken_role import TakenRole

KINDS = ("reader", "on-call", "approver")


def console(
    *,
    role: Annotated[
        str | None,
        typer.Option(
            help="Act only as reader, on-call or approver: actions of other roles are hidden and refused. "
            "on-call=NAME assumes that IAM role, by name or ARN. Default: all roles, with your own permissions."
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1. Default: a free one.", min=0, max=65535, show_default=False)
    ] = 0,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the console in the browser. Default: only print its address.")
    ] = False,
    environments: Annotated[
        Path | None,
        typer.Option(
            help="Start with the models of several accounts and Regions: a file with these and the role that reads each "
            "(docs/fleet.md). Default: the models of this account."
        ),
    ] = None,
    read: Annotated[
        str | None,
        typer.Option(
            help="Print the API's JSON response for a path, such as /units/UNIT/endpoints/ENDPOINT, instead of serving."
        ),
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Serve the web console on this machine until interrupted. Its address contains a token that grants your permissions."""
    serve(
        role=role,
        port=port,
        open_browser=open_browser,
        environments=environments,
        read=read,
        as_json=as_json,
        profile=profile,
        home=home,
    )


def serve(
    *,
    role: str | None = None,
    port: int = 0,
    open_browser: bool = False,
    environments: Path | None = None,
    read: str | None = None,
    as_json: bool = False,
    profile: str | None = None,
    home: Path | None = None,
) -> None:
    """Serve the console until interrupted; arguments and defaults are those of the command.

    Raises:
        UserError: For invalid arguments.
    """
    try:
        from mlops_cli.console_server import ConsoleServer
        from mlops_runtime.console.api import ConsoleApi
        from mlops_runtime.console.fleet_page import Fleet
        from mlops_runtime.console.route import Role
    except ImportError as error:
        raise UserError(f"mlops console needs {error.name}; run: pip install 'mlops-runtime[monitor]'") from error
    kind, _, taken = (role or "").partition("=")
    if role is not None and kind not in KINDS:
        raise UserError(
            f"--role must be one of {', '.join(KINDS)}, or one with an IAM role, such as on-call=NAME, got {role!r}"
        )
    # on-call and approver include reader
    roles = tuple(Role) if role is None else tuple(dict.fromkeys((Role.READER, Role(kind))))
    named = () if environments is None else named_environments(environments)
    with account(profile, home) as aws, ended_by_sigterm():
        by, _ = aws.caller()  # reports bad credentials here, not in the first page
        acting = _taken(aws, taken) if taken else aws
        fleet = Fleet(named, lambda each: connected(aws, each, by, home)) if named else None
        api = ConsoleApi(lambda _role: acting, roles=roles, fleet=fleet)
        if read is not None:
            print_json(_answer(api, read))
            return
        try:
            server = ConsoleServer(api, port=port)
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


def _answer(api: "ConsoleApi", address: str) -> object:
    """Return the API's response to a GET of an address."""
    from mlops_runtime.console.http_message import HttpRequest
    from mlops_runtime.console.route import ROOT

    path, _, query = address.partition("?")
    request = HttpRequest(method="GET", path=f"{ROOT}{path}", query=dict(parse_qsl(query)), headers={}, body=b"")
    found = api.answer(request)
    document = json.loads(found.body)
    if found.status != HTTPStatus.OK:
        raise UserError(f"{path}: {document['detail']}", document=document)
    return document


def _taken(aws: Account, role: str) -> "TakenRole":
    """Return the account under an assumed role, in a session named after the caller."""
    from mlops_runtime.console.taken_role import take_role
    from mlops_runtime.registry.package_registry import session_name

    caller, _ = aws.caller()
    partition, number = caller.split(":")[1], caller.split(":")[4]
    arn = role if role.startswith("arn:") else f"arn:{partition}:iam::{number}:role/{role}"
    return take_role(aws, arn, session=session_name(caller))
