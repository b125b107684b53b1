"""``mlops features maintain``: compact tables, remove files that no snapshot names, forget old keys, drop replaced tags."""

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import Profile
from mlops_cli.feature_location import Folder, Unit, opened
from mlops_cli.local import Home


def maintain(
    *,
    path: Folder = None,
    unit: Unit = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Compact tables and remove what no reader needs any more.

    Ingests into a folder do this as it becomes due; run it daily for a deployed store.
    """
    with opened(path, unit, profile, home) as place:
        done = place.client.maintain()
    if as_json:
        from mlops_runtime.contracts import to_dict

        print_json({"tables": [to_dict(each) for each in done]})
        return
    for each in done:
        typer.echo(
            f"{each.table}: {each.compacted} small files compacted, {each.removed} unneeded files removed, "
            f"{each.forgotten} old keys forgotten, {each.tags} tags dropped"
        )
