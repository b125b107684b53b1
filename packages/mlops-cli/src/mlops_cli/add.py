"""``mlops add``: add a model, or the next environment of a chain, to a project created by ``mlops new``."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mlops_cli.answers import AsJson, answer
from mlops_cli.aws_account import UserError
from mlops_cli.frameworks import DEFAULT
from mlops_cli.new import (
    KIND_IN_DATA,
    DataFile,
    FrameworkName,
    HasStore,
    HoldoutFrom,
    Key,
    Known,
    Label,
    LeaveOut,
    RowKey,
    Time,
    described,
    made_up_schema,
    require_scaffold,
    row_key_problems,
    with_store,
)

app = typer.Typer(help="Add a model or an environment to a project created by mlops new.", no_args_is_help=True)
_KINDS = ("number", "chance")


@app.command()
def model(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    folder: Annotated[Path, typer.Argument(help="The repository. Default: the current folder.")] = Path(),
    *,
    data: DataFile = None,
    label: Label = None,
    time: Time = None,
    key: Key = None,
    kind: Annotated[
        str | None, typer.Option(help="Without --data: kind of prediction, number or chance. Default: number.")
    ] = None,
    holdout_from: HoldoutFrom = None,
    known: Known = None,
    leave_out: LeaveOut = None,
    framework: FrameworkName = DEFAULT,
    feature_store: HasStore = False,
    row_key: RowKey = None,
    as_json: AsJson = False,
) -> None:
    """Add a model with its own stack to the unit; the other models do not change."""
    require_scaffold()
    from mlops_cli.project import ModelAnswers, read_record, update
    from mlops_cli.project_packages import package_sources

    answers, made = read_record(folder)
    problems: list[str] = []
    columns = {"label": label, "time": time, "key": key, "holdout-from": holdout_from}
    if data is not None:
        problems += [] if kind is None else [KIND_IN_DATA]
        schema = described(data, columns, known or (), leave_out or (), problems)
        if feature_store and schema is not None:
            schema = with_store(data, schema, row_key or (), problems)
    else:
        problems += [f"--{option} needs --data" for option, value in columns.items() if value is not None]
        schema = made_up_schema(kind or _KINDS[0], has_store=feature_store) if kind in (None, *_KINDS) else None
        if schema is None:
            problems.append(f"--kind must be one of {', '.join(_KINDS)}, got {kind!r}")
    problems += row_key_problems(row_key, data, has_store=feature_store)
    added = ModelAnswers(unit=answers.unit, model=name, schema=schema or answers.models[0].schema, framework=framework)
    wanted = replace(answers, models=(*answers.models, added))
    problems += [problem.replace("--model must", "NAME must") for problem in wanted.problems()]
    if problems:
        raise UserError(f"nothing was changed: {'; '.join(problems)}")
    change = update(folder, wanted, made, package_sources(answers.index))
    owner = next((each.class_name for each in wanted.models if each.groups), added.class_name)
    stacks = " ".join(dict.fromkeys([owner, added.class_name] if added.groups else [added.class_name]))
    following = f"deploy it: mlops deploy {stacks}"
    answer(
        change.document() | {"endpoint": added.endpoint, "stack": added.class_name},
        "\n".join([*change.lines(), following]),
        as_json=as_json,
    )


@app.command()
def environment(
    given: Annotated[
        str, typer.Argument(metavar="NAME=ACCOUNT/REGION", help="The environment, as for mlops new --environment.")
    ],
    folder: Annotated[Path, typer.Argument(help="The repository. Default: the current folder.")] = Path(),
    *,
    as_json: AsJson = False,
) -> None:
    """Append an environment to the project's chain; the last environment so far then releases to it."""
    require_scaffold()
    from mlops_cli.project import read_record, update
    from mlops_cli.project_environments import read_environment
    from mlops_cli.project_packages import package_sources

    answers, made = read_record(folder)
    added, problems = read_environment(given, is_last=True)
    if not answers.environments:
        problems.append(
            "the project has no environments to extend; create one with mlops new --environment, repeated for each environment"
        )
    wanted = answers if added is None else replace(answers, environments=(*answers.environments, added))
    problems += wanted.problems()
    if problems or added is None:
        raise UserError(f"nothing was changed: {'; '.join(problems)}")
    change = update(folder, wanted, made, package_sources(answers.index))
    names = [f"{added.constant}_{role}_ROLE" for role in ("PLAN", "DEPLOY", "OPERATOR")]
    following = [
        f"bootstrap account {added.account} in {added.region}, and set {', '.join(names)} in GitLab: docs/gitlab.md"
    ]
    measured = _measured_by_the_last(folder)
    if measured:
        last = answers.environments[-1].name
        following.append(
            f"from the next deployment on, {', '.join(measured)} compares candidates with the model that {added.name!r} serves, "
            f"and only with baselines until it serves one; to keep comparing with {last!r}, write "
            f'endpoint=registry.downstream_in("{last}") there'
        )
    answer(
        change.document() | {"environment": added.name, "variables": names, "measured_by_it": measured},
        "\n".join([*change.lines(), *following]),
        as_json=as_json,
    )


def _measured_by_the_last(folder: Path) -> list[str]:
    """Return the project's files whose pipelines use the model of the last environment as champion."""
    files = sorted(folder.glob("*/retraining.py"))
    return [
        each.relative_to(folder).as_posix()
        for each in files
        if re.search(r"\bregistry\.downstream\b", each.read_text())
    ]
