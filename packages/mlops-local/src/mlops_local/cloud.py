"""Start, connect to and stop the embedded cloud of a folder; runs in the parent process."""

import contextlib
import fcntl
import importlib.metadata
import json
import math
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from mlops_local import accounts, session_processes
from mlops_local.accounts import CloudAccount
from mlops_local.egress import browser
from mlops_local.egress import environment as egress
from mlops_local.saved_state import snapshot_files
from mlops_local.settings import ACCOUNT, REGION, ROOT_KEY
from mlops_local.stacks.recorded_types import list_recorded

# real seconds
_START_LIMIT = 30.0
_STOP_GRACE = 3.0
_RESTART_LIMIT = 600.0
_LOG_LINES = 12
_HIGHEST_PORT = 65535
# folder of snapshots in a cloud's home
_SAVED = "saved"


class PortError(Exception):
    """A port is not available; the message gives the reason and the fix."""


def listen(port: int | None) -> socket.socket:
    """Listen on a port of 127.0.0.1; ``None`` chooses a free one.

    Raises:
        PortError: If the port is not available.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if port is None:  # without SO_REUSEADDR, with which a bound but not listening port could be assigned twice
            listener.bind(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if port is not None:
            listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise PortError(
            f"port {port} on 127.0.0.1 cannot be used ({str(error.strerror).lower()}); give another with --port"
        ) from error
    return listener


def listen_again(file: Path, on_event: Callable[[str], None] | None) -> socket.socket:
    """Listen on the port stored in a file, so that the environment of shells remains valid, or else on a free one.

    Args:
        file: The file that ``remember`` wrote.
        on_event: Called if the port changed, so shells need a new environment. Default: not called.
    """
    last = None
    with contextlib.suppress(FileNotFoundError, ValueError):
        last = int(file.read_text())
    if last is None or not 0 < last <= 0xFFFF:
        return listen(None)
    try:
        return listen(last)
    except PortError:
        if on_event is not None:
            on_event(f"port {last}, which this cloud had last, is in use; shells need `mlops local env` again")
        return listen(None)


def remember(file: Path, listener: socket.socket) -> None:
    """Store the port of a listener."""
    file.write_text(f"{listener.getsockname()[1]}\n")


class CloudError(RuntimeError):
    """The embedded cloud cannot be started, found, changed or stopped; the message gives the fix."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running embedded cloud.

    Args:
        home: Folder of the cloud.
        pid: Process id of its child, which leads the session of all its processes.
        born: Start time of that process, as :func:`mlops_local.session_processes.born` returns it.
        port: Port on 127.0.0.1.
        proxy_port: Port of the proxy on 127.0.0.1.
        version: MiniStack's version.
        started: When the cloud started, ISO 8601.

    Example:
        >>> cloud = up(default_home())  # doctest: +SKIP
        >>> cloud.client("s3").list_buckets()["Buckets"]  # doctest: +SKIP
        []
        >>> cloud.down()  # doctest: +SKIP
    """

    home: Path
    pid: int
    born: str
    port: int
    proxy_port: int
    version: str
    started: str

    @property
    def endpoint_url(self) -> str:
        """Endpoint URL of all AWS services."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        """Log file of the embedded cloud."""
        return self.home / "cloud.log"

    @property
    def running(self) -> bool:
        """Whether the child process is alive."""
        return session_processes.born(self.pid) == self.born

    @property
    def accounts(self) -> tuple[str, ...]:
        """Ids of the cloud's accounts."""
        return accounts.read(self.home)

    def at(self, account: str | None = None, region: str | None = None) -> CloudAccount:
        """Return one account and Region of the cloud.

        Args:
            account: The account id. Default: the first account.
            region: The Region. Default: ``us-east-1``.

        Raises:
            CloudError: If the cloud does not have the account.
        """
        try:
            number, place = accounts.chosen(self.accounts, account, region)
        except accounts.AccountError as error:
            raise CloudError(str(error)) from error
        # tools that name an AWS endpoint themselves are sent to the proxy, which serves the request or rejects it
        surroundings = egress.enclosed(
            egress.outer(os.environ),
            proxy=egress.proxy_url(self.proxy_port, _secret(self.home, "proxy-token")),
            trusted=self.home / "trusted.pem",
        ) | {
            "AWS_CONFIG_FILE": str(accounts.profiles_path(self.home)),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
        }
        return CloudAccount(
            number, place, self.endpoint_url, _secret(self.home, "root-secret"), self.accounts, surroundings
        )

    def environment(self) -> dict[str, str]:
        """Return the environment with which an AWS tool uses the first account of this cloud, and reaches no other endpoint."""
        return self.at().environment()

    def root_keys(self) -> dict[str, Any]:
        """Return the credentials of the first account's root user as arguments of ``boto3.client``."""
        return self.at().root_keys()

    def client(self, service: str) -> Any:
        """Return a boto3 client with root credentials of the first account; cached and shared by all threads."""
        return self.at().client(service)

    def status(self) -> dict[str, Any]:
        """Return the cloud's processes, addresses, clock and listeners, and the resources that are recorded without effect.

        Raises:
            CloudError: If the cloud does not respond.
        """
        recorded = list_recorded(self.client("cloudformation"))
        return {
            "endpoint_url": self.endpoint_url,
            "accounts": list(self.accounts),
            "region": REGION,
            "pid": self.pid,
            "ministack": self.version,
            "started": self.started,
            "home": str(self.home),
            "log": str(self.log_path),
            "processes": len(session_processes.members(self.pid)),
            "recorded": [f"{row.stack}/{row.logical_id} ({row.resource_type})" for row in recorded],
            "web_acl_rules_without_effect": self.call("/_mlops/web-acls")["undecided"],
            "monitoring": self.call("/_mlops/monitoring")["monitoring"],
            "clusters": self.call("/_mlops/clusters")["clusters"],
            "model_processes": self.call("/_mlops/model-environments"),
            "load_balancing": self.call("/_mlops/load-balancers"),
            "hosts": self.call("/_mlops/egress"),
            "pages": self.pages(),
            "clock": self.clock(),
        }

    def pages(self) -> list[str]:
        """Return the URLs of the distributions, such as ``https://d111111abcdef8.cloudfront.net`` or a custom domain name.

        Raises:
            CloudError: If the cloud does not respond.
        """
        return [f"https://{name}" for name in self.call("/_mlops/pages")["distributions"]]

    def browser_arguments(self) -> list[str]:
        """Return the arguments with which Chromium, Chrome or Edge opens this cloud's pages at AWS's names.

        These are the current distributions, sign-in pages of user pools and custom domain names; other addresses are not affected.
        The browser needs a profile of its own (``--user-data-dir``).

        Raises:
            CloudError: If the cloud does not respond.
        """
        found = self.call("/_mlops/pages")
        return browser.arguments(found["hosts"], proxy_port=self.proxy_port, pin=found["pin"])

    def clock(self) -> dict[str, Any]:
        """Return the embedded clock: ``now`` (ISO 8601), ``epoch``, ``scale``, ``waiting``."""
        return dict(self.call("/_mlops/clock"))

    def clock_scale(self, factor: float) -> dict[str, Any]:
        """Set the number of embedded seconds per real second.

        Raises:
            CloudError: If the clock rejects it.
        """
        return dict(self.call("/_mlops/clock", {"scale": factor}))

    def clock_jump(self, *, by: timedelta | None = None, to: datetime | None = None) -> dict[str, Any]:
        """Move the embedded clock, running everything due on the way.

        Args:
            by: Duration of the jump. Give either this or ``to``.
            to: Target time, UTC if it has no time zone. Give either this or ``by``.

        Raises:
            CloudError: If the clock rejects it.
        """
        if (by is None) == (to is None):
            raise CloudError(f"a jump takes one of by and to, got by={by!r} and to={to!r}")
        if by is not None:
            return dict(self.call("/_mlops/clock", {"jump_by": by.total_seconds()}))
        return dict(self.call("/_mlops/clock", {"jump_to": str(to and to.isoformat())}))

    def interrupt_training(self, job: str) -> dict[str, Any]:
        """Interrupt a managed spot training job, as AWS may at any time; the job restarts on another instance.

        Raises:
            CloudError: If no spot job of that name is training.
        """
        return dict(self.call("/_mlops/interruptions", {"training_job": job}))

    def saved_state(self) -> dict[str, Any]:
        """Return what is under way, what a stop does not preserve, and the last and the restored snapshot.

        Raises:
            CloudError: If the cloud does not respond.
        """
        return dict(self.call("/_mlops/state"))

    def save(self) -> dict[str, Any]:
        """Save the state now, besides the automatic snapshots; returns the time and size in bytes of the snapshot.

        Raises:
            CloudError: If it cannot be written.
        """
        return dict(self.call("/_mlops/state", "save"))

    def down(self, *, forget: bool = False) -> dict[str, Any]:
        """Save the state and end every process of this cloud; the log is not deleted.

        Work under way is interrupted: the next start ends it as failed.

        Args:
            forget: Delete the state instead. Default: the next ``up`` restores it.

        Returns:
            Time and size of the last snapshot; empty if the state is deleted.

        Raises:
            CloudError: If the state cannot be saved (the cloud continues to run), or a process does not end.
        """
        with _locked(self.home):
            if forget:
                with contextlib.suppress(CloudError):
                    self.call("/_mlops/state", "forget")
                _end(self)
                snapshot_files.delete(self.home / _SAVED)
                accounts.forget(self.home)
                return {}
            saved = dict(self.call("/_mlops/state", "end"))
            _end(self)
            return saved

    def call(self, path: str, body: object = None) -> Any:
        """Call an address of the embedded cloud below ``/_mlops/`` or ``/_ministack/``, as root.

        Args:
            path: The address.
            body: JSON body of a POST. Default: a GET.

        Returns:
            The JSON of the response.

        Raises:
            CloudError: If the cloud rejects the request or does not respond.
        """
        data = None if body is None else json.dumps(body).encode()
        signed = AWSRequest("GET" if data is None else "POST", self.endpoint_url + path, data=data)
        SigV4Auth(Credentials(ROOT_KEY, _secret(self.home, "root-secret")), "mlops", REGION).add_auth(signed)
        request = urllib.request.Request(  # noqa: S310 - http on 127.0.0.1
            self.endpoint_url + path, data=data, headers=dict(signed.headers.items())
        )
        try:
            with urllib.request.urlopen(request, timeout=600) as response:  # noqa: S310 - as above
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise CloudError(json.load(error)["message"]) from error
        except OSError as error:
            raise CloudError(f"{self.endpoint_url} does not answer ({error}); see {self.log_path}") from error


def default_home() -> Path:
    """Return the folder of the embedded cloud: ``MLOPS_LOCAL_HOME``, else ``.mlops/local`` in the working folder."""
    return Path(os.environ.get("MLOPS_LOCAL_HOME", ".mlops/local"))


def up(
    home: Path,
    *,
    port: int | None = None,
    clock_scale: float | None = None,
    account_count: int | None = None,
    on_event: Callable[[str], None] | None = None,
) -> Cloud:
    """Start the embedded cloud of a folder; it runs until :meth:`Cloud.down`, even after the caller has ended.

    The folder's saved state is restored. Embedded time did not pass meanwhile.

    Args:
        home: Folder of the cloud, created if missing.
        port: Port on 127.0.0.1. Default: the previous one, else a free one.
        clock_scale: Embedded seconds per real second. Default: the previous scale, else 1.
        account_count: Number of accounts. Default: the previous number, else 1.
        on_event: Called with messages for the user. Default: not called.

    Raises:
        CloudError: If it already runs, the port is in use, the state is of another version, or the start fails; then
            no process is left running, and the state is unchanged.
    """
    home = home.resolve()
    _check(home, port, clock_scale)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    (home / ".gitignore").write_text("*\n")
    with _locked(home):
        found = _read(home)
        if found is not None:
            if found.running:
                raise CloudError(
                    f"the embedded cloud of {home} already runs at {found.endpoint_url} (pid {found.pid}); "
                    "use it, stop it with `mlops local down`, or give another folder"
                )
            _end(found)
            if on_event is not None:
                has_snapshot = snapshot_files.exists(home / _SAVED)
                lost = (
                    "changes after its last snapshot are lost" if has_snapshot else "it had no snapshot: started clean"
                )
                on_event(
                    f"the last embedded cloud of {home} (pid {found.pid}) ended without `mlops local down`; {lost}"
                )
        _check_state(home)
        try:
            accounts.remember(home, account_count, has_state=snapshot_files.exists(home / _SAVED))
        except accounts.AccountError as error:
            raise CloudError(str(error)) from error
        shutil.rmtree(home / "state", ignore_errors=True)
        try:
            listener = listen_again(home / "port", on_event) if port is None else listen(port)
            proxy = listen_again(home / "proxy-port", on_event)
        except PortError as error:
            raise CloudError(str(error)) from error
        with listener, proxy:
            remember(home / "port", listener)
            remember(home / "proxy-port", proxy)
            return _start(home, listener, proxy, clock_scale, on_event)


def forget(home: Path) -> bool:
    """Delete the state of a stopped cloud; return whether there was one.

    Raises:
        CloudError: If it is running.
    """
    home = home.resolve()
    if not home.is_dir():
        return False
    with _locked(home):
        found = _read(home)
        if found is not None and found.running:
            raise CloudError(
                f"the embedded cloud of {home} runs (pid {found.pid}); stop it with `mlops local down --forget`"
            )
        existed = snapshot_files.exists(home / _SAVED)
        snapshot_files.delete(home / _SAVED)
        accounts.forget(home)
        return existed


def has_state(home: Path) -> bool:
    """Return whether a folder has the saved state of an embedded cloud."""
    return snapshot_files.exists(home.resolve() / _SAVED)


def is_running(home: Path) -> bool:
    """Return whether an embedded cloud runs in a folder."""
    found = _read(home.resolve())
    return found is not None and found.running


def connect(home: Path) -> Cloud:
    """Return the running embedded cloud of a folder.

    Raises:
        CloudError: If none runs there.
    """
    found = _read(home.resolve())
    if found is None or not found.running:
        raise CloudError(f"no embedded cloud runs in {home.resolve()}; start one with `mlops local up`")
    return found


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Lock the start and stop of a folder's cloud between processes."""
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CloudError(
                f"another process is starting or stopping the embedded cloud of {home}; try again when it is done"
            ) from error
        yield


def _read(home: Path) -> Cloud | None:
    try:
        record = json.loads((home / "cloud.json").read_text())
        return Cloud(**{**record, "home": home})
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise CloudError(f"{home} is not a folder; give another home") from error
    except (ValueError, TypeError) as error:
        raise CloudError(
            f"{home / 'cloud.json'} cannot be read ({error}); end the process it names and delete it"
        ) from error


def _check_state(home: Path) -> None:
    """Reject the state of another version before anything starts; nothing is deleted."""
    try:
        snapshot_files.check_versions(home / _SAVED)
    except snapshot_files.VersionError as error:
        raise CloudError(
            f"the state of this embedded cloud cannot be restored: {error}; install that version again, or delete the state "
            "with `mlops local down --forget`"
        ) from error


def _check(home: Path, port: int | None, clock_scale: float | None) -> None:
    problems = []
    there = next(each for each in (home, *home.parents) if each.exists())
    if not there.is_dir():
        problems.append(f"{there} is not a folder; give another home")
    if port is not None and not 0 < port <= _HIGHEST_PORT:
        problems.append(f"port must be 1 to {_HIGHEST_PORT}, got {port}")
    if clock_scale is not None and not 0 < clock_scale < math.inf:
        problems.append(f"the clock's scale must be a number above 0, got {clock_scale}")
    if problems:
        raise CloudError("; ".join(problems))


def _secret(home: Path, name: str) -> str:
    """Return a secret of the folder: 40 characters, created if missing, readable by the folder's owner only."""
    file = home / name
    with (
        contextlib.suppress(FileExistsError),
        open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as new,
    ):
        new.write(secrets.token_urlsafe(30))
    return file.read_text()


def _child_environment(
    home: Path, listener: socket.socket, proxy: socket.socket, clock_scale: float | None
) -> dict[str, str]:
    """Return the child's environment, without the user's AWS settings."""
    outer = egress.outer(os.environ)
    port, proxy_port, token = listener.getsockname()[1], proxy.getsockname()[1], _secret(home, "proxy-token")
    enclosed = egress.enclosed(outer, proxy=egress.proxy_url(proxy_port, token), trusted=home / "trusted.pem")
    # functions and jobs are processes: without byte code each would compile its imports again
    dropped = ("AWS_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in outer.items() if not name.startswith(dropped)} | enclosed
    state = home / "state"
    # jobs share this machine: busy-waiting OpenMP threads took ten times the processor time of the work
    return (
        {"OMP_WAIT_POLICY": "PASSIVE"}
        | kept
        | {
            egress.SOCKET: str(proxy.fileno()),
            egress.TOKEN: token,
            egress.TRUSTED: str(home / "trusted.pem"),
            # ours, read in settings.py
            "MLOPS_LOCAL_PORT": str(port),
            "MLOPS_LOCAL_STATE": str(state),
            "MLOPS_LOCAL_ACCOUNTS": ",".join(accounts.read(home)),
            "MLOPS_LOCAL_CLOCK_SCALE": "" if clock_scale is None else str(clock_scale),
            "MLOPS_LOCAL_SOCKET": str(listener.fileno()),
            # MiniStack's
            "AUTH": "true",
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "LAMBDA_EXECUTOR": "local",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "S3_DATA_DIR": str(state / "s3"),
            "STATE_DIR": str(state / "ministack"),
            "TMPDIR": str(state / "tmp"),
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            # read by SDKs in the child and its Lambda workers
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": _secret(home, "root-secret"),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "PYTHONUNBUFFERED": "1",
        }
    )


def _start(
    home: Path,
    listener: socket.socket,
    proxy: socket.socket,
    clock_scale: float | None,
    on_event: Callable[[str], None] | None,
) -> Cloud:
    (home / "state" / "tmp").mkdir(parents=True)
    log_path = home / "cloud.log"
    if log_path.exists():
        log_path.replace(home / "cloud.previous.log")
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "mlops_local.launcher"],
            cwd=home / "state",
            env=_child_environment(home, listener, proxy, clock_scale),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno(), proxy.fileno()],
            start_new_session=True,
        )
    cloud = Cloud(
        home=home,
        pid=child.pid,
        born=session_processes.born(child.pid) or "",
        port=listener.getsockname()[1],
        proxy_port=proxy.getsockname()[1],
        version=importlib.metadata.version("ministack"),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    try:
        accounts.write_profiles(home, [cloud.at(number) for number in cloud.accounts])
        (home / "cloud.json").write_text(json.dumps({**asdict(cloud), "home": str(home)}, indent=1) + "\n")
        _await_answer(cloud, child)
        _await_state(cloud, child, on_event)
    except BaseException:
        _end(cloud)
        child.wait()
        raise
    return cloud


def _await_answer(cloud: Cloud, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while True:
        if child.poll() is not None:
            problem = f"ended with code {child.returncode}"
        elif time.monotonic() > deadline:
            problem = f"did not answer within {_START_LIMIT:.0f} s"
        else:
            try:
                cloud.clock()
            except CloudError:
                time.sleep(0.05)
                continue
            return
        lines = cloud.log_path.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        raise CloudError(
            "\n  ".join([f"the embedded cloud did not start: it {problem}; the end of {cloud.log_path}:", *lines])
        )


def _await_state(cloud: Cloud, child: subprocess.Popen[bytes], on_event: Callable[[str], None] | None) -> None:
    """Wait until the restored resources run again, and report those that do not."""
    deadline = time.monotonic() + _RESTART_LIMIT
    while child.poll() is None and not (state := cloud.saved_state())["is_ready"]:
        if time.monotonic() > deadline:
            raise CloudError(f"the restored resources do not run within {_RESTART_LIMIT:.0f} s; see {cloud.log_path}")
        time.sleep(0.05)
    restored = state["restored"]
    if restored is None or on_event is None:
        return
    lines = [f"restored the state of {restored['saved']}"]
    lines += [
        f"the last snapshot could not be read, the one before it is restored: {p}" for p in [restored["problem"]] if p
    ]
    lines += [f"interrupted by the stop, and ended: {row}" for row in restored["interrupted"]]
    lines += [f"does not run again: {row}" for row in restored["failed"]]
    for line in lines:
        on_event(line)


def _end(cloud: Cloud) -> None:
    """End the cloud's processes, including those that outlived the child; a reused pid is not touched."""
    born = session_processes.born(cloud.pid)
    if born is None or born == cloud.born:
        try:
            session_processes.end(cloud.pid, grace=_STOP_GRACE)
        except TimeoutError as error:
            raise CloudError(
                f"the embedded cloud of {cloud.home} is not down: {error}; end them and try again"
            ) from error
    shutil.rmtree(cloud.home / "state", ignore_errors=True)
    (cloud.home / "cloud.json").unlink(missing_ok=True)
