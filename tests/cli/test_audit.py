"""Reading and verifying audit chains with the command."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.cli.deployed_unit import DeployedUnit
from tests.signing import SigningKms

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import Outcome, RolloutVerdict, minutes_key
from mlops_runtime.rollout.definition_hash import definition_sha256
from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Minute
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.verdict import Compared, judge

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def promoted(deployed: DeployedUnit) -> DeployedUnit:
    """An endpoint with three records."""
    deployed.serve(1, reason="first [bold]model")
    deployed.serve(2)
    deployed.serve(1, Outcome.ROLLED_BACK, reason="errors")
    return deployed


def _copy(unit: DeployedUnit, folder: Path, *, whole_bucket: bool) -> Path:
    """Copy a chain as ``aws s3 sync`` does: the bucket, or only the chain's prefix."""
    for key, content in unit.objects().items():
        path = folder / (key if whole_bucket else key.removeprefix(f"audit/{unit.endpoint}/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_records_are_shown_with_their_head(on_cloud: Run, promoted: DeployedUnit) -> None:
    """Prints a table without interpreting markup in reasons, or JSON."""
    shown = on_cloud("audit", "show", promoted.endpoint)
    found = json.loads(on_cloud("audit", "show", promoted.endpoint, "--json").stdout)

    row = promoted.table.read()
    for part in ("PROMOTED", "ROLLED_BACK", "version 2", "│ ann ", "first [bold]model", "errors"):
        assert part in shown.stdout
    assert shown.stdout.splitlines()[-1] == f"head {row.audit_head} at sequence 3"
    assert (found["head"], found["sequence"], found["bucket"]) == (row.audit_head, 3, promoted.bucket)
    assert [record["sequence"] for record in found["records"]] == [1, 2, 3]
    assert found["records"][-1]["sha256"] == row.audit_head
    last = json.loads(on_cloud("audit", "show", promoted.endpoint, "--json", "--last", 1).stdout)
    assert [record["sequence"] for record in last["records"]] == [3]


MINUTES = [Minute(new=Counts(calls=600, failed=19), old=Counts(calls=5400, failed=6))] * 3
COMPARED = Compared(minutes=MINUTES, history=(), rule=ComparisonRule())


@pytest.fixture
def stopped(deployed: DeployedUnit) -> DeployedUnit:
    """An endpoint whose second rollout was stopped by a verdict, and whose third was never compared."""
    content = canonical_json({"format": "mlops.verdict/1", "compared": [asdict(COMPARED)]})
    found, digest = judge(COMPARED), hashlib.sha256(content).hexdigest()
    key = minutes_key(deployed.endpoint, 2, digest)
    verdict = RolloutVerdict(
        action="stop",
        calls=found.calls,
        evidence=found.evidence,
        minutes=3,
        sentence=found.sentence,
        minutes_uri=f"s3://{deployed.bucket}/{key}",
        minutes_sha256=digest,
    )
    deployed.s3.put_object(Bucket=deployed.bucket, Key=key, Body=content)
    deployed.serve(1)
    deployed.serve(1, Outcome.ROLLED_BACK, reason=f"stopped {found.sentence}", verdict=verdict)
    deployed.serve(2)
    return deployed


def test_the_evidence_of_a_verdict_is_drawn_and_computed_again(on_cloud: Run, stopped: DeployedUnit) -> None:
    """Computed per minute from the evidence file; complete as JSON; the list marks records with a verdict."""
    sentence = judge(COMPARED).sentence
    listed = on_cloud("audit", "show", stopped.endpoint).stdout.splitlines()
    drawn = on_cloud("audit", "show", stopped.endpoint, "--sequence", 2).stdout
    whole = json.loads(on_cloud("audit", "show", stopped.endpoint, "--sequence", 2, "--json").stdout)

    assert listed[-1] == f"to see the minutes of a verdict: mlops audit show {stopped.endpoint} --sequence 2"
    assert f"verdict: {sentence}" in drawn.splitlines()
    assert "minute   answers failed  answers failed  evidence" in drawn
    assert "\n3            600     19    5,400      6" in drawn
    assert "│ stopped\n" in drawn
    assert drawn.splitlines()[-1] == "computed again from these minutes: the same sentence"
    assert whole["record"]["verdict"]["sentence"] == sentence
    assert len(whole["minutes"]["compared"][0]["minutes"]) == 3
    assert whole["unread"] is None


def test_evidence_that_was_changed_is_not_drawn(on_cloud: Run, stopped: DeployedUnit) -> None:
    """Verification reports its hash; a record without a verdict, and a missing record, are reported too."""
    (key,) = stopped.chain.minutes()
    stopped.s3.put_object(Bucket=stopped.bucket, Key=key, Body=b"{}")

    drawn = on_cloud("audit", "show", stopped.endpoint, "--sequence", 2)
    verified = on_cloud("audit", "verify", stopped.endpoint)
    other = on_cloud("audit", "show", stopped.endpoint, "--sequence", 3)
    missing = on_cloud("audit", "show", stopped.endpoint, "--sequence", 9)

    assert drawn.returncode == 0
    assert "its minutes are not shown: s3://" in drawn.stdout
    assert "is not what the verdict was computed from" in drawn.stdout
    assert verified.returncode == 3
    assert f"{key} was changed" in verified.stdout
    assert other.stdout.splitlines()[-1] == "no fleets were compared"
    assert missing.returncode == 1
    assert "has no record 9 that can be read" in missing.stderr


def test_a_unit_has_a_chain_too(on_cloud: Run, deployed: DeployedUnit) -> None:
    """Contains its pauses; without records the chain is empty and valid."""
    assert on_cloud("audit", "show", deployed.name).stdout == f"{deployed.name} has no record yet\n"
    assert on_cloud("audit", "verify", deployed.name).returncode == 0
    on_cloud("pause", deployed.name, "--reason", "stocktaking")

    assert "stocktaking" in on_cloud("audit", "show", deployed.name).stdout
    whole = on_cloud("audit", "verify", deployed.name).stdout
    assert whole.startswith(f"the chain of {deployed.name} is intact up to record 1, signed with the key ")


def test_a_whole_chain_is_whole(on_cloud: Run, promoted: DeployedUnit) -> None:
    """Exits with 0 and prints one line."""
    result = on_cloud("audit", "verify", promoted.endpoint)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"the chain of {promoted.endpoint} is intact up to record 3, signed with the key ")


def test_a_missing_record_is_found(on_cloud: Run, promoted: DeployedUnit) -> None:
    """Prints a line per finding and exits with an error."""
    promoted.s3.delete_object(Bucket=promoted.bucket, Key=sorted(promoted.objects())[1])

    result = on_cloud("audit", "verify", promoted.endpoint)

    assert result.returncode == 3
    assert result.stdout.splitlines()[0] == "sequence 2 is missing"
    assert "sequence 2 was sealed with the hash" in result.stdout
    assert result.stderr == f"mlops: the chain of {promoted.endpoint} is broken: 3 findings up to record 3\n"


@pytest.mark.parametrize("whole_bucket", [True, False], ids=["bucket", "prefix"])
def test_a_copy_is_verified_without_aws(whole_bucket: bool, mlops: Run, promoted: DeployedUnit, tmp_path: Path) -> None:
    """Needs no account: the auditor noted the head; changing one byte is detected."""
    folder = _copy(promoted, tmp_path / "copy", whole_bucket=whole_bucket)
    given = ("--folder", folder, "--head", promoted.table.read().audit_head, "--sequence", 3)
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "none"}

    whole = mlops("audit", "verify", promoted.endpoint, *given, **nowhere)
    path = next(path for path in sorted(folder.rglob("*.json")))
    path.write_bytes(path.read_bytes().replace(b"first", b"worst"))
    changed = mlops("audit", "verify", promoted.endpoint, *given, **nowhere)

    message = f"the chain of {promoted.endpoint} is intact up to record 3, no signature was checked\n"
    assert (whole.returncode, whole.stdout) == (0, message)
    assert changed.returncode == 3
    assert f"audit/{promoted.endpoint}/{path.name} is changed" in changed.stdout


NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "", "AWS_PROFILE": "none"}


def test_a_copy_is_verified_with_the_public_key_alone(
    on_cloud: Run, mlops: Run, promoted: DeployedUnit, tmp_path: Path
) -> None:
    """The auditor has the folder and a key noted earlier; published heads define the end of the chain."""
    folder, noted = tmp_path / "copy", tmp_path / "noted.pem"
    exported = on_cloud("audit", "export", promoted.endpoint, "--output", folder)
    noted.write_bytes((folder / "public-key.pem").read_bytes())
    given = ("--folder", folder, "--public-key", noted)

    whole = mlops("audit", "verify", promoted.endpoint, *given, **NOWHERE)

    assert exported.stdout.splitlines()[0] == f"6 objects and 3 published heads in {folder}"
    assert exported.stdout.splitlines()[2] == f"head {promoted.table.read().audit_head} at sequence 3"
    assert (whole.returncode, whole.stderr) == (0, "")
    assert whole.stdout.startswith(f"the chain of {promoted.endpoint} is intact up to record 3, signed with the key ")
    for path in sorted((folder / "audit").rglob("00000003-*")):
        path.unlink()
    cut = mlops("audit", "verify", promoted.endpoint, *given, **NOWHERE)
    assert cut.returncode == 3
    assert "sequence 3 is missing" in cut.stdout
    assert on_cloud("audit", "export", promoted.endpoint, "--output", folder).stderr.endswith(
        f"--output must be a new or an empty folder, got {folder}\n"
    )


def test_another_key_finds_every_seal(on_cloud: Run, in_process: Run, promoted: DeployedUnit, tmp_path: Path) -> None:
    """A chain forged with another key does not match the auditor's noted key."""
    folder, noted = tmp_path / "copy", tmp_path / "noted.pem"
    on_cloud("audit", "export", promoted.endpoint, "--output", folder)
    noted.write_text(SigningKms().public.pem)

    other = on_cloud("audit", "verify", promoted.endpoint, "--public-key", noted)
    junk = in_process("audit", "verify", promoted.endpoint, "--public-key", folder / "audit")

    assert (other.returncode, junk.returncode) == (3, 1)
    assert other.stdout.count("is not signed with the unit's key") == 6
    assert junk.stderr.startswith("mlops: --public-key must be a PEM file of a P-256 public key, got ")


def test_records_beyond_a_break_are_not_shown(on_cloud: Run, promoted: DeployedUnit) -> None:
    """Shows the records that the head reaches, and where they end."""
    promoted.s3.put_object(Bucket=promoted.bucket, Key=sorted(promoted.objects())[1], Body=b"junk")

    result = on_cloud("audit", "show", promoted.endpoint)

    assert (result.returncode, result.stdout.splitlines()[-1]) == (
        0,
        f"head {promoted.table.read().audit_head} at sequence 3",
    )
    assert result.stderr == f"record 2 is missing or changed; see all with: mlops audit verify {promoted.endpoint}\n"


def test_an_older_head_finds_what_was_added(in_process: Run, promoted: DeployedUnit, tmp_path: Path) -> None:
    """With a head noted earlier, later records are listed."""
    first = next(iter(sorted(promoted.objects())))
    head = json.loads(promoted.objects()[sorted(promoted.objects())[1]])["previous"]
    folder = _copy(promoted, tmp_path / "copy", whole_bucket=False)

    result = in_process("audit", "verify", promoted.endpoint, "--folder", folder, "--head", head, "--sequence", 1)

    assert head[:16] in first
    assert result.stdout.splitlines() == ["sequence 2 is past the head at 1", "sequence 3 is past the head at 1"]


def test_fails_on_half_a_question(in_process: Run, tmp_path: Path) -> None:
    """Reports every problem at once, and where to find head and sequence."""
    result = in_process("audit", "verify", "demand-forecast", "--folder", tmp_path, "--head", "abc")
    missing = in_process("audit", "verify", "demand-forecast", "--folder", tmp_path / "none")
    alone = in_process("audit", "verify", "demand-forecast", "--sequence", 1)

    assert result.returncode == alone.returncode == 1
    assert result.stderr == (
        "mlops: --head must be 64 hexadecimal digits, got 'abc'; --sequence must be given; give --public-key and a folder written "
        "by mlops audit export, which has the published heads; or read head and sequence from the row instead of the copy: "
        "mlops audit show demand-forecast --json\n"
    )
    assert missing.stderr == f"mlops: --folder must be a folder, got {tmp_path / 'none'}\n"
    assert "--head and --sequence require --folder" in alone.stderr


def test_the_hash_of_a_machine_is_computed_from_a_template(in_process: Run, tmp_path: Path) -> None:
    """Prints the hash of each Deploy machine; a changed machine, or another hash, is an error."""
    digest = definition_sha256(_definition(""))
    template, changed, none = (tmp_path / f"{name}.template.json" for name in ("Demand", "Changed", "None"))
    for path, definition in (
        (template, _definition(digest)),
        (changed, _definition(digest).replace("Deploy", "deploy")),
    ):
        machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"DefinitionString": definition}}
        path.write_text(json.dumps({"Resources": {"EndpointDeploy": machine}}))
    none.write_text("{}")

    shown = in_process("audit", "machine", template, "--sha256", digest)
    other = in_process("audit", "machine", template, "--sha256", "0" * 64)

    assert (shown.returncode, shown.stdout) == (0, f"{digest}  Demand.template.json EndpointDeploy\n")
    assert other.returncode == 3
    assert other.stderr == (
        f"mlops: no machine in these templates has the definition {'0' * 64}; synthesize the version that was deployed then\n"
    )
    assert in_process("audit", "machine", changed).stderr == (
        f"mlops: changed after synthesis: Changed.template.json EndpointDeploy passes the recorder {digest}\n"
    )
    assert in_process("audit", "machine", none).stderr == "mlops: no Deploy machine in None.template.json\n"
    none.write_text("[]")
    assert f"a template must be a JSON object, got a list in {none}" in in_process("audit", "machine", none).stderr
    for resources in ("[]", '{"Deploy": []}', '{"Deploy": {"Properties": []}}'):
        none.write_text(f'{{"Resources": {resources}}}')
        assert "a template must have resources that are objects" in in_process("audit", "machine", none).stderr
    assert "a template must be a JSON file" in in_process("audit", "machine", tmp_path).stderr


def _definition(digest: str) -> str:
    return f'{{"Comment":"Deploy","machine_sha256":"{digest}"}}'


def test_fails_on_a_name_that_is_not_there(on_cloud: Run, deployed: DeployedUnit) -> None:
    """The error lists existing endpoints and units."""
    result = on_cloud("audit", "show", "nobody-forecast")

    assert result.returncode == 1
    assert result.stderr.startswith("mlops: no endpoint or business unit is named 'nobody-forecast'; deployed are: ")
    assert {deployed.name, deployed.endpoint} <= set(result.stderr.split(": ")[-1].strip().split(", "))
