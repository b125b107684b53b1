"""``mlops train``: ask a pipeline for a retraining, on a file if one is given, and wait for the verdict on its model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import Profile, UserError, account, shown
from mlops_cli.local import Home
from mlops_cli.retraining_verdict import follow, requests_of, say
from mlops_cli.unit_operations import checked_reason


def train(
    pipeline: Annotated[
        str | None, typer.Argument(help="Name of the pipeline. Default: the only one.", show_default=False)
    ] = None,
    *,
    reason: Annotated[str, typer.Option(help="Reason, kept with the request.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="Parquet or CSV file to publish as the training set first, or to write to the feature store from which training "
            "sets are built. Default: what was published or written before.",
            show_default=False,
        ),
    ] = None,
    holdout_from: Annotated[
        str | None,
        typer.Option(
            help="With --data: first time of the holdout. Default: as the project says, else the last 15 % of the rows.",
            show_default=False,
        ),
    ] = None,
    publish_only: Annotated[
        bool,
        typer.Option(
            "--publish-only",
            help="With --data: publish or write it and train nothing, so that models made elsewhere can be measured on it.",
        ),
    ] = False,
    replace_newer: Annotated[
        bool,
        typer.Option(
            "--replace-newer",
            help="With --data: publish it although its rows end before those of the published set, which was wrong.",
        ),
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the verdict.")] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Ask a pipeline for a retraining, in your own name. Exit 3 where guard or gate refuses, 1 where nothing was decided."""
    from mlops_runtime.business_unit.deployed_entries import Entries
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
                    f"{given[0]} is of published files: {entry.pipeline} holds out the newest days of its labels in the feature "
                    "store, where older rows stay beside newer ones; leave it out, or change holdout_days of its TrainingSetPlan"
                )
            written = store_file(aws, entry, data)
            facts["written"] = {each.table: each.rows for each in written}
            for each in written:
                say(f"{each.table}: {each.rows} rows written{_restated(each.restated)}")
            if publish_only:
                answer(facts, "nothing was trained; each training reads what is in the store then", as_json=as_json)
                return
        elif data is not None:
            from mlops_cli.training_file import publish_file

            requests.require_idle()
            published = publish_file(
                aws.client("s3"), entry, data, holdout_from=holdout_from, replace_newer=replace_newer
            )
            done = (
                f"published {published.train_rows} rows to train and {published.holdout_rows} held out from "
                f"{published.split['holdout_from']} on"
            )
            facts["training_set"] = published.id
            if publish_only:
                measure = f"mlops models register {entry.pipeline} PATH"
                answer(facts, f"{done}; nothing was trained; measure a model on it: {measure}", as_json=as_json)
                return
            say(done)
        if (problem := requests.unpublished()) is not None:
            raise UserError(problem)
        event = requests.ask(caller=str(aws.client("sts").get_caller_identity()["UserId"]), reason=why)
        say(f"asked {entry.pipeline} for a retraining")
        follow(requests, event, facts=facts, is_awaited=not no_wait, as_json=as_json)


def _restated(count: int) -> str:
    return f", {count} of them in place of what the store said" if count else ""
