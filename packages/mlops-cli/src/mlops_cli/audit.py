"""``mlops audit``: show, export and verify the chain of audit records of an endpoint or unit."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer, console, print_facts, print_json, print_table, visible
from mlops_cli.aws_account import Profile, UserError, VerdictError, account
from mlops_cli.local import Home
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import content_hash, to_dict
from mlops_runtime.contracts.rollout import AuditRecord, LockRow, RolloutVerdict
from mlops_runtime.registry.package_approval import person_of

if TYPE_CHECKING:
    from mlops_runtime.rollout.audit_chain import AuditChain
    from mlops_runtime.rollout.kept_minutes import KeptMinutes

app = typer.Typer(
    help="Show and verify the audit log: who promoted, rejected, rolled back and paused what, and why.",
    no_args_is_help=True,
)

Name = Annotated[
    str,
    typer.Argument(
        help="Name of the endpoint or business unit; <group>.releases for releases without an endpoint, <group>.promotions for "
        "model versions taken from another account."
    ),
]


@app.command()
def show(
    name: Name,
    *,
    last: Annotated[int, typer.Option(help="Number of newest records to show.", min=1)] = 20,
    sequence: Annotated[
        int | None,
        typer.Option(
            help="Show one record completely, with the minutes of its verdict as a chart. Default: the newest records.",
            min=1,
        ),
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Show the newest records and the head to verify a copy against, or one record with the evidence of its verdict."""
    from mlops_runtime.business_unit.deployed_chain import open_chain

    with account(profile, home) as aws:
        chain = open_chain(aws.client, Entries(ssm=aws.client("ssm")).chain(name))
        row = chain.table.read()
        if sequence is not None:
            _show_one(chain, row, sequence, as_json=as_json)
            return
        records = chain.newest(row, last)
    is_cut = len(records) < min(last, row.audit_sequence)
    if is_cut:
        number = row.audit_sequence - len(records)
        typer.echo(f"record {number} is missing or changed; see all with: mlops audit verify {name}", err=True)
    if as_json:
        found = {"name": name, "head": row.audit_head, "sequence": row.audit_sequence, "bucket": chain.bucket}
        missing = row.audit_sequence - len(records) if is_cut else None
        print_json(found | {"records": [_document(record) for record in records], "missing": missing})
        return
    if not records:
        typer.echo(f"{name} has no record " + ("that can be read" if is_cut else "yet"))
        return
    print_table(
        ("", "when", "outcome", "serves", "requested by", "reason"), list(map(_cells, records)), whole_words=True
    )
    typer.echo(f"head {row.audit_head} at sequence {row.audit_sequence}")
    compared = [record.sequence for record in records if record.verdict is not None]
    if compared:
        typer.echo(f"to see the minutes of a verdict: mlops audit show {name} --sequence {compared[-1]}")


def _show_one(chain: "AuditChain", row: LockRow, sequence: int, *, as_json: bool) -> None:
    """Show one record, and the minutes from which its verdict was computed."""
    from mlops_runtime.rollout.kept_minutes import MinutesError, read_bytes, read_minutes

    name = chain.table.endpoint
    found = chain.newest(row, row.audit_sequence - sequence + 1) if sequence <= row.audit_sequence else []
    if not found or found[0].sequence != sequence:
        raise UserError(f"{name} has no record {sequence} that can be read; see: mlops audit verify {name}")
    record, minutes, unread = found[0], None, ""
    if record.verdict is not None:
        try:
            minutes = read_minutes(read_bytes(chain.s3, record.verdict))
        except MinutesError as error:
            unread = str(error)
    document = _document(record)
    if as_json:
        computed = None if minutes is None else minutes.sentence()
        shown = {"record": document, "minutes": minutes and minutes.document, "computed": computed}
        print_json(shown | {"unread": unread or None})
        return
    print_facts([(key, str(value)) for key, value in document.items() if not isinstance(value, dict)])
    if record.verdict is None:
        typer.echo("no fleets were compared")
        return
    typer.echo(f"verdict: {record.verdict.sentence}")
    for line in _evidence_lines(record.verdict, minutes, unread):
        typer.echo(visible(line))


def _document(record: AuditRecord) -> dict[str, Any]:
    return {**to_dict(record), "sha256": content_hash(record), "who": person_of(record.requested_by)}


def _evidence_lines(verdict: RolloutVerdict, minutes: "KeptMinutes | None", unread: str) -> Iterator[str]:
    from mlops_cli.evidence_chart import chart
    from mlops_runtime.rollout.kept_minutes import running_evidence

    if minutes is None:
        yield f"its minutes are not shown: {unread}"
        return
    for compared in minutes.compared:
        yield ""
        yield from chart(compared, running_evidence(compared), console().width)
    computed = minutes.sentence()
    yield ""
    yield f"{verdict.minutes_uri}, SHA-256 {verdict.minutes_sha256}"
    if computed == verdict.sentence:
        yield "computed again from these minutes: the same sentence"
    else:
        yield f"computed again from these minutes by this version: {computed}"


def _cells(record: AuditRecord) -> tuple[str, ...]:
    serves = "" if record.serving_package is None else f"version {record.serving_package.rpartition('/')[2]}"
    who = person_of(record.requested_by)
    return (str(record.sequence), record.at, record.outcome.value, serves, who, record.reason)


@app.command()
def verify(
    name: Name,
    *,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Folder that `mlops audit export` wrote, or a copy of the chain's objects. Makes no AWS call."
        ),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(
            help="PEM file of the signing key, saved earlier. Default: read from KMS; with --folder no signature is checked."
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="With --folder: SHA-256 of the newest record. Default: from the newest published head in the folder."
        ),
    ] = None,
    sequence: Annotated[int | None, typer.Option(help="With --folder: sequence of the newest record.", min=0)] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="For <group>.promotions: also verify that the source's chain is intact and released what was taken, and so on, "
            "back to the account that trained the model. Exit 1 if a chain cannot be read.",
        ),
    ] = False,
    source_profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--source-profile",
            help="With --follow: profile of the source's account; repeat it for each account behind it. Default: the profile of "
            "this command.",
        ),
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Find changed, missing, reordered, forked, forged and unsigned records. Exit 3 if there is one."""
    from mlops_cli.audit_copy import CopyOfChain, read_key
    from mlops_cli.followed_source import FollowedSource, follow_sources

    if folder is None and (head is not None or sequence is not None):
        raise UserError(
            "--head and --sequence require --folder; without it they are read from the table row of the endpoint or unit"
        )
    if (follow and folder is not None) or (source_profiles and not follow):
        raise UserError(
            "--follow reads other accounts and cannot be used with --folder; --source-profile requires --follow"
        )
    key = None if public_key is None else read_key(public_key)
    sources: list[FollowedSource] = []
    if folder is not None:
        problems, count = CopyOfChain.read(name, folder).problems(key, head=head, sequence=sequence)
    else:
        from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of
        from mlops_runtime.business_unit.deployed_entries import Entries

        with account(profile, home) as aws:
            entry = Entries(ssm=aws.client("ssm")).chain(name)
            chain = open_chain(aws.client, entry)
            key = key or public_key_of(aws.client, entry)
            problems = chain.problems(key.is_signed)
            row = chain.table.read()
            count = row.audit_sequence
            if follow:
                profiles: Sequence[str | None] = source_profiles or [profile]
                sources = list(follow_sources(entry, chain.newest(row, count), profiles=profiles, home=home))
                problems += [problem for source in sources for problem in source.problems]
    unread = [source.sentence for source in sources if source.unread is not None]
    fingerprint = None if key is None else key.fingerprint
    document = {
        "name": name,
        "is_whole": not problems,
        "records": count,
        "findings": problems,
        "key": fingerprint,
        **({"sources": [source.document for source in sources]} if follow else {}),
    }
    if problems:
        if not as_json:
            typer.echo("\n".join(problems))
        text = f"the chain of {name} is broken: {len(problems)} findings up to record {count}"
        raise VerdictError("; ".join((text, *unread)), document=document)
    signed = "no signature was checked" if key is None else f"signed with the key {key.fingerprint[:16]}"
    text = f"the chain of {name} is intact up to record {count}, {signed}"
    if unread:
        raise UserError("; ".join((text, *unread)), document=document)
    answer(document, "\n".join((text, *(source.sentence for source in sources))), as_json=as_json)


@app.command()
def export(
    name: Name,
    *,
    output: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")],
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Copy a chain for an auditor: records, seals, published heads and the public key.

    Write down the key's fingerprint at the first export, to compare it with later ones.
    """
    from mlops_cli.audit_copy import KEY_FILE, CopyOfChain
    from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of

    with account(profile, home) as aws:
        entry = Entries(ssm=aws.client("ssm")).chain(name)
        chain, key = open_chain(aws.client, entry), public_key_of(aws.client, entry)
        copied = CopyOfChain(
            name=name,
            objects=chain.contents(),
            published=chain.published(),
            passports=chain.passports() or None,
            minutes=chain.minutes() or None,
        )
        row = chain.table.read()
    copied.write(output, key)
    lines = (
        f"{len(copied.objects)} objects and {len(copied.published or {})} published heads in {output}",
        f"public key {key.fingerprint} in {output / KEY_FILE}",
        f"head {row.audit_head} at sequence {row.audit_sequence}",
    )
    document = {"output": output, "key": key.fingerprint, "head": row.audit_head, "sequence": row.audit_sequence}
    answer(document, "\n".join(lines), as_json=as_json)


@app.command()
def machine(
    templates: Annotated[list[Path], typer.Argument(help="CloudFormation templates: cdk.out/*.template.json.")],
    *,
    sha256: Annotated[
        str | None, typer.Option(help="machine_sha256 of a passport: exit 3 if no machine has this hash.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute the definition hash of each Deploy state machine, as in passports and model cards. Makes no AWS call."""
    from mlops_runtime.rollout.definition_hash import hashed_machines

    found = [(path.name, hashed) for path in templates for hashed in hashed_machines(_template(path))]
    rows = [{"template": name, "logical_id": h.logical_id, "sha256": h.found, "stated": h.stated} for name, h in found]
    document = {"machines": rows}
    if not as_json:
        for name, hashed in found:
            typer.echo(f"{hashed.found}  {name} {hashed.logical_id}")
    changed = [f"{name} {h.logical_id} passes the recorder {h.stated}" for name, h in found if h.stated != h.found]
    if changed:
        raise VerdictError(f"changed after synthesis: {'; '.join(changed)}", document=document)
    if not found:
        raise UserError(f"no Deploy machine in {', '.join(path.name for path in templates)}")
    if sha256 is not None and all(hashed.found != sha256 for _, hashed in found):
        raise VerdictError(
            f"no machine in these templates has the definition {sha256}; synthesize the version that was deployed then",
            document=document,
        )
    answer(document, as_json=as_json)


def _template(path: Path) -> dict[str, Any]:
    try:
        template = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"a template must be a JSON file, got {path}: {error}") from error
    if not isinstance(template, dict):
        raise UserError(f"a template must be a JSON object, got a {type(template).__name__} in {path}")
    resources = template.get("Resources", {})
    rows = resources.items() if isinstance(resources, dict) else [("Resources", resources)]
    wrong = [name for name, row in rows if not isinstance(row, dict) or not isinstance(row.get("Properties", {}), dict)]
    if wrong:
        raise UserError(f"a template must have resources that are objects, got others in {path}: {', '.join(wrong)}")
    return template
