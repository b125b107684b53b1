"""``mlops models`` on an embedded cloud with IAM."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.cli.model_registry import BUCKET, GROUP, Registry
from tests.signing import SigningKms

from mlops_local import cloud
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.registry.package_approval import bound_by
from mlops_runtime.rollout.archive_signatures import archive_signature, signed_message
from mlops_runtime.rollout.rollback import Answer


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One embedded cloud for these tests."""
    running = cloud.up(tmp_path_factory.mktemp("models") / "cloud")
    try:
        yield Registry(running)
    finally:
        running.down(forget=True)


@pytest.fixture
def models(registry: Registry, in_process: Any) -> Any:
    """Run ``mlops models`` there, on a wide terminal."""
    return lambda *arguments: in_process("models", *arguments, "--home", registry.home)


def test_a_package_is_listed_shown_and_approved(registry: Registry, models: Any) -> None:
    """Approves in the registry's role, bound to the package's content."""
    package = registry.register("good")

    listed, seen = models("list", "demand"), models("show", package)
    answer = models("approve", package, "--reason", "better [in all] stores")

    assert f"{package} " in listed.stdout
    assert "once approved" in listed.stdout
    for part in (
        "gate PASSED",
        "1200 predictions of its team compared",
        "-8.0% to -1.0%",
        "store=7",
        "c" * 64,
        "wape over 1200 rows: candidate 0.3100",
    ):
        assert part in seen.stdout
    assert answer.returncode == 0, answer.stderr
    assert f"approved {package} as arn:aws:sts::000000000000:assumed-role/Approver/" in answer.stdout
    description = registry.describe(package)
    assert description["ModelApprovalStatus"] == "Approved"
    assert bound_by(description) == description["CustomerMetadataProperties"]["container_sha256"]
    assert "better [in all] stores [binding " in models("show", package).stdout


class Rollout:
    """Outcome of a rollout."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def follow(self, package: str, _since: datetime) -> Answer:
        """Set the outcome for the approved package."""
        assert package.startswith("arn:aws:sagemaker:")
        return self._answer

    def follow_again(self, package: str) -> Answer | None:
        """Set the outcome for a package approved earlier; without a text there is no rollout."""
        assert package.startswith("arn:aws:sagemaker:")
        return self._answer if self._answer.text else None


RECORD = AuditRecord(
    endpoint="demand-forecast",
    sequence=1,
    previous="",
    outcome=Outcome.ROLLED_BACK,
    reason="errors",
    execution="execution",
    at="2017-08-01T09:00:00Z",
    requested_by="ann",
)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(is_served=True, text="PROMOTED", record=RECORD), 0),
        (Answer(is_served=False, text="ROLLED_BACK: errors", record=RECORD), 3),
        (Answer(is_served=False, text="ended FAILED without a record"), 1),
    ],
)
def test_the_newest_package_is_approved_and_followed(
    registry: Registry, models: Any, monkeypatch: pytest.MonkeyPatch, answer: Answer, code: int
) -> None:
    """``latest`` selects it; the exit code reports whether it serves, and a refusal is not a failure of the command."""
    package = registry.register(f"newest-{code}")
    monkeypatch.setattr("mlops_cli.models._rollouts", lambda _aws, group: {f"{group}-endpoint": Rollout(answer)})

    result = models("approve", f"{GROUP}/latest", "--reason", "better", "--wait", "--json")

    found = json.loads(result.stdout)
    assert result.returncode == code, result.stderr
    assert found["package"].endswith(f":model-package/{package}")
    assert found["rollouts"] == {f"{GROUP}-endpoint": {"is_served": answer.is_served, "text": answer.text}}
    assert ("error" in found) == (code != 0)


def test_a_rollout_is_followed_again_by_the_same_command(
    registry: Registry, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An approved package is not approved again; without a known rollout the output says how to request one."""
    package = registry.register("followed")
    models("approve", package, "--reason", "better")
    approval = registry.describe(package)["ApprovalDescription"]
    answers = {text: Answer(is_served=False, text=text, record=RECORD) for text in ("ROLLED_BACK: errors", "")}

    reported = {}
    for text, answer in answers.items():
        monkeypatch.setattr("mlops_cli.models._rollouts", lambda *_, a=answer: {"demand-forecast": Rollout(a)})
        reported[text] = models("approve", package, "--reason", "other words", "--wait")

    found, nothing = reported["ROLLED_BACK: errors"], reported[""]
    assert (found.returncode, nothing.returncode) == (3, 1)
    assert f"{package} is already approved: better [binding " in found.stderr
    assert "mlops: demand-forecast: ROLLED_BACK: errors" in found.stderr
    assert f"no rollout of {package} was found on demand-forecast; to request it again, add --again" in nothing.stderr
    assert registry.describe(package)["ApprovalDescription"] == approval


def test_an_interrupted_wait_says_how_it_goes_on(
    registry: Registry, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollout continues; before and after the approval the output has the command to resume."""
    package = registry.register("interrupted")

    class Waiting(Rollout):
        def follow(self, _package: str, _since: datetime) -> Answer:
            raise KeyboardInterrupt

        def follow_again(self, _package: str) -> Answer | None:
            raise KeyboardInterrupt

    monkeypatch.setattr(
        "mlops_cli.models._rollouts", lambda *_: {"demand-forecast": Waiting(Answer(is_served=False, text=""))}
    )

    for reported in (models("approve", package, "--reason", "better", "--wait") for _ in range(2)):
        assert reported.returncode == 130
        assert (
            f"mlops: interrupted; the rollout continues. To wait for it: mlops models approve {package} --wait; to roll it back: "
            'mlops rollback demand-forecast --reason "..."'
        ) in reported.stderr
    assert registry.describe(package)["ModelApprovalStatus"] == "Approved"


def test_nothing_is_approved_that_cannot_be_followed(registry: Registry, models: Any) -> None:
    """Covers a group without an endpoint, and one without packages."""
    package = registry.register("unfollowed")

    done = models("approve", package, "--reason", "better", "--wait")
    nothing = models("show", "nowhere/latest")

    assert (done.returncode, nothing.returncode) == (1, 1)
    assert "no endpoint serves models of" in done.stderr
    assert registry.describe(package)["ModelApprovalStatus"] == "PendingManualApproval"


def test_a_version_is_whole_on_a_narrow_terminal(registry: Registry, mlops: Any) -> None:
    """Other commands take the version as an argument."""
    package = registry.register("narrow")

    listed = mlops("models", "list", GROUP, "--home", registry.home, COLUMNS="80")

    lines = listed.stdout.splitlines()
    first = lines.index(f"{package}  PendingManualApproval")
    assert lines[first + 1].startswith("  registered:      20")
    assert "  can be deployed: once approved" in lines[first + 2 : first + 4]
    assert "\N{BOX DRAWINGS LIGHT VERTICAL}" not in listed.stdout


def test_json_is_what_a_program_reads(registry: Registry, models: Any) -> None:
    """List and show include gate and metrics."""
    package = registry.register("program")

    (newest, *_) = json.loads(models("list", GROUP, "--json").stdout)
    shown = json.loads(models("show", package, "--json").stdout)

    assert newest["version"] == package
    assert shown["gate"]["checks"][0]["high"] == -0.01
    assert shown["metrics"] == {"candidate": 0.31, "champion": 0.33}
    assert shown["problems"] == []
    assert shown["rule"]["timeout_seconds"] == 7 * 86400


def test_what_was_changed_is_not_approved(registry: Registry, models: Any) -> None:
    """Checks metadata and evidence; every reason is in one line."""
    package = registry.register("changed")
    registry.sagemaker.update_model_package(
        ModelPackageArn=registry.describe(package)["ModelPackageArn"],
        CustomerMetadataProperties={"training_set_id": "d" * 64},
    )
    registry.s3.put_object(Bucket=BUCKET, Key=f"evaluations/{GROUP}/changed/evaluation.json", Body=b"{}")

    answer = models("approve", package, "--reason", "looks fine")

    assert (answer.returncode, answer.stdout) == (1, "")
    (line,) = [text for text in answer.stderr.splitlines() if text.startswith("mlops: ")]
    assert "it was changed after it was registered: its digests, evaluation, baseline, training set, code or" in line
    assert "changed it at " in line
    assert ", changed 20" in models("show", package).stdout
    assert "the evaluation is not a valid Evaluation" in line
    assert registry.describe(package)["ModelApprovalStatus"] == "PendingManualApproval"
    assert "problem: it was changed after it was registered" in models("show", package).stdout


def test_an_artefact_that_no_endpoint_may_read_is_not_approved(registry: Registry, models: Any) -> None:
    """The error has the required location; nothing is approved, and `show` reports the same."""
    package = registry.register("by-hand", artifact="elsewhere/model.tar.gz")
    done = models("approve", package, "--reason", "better")

    assert done.returncode == 1
    assert (
        f"the artefact must be below s3://{BUCKET}/models/{GROUP}/, as the endpoint's role may read nothing else, got "
        f"'s3://{BUCKET}/elsewhere/model.tar.gz'; copy it there and register the package again"
    ) in done.stderr
    assert registry.describe(package)["ModelApprovalStatus"] == "PendingManualApproval"
    assert "must be below" in models("show", package).stdout


def test_an_approval_is_given_anew_when_asked(registry: Registry, models: Any) -> None:
    """A refused rollout, for example during a freeze, is requested by changing the approval."""
    package = registry.register("again")
    models("approve", package, "--reason", "better")

    second, third = models("approve", package, "--reason", "x"), models("approve", package, "--reason", "y", "--again")

    assert second.returncode == 1
    assert f"{package} is already approved: better [binding " in second.stderr
    assert third.returncode == 0, third.stderr
    assert registry.describe(package)["ApprovalDescription"].startswith("y [binding ")


def test_a_package_is_rejected_once(registry: Registry, models: Any) -> None:
    """The reason is stored."""
    package = registry.register("worse")

    first, second = (models("reject", package, "--reason", "store 7 got worse") for _ in range(2))

    assert first.returncode == 0, first.stderr
    assert registry.describe(package)["ApprovalDescription"] == "store 7 got worse"
    assert second.returncode == 1
    assert f"{package} is already rejected: store 7 got worse" in second.stderr


def test_fails_without_a_reason(registry: Registry, models: Any) -> None:
    """Applies without a terminal."""
    package = registry.register("silent")

    answer = models("approve", package)

    assert answer.returncode == 1
    assert f'a reason is required: mlops models approve {package} --reason "..."' in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "demand-forecast"), "a package is written <group>/<number>, such as demand-forecast/7"),
        (("show", "demand-forecast/999"), "package 'demand-forecast/999' not found; list packages with"),
        (("show", "nothing/1"), "package 'nothing/1' not found"),
        (("list", "sales"), "no business unit or package group is named 'sales'; known are: demand (demand-fo"),
        (("list", "demand", "--group", "x"), "give a unit or --group, not both"),
    ],
)
def test_fails_in_one_line(models: Any, arguments: tuple[str, ...], message: str) -> None:
    """The line has the problem and the valid values."""
    answer = models(*arguments)

    assert answer.returncode == 1
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_group_that_no_stack_published_is_listed_by_name(registry: Registry, models: Any) -> None:
    """Without a rule the approver is not checked."""
    registry.sagemaker.create_model_package_group(ModelPackageGroupName="elsewhere")

    answer = models("list", "--group", "elsewhere")

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "no package is registered in elsewhere yet"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A signed archive with its signature and public key."""
    kms, digest = SigningKms(), hashlib.sha256(b"archive").hexdigest()
    signature = base64.b64decode(kms.sealer.sign(signed_message(digest)))
    (tmp_path / "model.tar.gz").write_bytes(b"archive")
    (tmp_path / "model.sig").write_bytes(archive_signature(digest, signature, kms.public))
    (tmp_path / "public-key.pem").write_text(kms.public.pem)
    return tmp_path / "model.tar.gz"


def _verified(in_process: Any, archive: Path) -> Any:
    return in_process("models", "verify", archive, "--public-key", archive.with_name("public-key.pem"))


def test_an_archive_is_verified_offline(in_process: Any, archive: Path) -> None:
    """Needs only the three files."""
    found = _verified(in_process, archive)
    digest = hashlib.sha256(b"archive").hexdigest()
    assert found.returncode == 0
    assert found.stdout.startswith(f"{archive} has the signed digest {digest}, signed with the key ")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda archive: archive.write_bytes(b"Archive"), "it was changed, or belongs to another package"),
        (lambda archive: archive.with_name("model.sig").write_bytes(b"{}"), "is not a signature of an archive"),
        (lambda archive: archive.with_name("model.sig").unlink(), "must be readable files"),
        (lambda archive: archive.unlink(), "must be readable files"),
        (
            lambda archive: archive.with_name("public-key.pem").write_text(SigningKms().public.pem),
            "it differs from what the recorder writes for this archive and key",
        ),
    ],
)
def test_fails_on_what_is_not_what_was_signed(
    in_process: Any, archive: Path, change: Callable[[Path], Any], finding: str
) -> None:
    """Covers archive, signature and key."""
    change(archive)
    found = _verified(in_process, archive)
    assert (found.returncode, found.stdout) == (1 if finding == "must be readable files" else 3, "")
    assert finding in found.stderr


def test_a_champion_that_was_not_compared_is_named_before_an_approval(registry: Registry, models: Any) -> None:
    """Approvers read that nothing shows the package to be better than the serving model."""
    package = registry.register("alone", left_out="it was trained on what was known until 2031")
    word = "the champion is not compared: it was trained on what was known until 2031\n"
    shown = models("show", package).stdout
    assert word in shown
    assert "not compared │ +2.0%" in " ".join(shown.replace("  ", " ").split())
    assert models("approve", package, "--reason", "it is needed").stderr.startswith(word)


def test_the_service_of_a_models_features_is_shown(registry: Registry, models: Any) -> None:
    """Prints name, version and hash; a model without a service has no such line."""
    shown = models("show", registry.register("served", service="shelves/2@0f")).stdout
    (line,) = (line for line in shown.splitlines() if "feature service" in line)
    assert "shelves/2@0f" in line
    assert "feature service" not in models("show", registry.register("plain")).stdout


def test_where_a_promoted_model_comes_from_is_shown(registry: Registry, models: Any) -> None:
    """Prints the source's environment, package and audit record; a model trained here has no such line."""
    source = "arn:aws:sagemaker:eu-west-1:222222222222:model-package/demand-forecast/3"
    shown = re.sub(r"[│\s]", "", models("show", registry.register("promoted", released=source)).stdout)
    assert f"releasedbystagingas{source},auditrecord{'d' * 64}" in shown
    assert "released by" not in models("show", registry.register("trained")).stdout


def test_what_loads_a_model_is_shown(registry: Registry, models: Any) -> None:
    """List and page have flavor and trust, the page the names in a pickle; rejected by default, with the fix."""
    package = registry.register("pickled", flavor="pickle", trust="pickle", pickled=("sklearn.svm.SVC", "..."))
    shown = models("show", package).stdout
    assert "pickle, trust pickle (" in shown
    assert (
        "the pickle imports sklearn.svm.SVC, ...; this list is not a guarantee, as unpickling can run any code"
        in " ".join(shown.split())
    )
    assert "problem: the model is loaded by pickle with trust 'pickle', the registry allows data, code" in shown
    refused = models("approve", package, "--reason", "it is mine")
    assert (refused.returncode, "the registry allows data, code" in refused.stderr) == (1, True)
    assert "pickle, trust pickle" in models("list", "demand").stdout
