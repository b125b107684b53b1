"""``mlops verify``: check in an AWS account what only AWS can show, within a budget and with guaranteed cleanup."""

import importlib.metadata
import json
import math
import os
import platform
import secrets
import shlex
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import Account, Profile, UserError, VerdictError, account, shown
from mlops_cli.local import Home
from mlops_cli.serving import REPOSITORY, serving_image
from mlops_runtime.contracts import to_dict
from mlops_runtime.image import PLACEHOLDER_DIGEST

if TYPE_CHECKING:
    from mlops_runtime.contracts.verify import SignedReport
    from mlops_runtime.verify.account import Place
    from mlops_runtime.verify.budget import HourlyPrices
    from mlops_runtime.verify.run import Plan

_PACKAGES = ("boto3", "botocore", "aws-cdk-lib")


def verify(
    *,
    profile: Profile = None,
    home: Home = None,
    region: Annotated[str | None, typer.Option(help="Region. Default: the profile's.")] = None,
    max_usd: Annotated[
        float | None, typer.Option(help="Maximum cost of the run in USD, by the price table; required unless --free.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="Serving image in this account and Region: REPOSITORY@sha256:DIGEST or its full URI. Default: `mlops-runtime` "
            "with `image_digest` of cdk.json."
        ),
    ] = None,
    free: Annotated[bool, typer.Option("--free", help="Run only the free checks; nothing is deployed.")] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="Delete the resources left by a killed run, and exit.")
    ] = False,
    check: Annotated[
        Path | None, typer.Option(help="Check the signature of a report, and exit; requires no account.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write the report to. Default: mlops-verify-<region>-<run>.json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Deploy a test unit to an account, check what only AWS can show, delete it, and write a signed report."""
    from mlops_runtime.price.price_table import PriceError
    from mlops_runtime.verify.budget import hourly_prices
    from mlops_runtime.verify.problems import VerifyError

    given = {"--check": check is not None, "--clean": clean, "--free": free}
    given |= {"--image": image is not None, "--max-usd": max_usd is not None, "--output": output is not None}
    _refuse_contradictions([name for name, is_given in given.items() if is_given])
    _refuse_limit(max_usd)
    with shown(VerifyError, PriceError), _terminated_as_interrupted():
        if check is not None:
            _check(check, as_json=as_json)
            return
        with account(profile, home, region=region) as aws:
            command = _clean_command(profile, home, aws)
            prices = hourly_prices(str(aws.client("sts").meta.region_name))
            if clean:
                _clean(aws, command, as_json=as_json)
                return
            _refuse_output(Path() if output is None else output, is_named=output is not None)
            signed = _run(aws, command, prices, max_usd=max_usd, image=image, free=free, echo=_echo(as_json))
        _write(signed, output, as_json=as_json)


def _run(
    aws: Account,
    command: str,
    prices: "HourlyPrices",
    *,
    max_usd: float | None,
    image: str | None,
    free: bool,
    echo: Callable[[str], None],
) -> "SignedReport":
    from mlops_runtime.verify.lock import Lock
    from mlops_runtime.verify.run import Verification

    place, run = _place(aws, command), secrets.token_hex(4)
    Lock(place.client("ssm"), place.names, run).check(place.wall(), command=command)
    repository, digest = (
        ("", "")
        if free
        else serving_image(
            image, cloud=place.cloud, account=place.account, region=place.region, settings=Path("cdk.json")
        )
    )
    if digest and max_usd is None:
        raise UserError("give --max-usd, the maximum cost of the run in USD, or --free for the free checks only")
    with tempfile.TemporaryDirectory() as folder:
        echo("synthesize the unit")
        plan = _plan(Path(folder), place, prices, repository=repository, digest=digest, max_usd=max_usd or 0.0)
        plan.check()
        echo(f"estimate: {plan.estimate():.2f} USD by the list prices of {prices.region} read on {prices.date}")
        verification = Verification(place=place, plan=plan, journal=_journal(place), run=run, echo=echo)
        try:
            return verification.run()
        except KeyboardInterrupt:
            raise UserError(f"interrupted; all resources of run {run} were deleted") from None


def _refuse_contradictions(given: Sequence[str]) -> None:
    """Refuse options of a run together with ``--check`` or ``--clean``, which start none."""
    first = next((name for name in ("--check", "--clean", "--free") if name in given), None)
    of_a_run = {"--check": given, "--clean": given, "--free": [], None: []}[first]
    excluded = [name for name in of_a_run if name != first]
    if excluded:
        raise UserError(f"{first} cannot be combined with {', '.join(excluded)}; remove one side")


def _refuse_limit(max_usd: float | None) -> None:
    if max_usd is not None and not (math.isfinite(max_usd) and max_usd > 0):
        raise UserError(f"--max-usd must be a finite number of USD above 0, such as 2, got {max_usd:g}")


def _refuse_output(path: Path, *, is_named: bool) -> None:
    """Refuse an output path that cannot be written, before the run starts."""
    folder = path.parent if is_named else path
    if is_named and path.is_dir():
        raise UserError(f"--output must be a file, got the folder {str(path)!r}")
    if not folder.is_dir():
        raise UserError(
            f"--output {str(path)!r}: the folder {str(folder)!r} does not exist; create it, or name another file"
        )
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UserError(f"the report cannot be written to {str(path.resolve())!r}; name another file with --output")


def _clean(aws: Account, command: str, *, as_json: bool) -> None:
    from mlops_runtime.verify.run import clean

    place = _place(aws, command)
    removed = clean(place=place, journal=_journal(place), run=secrets.token_hex(4), echo=_echo(as_json))
    if as_json:
        print_json({"removed": removed})
    else:
        typer.echo(f"deleted {len(removed)}: {', '.join(removed)}" if removed else "nothing to delete")


def _check(path: Path, *, as_json: bool) -> None:
    from mlops_runtime.verify.report_signature import check

    if not path.is_file():
        raise UserError(f"file {str(path)!r} not found; name a report written by mlops verify")
    checked = check(path.read_bytes())
    report = checked.report
    if as_json:
        document = {
            "format": "mlops.verify-check/1",
            "cloud": report.cloud,
            "run": report.run,
            "report_sha256": checked.report_sha256,
            "key_sha256": checked.key_sha256,
            "claims": checked.seen() if report.cloud == "aws" else [],
        }
        print_json(document)
        return
    for result in report.results:
        typer.echo(f"{result.verdict.value:7} {result.claim}: {result.evidence}")
    typer.echo(f"run {report.run} on {report.cloud}, {report.region}, {report.ended}; version {report.version}")
    typer.echo(f"report {checked.report_sha256}; unchanged since it was signed with key {checked.key_sha256}")
    if report.cloud != "aws":
        typer.echo("this run was on the embedded cloud and is not evidence about AWS")


def _write(signed: "SignedReport", output: Path | None, *, as_json: bool) -> None:
    from mlops_runtime.contracts.verify import Verdict
    from mlops_runtime.verify.report_signature import fingerprint

    report = signed.report
    path = Path(f"mlops-verify-{report.region}-{report.run}.json") if output is None else output
    path.write_text(json.dumps(to_dict(signed), indent=2) + "\n")
    failed = [result.claim for result in report.results if result.verdict is Verdict.FAILED]
    if not as_json:
        passed = sum(result.verdict is Verdict.PASSED for result in report.results)
        skipped = len(report.results) - passed - len(failed)
        typer.echo(
            f"{passed} passed, {len(failed)} failed, {skipped} skipped; {report.spent_usd:.2f} USD by the price table"
        )
        typer.echo(
            f"report: {path}, signed with key {fingerprint(signed.signature)}; attach the file and this line to an issue"
        )
    if failed:
        raise VerdictError(
            f"{len(failed)} assertions failed: {', '.join(failed)}; the report {path} has the evidence",
            document=to_dict(signed),
        )
    if as_json:
        print_json(to_dict(signed))


def _place(aws: Account, command: str) -> "Place":
    from mlops_runtime.verify.account import ON_AWS, Place, embedded_pace, names

    sts = aws.client("sts")
    answer = sts.get_caller_identity()
    host = urlsplit(sts.meta.endpoint_url).hostname or ""
    is_aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    number, region = str(answer["Account"]), str(sts.meta.region_name)
    clients: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in clients:
            clients[service] = aws.client(service)
        return clients[service]

    def wall() -> datetime:
        headers = client("sts").get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]
        return parsedate_to_datetime(headers["date"]).astimezone(UTC) if "date" in headers else datetime.now(UTC)

    return Place(
        client=client,
        account=number,
        region=region,
        caller=str(answer["Arn"]),
        cloud="aws" if is_aws else "embedded",
        names=names(number, region),
        now=wall if is_aws else lambda: aws.caller()[1],
        wall=wall,
        pace=ON_AWS if is_aws else embedded_pace(aws.clock_scale()),
        command=command,
    )


def _plan(
    folder: Path, place: "Place", prices: "HourlyPrices", *, repository: str, digest: str, max_usd: float
) -> "Plan":
    """Synthesize the test unit and read its assembly."""
    from mlops_cli.stacks import synthesize
    from mlops_local.stacks import deployer
    from mlops_runtime.verify.run import Plan
    from mlops_runtime.verify.template import Template
    from mlops_runtime.verify.unit import File

    if find_spec("mlops_constructs") is None:
        raise UserError(
            "mlops verify needs mlops-constructs, which is not installed; run: pip install mlops-constructs"
        )
    given = {
        "unit": place.names.unit,
        "stack": place.names.stack,
        "bucket": place.names.bucket,
        "repository": repository or REPOSITORY,
        "digest": digest or PLACEHOLDER_DIGEST,
    }
    synthesize("python -m mlops_constructs._verified_unit", folder, {"verify": given})
    (stack,) = deployer.read(folder, account=place.account, region=place.region)
    body = stack.template.read_bytes()
    return Plan(
        template=Template(json.loads(body), account=place.account, region=place.region),
        template_key=stack.template_key,
        template_body=body,
        files=[File(key=asset.key, read=asset.read) for asset in stack.assets],
        prices=prices,
        max_usd=max_usd,
        repository=repository,
        digest=digest,
        version=importlib.metadata.version("mlops-cli"),
        versions={"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _PACKAGES},
    )


def _journal(place: "Place") -> Any:
    from mlops_runtime.verify.journal import Journal

    return Journal(Path(".mlops") / "verify" / f"{place.region}-{place.account}.jsonl")


def _clean_command(profile: str | None, home: Path | None, aws: Account) -> str:
    parts = ["mlops", "verify", "--clean"]
    if profile is not None:
        parts += ["--profile", profile]
    if home is not None:
        parts += ["--home", str(home)]
    return shlex.join([*parts, "--region", str(aws.client("sts").meta.region_name)])


def _echo(as_json: bool) -> Callable[[str], None]:
    return lambda line: typer.echo(line, err=as_json)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, so that created resources are deleted first."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
