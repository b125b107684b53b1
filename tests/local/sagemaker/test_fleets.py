"""Starting servers: health checks and model data, without a cloud."""

import io
import os
import sys
import tarfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_local.sagemaker import container_processes, fleets
from mlops_local.sagemaker.fleets import FleetError, Server

SCRIPT = Path(__file__).parent / "scripts" / "server.py"


class _NoLogs:
    stream = "test"

    def __init__(self, *_: object) -> None:
        """Accept a log stream's arguments."""

    def write(self, line: str) -> None:
        """Discard a line."""

    def close(self) -> None:
        """Do nothing."""


class _Archive:
    """An identity whose S3 has one object."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def client(self, service: str) -> Any:
        """Return a client that downloads the object."""
        assert service == "s3"
        return self

    def download_file(self, bucket: str, key: str, path: str) -> None:
        """Download the object."""
        assert f"s3://{bucket}/{key}" == "s3://b/k"
        Path(path).write_bytes(self._content)


@pytest.fixture(autouse=True)
def no_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Discard logs, because there is no cloud."""
    monkeypatch.setattr(fleets, "LogStream", _NoLogs)


def _server(root: Path, ping: str, limit: float = 10.0) -> Server:
    (root / "model").mkdir()
    (root / "model" / "name.txt").write_text("a")
    server = Server(
        variant="AllTraffic",
        config="c",
        instances=1,
        weight=1.0,
        identity=SimpleNamespace(),  # type: ignore[arg-type]  # nothing here acts as a role
        image="tiny",
        root=root,
        command=[sys.executable, str(SCRIPT)],
        env={**os.environ, "MLOPS_OPT_ML": str(root), "PING": ping},
        log_group="test",
        model={},
        limit=limit,
    )
    server.start()
    return server


def _archive(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size) if member.isfile() else None)
    return buffer.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, 1 if kind == tarfile.REGTYPE else 0
    return info


def test_healthy_server_is_waited_for_and_ends(tmp_path: Path) -> None:
    """A server that returns 200 is healthy; stop ends its process and deletes its files."""
    root = tmp_path / "root"
    root.mkdir()
    server = _server(root, "200")
    process = server.process
    assert process is not None
    server.wait_healthy(threading.Event())
    server.stop()
    assert process.poll() is not None
    assert not server.root.exists()


@pytest.mark.parametrize("ping", ["503", "404"])
def test_fails_on_a_server_that_is_never_healthy(tmp_path: Path, ping: str) -> None:
    """A server that never returns 200 in time fails with AWS's message."""
    server = _server(tmp_path, ping, limit=1.0)
    try:
        with pytest.raises(FleetError, match="AllTraffic did not pass the ping health check"):
            server.wait_healthy(threading.Event())
        assert server.process is not None
        assert server.process.poll() is None
    finally:
        server.stop()


def test_model_data_are_extracted(tmp_path: Path) -> None:
    """Files and folders are extracted under model/."""
    folder = _member("deep", tarfile.DIRTYPE)
    fleets._unpack("s3://b/k", _Archive(_archive(folder, _member("deep/model.onnx"))), tmp_path)  # type: ignore[arg-type]
    assert (tmp_path / "model/deep/model.onnx").read_bytes() == b"x"
    assert not (tmp_path / "model.tar.gz").exists()


@pytest.mark.parametrize(
    "member",
    [
        _member("../outside"),
        _member("/etc/outside"),
        _member("link", tarfile.SYMTYPE, "/etc/passwd"),
        _member("hard", tarfile.LNKTYPE, "../outside"),
        _member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: member.name,
)
def test_fails_on_model_data_that_leave_their_folder(tmp_path: Path, member: tarfile.TarInfo) -> None:
    """Paths outside, absolute names, links and devices are rejected, as by a pod's ``fetch``."""
    with pytest.raises(FleetError, match="Failed to extract model data archive from s3://b/k"):
        fleets._unpack("s3://b/k", _Archive(_archive(member)), tmp_path)  # type: ignore[arg-type]
    assert list(tmp_path.rglob("*")) == []


def test_fails_on_model_data_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive whose content exceeds the limit is rejected before anything is written."""
    monkeypatch.setattr(fleets, "_MAX_UNPACKED", 1)
    with pytest.raises(FleetError, match="it unpacks to more than 1 bytes"):
        fleets._unpack("s3://b/k", _Archive(_archive(_member("a"), _member("b"))), tmp_path)  # type: ignore[arg-type]
    assert not (tmp_path / "model").exists()


def test_retained_variants_keep_counts_and_weights() -> None:
    """RetainAllVariantProperties keeps the running values except excluded ones; new variants come from the config."""
    variants = [
        {"VariantName": "a", "ModelName": "m", "InitialInstanceCount": 1, "InitialVariantWeight": 1.0},
        {"VariantName": "b", "ModelName": "m", "InitialInstanceCount": 1, "InitialVariantWeight": 1.0},
    ]
    running = [{"VariantName": "a", "DesiredInstanceCount": 5, "DesiredWeight": 0.5}]
    kept = fleets.variants({"ProductionVariants": variants}, running, ["DesiredWeight"])
    assert [(v["InitialInstanceCount"], v["InitialVariantWeight"]) for v in kept] == [(5, 1.0), (1, 1.0)]


def test_two_fleets_of_one_config_share_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old fleet may still be stopping, and deletes its files, when the same config starts again."""

    def environment(root: Path, *_: object, **__: object) -> dict[str, str]:
        (root / "model" / "name.txt").write_text("a")
        return {**os.environ, "MLOPS_OPT_ML": str(root)}

    record = {"Resolved": {"Image": "image"}, "EnableNetworkIsolation": True}
    monkeypatch.setattr(fleets.resource_store, "get", lambda *_: record)
    monkeypatch.setattr(fleets.endpoint_configs, "identity", lambda _: None)
    monkeypatch.setattr(fleets.runners, "serve_command", lambda _: [sys.executable, str(SCRIPT)])
    monkeypatch.setattr(fleets, "environment", environment)
    monkeypatch.setattr(container_processes.settings, "home", tmp_path)
    variant = {"VariantName": "AllTraffic", "ModelName": "m", "InitialVariantWeight": 1.0, "InitialInstanceCount": 1}
    config = {"EndpointConfigName": "c", "ProductionVariants": [variant]}

    first = fleets.start("e", config, [variant], None, threading.Event())
    second = fleets.start("e", config, [variant], None, threading.Event())
    first.stop()

    try:
        (server,) = second.servers.values()
        assert (server.root / "model").is_dir()
        assert server.ping()
    finally:
        second.stop()


def test_a_server_that_this_machine_cannot_start_stops_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No process is left of an endpoint that does not start, whatever the reason."""
    messages: list[str] = []

    class Stub:
        process = None

        def __init__(self, name: str) -> None:
            self.name = name

        def start(self) -> None:
            messages.append(f"start {self.name}")
            if self.name == "b":
                raise OSError(12, "Cannot allocate memory")

        def stop(self) -> None:
            messages.append(f"stop {self.name}")

    monkeypatch.setattr(fleets, "opt_ml", lambda *_: tmp_path)
    monkeypatch.setattr(fleets, "make_server", lambda *_, variant, **__: Stub(variant))
    servers = {name: {"model": {}, "rests": False} for name in ("a", "b", "c")}
    with pytest.raises(OSError, match="Cannot allocate memory"):
        fleets.start_again(
            "churn", {"config": "x", "capture": None, "servers": servers, "shadows": {}}, threading.Event()
        )
    assert messages == ["start a", "start b", "stop a", "stop b"]
