"""Arguments of ``mlops monitor``: the endpoint whose monitor is read, and the window."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.aws_account import UserError, account, shown
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import ContractError

if TYPE_CHECKING:
    from mlops_runtime.monitor.watched_endpoint import Watched

NEWEST = "newest"

Endpoint = Annotated[str | None, typer.Argument(help="Name of the endpoint. Default: the only one.")]
WindowEnd = Annotated[
    str,
    typer.Option(
        "--window",
        metavar="newest|HOUR|DAY",
        help="Hour in which the window ended, such as 2017-08-07T06, in UTC; or the day if it is the day's only window.",
    ),
]


@contextmanager
def watched(endpoint: str | None, profile: str | None, home: Path | None) -> "Iterator[Watched]":
    """Open an endpoint's monitor; AWS errors in the block become one-line messages.

    Args:
        endpoint: Name of the endpoint; ``None`` for the only one.
        profile: Profile of the AWS configuration.
        home: Folder of an embedded cloud.

    Raises:
        UserError: If the endpoint is not found, the name is missing and there are several, or for an error in the block.
    """
    try:
        from mlops_runtime.monitor.watched_endpoint import Watched, WatchedError

        with account(profile, home) as aws, shown(WatchedError):
            entries = Entries(ssm=aws.client("ssm"))
            entry = entries.endpoint(endpoint)
            _, now = aws.caller()
            yield Watched.of(aws.client, endpoint=entry, unit=entries.unit(entry.unit), now=now)
    except ImportError as error:
        raise UserError(f"mlops monitor needs {error.name}; run: pip install 'mlops-runtime[monitor]'") from error
    except ContractError as error:
        raise UserError(f"this version of mlops cannot read a file of the monitor: {error}") from error
