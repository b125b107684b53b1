"""``mlops audit``: show an endpoint's or a unit's chain of records, and verify that none was changed, left out or added."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.account import Account, Profile, account
from mlops_cli.errors import UserError
from mlops_cli.local import Home

if TYPE_CHECKING:
    from mlops_runtime.contracts.automation import EndpointEntry, UnitEntry
    from mlops_runtime.rollout.record import AuditChain

app = typer.Typer(help="What was promoted, rejected, rolled back, paused: by whom and why.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the endpoint or business unit.")]


@app.command()
def show(
    name: Name,
    last: Annotated[int, typer.Option(help="Number of newest records.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show the newest records, and the head to verify a copy against."""
    from mlops_cli.entries import Entries
    from mlops_runtime.contracts import ContractError, content_hash, to_dict

    with account(profile, home) as aws:
        chain = open_chain(aws, Entries(ssm=aws.client("ssm")).chain(name))
        row = chain.table.read()
        try:
            records = chain.newest(row, last)
        except ContractError as error:
            raise UserError(f"a record cannot be read: {error}; see all with: mlops audit verify {name}") from error
    if as_json:
        found = {"name": name, "head": row.audit_head, "sequence": row.audit_sequence, "bucket": chain.bucket}
        listed = [to_dict(record) | {"sha256": content_hash(record)} for record in records]
        typer.echo(json.dumps(found | {"records": listed}, indent=2, sort_keys=True))
        return
    if not records:
        typer.echo(f"{name} has no record yet")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "when", "outcome", "serves", "asked by", "reason")
    for record in records:
        serves = "" if record.serving_package is None else f"version {record.serving_package.rpartition('/')[2]}"
        who = record.requested_by.rpartition(":")[2]
        cells = (str(record.sequence), record.at, record.outcome.value, serves, who, record.reason)
        table.add_row(*map(Text, cells))  # what people wrote is no markup
    Console().print(table)
    typer.echo(f"head {row.audit_head} at sequence {row.audit_sequence}")


@app.command()
def verify(
    name: Name,
    *,
    folder: Annotated[
        Path | None, typer.Option(help="A copy of the chain's objects; nothing is asked of AWS.", show_default=False)
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="With --folder: SHA-256 of the newest record.", show_default=False)
    ] = None,
    sequence: Annotated[
        int | None, typer.Option(help="With --folder: sequence of the newest record.", min=0, show_default=False)
    ] = None,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Find every changed, missing, reordered or forked record; exit 1 if there is any."""
    if folder is None and (head is not None or sequence is not None):
        raise UserError(
            "--head and --sequence go with --folder; without it they are read from the endpoint's or unit's row"
        )
    if folder is not None:
        problems, count = _verify_copy(name, folder, head, sequence)
    else:
        from mlops_cli.entries import Entries

        with account(profile, home) as aws:
            chain = open_chain(aws, Entries(ssm=aws.client("ssm")).chain(name))
            # a writer may be between row and object: what is wrong must be so twice
            problems = chain.problems() and chain.problems()
            count = chain.table.read().audit_sequence
    if problems:
        for problem in problems:
            typer.echo(problem)
        raise UserError(f"the chain of {name} is not whole: {len(problems)} findings up to record {count}")
    typer.echo(f"the chain of {name} is whole up to record {count}")


def open_chain(aws: Account, entry: "UnitEntry | EndpointEntry") -> "AuditChain":
    """Return the chain of an endpoint or unit, for an account."""
    from mlops_cli.entries import Entries
    from mlops_runtime.contracts.automation import UnitEntry
    from mlops_runtime.rollout.record import AuditChain
    from mlops_runtime.rollout.table import RolloutTable

    if isinstance(entry, UnitEntry):
        unit, table, key = entry, entry.automation_table, entry.unit
    else:
        unit, table, key = Entries(ssm=aws.client("ssm")).unit(entry.unit), entry.rollout_table, entry.endpoint
    row = RolloutTable(aws.client("dynamodb"), table, key)
    return AuditChain(s3=aws.client("s3"), bucket=unit.audit_bucket, table=row)


def _verify_copy(name: str, folder: Path, head: str | None, sequence: int | None) -> tuple[list[str], int]:
    from mlops_runtime.rollout.audit import verify as verify_objects

    problems = []
    if not folder.is_dir():
        problems.append(f"--folder must be a folder, got {folder}")
    if head is None or not re.fullmatch(r"[0-9a-f]{64}", head):
        problems.append(f"--head must be 64 hexadecimal digits, got {head!r}")
    if sequence is None:
        problems.append("--sequence must be given")
    if problems:
        fix = f"read head and sequence from the row, not from the copy: mlops audit show {name} --json"
        raise UserError("; ".join([*problems, fix]))
    objects = {_key(name, path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return verify_objects(objects, endpoint=name, head=str(head), sequence=int(sequence or 0)), int(sequence or 0)


def _key(name: str, path: Path) -> str:
    """Return the key of a copied object, whether the bucket was copied or the chain's prefix alone."""
    prefix, text = f"audit/{name}/", path.as_posix()
    return text if text.startswith(prefix) else prefix + text
