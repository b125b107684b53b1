"""``mlops train``: request a retraining, optionally on a new data file, and wait for its verdict."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import Profile, UserError, account, shown
from mlops_cli.local import Home
from mlops_cli.retraining_verdict import echo, follow, requests_of
from mlops_cli.unit_operations import checked_reason
from mlops_runtime.business_unit.deployed_entries import Entries


def train(
    pipeline: Annotated[str | None, typer.Argument(help="Name of the pipeline. Default: the only one.")] = None,
    *,
    reason: Annotated[str, typer.Option(help="Reason, stored with the request.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Parquet or CSV file to publish as training set first, or to write to the feature store that training sets are "
            "built from. Default: use the existing data.",
        ),
    ] = None,
    holdout_from: Annotated[
        str | None,
        typer.Option(
            help="With --data: start time of the holdout. Default: from the project, else the last 15 % of the rows."
        ),
    ] = None,
    publish_only: Annotated[
        bool,
        typer.Option(
            "--publish-only",
            help="With --data: publish or write it without training, to evaluate models trained elsewhere on it.",
        ),
    ] = False,
    replace_newer: Annotated[
        bool,
        typer.Option(
            "--replace-newer", help="With --data: publish it even if its rows end before those of the published set."
        ),
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the verdict.")] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Request a retraining in your own name. Exit 3 if guard or gate refuses it, 1 if there was no decision."""
    from mlops_runtime.retraining.retraining_request import RetrainingRequestError

    of_data = {
        "--publish-only": publish_only,
        "--holdout-from": holdout_from is not None,
        "--replace-newer": replace_newer,
    }
    if data is None and (given := [option for option, is_given in of_data.items() if is_given]):
        raise UserError(f"{given[0]} needs --data")
    why = checked_reason(reason)
    with account(profile, home) as aws, shown(RetrainingRequestError):
        entries = Entries(ssm=aws.client("ssm"))
        entry = entries.pipeline(pipeline)
        requests = requests_of(aws, entries, entry)
        facts: dict[str, Any] = {"pipeline": entry.pipeline}
        if data is not None and entry.training_set is None:
            from mlops_cli.training_file import store_file

            if given := [option for option in ("--holdout-from", "--replace-newer") if of_data[option]]:
                raise UserError(
                    f"{given[0]} applies only to published files: {entry.pipeline} holds out the newest days of its labels in the "
                    "feature store, which keeps older rows too; omit the option, or change holdout_days of its TrainingSetPlan"
                )
            written = store_file(aws, entry, data)
            facts["written"] = {each.table: each.rows for each in written}
            for each in written:
                echo(f"{each.table}: {each.rows} rows written{_restated(each.restated)}")
            if publish_only:
                answer(facts, "nothing was trained; each training reads the store's current rows", as_json=as_json)
                return
        elif data is not None:
            from mlops_cli.training_file import publish_file

            requests.require_idle()
            published = publish_file(
                aws.client("s3"), entry, data, holdout_from=holdout_from, replace_newer=replace_newer
            )
            done = (
                f"published {published.train_rows} training rows, and {published.holdout_rows} holdout rows from "
                f"{published.split['holdout_from']} on"
            )
            facts["training_set"] = published.id
            if publish_only:
                measure = f"mlops models register {entry.pipeline} PATH"
                answer(facts, f"{done}; nothing was trained; to evaluate a model on them: {measure}", as_json=as_json)
                return
            echo(done)
        if (problem := requests.unpublished()) is not None:
            raise UserError(problem)
        event = requests.send(caller=str(aws.client("sts").get_caller_identity()["UserId"]), reason=why)
        echo(f"requested a retraining by {entry.pipeline}")
        follow(requests, event, facts=facts, is_awaited=not no_wait, as_json=as_json)


def _restated(count: int) -> str:
    return f", {count} of them replacing earlier values" if count else ""
