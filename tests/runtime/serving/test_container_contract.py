"""The contract kit's client: responses, silence and invalid HTTP.

The contract kit: our server and a small correct one pass; a server that breaks a rule fails by the rule's name.
"""

import contextlib
import hashlib
import io
import json
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.runtime import kinds
from tests.runtime.serving import model_folders
from tests.runtime.serving.test_server import free_port, server, wait_for_ping
from tests.runtime.serving.wrong_server import FAULTS, METADATA, serving

from mlops_runtime.serving.container_contract import (
    Answer,
    Client,
    NoAnswerError,
    Outcome,
    Sample,
    SampleError,
    Tripwire,
    check,
    sample_of,
)

# their faults break other rules too
LEANED_ON = {"ping", "predictions", "unknown content type", "nonsense is the caller's error", "still serving"}
CSV = Sample(content_type="text/csv", body=b"1,2\n3,4\n")


@pytest.fixture
def silent() -> Iterator[tuple[str, socket.socket]]:
    """Return a socket that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", listening


def test_an_answer_has_its_content_type_without_parameters() -> None:
    """In lower case, for comparison by rules."""
    with serving() as url:
        answer = Client(url).request("POST", "/invocations", b"1,2\n", "text/csv")
    assert answer == Answer(200, "text/csv", b"6.0\n")


def test_fails_for_silence(silent: tuple[str, socket.socket]) -> None:
    """The broken rule has the request and the timeout."""
    with pytest.raises(
        NoAnswerError, match=r"GET /ping must be answered within 0\.05 s, got TimeoutError after \d+\.\d s"
    ):
        Client(silent[0]).request("GET", "/ping", timeout=0.05)


def test_fails_for_what_is_no_http(silent: tuple[str, socket.socket]) -> None:
    """The requesting rule gets the same error."""
    url, listening = silent

    def nonsense() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"hello\r\n\r\n")

    thread = threading.Thread(target=nonsense)
    thread.start()
    with pytest.raises(NoAnswerError, match="got BadStatusLine"):
        Client(url).request("GET", "/ping", timeout=5)
    thread.join()


def test_two_requests_share_a_connection() -> None:
    """As a load balancer sends them."""
    with serving() as url:
        first, second = Client(url).request_twice("POST", "/invocations", b"1,2\n", "text/csv")
    assert first == second


def outcomes(verdicts: Any) -> dict[str, str]:
    """Return each rule's outcome, with the reason of failures."""
    return {v.rule: v.outcome.value if v.outcome is not Outcome.FAILED else v.reason for v in verdicts}


def test_our_server_keeps_every_rule(models: Any, tmp_path: Path) -> None:
    """Requests come from its own metadata; it drains at the end."""
    models.write(tmp_path / "model")
    with server(tmp_path, hashlib.sha256(models.onnx()).hexdigest()) as (process, port):
        wait_for_ping(port)
        found = outcomes(check(f"http://127.0.0.1:{port}", pid=process.pid))
        assert set(found.values()) == {"passed"}
        assert process.wait(timeout=10) == 0
    assert found.keys() == FAULTS.keys() | {"drain"}


@pytest.mark.parametrize("more", [{"MLOPS_WORKERS": "1"}, {"MLOPS_WORKERS": "2", "MLOPS_BATCH_MILLISECONDS": "2"}])
def test_a_model_that_is_not_onnx_keeps_every_rule(tmp_path: Path, more: dict[str, str]) -> None:
    """Behind the same server in its own processes; SIGTERM ends all."""
    model_folders.handler(tmp_path / "model")
    digest = hashlib.sha256((tmp_path / "model" / "mlops-model.json").read_bytes()).hexdigest()
    with server(tmp_path, digest, environment=model_folders.ENVIRONMENT | more) as (process, port):
        wait_for_ping(port)
        found = outcomes(check(f"http://127.0.0.1:{port}", pid=process.pid))
        assert process.wait(timeout=10) == 0
    assert found == dict.fromkeys([*FAULTS, "drain"], "passed")


@pytest.mark.parametrize("kind", ["classes", "numbers", "vector"])
def test_a_server_of_lists_keeps_every_rule(kind: str, tmp_path: Path) -> None:
    """Three classes, two outputs and a vector: both protocols, single and in batches."""
    content, signature = kinds.files("classes" if kind == "classes" else "numbers")
    if kind == "vector":
        declared = {**json.loads(signature), "kind": "vector", "width": len(kinds.MEASURES)}
        signature = json.dumps({name: value for name, value in declared.items() if name != "outputs"}).encode()
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    (folder / "signature.json").write_bytes(signature)
    with server(tmp_path, hashlib.sha256(content).hexdigest()) as (process, port):
        wait_for_ping(port)
        found = outcomes(check(f"http://127.0.0.1:{port}", pid=process.pid))
        assert process.wait(timeout=10) == 0
    assert found == dict.fromkeys([*FAULTS, "drain"], "passed")


def test_a_small_right_server_keeps_every_rule() -> None:
    """So that failures of the wrong servers are caused by their faults."""
    with serving() as url:
        found = outcomes(check(url))
    assert found == {**dict.fromkeys(FAULTS, "passed"), "drain": "skipped"}


@pytest.mark.parametrize("rule", list(FAULTS))
def test_fails_for_the_rule_that_is_broken(rule: str) -> None:
    """Each rule has a server that breaks it."""
    with serving(rule) as url:
        found = {verdict.rule: verdict for verdict in check(url)}
    assert found[rule].outcome is Outcome.FAILED
    assert found[rule].reason
    others = {v.rule for v in found.values() if v.outcome is Outcome.FAILED} - {rule}
    if rule not in LEANED_ON:
        assert {other for other in others if not other.startswith("v2")} == set()


def test_rules_that_cannot_be_asked_say_why() -> None:
    """A server without the protocol, a sample that is not JSON, no process."""
    with serving() as url:
        found = {v.rule: v for v in check(url, sample=CSV)}
        other = {v.rule: v for v in check(url, sample=CSV, model="other")}
    assert found["v2 inference"].reason == "the sample is not JSON"
    assert found["drain"].reason == "the server's process is not known (--pid)"
    assert [v.rule for v in found.values() if v.outcome is Outcome.FAILED] == []
    assert other["v2 metadata"].outcome is Outcome.FAILED  # it supports the protocol, but not for this model


def test_fails_when_nothing_listens() -> None:
    """Before any rule is checked."""
    with pytest.raises(NoAnswerError, match=r"nothing listens at 127\.0\.0\.1:\d+: .*; start the server first"):
        check(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(NoAnswerError, match="the server must be http://host:port, got 'localhost:80'"):
        check("localhost:80")
    for url in ("http://[bad", "http://127.0.0.1:99999", "http://127.0.0.1:one"):
        with pytest.raises(NoAnswerError, match=r"the server must be http://host:port, got 'http://.*: .+"):
            check(url)
    with pytest.raises(NoAnswerError, match=r"nothing listens at a\.\.b:1: .*; start the server first"):
        check("http://a..b:1")


DIES = """
import http.server, signal, sys, time
sys.path.insert(0, {root!r})
from tests.runtime.serving.wrong_server import Right
if {stays}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Right).serve_forever()
"""


@pytest.mark.parametrize(
    ("stays", "reason"),
    [(False, "a request in flight at SIGTERM must be answered"), (True, "the process must end within 1 s of SIGTERM")],
)
def test_fails_for_a_server_that_does_not_drain(monkeypatch: pytest.MonkeyPatch, stays: bool, reason: str) -> None:
    """One that drops requests in flight, and one that never ends."""
    monkeypatch.setattr("mlops_runtime.serving.container_contract.DRAIN_SECONDS", 1.0)
    port = free_port()
    program = DIES.format(root=str(Path(__file__).parents[3]), port=port, stays=stays)
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_for_ping(port)
        found = outcomes(check(f"http://127.0.0.1:{port}", sample=CSV, pid=process.pid))
    finally:
        process.kill()
        process.wait()
    assert found["drain"].startswith(reason)


def test_fails_for_a_process_that_is_not_there() -> None:
    """A wrong --pid is reported without a failed rule."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with serving() as url:
        found = outcomes(check(url, pid=ended.pid))
    assert found["drain"].startswith(f"SIGTERM must reach process {ended.pid}: No such process")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"instances": []}', b"[", b'{"instances": 7}'])
def test_fails_for_a_sample_without_rows(body: bytes) -> None:
    """The kit needs rows for its requests."""
    with pytest.raises(SampleError, match="the request must"):
        Sample(content_type="application/json", body=body).rows()


@pytest.mark.parametrize(
    "metadata", [{}, {"inputs": []}, {"inputs": [7]}, {"inputs": [{"datatype": "FP32"}]}, {"inputs": 7}]
)
def test_fails_when_there_is_nothing_to_ask_with(metadata: Any) -> None:
    """The fix is an option."""
    with pytest.raises(SampleError, match=r"pass a valid request \(--request FILE\)"):
        sample_of(metadata)


def test_a_sample_is_made_of_metadata() -> None:
    """Numbers and texts by input names; rows may be sent singly and together."""
    made = sample_of(METADATA)
    assert made.rows() == [b'{"instances": [{"a": 0, "b": 0}]}', b'{"instances": [{"a": 1, "b": 1}]}']
    assert made.batch(made.rows()) == made.body
    assert CSV.batch(CSV.rows()) == CSV.body


@pytest.fixture
def wire() -> Iterator[Tripwire]:
    """Return a tripwire next to a silent server."""
    with socket.create_server(("127.0.0.1", 0)) as server, Tripwire(*server.getsockname()) as made:
        yield made


def test_a_body_that_is_unpickled_is_noticed(wire: Tripwire) -> None:
    """Once: the next question concerns the next body."""
    assert not wire.is_tripped()
    pickle.loads(wire.bodies["application/x-python-pickle"]).close()  # noqa: S301 - the attack works where it is read
    assert wire.is_tripped()
    assert not wire.is_tripped()


def test_numpy_takes_the_array_for_one_of_its_own(wire: Tripwire) -> None:
    """With pickles allowed NumPy runs the content; without, it rejects the array and nothing runs."""
    body = wire.bodies["application/x-npy"]
    with pytest.raises(ValueError, match="allow_pickle=False"):
        np.load(io.BytesIO(body))
    assert not wire.is_tripped()
    with contextlib.suppress(AttributeError):  # a socket is not an array, but has connected by then
        np.load(io.BytesIO(body), allow_pickle=True)
    assert wire.is_tripped()
