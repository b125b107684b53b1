"""The kit's client: what a server's answer, silence and nonsense come to."""

import socket
import threading
from collections.abc import Iterator

import pytest
from tests.runtime.serving.wrong_server import serving

from mlops_runtime.serving.contract_client import Answer, Client, NoAnswerError


@pytest.fixture
def silent() -> Iterator[tuple[str, socket.socket]]:
    """Give a socket that takes connections and says nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", listening


def test_an_answer_has_its_content_type_without_parameters() -> None:
    """Lower case, as rules compare it."""
    with serving() as url:
        answer = Client(url).ask("POST", "/invocations", b"1,2\n", "text/csv")
    assert answer == Answer(200, "text/csv", b"6.0\n")


def test_fails_for_silence(silent: tuple[str, socket.socket]) -> None:
    """Which is a broken rule of the server's, named with the request and the time it had."""
    with pytest.raises(
        NoAnswerError, match=r"GET /ping must be answered within 0\.05 s, got TimeoutError after \d+\.\d s"
    ):
        Client(silent[0]).ask("GET", "/ping", timeout=0.05)


def test_fails_for_what_is_no_http(silent: tuple[str, socket.socket]) -> None:
    """The same error, so that the rule that asked is told."""
    url, listening = silent

    def nonsense() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"hello\r\n\r\n")

    thread = threading.Thread(target=nonsense)
    thread.start()
    with pytest.raises(NoAnswerError, match="got BadStatusLine"):
        Client(url).ask("GET", "/ping", timeout=5)
    thread.join()


def test_two_requests_share_a_connection() -> None:
    """As a load balancer sends them."""
    with serving() as url:
        first, second = Client(url).ask_twice("POST", "/invocations", b"1,2\n", "text/csv")
    assert first == second
