"""``mlops train``: ask a pipeline for a retraining, and wait for the verdict on its model."""

from typing import Annotated

import typer

from mlops_cli.answers import AsJson
from mlops_cli.aws_account import Profile, account, shown
from mlops_cli.local import Home
from mlops_cli.retraining_verdict import follow, requests_of, say
from mlops_cli.unit_operations import checked_reason


def train(
    pipeline: Annotated[
        str | None, typer.Argument(help="Name of the pipeline. Default: the only one.", show_default=False)
    ] = None,
    *,
    reason: Annotated[str, typer.Option(help="Reason, kept with the request.")],
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the verdict.")] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Ask a pipeline for a retraining, in your own name. Exit 3 where guard or gate refuses, 1 where nothing was decided."""
    from mlops_cli.deployed_entries import Entries
    from mlops_runtime.retraining.retraining_request import RetrainingRequestError

    why = checked_reason(reason)
    with account(profile, home) as aws, shown(RetrainingRequestError):
        entries = Entries(ssm=aws.client("ssm"))
        entry = entries.pipeline(pipeline)
        requests = requests_of(aws, entries, entry)
        event = requests.ask(caller=str(aws.client("sts").get_caller_identity()["UserId"]), reason=why)
        say(f"asked {entry.pipeline} for a retraining")
        follow(requests, event, facts={"pipeline": entry.pipeline}, is_awaited=not no_wait, as_json=as_json)
