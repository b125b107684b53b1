"""Which port a folder's cloud gets."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_local.ports import PortError, listen, listen_again, remember


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_the_last_port_is_taken_again(tmp_path: Path) -> None:
    """A shell's environment stays right."""
    with listen(None) as first:
        port = first.getsockname()[1]
        remember(tmp_path / "port", first)

    told: list[str] = []
    with listen_again(tmp_path / "port", told.append) as second:
        assert second.getsockname() == ("127.0.0.1", port)
    assert told == []


def test_another_port_is_told(tmp_path: Path, taken: int) -> None:
    """Somebody else took it meanwhile."""
    (tmp_path / "port").write_text(f"{taken}\n")

    told: list[str] = []
    with listen_again(tmp_path / "port", told.append) as listener:
        assert listener.getsockname()[1] != taken
    assert told == [f"port {taken}, which this cloud had last, is in use; shells need `mlops local env` again"]


@pytest.mark.parametrize("content", [None, "", "many", "0", "-1", "65536"])
def test_no_known_port_is_a_free_one(content: str | None, tmp_path: Path) -> None:
    """The first start, and a file that somebody broke."""
    if content is not None:
        (tmp_path / "port").write_text(content)

    with listen_again(tmp_path / "port", None) as listener:
        assert listener.getsockname()[1] > 0


def test_fails_on_a_port_in_use(taken: int) -> None:
    """The one asked for, and no other."""
    with pytest.raises(PortError, match=rf"port {taken} on 127.0.0.1 cannot be used \(address already in use\)"):
        listen(taken)
