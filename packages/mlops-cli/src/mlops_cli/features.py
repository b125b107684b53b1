"""``mlops features``: app of all its verbs, ``lock`` and ``maintain``; the other verbs are in the ``feature_*`` modules."""

from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from mlops_cli import feature_erase, feature_groups, feature_search, feature_sets
from mlops_cli.answers import AsJson, answer, print_json
from mlops_cli.aws_account import Profile, UserError
from mlops_cli.feature_erase import PENDING, print_pending
from mlops_cli.feature_location import LOCK_FILE, Folder, Unit, load_groups, opened
from mlops_cli.local import Home
from mlops_runtime.contracts import to_dict
from mlops_runtime.features.lock_file import FeatureLockError, write_lock

app = typer.Typer(
    help="Manage feature groups and training sets: lock ids, list, find, ingest, build, verify, compare, erase.",
    no_args_is_help=True,
)

Groups = Annotated[str, typer.Argument(metavar="MODULE:GROUPS", help="Module and name of a sequence of FeatureGroup.")]


def maintain(
    *,
    ended: Annotated[
        list[str] | None, typer.Option(metavar="BUILD", help="Pending build whose process is known to have ended.")
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
        print_json({"tables": [to_dict(each) for each in done], "erasures": [to_dict(each) for each in erasures]})
        raise typer.Exit(PENDING if is_pending else 0)
    for each in done:
        typer.echo(
            f"{each.table}: {each.compacted} small files compacted, {each.removed} unneeded files removed, "
            f"{each.forgotten} old keys forgotten"
        )
    for erasure in erasures:
        if erasure.pending:
            print_pending(erasure)
        else:
            typer.echo(f"erasure {erasure.id[:16]} is complete: {erasure.reason}")
    if is_pending:
        raise typer.Exit(PENDING)


@app.command()
def lock(
    groups: Groups,
    path: Annotated[Path | None, typer.Argument(help=f"Lock file. Default: {LOCK_FILE} next to the module.")] = None,
    as_json: AsJson = False,
) -> None:
    """Assign ids to new tables and columns. Refuses changes that break readers, and names the lines to fix."""
    module, declared = load_groups(groups)
    file = _beside(module) if path is None else path
    try:
        before = file.read_bytes() if file.exists() else None
        written = write_lock(declared, file)
    except FeatureLockError as error:
        raise UserError("\n".join(error.problems)) from error
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}; give another path") from error
    is_new = file.read_bytes() != before
    text = f"{file}: {len(written.tables)} tables" + ("; commit it" if is_new else ", unchanged")
    answer({"file": file, "tables": len(written.tables), "changed": is_new}, text, as_json=as_json)


app.command(name="list")(feature_groups.list_)
app.command()(feature_groups.show)
app.command()(feature_search.find)
app.command()(feature_search.services)
app.command()(feature_sets.ingest)
app.command()(feature_sets.latest)
app.command()(feature_sets.build)
app.command()(feature_sets.rebuild)
app.command()(feature_sets.diff)
app.command(name="who-used")(feature_groups.who_used)
app.command()(feature_groups.catalog)
app.command()(maintain)
app.command()(feature_erase.erase)


def _beside(module: ModuleType) -> Path:
    if module.__file__ is None:
        raise UserError(f"module {module.__name__!r} is not a file; give the path of the lock file: MODULE:GROUPS PATH")
    folder = Path(module.__file__).parent
    return (folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder) / LOCK_FILE
