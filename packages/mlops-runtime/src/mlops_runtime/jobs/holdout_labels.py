"""Labels of a holdout and losses of their predictions: numbers, probabilities, classes, several outputs or vectors.

Every loss is a number per row that can be added up over any rows: over blocks, segments and periods. The macro log loss of k
classes, the mean over classes of the log loss of each, equals the mean over all n rows of the log loss times ``n / (k * rows of
the class)``. The loss of several outputs is the mean over the outputs of each loss divided by a scale of the holdout's labels,
the same for every model. The loss of a vector is computed by the unit's metric function (`MetricFunction`).

See: G. King, L. Zeng, Logistic regression in rare events data, Political Analysis 9 (2001), for the weights, those of
scikit-learn's ``class_weight="balanced"``; R. Hyndman, A. Koehler, Another look at measures of forecast accuracy, International
Journal of Forecasting 22 (2006), for relative errors.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.contracts.model import Metric, ModelSignature
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.jobs.holdout_losses import CLIP, Mask, Wide, check_labels, is_prediction, row_losses
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.model_input import categories, numbers

MAXIMUM_CLASSES = 100  # a larger confusion matrix does not fit on a page, and would dominate evaluation.json
_SUM_OF_PROBABILITIES = 1e-3  # tolerates rounding of 32-bit floats, but not scores that are not probabilities
_OF_OUTPUTS: tuple[Metric, ...] = ("wape", "mae")

Codes = npt.NDArray[np.int64]
# function that returns the loss of each row, given labels, predictions and the mask of rows with a prediction
Losses = Callable[[Sequence[Wide], Wide, Mask], Wide]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of a holdout's rows."""

    metric: Metric  # the loss
    # one number per row: the label, or the index of its class in `classes`. Several outputs have a column each
    actual: Wide
    weights: Wide  # contribution of each row to `actual_sum`
    # their names, in the order of the candidate's probabilities. Default: labels are numbers
    classes: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None  # their names, in the order of the candidate's columns. Default: one output
    scales: Wide | None = None  # divisor of each output's loss. Default: one output
    # the numbers of each row's label, if predictions are vectors; `actual` is then unused. Default: no vectors
    vectors: Sequence[Wide] | None = None
    width: int | None = None  # numbers per predicted vector. Default: predictions are not vectors
    custom: Losses | None = None  # the unit's metric function, for vectors. Default: a built-in metric

    @property
    def unknown(self) -> Wide:
        """Predictions (NaN) of a model without predictions."""
        columns = self.classes or self.outputs
        width = len(columns) if columns else self.width
        return np.full(len(self.actual) if width is None else (len(self.actual), width), np.nan)

    def given(self, predictions: Wide) -> Mask:
        """Return a mask of the rows with a prediction: finite numbers, for classes probabilities that add up to 1."""
        if self.classes is not None:
            in_range = ((predictions >= 0) & (predictions <= 1)).all(axis=1)
            with np.errstate(invalid="ignore"):
                return np.asarray(in_range & (np.abs(predictions.sum(axis=1) - 1) <= _SUM_OF_PROBABILITIES))
        if self.outputs is not None or self.width is not None:
            return np.asarray(np.isfinite(predictions).all(axis=1))
        return is_prediction(self.metric, predictions)

    def losses(self, predictions: Wide) -> Wide:
        """Return the loss of each row, 0 for a row without a prediction, which is counted elsewhere as a failure.

        Raises:
            JobError: If the unit's metric function fails, or returns an invalid loss.
        """
        if self.custom is not None and self.vectors is not None:
            return self.custom(self.vectors, predictions, self.given(predictions))
        if self.classes is not None:
            given = self.given(predictions)
            of_label = predictions[np.arange(len(predictions)), self.actual.astype(np.int64)]
            lost = -np.log(np.clip(np.where(given, of_label, 1.0), CLIP, 1.0))
            return np.where(given, self.weights * lost, 0.0)
        if self.outputs is not None and self.scales is not None:
            errors = np.abs(predictions - self.actual) / self.scales
            return np.where(self.given(predictions), errors.mean(axis=1), 0.0)
        return row_losses(self.metric, predictions, self.actual)

    def of_model(self, predictions: Wide, theirs: Sequence[str] | None) -> Wide:
        """Return a live model's predictions in the candidate's form: by classes or outputs, whose order may differ.

        A model of another kind has no predictions, and for rows with a label whose class it does not know, neither has a model of
        classes. Its probabilities of classes that no longer exist are distributed over the others in proportion.
        """
        names = self.classes or self.outputs
        if names is None:
            return predictions if predictions.shape == self.unknown.shape else self.unknown
        if theirs is None or predictions.ndim == 1:
            return self.unknown
        own = self.unknown
        for place, name in enumerate(names):
            if name in theirs:
                own[:, place] = predictions[:, list(theirs).index(name)]
        if self.classes is None:
            return own
        lacking = np.array([name not in theirs for name in names])
        is_known = ~lacking[self.actual.astype(np.int64)]
        own[:, lacking] = 0.0
        if set(theirs) - set(names):  # condition on the remaining classes
            with np.errstate(divide="ignore", invalid="ignore"):
                own *= predictions.sum(axis=1, keepdims=True) / own.sum(axis=1, keepdims=True)
        return np.where(is_known[:, np.newaxis], own, np.nan)

    def confusion(self, predictions: Wide) -> tuple[tuple[int, ...], ...]:
        """Return the confusion matrix, with rows by label and columns by predicted class; rows without a prediction are skipped.

        Example:
            >>> labels = Labels(metric="macro_log_loss", actual=np.array([0.0, 1.0, 1.0]), weights=np.ones(3), classes=("a", "b"))
            >>> labels.confusion(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]))
            ((1, 0), (1, 1))
        """
        given, size = self.given(predictions), len(self.classes or ())
        cells = self.actual[given].astype(np.int64) * size + predictions[given].argmax(axis=1)
        table = np.bincount(cells, minlength=size * size).reshape(size, size)
        return tuple(tuple(line) for line in table.tolist())

    def levels(self, predictions: Mapping[str, Wide]) -> tuple[Wide, dict[str, Wide]] | None:
        """Return labels and predictions as columns of non-negative numbers, one per class for classes; None if any is negative.

        A row without a prediction adds nothing; it is counted elsewhere.

        Example:
            >>> labels = Labels(metric="macro_log_loss", actual=np.array([0.0, 1.0]), weights=np.ones(2), classes=("a", "b"))
            >>> labels.levels({"candidate": np.array([[0.9, 0.1], [0.4, 0.6]])})[0].tolist()
            [[1.0, 0.0], [0.0, 1.0]]
        """
        if self.width is not None or (self.classes is None and (self.actual < 0).any()):
            return None
        actual = self.actual if self.classes is None else np.eye(len(self.classes))[self.actual.astype(np.int64)]
        columns = {
            name: np.where(self.given(values)[:, np.newaxis], values.reshape(len(values), -1), 0.0)
            for name, values in predictions.items()
        }
        return actual.reshape(len(actual), -1), columns

    def of_outputs(self, predictions: Mapping[str, Wide]) -> dict[str, dict[str, float]]:
        """Return the metric of each output (a mean absolute error in its own unit), for models that predict every row."""
        found: dict[str, dict[str, float]] = {}
        for place, output in enumerate(self.outputs or ()):
            actual = self.actual[:, place]
            scale = np.abs(actual).mean() if self.metric == "wape" else 1.0
            found[output] = {
                name: float(np.abs(values[:, place] - actual).mean() / scale)
                for name, values in predictions.items()
                if self.given(values).all()
            }
        return found


def label_columns(plan: EvaluationPlan) -> tuple[str, ...]:
    """Return the columns of the labels."""
    return (plan.label,) if plan.labels is None else plan.labels


def baseline_columns(plan: EvaluationPlan) -> list[str]:
    """Return the columns of the naive baselines."""
    if plan.labels is None:
        return list(plan.baselines)
    return [f"{name}_{output}" for name in plan.baselines for output in plan.labels]


def training_columns(plan: EvaluationPlan) -> list[str]:
    """Return the required columns of the training split beside the model's inputs: naive guesses of classes, and labels."""
    return [plan.label, *plan.baselines] if plan.metric == "macro_log_loss" else []


def read_labels(
    plan: EvaluationPlan, signature: ModelSignature, holdout: Any, *, custom: Losses | None = None
) -> Labels:
    """Return the labels of a holdout in the form of a candidate's predictions; a vector needs the unit's metric function.

    Raises:
        JobError: If the plan does not fit the candidate's kind, or labels are unsuitable for the metric.
    """
    problem = _kind_problem(plan, signature)
    if problem is not None:
        raise JobError(problem)
    if signature.kind == "classes":
        return _classes(plan, signature.classes or (), holdout)
    if signature.kind == "numbers":
        return _outputs(plan, holdout)
    if signature.kind == "vector":
        return _vectors(plan, signature.width or 0, holdout, custom)
    actual = numbers(holdout, plan.label).astype(np.float64)
    check_labels(plan.metric, plan.label, actual)
    return Labels(metric=plan.metric, actual=actual, weights=np.abs(actual))


def read_baseline(labels: Labels, plan: EvaluationPlan, name: str, train: Any, holdout: Any) -> Wide:
    """Return the predictions of a naive baseline.

    A baseline of classes is a column of names. It is converted to the shares of the labels among the rows of the training split
    with the same name, after adding one row of each class.

    Raises:
        JobError: If a column is not numeric.
    """
    if labels.outputs is not None:
        return np.column_stack([numbers(holdout, f"{name}_{output}") for output in labels.outputs]).astype(np.float64)
    if labels.width is not None:
        return _guesses(holdout, name, labels.width)
    if labels.classes is None:
        return numbers(holdout, name).astype(np.float64)
    counts: dict[str | None, Counter[str | None]] = {}
    for guess, label in zip(categories(train, name), categories(train, plan.label), strict=True):
        counts.setdefault(guess, Counter())[label] += 1
    shares = {}
    for guess in set(categories(holdout, name)):
        rows = np.array([counts.get(guess, Counter())[label] + 1.0 for label in labels.classes])
        shares[guess] = rows / rows.sum()
    return np.array([shares[guess] for guess in categories(holdout, name)])


def _kind_problem(plan: EvaluationPlan, signature: ModelSignature) -> str | None:
    kind = signature.kind or "number"
    if kind == "vector" and plan.metric != "custom_loss":
        return (
            f"the candidate predicts a vector of {signature.width} numbers, which {plan.metric} does not measure; pass a file "
            "with a function loss(label, prediction) as TrainingJob(metric=) and set the metric custom_loss, or serve it untrained"
        )
    if kind != "vector" and plan.metric == "custom_loss":
        return (
            f"metric custom_loss measures a vector, the candidate is of kind {kind!r}; its signature must have "
            '"kind": "vector" and its width, or use another metric'
        )
    if (kind == "classes") != (plan.metric == "macro_log_loss"):
        fix = (
            "use macro_log_loss"
            if kind == "classes"
            else 'its signature must have "kind": "classes", or use another metric'
        )
        return f"metric {plan.metric} does not measure a candidate of kind {kind!r}; {fix}"
    if kind == "numbers":
        labels = plan.labels or ()
        if labels != signature.outputs:
            wanted, found = ", ".join(signature.outputs or ()), ", ".join(labels) or "none"
            return f"labels must be the candidate's outputs in their order, {wanted}, got {found}"
        if plan.metric not in _OF_OUTPUTS:
            return f"metric {plan.metric} does not measure several outputs; use {' or '.join(_OF_OUTPUTS)}"
        if labels[0] != plan.label:
            return f"label must be the first of labels, {labels[0]}, got {plan.label}"
    elif plan.labels is not None:
        return (
            f"the plan has labels {', '.join(plan.labels)}, the candidate is of kind {kind!r}; its signature must have "
            '"kind": "numbers" with these as outputs'
        )
    return None


def _classes(plan: EvaluationPlan, classes: Sequence[str], holdout: Any) -> Labels:
    if len(classes) > MAXIMUM_CLASSES:
        raise JobError(
            f"at most {MAXIMUM_CLASSES} classes can be evaluated, got {len(classes)}; predict coarser classes"
        )
    texts = categories(holdout, plan.label)
    missing = sum(text is None for text in texts)
    if missing:
        raise JobError(f"label {plan.label!r} must be known for every holdout row, {missing} of {len(texts)} are null")
    counts = Counter(text for text in texts if text is not None)
    foreign, absent = sorted(set(counts) - set(classes)), [name for name in classes if name not in counts]
    if foreign or absent:
        problems = [
            f"{_listed(foreign)} {'is' if len(foreign) == 1 else 'are'} unknown to the candidate" if foreign else "",
            f"{_listed(absent)} {'is' if len(absent) == 1 else 'are'} missing in the holdout" if absent else "",
        ]
        raise JobError(
            f"label {plan.label!r} has classes {_listed(sorted(counts))}, the candidate {_listed(classes)}: "
            f"{' and '.join(filter(None, problems))}; train on and hold out rows of every class, or leave a class out of both"
        )
    place = {name: index for index, name in enumerate(classes)}
    actual = np.array([place[text] for text in texts if text is not None], dtype=np.float64)
    each = len(texts) / (len(classes) * np.array([counts[name] for name in classes]))
    return Labels(metric=plan.metric, actual=actual, weights=each[actual.astype(np.int64)], classes=tuple(classes))


def _outputs(plan: EvaluationPlan, holdout: Any) -> Labels:
    columns = label_columns(plan)
    actual = np.column_stack([numbers(holdout, name) for name in columns]).astype(np.float64)
    for place, name in enumerate(columns):
        check_labels(plan.metric, name, actual[:, place])
    if plan.metric == "wape":
        scales = np.abs(actual).mean(axis=0)
        weights = (np.abs(actual) / scales).mean(axis=1)
    else:
        scales = np.abs(actual - np.median(actual, axis=0)).mean(axis=0)
        weights = np.ones(len(actual))
        still = [name for name, scale in zip(columns, scales, strict=True) if not scale > 0]
        if still:
            raise JobError(f"label {still[0]!r} is the same in every holdout row: remove it from labels, or use wape")
    return Labels(metric=plan.metric, actual=actual, weights=weights, outputs=columns, scales=scales)


def _vectors(plan: EvaluationPlan, width: int, holdout: Any, custom: Losses | None) -> Labels:
    if custom is None:
        raise JobError("metric custom_loss needs the file of the metric function, which the job does not have")
    if plan.labels is not None:
        raise JobError("a vector has one label column, a list of numbers; remove labels")
    sizes, values = _lists(holdout, plan.label)
    missing = int((sizes == 0).sum())
    if missing or not np.isfinite(values).all():
        raise JobError(
            f"label {plan.label!r} must be a list of finite numbers in every holdout row, {missing} of {len(sizes)} are null or "
            f"empty and {int((~np.isfinite(values)).sum())} numbers are not finite"
        )
    rows = len(sizes)
    return Labels(
        metric=plan.metric,
        actual=np.zeros(rows),
        weights=np.ones(rows),
        vectors=np.split(values, np.cumsum(sizes)[:-1]),
        width=width,
        custom=custom,
    )


def _guesses(holdout: Any, name: str, width: int) -> Wide:
    """Return the predictions of a naive baseline of vectors; a row without a list has none."""
    sizes, values = _lists(holdout, name)
    wrong = np.flatnonzero((sizes != 0) & (sizes != width))
    if len(wrong):
        raise JobError(
            f"baseline {name!r} must have {width} numbers per row, as the candidate's vector, row {wrong[0]} has {sizes[wrong[0]]}"
        )
    found = np.full((len(sizes), width), np.nan)
    found[sizes == width] = values.reshape(-1, width)
    return found


def _lists(table: Any, name: str) -> tuple[Codes, Wide]:
    """Return the length of each row's list, 0 for a null, and the concatenated numbers of all lists."""
    column = table.column(name)
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(column.type) for is_kind in kinds) or not _is_numeric(column.type.value_type):
        raise JobError(f"column {name!r} must have lists of numbers, got {column.type}")
    present = column.drop_null()
    sizes = np.zeros(len(column), dtype=np.int64)
    sizes[pc.is_valid(column).to_numpy()] = pc.list_value_length(present).to_numpy()
    return sizes, pc.list_flatten(present).cast(pa.float64()).to_numpy(zero_copy_only=False)


def _is_numeric(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
