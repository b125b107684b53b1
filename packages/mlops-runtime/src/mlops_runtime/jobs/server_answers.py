"""Read the responses of a model's own server for a holdout as predictions, and check that it is deterministic."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.model import HoldoutPredictions, HoldoutRequests, ModelSignature
from mlops_runtime.contracts.model_manifest import ModelManifest
from mlops_runtime.jobs.holdout_predictions import Predicted, differences
from mlops_runtime.jobs.job_environment import JobError, single_file
from mlops_runtime.jobs.server_rows import REQUESTS_FILE
from mlops_runtime.serving.served_model import Matrix, ModelError, declared_shape

_TOLERANCE = 1e-4  # relative; allows for 32-bit sums in another order
_SMALLEST = 1e-6
_SHOWN = 60  # characters of an invalid response in a message


class AnswerError(ValueError):
    """A server's responses are not valid predictions; the message names the first invalid one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswers:
    """Responses of one model's server for one holdout.

    ``predicted`` has NaN and the reason if the responses are invalid; ``problems`` are differences of repeated rows.
    """

    requests: HoldoutRequests
    predicted: Predicted
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredModel:
    """A model that only its own server can run: it predicts the rows of the holdout, from stored responses, and no others."""

    answers: ServerAnswers

    @property
    def signature(self) -> ModelSignature:
        """The signature with which the requests were made."""
        return self.answers.requests.signature

    @property
    def sha256(self) -> str:
        """The archive's hash, because its contents are in the container's own format."""
        return self.answers.requests.artifact_sha256

    @property
    def signature_sha256(self) -> str:
        """Hash of ``signature.json`` in the archive."""
        return self.answers.requests.signature_sha256

    @property
    def manifest(self) -> ModelManifest | None:
        """None, because third-party containers have no manifest."""
        return None

    def predict(self, rows: Matrix) -> Matrix:
        """Return the server's predictions.

        Raises:
            ModelError: If its responses were invalid, or the number of rows is not that of the holdout.
        """
        found = self.answers.predicted
        if found.of.failure is not None:
            raise ModelError(found.of.failure)
        if len(rows) != self.answers.requests.rows:
            raise ModelError(
                f"the model runs only in its server, which predicted {self.answers.requests.rows} rows, not {len(rows)}"
            )
        return found.values

    def close(self) -> None:
        """Do nothing."""


def read_answers(folder: Path, *, artifact_sha256: str | None, holdout: str, rows: int) -> ServerAnswers:
    """Read the results of a transform job, ``*.out``, and beside them the description of its requests.

    Raises:
        JobError: If they are of another archive or holdout.
    """
    try:
        requested = from_json(HoldoutRequests, (folder / REQUESTS_FILE).read_bytes())
    except (OSError, ContractError) as error:
        raise JobError(f"{REQUESTS_FILE} must be beside the server's responses: {error}") from error
    found = (requested.artifact_sha256, requested.holdout_sha256, requested.rows)
    wrong = differences(found, (artifact_sha256, holdout, rows))
    if wrong:
        raise JobError(f"the server's responses are {wrong}; remove them, so that they are requested again")
    width = requested.signature.columns
    failure = None
    again: tuple[str, ...] = ()
    try:
        text = single_file(folder, "**/*.out").read_text("utf-8")
        values = parse_answers(text, requested.signature, rows=rows + len(requested.again))
        again = _differences(values, requested)
        values = values[:rows]
    except (AnswerError, UnicodeDecodeError) as error:
        failure = str(error)
        values = np.full(rows if width is None else (rows, width), np.nan)
    of = HoldoutPredictions(
        artifact_sha256=requested.artifact_sha256,
        model_sha256=requested.artifact_sha256,
        holdout_sha256=holdout,
        failure=failure,
        names=requested.signature.names,
    )
    return ServerAnswers(requests=requested, predicted=Predicted(values=values, of=of), problems=again)


def parse_answers(text: str, signature: ModelSignature, *, rows: int) -> npt.NDArray[np.float64]:
    r"""Return the predictions in a transform job's output: consecutive JSON documents, or lines of CSV.

    Example:
        >>> signature = ModelSignature(inputs=(), output="units")
        >>> parse_answers('{"predictions": [1.5, null]}\n{"predictions": [2]}\n', signature, rows=3).tolist()
        [1.5, nan, 2.0]

    Raises:
        AnswerError: If their number is wrong, one is not a number, or their width differs from the signature.
    """
    is_json = text.lstrip()[:1] in ("{", "[")
    found = _of_json(text) if is_json else [row for row in csv.reader(text.splitlines()) if row]
    if len(found) != rows:
        raise AnswerError(f"the server returned {len(found)} predictions for {rows} rows")
    values = [_numbers(index, each) for index, each in enumerate(found)]
    widths = {len(each) for each in values}
    if len(widths) != 1:
        raise AnswerError(f"the server returned predictions of {' and '.join(map(str, sorted(widths)))} values")
    try:
        return np.asarray(
            declared_shape(np.array(values, dtype=np.float64), rows, replace(signature, passes="values")), np.float64
        )
    except ModelError as error:
        raise AnswerError(str(error)) from error


def _of_json(text: str) -> list[Any]:
    decoder, found, place = json.JSONDecoder(), [], 0
    try:
        while place < len(text):
            if text[place].isspace():
                place += 1
                continue
            document, place = decoder.raw_decode(text, place)
            predictions = document.get("predictions") if isinstance(document, dict) else document
            if not isinstance(predictions, list):
                raise AnswerError(f'a response must be {{"predictions": [...]}}, got {json.dumps(document)[:_SHOWN]}')
            found += predictions
    except (ValueError, RecursionError) as error:
        if isinstance(error, AnswerError):
            raise
        raise AnswerError(
            f"the responses are not JSON from character {place} on: {text[place : place + _SHOWN]!r}"
        ) from error
    return found


def _numbers(index: int, prediction: Any) -> list[float]:
    """Return the values of one prediction."""
    if isinstance(prediction, dict) and "score" in prediction:
        prediction = prediction["score"]
    values: Sequence[Any] = prediction if isinstance(prediction, list) else [prediction]
    found = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str | None):
            raise _no_number(index, value)
        try:
            found.append(np.nan if value in (None, "") else float(value))
        except ValueError:
            raise _no_number(index, value) from None
    return found


def _no_number(index: int, value: Any) -> AnswerError:
    return AnswerError(f"the server returned {str(value)[:_SHOWN]!r} for row {index}, expected a number")


def _differences(values: npt.NDArray[np.float64], holdout: HoldoutRequests) -> tuple[str, ...]:
    """Return a message about the first row with a different prediction in the repetition."""
    first, again = values[list(holdout.again)], values[holdout.rows :]
    close = (
        np.isclose(again, first, rtol=_TOLERANCE, atol=_SMALLEST, equal_nan=True).reshape(len(again), -1).all(axis=1)
    )
    if close.all():
        return ()
    index = int(np.flatnonzero(~close)[0])
    return (
        f"holdout row {holdout.again[index]} gives {first[index]} among all rows and {again[index]} when repeated; rows "
        "must not depend on each other, and a model must be deterministic",
    )
