"""``mlops console``: the web console of this account or embedded cloud, on 127.0.0.1."""

import webbrowser
from typing import Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import Profile, UserError, account
from mlops_cli.local import Home
from mlops_cli.termination import ended_by_sigterm


def console(
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
    except ImportError as error:
        raise UserError(f"mlops console needs {error.name}; run: pip install 'mlops-runtime[monitor]'") from error
    with account(profile, home) as aws, ended_by_sigterm():
        aws.caller()  # what is wrong with the credentials is said here, not in the first page
        try:
            server = ConsoleServer(ConsoleApi(lambda _role: aws), port=port)
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
