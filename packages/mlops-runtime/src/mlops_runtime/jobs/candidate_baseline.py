"""The monitors' baseline of an evaluated candidate: distributions of its training split, and its quality on the holdout."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.contracts.monitor import Baseline, Estimator, Facet
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.jobs.holdout_labels import Labels
from mlops_runtime.jobs.holdout_losses import Wide, is_classification
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.model_input import categories, model_input, numbers
from mlops_runtime.monitor.counting import conditions, pairs
from mlops_runtime.monitor.counting.baseline import BaselineError, Codes, Predicted, cluster_codes, fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import Column
from mlops_runtime.monitor.counting.conditions import ConditionError, Times
from mlops_runtime.monitor.counting.pairs import PairError
from mlops_runtime.monitor.counting.prediction_columns import predicted_classes
from mlops_runtime.monitor.monitors import facet_bias as bias
from mlops_runtime.monitor.monitors.attribution_ranking import AttributionError
from mlops_runtime.monitor.monitors.attributions import attributions
from mlops_runtime.monitor.monitors.bias_metrics import flip_test
from mlops_runtime.monitor.monitors.classes import one_class
from mlops_runtime.monitor.monitors.estimates.estimator_fit import Holdout, fit_estimator
from mlops_runtime.monitor.monitors.label_join import column_text
from mlops_runtime.monitor.monitors.label_measures import Target
from mlops_runtime.monitor.monitors.rows import Rows, Texts
from mlops_runtime.serving.served_model import CategoryCodes, ServedModel

# a flip test compares pairs of rows, whose number is quadratic
_FLIP_ROWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A candidate and its predictions for the holdout."""

    model: ServedModel  # the candidate
    train: Any  # the training split, an Arrow table
    holdout: Any  # the holdout, an Arrow table
    predictions: Wide  # one per row of the holdout
    labels: Labels  # the labels of these rows
    quality: Mapping[str, float]  # metrics of the gate: loss, WAPE, bias
    is_able: bool  # whether it could predict the holdout at all


def make_baseline(plan: EvaluationPlan, evaluated: Evaluated, *, training_set_id: str, created: str) -> Baseline:
    """Return the baseline that live traffic of a candidate is compared with.

    Features come from the training split; predictions, quality, estimator, bias and attributions from the holdout. Segments are
    those of the plan that are inputs of the model, since only inputs are captured. Facets may be other columns, whose bias is
    then only known for the holdout.

    Raises:
        JobError: If a column is unsuitable for a baseline, or rows are to be explained and the image has no ``shap``.
    """
    train, holdout, signature = evaluated.train, evaluated.holdout, evaluated.model.signature
    labels = evaluated.labels
    given = labels.given(evaluated.predictions)
    predicted = Predicted(
        values=evaluated.predictions
        if labels.classes is None
        else predicted_classes(evaluated.predictions.tolist(), given.tolist(), labels.classes),
        clusters=_clusters(holdout, plan.cluster),
        columns=_columns(holdout, signature),
        times=_times(holdout, plan),
        classes=labels.classes,
        outputs=labels.outputs,
    )
    try:
        baseline = fit_baseline(
            _columns(train, signature),
            types=_types(signature),
            training_set_id=training_set_id,
            created=created,
            clusters=_clusters(train, plan.cluster),
            times=_times(train, plan),
            conditions=plan.conditions or (),
            pairs=plan.pairs or (),
            identifiers=plan.identifiers or (),
            closed_levels=plan.closed_levels or (),
            prediction=predicted if labels.width is None else None,
        )
    except (BaselineError, ConditionError, PairError) as error:
        raise JobError(str(error)) from error
    names = {column.name for column in signature.inputs}
    booleans = {column.name for column in signature.inputs if column.kind == "boolean"}
    baseline = replace(
        baseline,
        features=tuple(replace(f, kind="boolean") if f.name in booleans else f for f in baseline.features),
        target=_target(labels),
        width=labels.width,
        segments=tuple(name for name in plan.segments or () if name in names) or None,
        facets=plan.facets,
        positive=plan.positive,
        positive_class=plan.positive_class,
    )
    values, deviations = _bias(plan, evaluated, given, baseline.segments or ())
    return replace(
        baseline,
        estimator=_estimator(plan, evaluated, baseline, given),
        quality={**_quality(baseline, evaluated, given), **evaluated.quality},
        bias=values or None,
        bias_deviation=deviations or None,
        attributions=_attributions(plan, evaluated, baseline),
    )


def plan_problems(plan: EvaluationPlan, signature: ModelSignature, train: Any, holdout: Any) -> list[str]:
    """Return the monitor settings of a plan that these splits or this model do not support."""
    problems: list[str] = []
    types = _types(signature)
    try:
        conditions.check(plan.conditions or (), types, _times(train, plan))
    except (ConditionError, JobError) as error:
        problems.append(str(error))
    try:
        pairs.check(plan.pairs or (), list(types))
    except PairError as error:
        problems.append(str(error))
    known = ", ".join(map(repr, types))
    problems += [
        f"identifier {name!r} must be an input of the model ({known})"
        for name in plan.identifiers or ()
        if name not in types
    ]
    texts = ", ".join(repr(name) for name, kind in types.items() if kind == "category") or "none"
    problems += [
        f"closed_levels must be text columns of the model ({texts}), got {name!r}"
        for name in plan.closed_levels or ()
        if types.get(name) != "category"
    ]
    if plan.attribution_rows is not None and plan.attribution_rows < 1:
        problems.append(f"attribution_rows must be at least 1, got {plan.attribution_rows}")
    problems += [problem for facet in plan.facets or () for problem in _facet_problems(facet, holdout)]
    return [*problems, *_kind_problems(plan, signature)]


def _kind_problems(plan: EvaluationPlan, signature: ModelSignature) -> Iterable[str]:
    """Yield settings of bias and explanation that the candidate's kind does not support."""
    classes = signature.classes if signature.kind == "classes" else None
    if plan.positive_class is not None and plan.positive_class not in (classes or ()):
        of = f"the classes are {', '.join(classes)}" if classes else "the candidate has no classes; use positive"
        yield f"positive_class is {plan.positive_class!r}, {of}"
    if classes and plan.positive is not None:
        yield f"positive is a limit of one number, the candidate has classes; set positive_class to one of {', '.join(classes)}"
    if classes and plan.facets and plan.positive_class is None:
        yield f"bias of classes needs a positive class; set positive_class to one of {', '.join(classes)}"
    if signature.kind == "vector" and plan.facets:
        yield "bias is not measured for a vector, which has no positive label; remove facets, or use segments"
    if signature.kind == "vector" and plan.attribution_rows is not None:
        yield "a vector is not explained, since its numbers have no individual meaning; remove attribution_rows"
    if signature.kind == "numbers" and plan.facets:
        yield "bias is not measured for several outputs, which have no positive label; remove facets, or use segments"
    if signature.kind == "numbers" and plan.attribution_rows is not None:
        yield (
            "several outputs are not explained, since their attributions have different units; remove attribution_rows, or "
            "train one model per output"
        )


def _facet_problems(facet: Facet, holdout: Any) -> Iterable[str]:
    if facet.values and facet.threshold is not None:
        yield f"facet {facet.name!r} must have values or a threshold, got both"
    if facet.threshold is not None and not _is_number(holdout, facet.name):
        kind = holdout.column(facet.name).type
        yield f"facet {facet.name!r} has a threshold and must be a number, got {kind}; give it values"


def _target(labels: Labels) -> Literal["regression", "classification", "classes", "outputs", "vector"]:
    if labels.width is not None:
        return "vector"
    if labels.classes is not None:
        return "classes"
    if labels.outputs is not None:
        return "outputs"
    return "classification" if is_classification(labels.metric) else "regression"


def _types(signature: ModelSignature) -> dict[str, Literal["number", "category"]]:
    return {column.name: column.type for column in signature.inputs}


def _columns(table: Any, signature: ModelSignature) -> dict[str, Column]:
    return {
        column.name: categories(table, column.name) if column.type == "category" else numbers(table, column.name)
        for column in signature.inputs
    }


def _clusters(table: Any, cluster: str | None) -> Codes | None:
    return None if cluster is None else cluster_codes(table.column(cluster).to_pylist())


def _times(table: Any, plan: EvaluationPlan) -> Times | None:
    """Return the time of each row, if a condition requires it or clusters may be periods; else None."""
    is_requested = any(condition.kind != "column" for condition in plan.conditions or ())
    if plan.timestamp is None or not (is_requested or plan.cluster):
        return None
    column = table.column(plan.timestamp)
    if not pa.types.is_timestamp(column.type):
        if not is_requested:
            return None
        raise JobError(f"timestamp {plan.timestamp!r} must be a time for conditions of time, got {column.type}")
    return np.asarray(column.cast(pa.timestamp("us", tz=column.type.tz)).to_numpy()).astype("datetime64[us]")


def _quality(baseline: Baseline, evaluated: Evaluated, given: Any) -> dict[str, float]:
    """Return every defined metric of the target; none for vectors, which only have the unit's own metric."""
    if evaluated.labels.width is not None:
        return {}
    rows = Rows.of(evaluated.predictions[given], evaluated.labels.actual[given])
    if not len(rows):
        return {}
    values = Target.of(baseline).values(rows)
    return {name: value for name, value in values.items() if not np.isnan(value)}


def _estimator(plan: EvaluationPlan, evaluated: Evaluated, baseline: Baseline, given: Any) -> Estimator | None:
    """Return the estimator of live performance; None for vectors, and with too few labelled rows."""
    labels = evaluated.labels
    if labels.width is not None:
        return None
    known = given if labels.outputs is None else given[:, np.newaxis]
    rows = Rows.of(evaluated.predictions, np.where(known, labels.actual, np.nan))
    columns, clusters = (
        _columns(evaluated.holdout, evaluated.model.signature),
        _clusters(evaluated.holdout, plan.cluster),
    )
    return fit_estimator(baseline, Holdout(columns=columns, rows=rows, clusters=clusters))


def _bias(
    plan: EvaluationPlan, evaluated: Evaluated, given: Any, strata: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    facets = plan.facets or ()
    if not facets or not given.any():
        return {}, {}
    names = dict.fromkeys([*(facet.name for facet in facets), *strata])
    columns = {name: _texts(evaluated.holdout, name, _types(evaluated.model.signature)) for name in names}
    # the blocks of the gate's bootstrap: a holdout may have too few clusters, such as weeks
    blocks = cluster_codes(evaluated.holdout.column(plan.block).to_pylist())
    rows = Rows.of(evaluated.predictions, evaluated.labels.actual, call=blocks, columns=columns).where(given)
    if evaluated.labels.classes is not None and plan.positive_class is not None:
        rows = one_class(rows, evaluated.labels.classes.index(plan.positive_class))
    values, deviations = bias.of_holdout(rows, facets, positive=plan.positive, strata=strata)
    return {**values, **_flip_tests(plan, evaluated, given, rows)}, deviations


def _flip_tests(plan: EvaluationPlan, evaluated: Evaluated, given: Any, rows: Rows) -> dict[str, float]:
    """Return Clarify's flip test by facet, over rows without nulls; as in Clarify, only if all other inputs are numbers."""
    inputs = evaluated.model.signature.inputs
    matrix = model_input(evaluated.holdout, evaluated.model.signature)[given]
    positive = rows.prediction > bias.threshold(plan.positive)
    found = {}
    for group in bias.groups(rows, plan.facets or ()):
        others = [index for index, column in enumerate(inputs) if column.name != group.facet]
        if not others or any(inputs[index].type == "category" for index in others):
            continue
        features = matrix[:, others].astype(np.float64)
        usable = np.flatnonzero(group.known & np.isfinite(features).all(axis=1))
        chosen = usable[np.unique(np.linspace(0, len(usable) - 1, _FLIP_ROWS).astype(int))] if len(usable) else usable
        value = flip_test(features[chosen], group.disfavoured[chosen], positive[chosen])
        if value is not None:
            found[f"{group.facet}={group.value}/FT"] = value
    return found


def _attributions(plan: EvaluationPlan, evaluated: Evaluated, baseline: Baseline) -> dict[str, float] | None:
    if plan.attribution_rows is None or not evaluated.is_able:
        return None
    size = evaluated.holdout.num_rows
    chosen = np.unique(np.linspace(0, size - 1, min(plan.attribution_rows, size)).astype(np.int64))
    signature = evaluated.model.signature
    rows = CategoryCodes(signature).of(model_input(evaluated.holdout.take(chosen), signature))
    try:
        return attributions(evaluated.model, baseline, rows)
    except AttributionError as error:
        raise JobError(f"attribution_rows is {plan.attribution_rows}: {error}") from error


def _texts(table: Any, name: str, types: Mapping[str, str]) -> Texts:
    """Return a column in the form of captured values: by the model's type, or its own if it is not an input."""
    if types.get(name, "number" if _is_number(table, name) else "category") == "category":
        return Texts.of(categories(table, name))
    return Texts.of([column_text("number", value) for value in numbers(table, name).tolist()])


def _is_number(table: Any, name: str) -> bool:
    kind = table.column(name).type
    is_number = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(is_kind(kind) for is_kind in is_number)
