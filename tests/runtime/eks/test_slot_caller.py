"""Golden requests to a slot: requests, responses and retries."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

from mlops_runtime.contracts.serving import GoldenRequest
from mlops_runtime.eks.slot_caller import HttpSession, SlotCaller
from mlops_runtime.rollout.golden_answers import GoldenCallError, Reply

URLS = {"blue": "https://models.internal:8001", "green": "https://models.internal:8002"}
REQUEST = GoldenRequest(name="two", body='{"instances": [{"x": 2.0}]}', rows=1)
GONE = ConnectionClosedError(endpoint_url=URLS["green"])


class _Answer(AWSResponse):
    def __init__(self, status: int, body: bytes) -> None:
        super().__init__("", status, HeadersDict({"Content-Type": "application/json"}), None)
        self._content = body


class Balancer:
    """Returns prepared responses and records requests."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.sent = list(answers), list[tuple[str, bytes, str, str]]()

    def __call__(self, url: str, body: bytes, headers: Any) -> AWSResponse:
        """Answer with the next."""
        self.sent.append((url, body, headers["Content-Type"], headers["X-Amzn-SageMaker-Inference-Id"]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return _Answer(*answer)


def called(*answers: Any) -> tuple[Reply, Balancer]:
    """Call the green slot and return the result."""
    balancer, seconds = Balancer(*answers), iter(range(100))
    caller = SlotCaller(urls=URLS, post=balancer, timer=lambda: next(seconds) / 100, pause=lambda _: None)
    return caller("green", REQUEST, "id-1"), balancer


def test_a_slot_is_asked_by_its_own_listener() -> None:
    """The id distinguishes it from clients' calls in captures; the time is that of the single call."""
    reply, balancer = called((200, b'{"predictions": [6.0]}'))
    assert reply == Reply(numbers=(6.0,), milliseconds=pytest.approx(10))
    assert balancer.sent == [(f"{URLS['green']}/invocations", REQUEST.body.encode(), "application/json", "id-1")]


def test_an_answer_of_the_load_balancer_is_asked_again() -> None:
    """For a pod that stops, or a closed connection: the slot responds then, with unknown latency."""
    reply, balancer = called((502, b"<html>"), (503, b"<html>"), GONE, (200, b'{"predictions": [6.0]}'))
    assert (reply.numbers, reply.milliseconds, reply.was_retried) == ((6.0,), None, True)
    assert len(balancer.sent) == 4


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([(400, b'{"error": "x is missing"}')], "the model returned 400, expected 2xx"),
        ([(504, b"<html>")], "the model returned 504, expected 2xx"),
        ([(503, b"<html>")] * 4, "the model returned 503, expected 2xx"),
        ([(200, b'{"error": "out of memory"}')], "(KeyError"),
    ],
)
def test_what_is_no_answer_is_the_slots_problem(answers: list[Any], problem: str) -> None:
    """A rejection, a timeout, no pod for long, an error with status 200."""
    reply, balancer = called(*answers)
    assert reply.problem is not None
    assert problem in reply.problem
    assert balancer.answers == []


def test_a_load_balancer_that_does_not_answer_says_nothing_of_the_model() -> None:
    """The check has no verdict."""
    error = EndpointConnectionError(endpoint_url=URLS["green"])
    with pytest.raises(GoldenCallError, match="slot 'green' could not be called: Could not connect"):
        called(error)
    with pytest.raises(GoldenCallError, match="slot 'green' could not be called: Connection was closed"):
        called(*[GONE] * 4)


@pytest.fixture
def server() -> Iterator[str]:
    """Run an HTTP server with persistent connections that returns its client's port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = str(self.client_address[1]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()


def test_a_connection_is_kept(server: str) -> None:
    """So that a call's time excludes handshakes."""
    session = HttpSession()
    assert len({session(f"{server}/invocations", b"{}", {}).content for _ in range(3)}) == 1


def test_a_function_for_sagemaker_has_no_slots_to_ask() -> None:
    """One for EKS has their addresses in its environment."""
    assert SlotCaller.from_environment({"ENDPOINT": "demand-forecast"}) is None
    caller = SlotCaller.from_environment({"SLOT_URLS": '{"blue": "https://demand:8001"}'})
    assert caller is not None
    assert caller.urls == {"blue": "https://demand:8001"}
