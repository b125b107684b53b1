"""Detection of unpickled bodies, without false alarms."""

import contextlib
import io
import pickle
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from mlops_runtime.serving.pickle_tripwire import Tripwire


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
