"""The monitor that a ``mlops monitor`` command talks to, and how the window is named that it is asked about."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.aws_account import UserError, account, shown
from mlops_runtime.business_unit.deployed_entries import Entries

if TYPE_CHECKING:
    from mlops_runtime.monitor.watched_endpoint import Watched

NEWEST = "newest"

Endpoint = Annotated[
    str | None, typer.Argument(help="Name of the endpoint. Default: the only one that there is.", show_default=False)
]
WindowEnd = Annotated[
    str,
    typer.Option(
        "--window",
        metavar="newest|HOUR|DAY",
        help="Window by the hour in which it ended, 2017-08-07T06, UTC, or by the day if it is the day's only one.",
    ),
]


@contextmanager
def watched(endpoint: str | None, profile: str | None, home: Path | None) -> "Iterator[Watched]":
    """Find an endpoint's monitor; what AWS refuses in the block becomes one line.

    Args:
        endpoint: Its name; None takes the only one that there is.
        profile: Profile of the AWS configuration.
        home: Folder of an embedded cloud.

    Raises:
        UserError: If the name is not found, several match without one, or for an error in the block.
    """
    try:
        from mlops_runtime.contracts import ContractError
        from mlops_runtime.monitor.watched_endpoint import Watched, WatchedError

        with account(profile, home) as aws, shown(WatchedError):
            entries = Entries(ssm=aws.client("ssm"))
            entry = entries.endpoint(endpoint)
            _, now = aws.caller()
            yield Watched.of(aws.client, endpoint=entry, unit=entries.unit(entry.unit), now=now)
    except ImportError as error:
        raise UserError(f"mlops monitor needs {error.name}; run: pip install 'mlops-runtime[monitor]'") from error
    except ContractError as error:
        raise UserError(f"a file of the monitor is not what this version of mlops reads: {error}") from error
