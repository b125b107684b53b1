"""The account that a command uses, and its messages when AWS denies a request."""

import io
import os
import socket
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from mlops_cli.aws_account import UserError, account
from mlops_local.cloud import Cloud
from mlops_local.saved_state.snapshot_files import _LAST

Run = Callable[..., subprocess.CompletedProcess[str]]
CHOSEN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL")
NOBODY = "http://127.0.0.1:9"
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the settings of the user who runs the tests, and any embedded cloud in the folder."""
    for name in (*CHOSEN, "MLOPS_LOCAL_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def test_the_cloud_that_runs_is_used(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applies without other settings; the time is its clock's."""
    monkeypatch.setenv("MLOPS_LOCAL_HOME", str(cloud.home))

    with account(None, None) as aws:
        assert aws.options["endpoint_url"] == cloud.endpoint_url
        arn, now = aws.caller()

    assert arn == "arn:aws:iam::000000000000:root"
    assert abs(now - datetime.fromisoformat(cloud.clock()["now"])) < timedelta(minutes=1)


@pytest.mark.parametrize("name", CHOSEN)
def test_what_the_environment_chooses_goes_first(
    name: str, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An embedded cloud in the folder is ignored."""
    (tmp_path / "config").write_text("[profile work]\nregion = eu-west-1\n")
    monkeypatch.setenv("MLOPS_LOCAL_HOME", str(cloud.home))
    monkeypatch.setenv(name, NOBODY if name == "AWS_ENDPOINT_URL" else "work")

    with account(None, None) as aws:
        assert aws.options == {}
        if name != "AWS_ENDPOINT_URL":
            assert aws.session.profile_name == "work"


def test_a_profile_goes_before_a_cloud_that_runs(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The option is explicit."""
    (tmp_path / "config").write_text("[profile work]\nregion = eu-west-1\n")
    monkeypatch.setenv("MLOPS_LOCAL_HOME", str(cloud.home))

    with account("work", None) as aws:
        assert (aws.options, aws.session.profile_name) == ({}, "work")


def test_a_folder_goes_before_the_environment(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option is more recent than a variable."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOBODY)

    with account(None, cloud.home) as aws:
        assert aws.client("ssm").meta.endpoint_url == cloud.endpoint_url


def test_elsewhere_the_time_is_that_of_the_answer(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS has no clock API: the date comes from its response."""
    monkeypatch.setattr("mlops_runtime.cloud_connection._LOOPBACK", ())

    with account(None, cloud.home) as aws:
        assert abs(aws.caller()[1] - datetime.now(UTC)) < timedelta(minutes=1)


def test_other_libraries_reach_the_same_account(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys are the profile's, including its session; or those of the embedded cloud."""
    (tmp_path / "config").write_text(
        "[profile work]\nregion = eu-west-1\naws_access_key_id = A\naws_secret_access_key = B\naws_session_token = C\n"
    )
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", NOBODY)
    with account("work", None) as aws:
        assert aws.environment() == {
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "A",
            "AWS_SECRET_ACCESS_KEY": "B",
            "AWS_SESSION_TOKEN": "C",
            "AWS_ENDPOINT_URL_GLUE": NOBODY,
        }
    with account(None, cloud.home) as aws:
        assert aws.environment().items() <= cloud.environment().items()
        assert "AWS_ENDPOINT_URL_GLUE" not in aws.environment()


def test_the_embedded_cloud_needs_no_metadata_service(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys botocore would call the instance metadata service."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as instance:
        instance.setblocking(False)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{instance.getsockname()[1]}/")
        with account(None, cloud.home) as aws:
            assert aws.environment()["AWS_ACCESS_KEY_ID"] == "test"

        with pytest.raises(BlockingIOError):
            instance.accept()


def test_fails_on_two_choices(tmp_path: Path) -> None:
    """Rejects two choices of an account."""
    with pytest.raises(UserError, match="give --profile or --home, not both"), account("work", tmp_path):
        pytest.fail("an account was chosen")


def test_fails_on_a_folder_without_a_cloud(tmp_path: Path) -> None:
    """Uses no other account instead."""
    with (
        pytest.raises(UserError, match=r"no embedded cloud runs in .*; start one with `mlops local up`"),
        account(None, tmp_path),
    ):
        pytest.fail("an account was chosen")


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("AccessDeniedException", "; docs/operations.md lists the permissions of each command"),
        ("ExpiredTokenException", "; the credentials have expired: sign in again"),
        ("ThrottlingException", ""),
    ],
)
def test_what_aws_refuses_is_one_line(code: str, fix: str) -> None:
    """AWS's message names action and resource."""
    error = ClientError({"Error": {"Code": code, "Message": "User x is not\n authorized"}}, "UpdateItem")

    with pytest.raises(UserError) as caught, account(None, None):
        raise error

    assert str(caught.value) == f"AWS refused UpdateItem ({code}): User x is not authorized{fix}"


def test_an_upload_that_aws_refuses_is_one_line(cloud: Cloud, tmp_path: Path) -> None:
    """Boto3 raises its own error class for it."""
    (tmp_path / "file").write_bytes(b"x")
    refused = r"^AWS refused PutObject \(NoSuchBucket\): "
    with pytest.raises(UserError, match=refused), account(None, cloud.home) as aws:
        aws.client("s3").upload_file(str(tmp_path / "file"), "missing", "key")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {},
            "unable to locate credentials; sign in to AWS or set AWS_PROFILE; without an AWS account: run mlops local up in "
            "the project's folder; to use an embedded cloud started in another folder, run the command there or give --home",
        ),
        (
            {"AWS_PROFILE": "none"},
            "profile (none) could not be found; name one that `aws configure list-profiles` shows",
        ),
        (
            {"AWS_ENDPOINT_URL": NOBODY, **KEYS, "AWS_MAX_ATTEMPTS": "1"},
            "; start the service at AWS_ENDPOINT_URL, or unset the variable",
        ),
    ],
    ids=["no credentials", "no profile", "nobody there"],
)
def test_fails_in_one_line_that_names_the_fix(environment: dict[str, str], words: str, mlops: Run) -> None:
    """Users see one line."""
    nothing = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    result = mlops("status", **{**nothing, **environment})

    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("mlops: ")
    assert words in line


def test_fails_without_a_region(in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses no Region, even with an empty variable."""
    monkeypatch.chdir(tmp_path)
    result = in_process("status", **KEYS, AWS_DEFAULT_REGION="")

    assert (
        result.stderr
        == "mlops: you must specify a region; set AWS_DEFAULT_REGION; without an AWS account: run mlops local up in "
        "the project's folder; to use an embedded cloud started in another folder, run the command there or give --home\n"
    )


def test_a_cloud_that_was_stopped_is_named(in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder has state, so the error names the cloud instead of Region or credentials; explicit settings come first."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    saved = tmp_path / ".mlops" / "local" / "saved"
    saved.mkdir(parents=True)
    (saved / _LAST).write_bytes(b"")
    message = f"the embedded cloud of {saved.parent} is stopped and its state is saved; start it: mlops local up"
    stopped = f"mlops: {message}\n"
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "MLOPS_LOCAL_HOME": str(saved.parent)}
    for verb in (("status",), ("train", "--reason", "x"), ("invoke", "-")):
        assert in_process(*verb, **nothing, AWS_DEFAULT_REGION="").stderr == stopped
    assert in_process("status", **nothing).stderr == stopped
    assert "is stopped" not in in_process("status", **nothing, AWS_PROFILE="work").stderr


def test_the_scale_of_the_clock_is_read_where_it_is_embedded(cloud: Cloud) -> None:
    """Uses the scale of the start, or the one set since."""
    with account(None, cloud.home) as chosen:
        assert chosen.clock_scale() == cloud.clock()["scale"]
