"""``mlops models``: list, show, register, approve and reject models of a registry; verify their archives' signatures."""

import hashlib
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer, console, print_facts, print_json, print_table, visible
from mlops_cli.aws_account import Account, Profile, UserError, VerdictError, account, shown
from mlops_cli.local import Home
from mlops_cli.model_registration import register
from mlops_cli.rollout_wait import InterruptedWaitError, RolloutWait
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import to_dict
from mlops_runtime.registry.model_package import PackageError
from mlops_runtime.registry.package_approval import Review, approver_name, review

if TYPE_CHECKING:
    from mlops_runtime.registry.package_case import PackageCase
    from mlops_runtime.rollout.approval_rollout import ApprovalRollout
    from mlops_runtime.rollout.rollback import Answer

app = typer.Typer(help="List, inspect, register, approve and reject models.", no_args_is_help=True)
app.command()(register)

Package = Annotated[
    str,
    typer.Argument(
        help="Package as shown by `mlops models list`: <group>/<number>, or its ARN; latest or <group>/latest for the newest."
    ),
]
Reason = Annotated[str | None, typer.Option(help="Reason, stored with the package. Default: prompt for it.")]
Role = Annotated[
    str | None,
    typer.Option(help="ARN of the role to assume. Default: the registry's approver role, unless already assumed."),
]

_LOOKS = 120  # polls for the start of a rollout, which a rule, a queue and a function delay
_TABLE_WIDTH = 120  # least terminal width for a table


@app.command(name="list")
def list_(
    unit: Annotated[str | None, typer.Argument(help="Business unit or package group. Default: all.")] = None,
    *,
    group: Annotated[
        str | None, typer.Option(help="Name of a package group, also one that no stack has published.")
    ] = None,
    last: Annotated[int, typer.Option(help="Number of newest packages of each group to list.", min=1, max=100)] = 10,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """List the newest packages and whether each can be deployed."""
    from mlops_runtime.registry.package_finder import PackageFinder, PackageNotFoundError

    if unit is not None and group is not None:
        raise UserError("give a unit or --group, not both")
    with account(profile, home) as aws, shown(PackageNotFoundError):
        _, now = aws.caller()
        finder = PackageFinder(client=aws.client)
        if group is not None:
            wanted = [(group, finder.rule(group))]
        else:
            wanted = [(entry.group, entry.rule) for entry in finder.registries(unit)]
        found = [
            review(description, rule=rule, now=now)
            for name, rule in wanted
            for description in finder.catalog.newest(name, last)
        ]
    if as_json:
        print_json([_as_json(each) for each in found])
        return
    if not found:
        typer.echo(f"no package is registered in {', '.join(name for name, _ in wanted)} yet")
        return
    if console().width < _TABLE_WIDTH:
        for each in found:
            _print_narrow(each)
        return
    rows = [
        (each.version, _minute(each.registered), _loaded(each), each.approval, _who(each), _verdict(each))
        for each in found
    ]
    print_table(("package", "registered", "model", "approval", "last changed by", "can be deployed"), rows)


@app.command()
def show(package: Package, as_json: AsJson = False, profile: Profile = None, home: Home = None) -> None:
    """Show a package: the gate's intervals, training set, digests, approver, and the problems that prevent its deployment."""
    from mlops_runtime.registry.package_case import PackageCase
    from mlops_runtime.registry.package_finder import PackageFinder, PackageNotFoundError

    with account(profile, home) as aws, shown(PackageNotFoundError):
        _, now = aws.caller()
        case = PackageCase.read(PackageFinder(client=aws.client), package, now)
    if as_json:
        evaluation = case.evidence.evaluation
        measured = {
            name: None if evaluation is None else getattr(evaluation, name)
            for name in ("metric", "rows", "metrics", "pickled")
        }
        given = {"gate": case.evidence.gate, **measured, "note": case.not_compared}
        print_json(_as_json(case.review) | to_dict(given))
        return
    _print(case)


@app.command()
def card(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
    sequence: Annotated[
        int | None, typer.Option(help="Audit record of the promotion. Default: the newest promotion.", min=1)
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Print the model card of a promotion as Markdown, or with --json its passport as signed by the recorder."""
    from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of
    from mlops_runtime.rollout.passport import PassportError, model_card, read_passport

    with account(profile, home) as aws, shown(PassportError):
        entry = Entries(ssm=aws.client("ssm")).endpoint(endpoint)
        key, found = public_key_of(aws.client, entry), sorted(open_chain(aws.client, entry).passports().items())
        wanted = [content for name, content in found if sequence is None or f"/{sequence:08d}-" in name]
        if not wanted:
            of = "" if sequence is None else f" of record {sequence}"
            raise UserError(
                f"{endpoint} has no passport{of}; only promotions have one; see: mlops audit show {endpoint}"
            )
        passport = read_passport(wanted[-1], key.is_signed)
    if as_json:
        print_json(to_dict(passport))
    else:
        typer.echo(model_card(passport), nl=False)


@app.command()
def verify(
    archive: Annotated[Path, typer.Argument(help="model.tar.gz, copied from the location in its package.")],
    *,
    public_key: Annotated[Path, typer.Option(help="PEM file of the unit's key, written by `mlops audit export`.")],
    signature: Annotated[
        Path | None, typer.Option(help="Signature file. Default: model.sig in the same folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify an archive against its signature, offline. Exit 3 unless it is the archive that passed the gate and was signed."""
    from mlops_cli.audit_copy import read_key
    from mlops_runtime.rollout.archive_signatures import SIGNATURE_FILE, ArchiveSignatureError, signed_digest

    key, file = read_key(public_key), archive.with_name(SIGNATURE_FILE) if signature is None else signature
    try:
        with archive.open("rb") as opened:
            present = hashlib.file_digest(opened, "sha256").hexdigest()
        signed = signed_digest(file.read_bytes(), key)
    except OSError as error:
        raise UserError(f"archive and signature must be readable files: {error}") from error
    except ArchiveSignatureError as error:
        raise VerdictError(f"{file}: {error}") from error
    document = {"archive": archive, "sha256": present, "signed": signed, "key": key.fingerprint}
    if present != signed:
        text = f"{archive} has the digest {present}, but signed was {signed}: it was changed, or belongs to another package"
        raise VerdictError(text, document=document)
    text = f"{archive} has the signed digest {signed}, signed with the key {key.fingerprint[:16]}"
    answer(document, text, as_json=as_json)


@app.command()
def approve(
    package: Package,
    *,
    reason: Reason = None,
    role: Role = None,
    again: Annotated[
        bool, typer.Option("--again", help="Approve an approved package again: this requests its rollout again.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait for the end of the rollout; for an approved package, of its newest one. Exit 3 unless it is promoted.",
        ),
    ] = False,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Approve a package with its current content, which starts its rollout.

    A package that cannot be deployed is refused, with every reason.
    """
    from mlops_runtime.registry.package_case import PackageCase
    from mlops_runtime.registry.package_finder import PackageFinder
    from mlops_runtime.rollout.approval_rollout import RolloutMissingError

    with account(profile, home) as aws, shown(PackageError, RolloutMissingError, ValueError):
        caller, now = aws.caller()
        case = PackageCase.read(PackageFinder(client=aws.client), package, now)
        package, description = case.version, case.description
        rollouts = _rollouts(aws, description["ModelPackageGroupName"]) if wait else {}
        case.require_approvable()
        if case.is_settled and not again:
            document = {"package": description["ModelPackageArn"]}
            text = f"{package} is already approved: {description.get('ApprovalDescription', '')}"
            if not wait:
                raise UserError(f"{text}; to request its rollout again, add --again")
            typer.echo(text, err=True)
            followed = _followed_again(rollouts, description["ModelPackageArn"], package)
        else:
            why = _reason(reason, "approve", package)
            if case.not_compared is not None:
                typer.echo(visible(case.not_compared), err=True)
            identity, result = case.approve(caller=caller, reason=why, role=role)
            document = {"package": description["ModelPackageArn"], "approved_as": identity, "said": result}
            text = f"approved {package} as {identity}: {result}"
            if wait:
                typer.echo(text, err=True)
                followed = _followed(rollouts, description["ModelPackageArn"], package, now)
    if not wait:
        answer(document, text, as_json=as_json)
        return
    document["rollouts"] = {name: {"is_served": each.is_served, "text": each.text} for name, each in followed.items()}
    text = "\n".join(f"{name}: {each.text}" for name, each in followed.items())
    if any(each.record is None for each in followed.values()):
        raise UserError(text, document=document)
    if not all(each.is_served for each in followed.values()):
        raise VerdictError(text, document=document)
    answer(document, text, as_json=as_json)


def _followed(
    rollouts: "Mapping[str, ApprovalRollout]", arn: str, package: str, since: datetime
) -> "dict[str, Answer]":
    """Wait for the rollouts that an approval starts, and return their results by endpoint."""
    try:
        return {name: each.follow(arn, since) for name, each in rollouts.items()}
    except KeyboardInterrupt:
        raise _interrupted(rollouts, package) from None


def _followed_again(rollouts: "Mapping[str, ApprovalRollout]", arn: str, package: str) -> "dict[str, Answer]":
    """Wait for the rollouts that an earlier approval started, and return their results by endpoint."""
    try:
        found = {name: each.follow_again(arn) for name, each in rollouts.items()}
    except KeyboardInterrupt:
        raise _interrupted(rollouts, package) from None
    missing = ", ".join(name for name, each in found.items() if each is None)
    if missing:
        raise UserError(f"no rollout of {package} was found on {missing}; to request it again, add --again")
    return {name: each for name, each in found.items() if each is not None}


def _interrupted(endpoints: Iterable[str], package: str) -> InterruptedWaitError:
    backs = ", ".join(f'mlops rollback {name} --reason "..."' for name in endpoints)
    return InterruptedWaitError(
        f"interrupted; the rollout continues. To wait for it: mlops models approve {package} --wait; to roll it back: {backs}"
    )


@app.command()
def reject(
    package: Package,
    *,
    reason: Reason = None,
    role: Role = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Reject a package. A live one continues to serve; to stop that, run `mlops rollback` first."""
    from mlops_runtime.registry.package_case import PackageCase
    from mlops_runtime.registry.package_finder import PackageFinder

    with account(profile, home) as aws, shown(ValueError):
        caller, now = aws.caller()
        case = PackageCase.read(PackageFinder(client=aws.client), package, now)
        package, description = case.version, case.description
        if description["ModelApprovalStatus"] == "Rejected":
            raise UserError(f"{package} is already rejected: {description.get('ApprovalDescription', '')}")
        why = _reason(reason, "reject", package)
        identity, result = case.reject(caller=caller, reason=why, role=role)
    text = f"rejected {package} as {identity}: {result}"
    if description["ModelApprovalStatus"] == "Approved":
        text += "\nit was approved: a live endpoint serves it until mlops rollback or the next promotion"
    document = {"package": description["ModelPackageArn"], "rejected_as": identity, "said": result}
    answer(document, text, as_json=as_json)


def _rollouts(aws: Account, group: str) -> "dict[str, ApprovalRollout]":
    """Return the rollouts of an approval, by endpoint."""
    from mlops_runtime.business_unit.deployed_chain import open_chain
    from mlops_runtime.rollout.approval_rollout import ApprovalRollout

    entries = Entries(ssm=aws.client("ssm")).endpoints_of(group)
    if not entries:
        raise UserError(
            f"--wait follows a rollout, and no endpoint serves models of {group}; deploy one, or remove --wait"
        )
    return {
        entry.endpoint: ApprovalRollout(
            stepfunctions=aws.client("stepfunctions"),
            chain=open_chain(aws.client, entry),
            machine_arn=entry.deploy_machine,
            wait=RolloutWait(aws=aws, endpoint=entry.endpoint),
            echo=lambda line: typer.echo(line, err=True),
            looks=_LOOKS,
        )
        for entry in entries
    }


def _reason(reason: str | None, verb: str, package: str) -> str:
    if reason is not None:
        return reason
    if not sys.stdin.isatty():
        raise UserError(f'a reason is required: mlops models {verb} {package} --reason "..."')
    return str(typer.prompt(f"Why {verb} {package}?"))


def _as_json(found: Review) -> dict[str, Any]:
    return dict(to_dict(found))


def _print(case: "PackageCase") -> None:
    from mlops_runtime.retraining.loss_intervals import UNBOUNDED
    from mlops_runtime.retraining.registration_gate import compared_text

    found, evidence = case.review, case.evidence
    meta = found.metadata
    facts = (
        ("package", found.arn),
        ("registered", f"{_minute(found.registered)} by {meta.get('execution', 'unknown')}"),
        ("approval", f"{found.approval}{_changed(found)}"),
        ("said", found.description),
        *([("released by", _released(meta))] if "source_package" in meta else []),
        ("image", found.image),
        ("artefact", f"{found.artifact_uri} ({meta.get('artifact_sha256', 'no digest')})"),
        ("model", f"{_loaded(found)} ({meta.get('model_sha256', 'no digest')})"),
        ("training set", meta.get("training_set_id", "unknown")),
        *([("feature service", meta["feature_service"])] if "feature_service" in meta else []),
        ("evaluation", meta.get("evaluation_uri", "unknown")),
        ("binding", found.binding),
    )
    print_facts(facts)
    if evidence.evaluation is not None:
        losses = ", ".join(f"{name} {loss:.4f}" for name, loss in sorted(evidence.evaluation.metrics.items()))
        if evidence.evaluation.pickled is not None:
            names = ", ".join(evidence.evaluation.pickled) or "nothing"
            typer.echo(
                visible(f"the pickle imports {names}; this list is not a guarantee, as unpickling can run any code")
            )
        typer.echo(f"{evidence.evaluation.metric} over {evidence.evaluation.rows} rows: {losses}")
        if evidence.evaluation.compared is not None:
            typer.echo(compared_text(evidence.evaluation.compared))
    if evidence.gate is not None:
        checks = [
            (
                check.rival,
                "all rows" if check.segment is None else check.segment,
                "not compared" if check.high == -UNBOUNDED else f"{check.low:+.1%} to {check.high:+.1%}",
                f"{check.limit:+.1%}",
                "yes" if check.passed else "no",
            )
            for check in evidence.gate.checks
        ]
        heads = ("against", "over", "relative loss", "must be below", "passed")
        print_table(heads, checks, title=f"gate {evidence.gate.verdict.value}")
    if case.not_compared is not None:
        typer.echo(visible(case.not_compared))
    for problem in found.problems:
        typer.echo(visible(f"problem: {problem}"))
    if found.approval == "PendingManualApproval" and not found.problems:
        typer.echo(f'approve it: mlops models approve {found.version} --reason "..."')


def _released(meta: Mapping[str, str]) -> str:
    """Return the source environment and package of a promoted package, and the audit record there."""
    record = meta.get("source_record", "unknown")
    return f"{meta.get('source_environment', 'unknown')} as {meta['source_package']}, audit record {record}"


def _changed(found: Review) -> str:
    """Return when and by whom a package was approved or rejected, or changed while pending."""
    is_pending = found.approval == "PendingManualApproval"
    if found.changed is None or (is_pending and found.changed_by is None):
        return ""
    return f"{', changed' if is_pending else ''} {_minute(found.changed)} by {found.changed_by or 'unknown'}"


def _verdict(found: Review) -> str:
    if found.approval == "Rejected":
        return "no, rejected"
    if len(found.problems) > 1:
        return f"no, for {len(found.problems)} reasons: mlops models show {found.version}"
    if found.problems:
        return f"no: {found.problems[0]}"
    return "yes" if found.approval == "Approved" else "once approved"


def _print_narrow(found: Review) -> None:
    """Print a package as lines, for terminals too narrow for a table."""
    typer.echo(f"{found.version}  {found.approval}")
    typer.echo(f"  registered:      {_minute(found.registered)}")
    typer.echo(visible(f"  model:           {_loaded(found)}"))
    if found.changed_by is not None:
        typer.echo(visible(f"  last changed by: {_who(found)}"))
    typer.echo(visible(f"  can be deployed: {_verdict(found)}"))


def _loaded(found: Review) -> str:
    """Return the flavor of a package's model, and what loading it may do."""
    flavor, trust = (found.metadata.get(name) for name in ("flavor", "trust"))
    return "onnx" if flavor is None else f"{flavor}, trust {trust}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _who(found: Review) -> str:
    """Return who last changed a package: a person's name, or the policy."""
    return "" if found.changed_by is None else approver_name(found.changed_by, found.description)
