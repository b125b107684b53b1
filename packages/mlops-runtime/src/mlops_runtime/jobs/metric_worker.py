"""Worker process of a unit's metric function. It uses the standard library and the function's own imports, none of this package.

``python metric_worker.py FD FILE MEGABYTES`` loads ``loss(label, prediction)`` from a file and calls it for each row.
Both arguments are arrays of 64-bit floats.

- A request is the number of rows, the total number of label values and the width of a prediction; then the number of each row in
  the holdout, the length of each label, the labels and the predictions.
- A response is a length, 0 and a 64-bit float per row; if the length is negative, a one-line error message.

The parent process has verified the file before, and checks every loss.
"""

import importlib.util
import resource
import socket
import struct
import sys
from array import array
from collections.abc import Callable
from typing import Any

_HEAD = struct.Struct("<qqq")
_ANSWER = struct.Struct("<qq")
_FUNCTION = "loss"

Loss = Callable[[Any, Any], float]


def load(path: str) -> Loss:
    """Return the function of a file."""
    spec = importlib.util.spec_from_file_location("metric", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, _FUNCTION, None)
    if not callable(found):
        raise TypeError(f"it has no function {_FUNCTION}(label, prediction)")
    return found  # type: ignore[no-any-return]


def losses(
    loss: Loss, rows: "array[int]", sizes: "array[int]", labels: "array[float]", predictions: "array[float]"
) -> bytes:
    """Return the loss of each row."""
    found, width, start = array("d"), len(predictions) // len(rows), 0
    for place, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        label, prediction = labels[start : start + size], predictions[place * width : (place + 1) * width]
        start += size
        try:
            found.append(float(loss(label, prediction)))
        except BaseException as error:
            raise RuntimeError(f"row {row} of the holdout: {type(error).__name__}: {error}") from error
    return found.tobytes()


def _exactly(wire: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = wire.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _array(kind: str, data: bytes) -> "array[Any]":
    values = array(kind)
    values.frombytes(data)
    return values


def _fail(wire: socket.socket, text: str) -> None:
    content = " ".join(text.split()).encode()[:2000]
    wire.sendall(_ANSWER.pack(-len(content), 0) + content)


def main(descriptor: str, path: str, megabytes: str) -> int:
    """Answer requests until the parent closes the socket. Returns the exit code."""
    sys.dont_write_bytecode = True  # the file is in a folder of the unit
    wire = socket.socket(fileno=int(descriptor))
    limit = int(megabytes) << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        loss = load(path)
    except BaseException as error:  # its module may raise anything, SystemExit too
        _fail(wire, f"{type(error).__name__}: {error}")
        return 1
    wire.sendall(_ANSWER.pack(0, 0))
    while True:
        try:
            count, numbers, width = _HEAD.unpack(_exactly(wire, _HEAD.size))
            rows, sizes = (_array("q", _exactly(wire, count * 8)) for _ in range(2))
            labels, predictions = (_array("d", _exactly(wire, each * 8)) for each in (numbers, count * width))
        except EOFError:
            return 0
        try:
            content = losses(loss, rows, sizes, labels, predictions)
        except RuntimeError as error:
            _fail(wire, str(error))
        else:
            wire.sendall(_ANSWER.pack(len(content), 0) + content)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
