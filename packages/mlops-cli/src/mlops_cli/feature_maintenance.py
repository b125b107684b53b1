"""``mlops features maintain``: compact tables, remove orphan files and old keys and tags, complete erasures."""

from datetime import timedelta
from typing import Annotated

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import Profile
from mlops_cli.feature_erase import PENDING, tell_pending
from mlops_cli.feature_location import Folder, Unit, opened
from mlops_cli.local import Home


def maintain(
    *,
    ended: Annotated[
        list[str] | None,
        typer.Option(metavar="BUILD", help="Pending build whose process is known to have ended.", show_default=False),
    ] = None,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Compact tables, remove data that no reader needs any more, and complete pending erasures.

    Ingests into a local store do this when it is due; run it daily for a deployed store.
    """
    with opened(path, unit, profile, home, erases=True) as place:
        done = place.client.maintain()
        erasures = place.client.resume_erasures(wait=timedelta(0), ended=ended or ())
    is_pending = any(each.pending for each in erasures)
    if as_json:
        from mlops_runtime.contracts import to_dict

        print_json({"tables": [to_dict(each) for each in done], "erasures": [to_dict(each) for each in erasures]})
        raise typer.Exit(PENDING if is_pending else 0)
    for each in done:
        typer.echo(
            f"{each.table}: {each.compacted} small files compacted, {each.removed} unneeded files removed, "
            f"{each.forgotten} old keys forgotten, {each.tags} tags dropped"
        )
    for erasure in erasures:
        if erasure.pending:
            tell_pending(erasure)
        else:
            typer.echo(f"erasure {erasure.id[:16]} is complete: {erasure.reason}")
    if is_pending:
        raise typer.Exit(PENDING)
