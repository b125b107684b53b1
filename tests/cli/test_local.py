"""Starting, inspecting and stopping the embedded cloud with the command."""

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.local.site import make_site

from mlops_local import session_processes
from mlops_local.cloud import connect, is_running

Run = Callable[..., subprocess.CompletedProcess[str]]
RECORDED = {
    "Resources": {
        "Flow": {"Type": "AWS::EC2::FlowLog", "Properties": {"ResourceType": "VPC", "ResourceId": "vpc-1"}},
    }
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory, as for a process of the command."""
    monkeypatch.chdir(tmp_path)


def _only_line(stderr: str) -> str:
    (line,) = stderr.strip().splitlines()
    return line


def test_up_look_and_down(mlops: Run, home: Path) -> None:
    """Covers the whole life of a cloud, each verb in its own process."""
    up = mlops("local", "up", "--home", home, "--scale", 60)
    cloud = connect(home)
    assert (up.returncode, up.stderr) == (0, "")
    assert up.stdout.splitlines()[0] == f"up at {cloud.endpoint_url}; state in {home}"
    assert f'eval "$(mlops local env --home {shlex.quote(str(home))})"' in up.stdout

    status = json.loads(mlops("local", "status", "--json", "--home", home).stdout)
    assert (status["endpoint_url"], status["pid"], status["recorded"]) == (cloud.endpoint_url, cloud.pid, [])
    assert status["clock"]["scale"] == 60

    second = mlops("local", "up", "--home", home)
    assert second.returncode == 1
    assert second.stdout == ""
    assert _only_line(second.stderr) == (
        f"mlops: the embedded cloud of {home} already runs at {cloud.endpoint_url} (pid {cloud.pid}); "
        "use it, stop it with `mlops local down`, or give another folder"
    )
    assert connect(home) == cloud

    down = mlops("local", "down", "--home", home)
    assert down.returncode == 0
    assert re.fullmatch(rf"down; state saved in {re.escape(str(home))} \(\d\.\d MB\)\n", down.stdout)
    assert session_processes.members(cloud.pid) == []
    assert (home / "cloud.log").is_file()

    again = mlops("local", "down", "--home", home)
    assert again.returncode == 1
    assert _only_line(again.stderr) == (f"mlops: no embedded cloud runs in {home}; start one with `mlops local up`")


def test_a_start_that_is_terminated_leaves_no_cloud(home: Path, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    """SIGTERM ends ``up`` like Ctrl-C: the child that is starting ends too, and the next start works."""
    arguments = [sys.executable, "-m", "mlops_cli", "local", "up", "--home", str(home)]
    record = home / "cloud.json"
    with subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as starting:
        pid = wait_for(lambda: record.is_file() and record.read_text() and json.loads(record.read_text())["pid"])
        starting.send_signal(signal.SIGTERM)
        assert starting.wait() == 128 + signal.SIGTERM
        assert session_processes.members(pid) == []
    assert not is_running(home)


def test_a_shell_that_evaluates_env_talks_to_the_cloud(mlops: Run, home: Path, tmp_path: Path) -> None:
    """``env`` prints everything an SDK needs, even if the user's own account is configured."""
    mlops("local", "up", "--home", home)
    python = shlex.quote(sys.executable)
    script = (
        f"eval $({python} -m mlops_cli local env --home {shlex.quote(str(home))})\n"
        f"{python} -c \"import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])\""
    )

    shell = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "AKIAREAL"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shell.stdout == "arn:aws:iam::000000000000:root\n"


def test_status_lists_what_is_only_recorded(in_process: Run, home: Path) -> None:
    """The table marks resources without function, such as flow logs, like the JSON."""
    in_process("local", "up", "--home", home)
    client = connect(home).client("cloudformation")
    client.create_stack(StackName="recorded", TemplateBody=json.dumps(RECORDED))
    client.get_waiter("stack_create_complete").wait(StackName="recorded", WaiterConfig={"Delay": 1})

    status = json.loads(in_process("local", "status", "--json", "--home", home).stdout)
    refused = in_process("local", "down", "--forget", "--json", "--home", home)
    table = in_process("local", "status", "--home", home, COLUMNS="200").stdout

    assert refused.returncode == 1
    assert json.loads(refused.stdout) == {
        "error": f"not done without a confirmation: stop the embedded cloud of {home} and delete its state (recorded); "
        "add --yes"
    }
    assert status["recorded"] == ["recorded/Flow (AWS::EC2::FlowLog)"]
    rows = {cells[0]: cells[1] for line in table.splitlines() if len(cells := _cells(line)) == 2}
    assert rows["recorded"] == "recorded/Flow (AWS::EC2::FlowLog)"
    assert {name for name in rows if name} == status.keys()
    assert "served: none" in rows["hosts"]
    assert not [line for line in table.splitlines() if "{" in line or "[" in line]
    assert (rows["endpoint_url"], rows["pid"]) == (status["endpoint_url"], str(status["pid"]))
    assert "\N{HORIZONTAL ELLIPSIS}" not in in_process("local", "status", "--home", home, COLUMNS="40").stdout
    down = in_process("local", "down", "--forget", "--yes", "--json", "--home", home)
    assert json.loads(down.stdout) == {"home": str(home), "forgotten": True, "kept": {}}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_logs_end_with_what_happened_last(in_process: Run, home: Path) -> None:
    """A call adds a line, and the requested number of lines is printed."""
    in_process("local", "up", "--home", home)
    connect(home).client("ssm").put_parameter(Name="seen-by-the-log", Value="1", Type="String")

    lines = in_process("local", "logs", "--home", home, "--last", 2).stdout.splitlines()
    more = in_process("local", "logs", "--home", home).stdout.splitlines()

    assert len(lines) == 2
    assert "seen-by-the-log" in lines[-1]
    assert more[-2:] == lines
    assert len(more) > 2


def test_the_folder_comes_from_the_environment(in_process: Run, home: Path) -> None:
    """``MLOPS_LOCAL_HOME`` replaces ``--home`` in every verb."""
    up = in_process("local", "up", MLOPS_LOCAL_HOME=str(home))

    assert connect(home).endpoint_url in up.stdout
    assert connect(home).endpoint_url in in_process("local", "env", MLOPS_LOCAL_HOME=str(home)).stdout
    assert in_process("local", "down", MLOPS_LOCAL_HOME=str(home)).returncode == 0


def test_the_port_is_the_one_given(in_process: Run, home: Path) -> None:
    """Scripts may rely on an address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    in_process("local", "up", "--home", home, "--port", port)

    assert connect(home).endpoint_url == f"http://127.0.0.1:{port}"


def test_the_port_stays(in_process: Run, home: Path) -> None:
    """The environment of a shell stays valid after down and up."""
    in_process("local", "up", "--home", home)
    before = in_process("local", "env", "--home", home).stdout
    in_process("local", "down", "--home", home)

    in_process("local", "up", "--home", home)

    assert in_process("local", "env", "--home", home).stdout == before


def test_up_after_a_crash_says_what_was_lost(in_process: Run, home: Path) -> None:
    """Users learn what is lost since the last snapshot."""
    in_process("local", "up", "--home", home)
    crashed = connect(home)
    session_processes.kill([crashed.pid])

    up = in_process("local", "up", "--home", home)

    assert up.returncode == 0
    assert up.stdout.splitlines()[0] == (
        f"the last embedded cloud of {home} (pid {crashed.pid}) ended without `mlops local down`; "
        "it had no snapshot: started clean"
    )
    assert connect(home).pid != crashed.pid


def test_fails_when_the_port_is_in_use(in_process: Run, home: Path) -> None:
    """One line has the port and the option; nothing is left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        up = in_process("local", "up", "--home", home, "--port", port)

    assert up.returncode == 1
    assert _only_line(up.stderr) == (
        f"mlops: port {port} on 127.0.0.1 cannot be used (address already in use); give another with --port"
    )
    assert in_process("local", "status", "--home", home).returncode == 1


@pytest.mark.parametrize("content", ["{", '{"pid": 1}'])
def test_fails_on_a_record_that_cannot_be_read(content: str, in_process: Run, home: Path) -> None:
    """The error has file and fix."""
    home.mkdir()
    (home / "cloud.json").write_text(content)

    status = in_process("local", "status", "--home", home)
    (home / "cloud.json").unlink()

    assert status.returncode == 1
    assert _only_line(status.stderr).startswith(f"mlops: {home / 'cloud.json'} cannot be read (")
    assert status.stderr.strip().endswith("; end the process it names and delete it")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "99999"], "port must be 1 to 65535, got 99999"),
        (["--scale", "0"], "the clock's scale must be a number above 0, got 0.0"),
        (["--scale", "-1"], "the clock's scale must be a number above 0, got -1.0"),
    ],
)
def test_fails_on_an_impossible_port_or_scale(in_process: Run, home: Path, arguments: list[str], message: str) -> None:
    """Fails before anything starts."""
    result = in_process("local", "up", "--home", home, *arguments)

    assert result.returncode == 1
    assert _only_line(result.stderr) == f"mlops: {message}"
    assert not home.exists()


def test_fails_when_home_is_a_file(in_process: Run, tmp_path: Path) -> None:
    """The file stays unchanged."""
    path = tmp_path / "file"
    path.write_text("mine")

    result = in_process("local", "up", "--home", path)

    assert _only_line(result.stderr) == f"mlops: {path} is not a folder; give another home"
    for verb in (["up"], ["status"], ["down"], ["down", "--forget"], ["logs"], ["env"], ["clock"]):
        for home in (path, path / "below"):
            refused = in_process("local", *verb, "--home", home)
            assert refused.returncode == 1
            assert _only_line(refused.stderr).endswith(" is not a folder; give another home")
    assert path.read_text() == "mine"


MACHINE = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 36_000, "End": True}}}


def _start_machine(home: Path) -> str:
    """Start an execution that waits for hours, and return its ARN."""
    cloud = connect(home)
    allow = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    role = cloud.client("iam").create_role(RoleName="waiting", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    machines = cloud.client("stepfunctions")
    machine = machines.create_state_machine(name="waiting", definition=json.dumps(MACHINE), roleArn=role)
    started = machines.start_execution(stateMachineArn=machine["stateMachineArn"], name="one")
    return str(started["executionArn"])


def test_down_names_what_it_interrupts_and_up_what_it_ended(in_process: Run, home: Path) -> None:
    """Interruptions are reported; afterwards the execution is aborted, and the state is kept."""
    in_process("local", "up", "--home", home)
    execution, pid = _start_machine(home), connect(home).pid

    refused = in_process("local", "down", "--home", home)
    assert refused.returncode == 1
    assert _only_line(refused.stderr) == (
        f"mlops: not done without a confirmation: stop the embedded cloud of {home} and interrupt execution one of waiting; "
        "add --yes"
    )
    assert connect(home).pid == pid

    down = json.loads(in_process("local", "down", "--yes", "--json", "--home", home).stdout)
    assert down["interrupted"] == ["execution one of waiting"]
    assert down["bytes"] > 0

    up = in_process("local", "up", "--home", home)
    assert up.returncode == 0
    assert up.stdout.splitlines()[0].startswith("restored the state of ")
    assert up.stdout.splitlines()[1] == "interrupted by the stop, and ended: execution one of waiting"
    ended = connect(home).client("stepfunctions").describe_execution(executionArn=execution)
    assert (ended["status"], ended["error"]) == ("ABORTED", "EmbeddedCloud.Stopped")
    assert ended["cause"] == "The embedded cloud was stopped."


def test_forget_deletes_the_state_of_a_cloud_that_runs_or_not(in_process: Run, home: Path) -> None:
    """The next start is a new cloud; without a confirmation nothing is deleted."""
    in_process("local", "up", "--home", home)
    connect(home).client("ssm").put_parameter(Name="/kept", Value="1", Type="String")
    assert in_process("local", "down", "--home", home).returncode == 0

    refused = in_process("local", "down", "--forget", "--home", home)
    assert refused.returncode == 1
    assert f"delete the state of the embedded cloud of {home}; add --yes" in refused.stderr
    assert in_process("local", "down", "--forget", "--yes", "--home", home).stdout == "state deleted\n"
    assert in_process("local", "down", "--forget", "--yes", "--home", home).stdout == "there is no state\n"

    up = in_process("local", "up", "--home", home)
    assert up.stdout.startswith("up at ")
    assert connect(home).client("ssm").describe_parameters()["Parameters"] == []
    connect(home).client("ssm").put_parameter(Name="/kept", Value="1", Type="String")
    down = in_process("local", "down", "--forget", "--yes", "--home", home)
    assert down.stdout == "down; state deleted\n"
    assert not (home / "saved").exists()


def test_forget_says_what_it_leaves_and_deletes_that_too(in_process: Run, tmp_path: Path) -> None:
    """Deletes models' environments and function packages in the project's folder, but nothing elsewhere."""
    home = tmp_path / ".mlops" / "local"
    for folder in (home / "environments" / "a", tmp_path / ".mlops" / "assets"):
        folder.mkdir(parents=True)
        (folder / "wheel").write_bytes(b"0" * 2_000_000)
    left = in_process("local", "down", "--forget", "--yes", "--home", home).stdout.splitlines()
    assert left == [
        "there is no state",
        f"kept: {home / 'environments'} (2.0 MB)",
        f"kept: {tmp_path / '.mlops' / 'assets'} (2.0 MB)",
        "these packages are reused by the next cloud here; to delete them: mlops local down --forget --packages",
    ]
    gone = json.loads(in_process("local", "down", "--forget", "--yes", "--packages", "--json", "--home", home).stdout)
    assert gone["deleted"] == {str(home / "environments"): 2_000_000, str(tmp_path / ".mlops" / "assets"): 2_000_000}
    assert not (home / "environments").exists()
    assert not (tmp_path / ".mlops" / "assets").exists()
    assert "--packages needs --forget" in in_process("local", "down", "--packages", "--home", home).stderr


def test_browse_opens_a_distribution(mlops: Run, home: Path, tmp_path: Path) -> None:
    """Uses the given browser, here headless Chromium that prints the page."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    script = tmp_path / "printing"
    flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking --dump-dom"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(chromium)} {flags} "$@"\n')
    script.chmod(0o755)
    mlops("local", "up", "--home", home)
    cloud = connect(home)
    arguments = ("local", "browse", "--home", home, "--browser", script)
    assert _only_line(mlops(*arguments).stderr).startswith("mlops: no distribution is deployed here; ")
    name = make_site(cloud, "first")

    shown = mlops(*arguments)

    assert (shown.returncode, f"read at {name}" in shown.stdout) == (0, True), shown
    assert shown.stdout.startswith(f"https://{name} in {script}, until it is closed\n")
    part = mlops(*arguments, f"https://{name}/#part", "--json")
    assert json.loads(part.stdout) == {
        "address": f"https://{name}/#part", "browser": str(script), "arguments": cloud.browser_arguments()
    }  # fmt: skip
    assert f"read at {name}" in part.stderr
    elsewhere = mlops(*arguments, f"https://{name}.evil.example/")
    assert _only_line(elsewhere.stderr) == (
        f"mlops: https://{name}.evil.example/ is not an address of a distribution here; there are https://{name}"
    )
    none = mlops("local", "browse", "--home", home, "--browser", tmp_path / "none")
    assert (
        _only_line(none.stderr) == f"mlops: no browser found ({tmp_path / 'none'}); give the path of one with --browser"
    )
    second = make_site(cloud, "second")
    both = ", ".join(sorted([f"https://{name}", f"https://{second}"]))
    assert _only_line(mlops(*arguments).stderr) == f"mlops: there are 2 distributions; name one of {both}"
    assert json.loads(mlops("local", "status", "--json", "--home", home).stdout)["pages"] == both.split(", ")
