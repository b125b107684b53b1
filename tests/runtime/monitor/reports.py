"""Typical reports of windows: drift or none, conditions, a classifier, classes, silence, a changed baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.monitor import (
    Baseline,
    Condition,
    Counts,
    Facet,
    FeatureBaseline,
    FeatureCounts,
    MonitorState,
    PairBaseline,
    PairCounts,
    Stratum,
)
from mlops_runtime.contracts.monitor_report import (
    BiasMetric,
    BiasResult,
    DriftResult,
    EstimateScore,
    EstimatesResult,
    ExplainabilityResult,
    FeatureDrift,
    LatencyResult,
    Measured,
    MonitorReport,
    QualityResult,
    ScoredWindow,
    SegmentQuality,
)
from mlops_runtime.monitor.report_message import verdict

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>&'
ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/7"

PRICE = FeatureBaseline(
    name="price",
    type="number",
    edges=(0.5, 1.0, 1.49, 1.99, 2.49, 2.99, 3.99, 4.99, 12.0),
    counts=(0, 500, 700, 800, 900, 800, 600, 400, 200, 0, 100),
    mean=2.4,
    standard_deviation=1.1,
    bounded=True,
)
STORE = FeatureBaseline(
    name="store",
    type="category",
    levels=tuple(f"store {n}" for n in range(20)),
    counts=(*(400 - 15 * n for n in range(20)), 10, 20, 0, 0),
    tail=2,
    known=(1, 2),
)
STOCK = FeatureBaseline(
    name="stock",
    type="number",
    edges=(0.0, 1.401298464324817e-45, 2.0, 5.0, 9.0),
    counts=(0, 1500, 900, 1000, 800, 600, 200),
    mean=3.1,
    standard_deviation=2.9,
)
FORECAST = FeatureBaseline(name="forecast", type="number", edges=(2.0, 5.0, 9.0), counts=(1500, 1200, 1300, 1000, 0))
PATTERNS = FeatureBaseline(name="null_patterns", type="category", levels=("none", "stock"), counts=(4700, 200, 100, 0))
PAIR = PairBaseline(
    first="price",
    second="stock",
    first_groups=(0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2),
    second_groups=(0, 0, 1, 1, 1, 1, 2),
    counts=(500, 1500, 50, 1000, 1900, 50, 20, 60, 20),
)
BASELINE = Baseline(
    features=(PRICE, STORE, STOCK),
    prediction=FORECAST,
    null_patterns=PATTERNS,
    rows=5000,
    training_set_id="3f" * 32,
    created="2017-07-01T00:00:00Z",
    left_out={"basket_id": "unique identifier: 4,998 of 5,000 values are distinct"},
    pairs=(PAIR,),
    attributions={"price": 3.0, "store": 2.0, "stock": 0.5},
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The inputs of a page."""

    report: MonitorReport
    baseline: Baseline | None
    counts: Counts | None
    history: Sequence[MonitorReport] = ()


def counts_of(baseline: Baseline, **of: tuple[int, ...]) -> Counts:
    """Return a window's counts: a fifth of the baseline's, or the given counts by feature."""

    def counted(feature: FeatureBaseline) -> FeatureCounts:
        return FeatureCounts(
            name=feature.name, counts=of.get(feature.name, tuple(count // 5 for count in feature.counts))
        )

    return Counts(
        baseline_sha256=content_hash(baseline),
        rows=1000,
        calls=900,
        features=tuple(map(counted, baseline.features)),
        prediction=None if baseline.prediction is None else counted(baseline.prediction),
        null_patterns=None if baseline.null_patterns is None else counted(baseline.null_patterns),
        pairs=tuple(
            PairCounts(first=p.first, second=p.second, counts=tuple(n // 5 for n in reversed(p.counts)))
            for p in baseline.pairs or ()
        )
        or None,
        first="2017-08-07T06:00:00Z",
        last="2017-08-08T05:59:00Z",
        objects=48,
    )


def drift(name: str, psi: float = 0.002, p_value: float = 0.4, **more: object) -> FeatureDrift:
    """Return the verdict on one feature."""
    rate = Measured(name="null_rate", value=0.021, low=0.014, high=0.031, baseline=0.02, rows=1000)
    found = FeatureDrift(
        name=name,
        psi=psi,
        p_value=p_value,
        drifted=p_value < 0.001,
        mean_shift=0.02,
        jensen_shannon=psi / 2,
        l_infinity=0.013,
        wasserstein=0.05,
        null_rate=rate,
        new_rate=replace(rate, name="new_rate", value=0.0, low=0.0, high=0.004, baseline=0.0),
        rule="distribution",
    )
    return replace(found, **more)  # type: ignore[arg-type]


QUALITY = QualityResult(
    state=MonitorState.OK,
    rows=640,
    coverage=0.93,
    label_delay_hours=170.0,
    metrics=(
        Measured(name="wape", value=0.41, low=0.39, high=0.43, baseline=0.4, limit=0.5, rows=640, violated=False),
        Measured(name="bias", value=-0.01, low=-0.03, high=0.01, baseline=0.0, rows=640),
        Measured(name="rmse", value=3.1, low=2.8, high=3.5, baseline=3.0, rows=640),
    ),
)
LATENCY = LatencyResult(
    state=MonitorState.OK,
    calls=900,
    metrics=(
        Measured(name="p50", value=4.1, baseline=4.0, violated=False),
        Measured(name="p99", value=19.0, baseline=17.5, limit=50.0, violated=False),
    ),
)
NO_LABELS = QualityResult(state=MonitorState.NO_LABELS_YET)


def report_of(day: int, features: Sequence[FeatureDrift], **more: object) -> MonitorReport:
    """Return the report of one day of August."""
    found = MonitorReport(
        endpoint="demand-forecast",
        variant="AllTraffic",
        window_from=f"2017-08-{day - 1:02}T06:00:00Z",
        window_until=f"2017-08-{day:02}T06:00:00Z",
        rows=1000,
        baseline_sha256=content_hash(BASELINE),
        model_package_arn=ARN,
        engine="LAMBDA",
        drift=DriftResult(
            state=MonitorState.VIOLATION if any(f.persistent for f in features) else MonitorState.OK,
            features=tuple(features),
            left_out=BASELINE.left_out,
        ),
        quality=QUALITY,
        latency=LATENCY,
    )
    found = replace(found, **more)  # type: ignore[arg-type]
    return replace(found, verdict=found.verdict or verdict(found))


QUIET = tuple(map(drift, ("price", "store", "stock", "forecast", "null_patterns", "price x stock")))
MOVED = (
    drift(
        "price", 0.31, 1e-40, mean_shift=0.62, persistent=True, rule="mean",
        description="mean rose 28 %, from 2.4 to 3.07",
    ),
    drift("store", 0.06, 2e-9, persistent=False, rule="new_level", description="levels never seen before: 4 % of the rows"),
    drift("stock"),
    drift("forecast", 0.004, 0.2),
    drift("null_patterns", untested="fewer than 200 rows", p_value=1.0),
    drift("price x stock", 0.02, 1e-7, persistent=True, rule="association",
          description="price in group 2 of 2 with stock in group 1 of 2 more often than each alone would bring: 300 of 1000 rows"),
)  # fmt: skip
HIGH_PRICES = {
    "price": (3, 20, 40, 90, 140, 190, 200, 200, 90, 7, 20),
    "store": (*(70 - 3 * n for n in range(20)), 4, 6, 40, 0),
}


def quiet() -> Sample:
    """Return a window without drift."""
    history = [report_of(day, QUIET) for day in range(2, 8)]
    return Sample(report=report_of(8, QUIET), baseline=BASELINE, counts=counts_of(BASELINE), history=history)


def drifting() -> Sample:
    """Return a window with higher prices, a new store and a changed pair of features."""
    earlier = [
        report_of(day, (replace(MOVED[0], psi=0.01 * day * day, drifted=day > 5, persistent=day > 6), *QUIET[1:]))
        for day in range(2, 8)
    ]
    problems = {"row has 3 values instead of 4": 2, "price: text instead of a number": 1}
    verdict = (
        "drift in 2 of 3 windows: price (mean rose 28 %, from 2.4 to 3.07), price x stock; "
        "quality holds (WAPE 0.41, 0.39 to 0.43)"
    )
    report = report_of(8, MOVED, problems=problems, verdict=verdict, hours_merged=6)
    return Sample(report=report, baseline=BASELINE, counts=counts_of(BASELINE, **HIGH_PRICES), history=earlier)


def conditioned() -> Sample:
    """Return a window of promotions compared with the baseline's promotions."""
    part = tuple(FeatureCounts(name=f.name, counts=f.counts) for f in BASELINE.features)
    promoted = (FeatureCounts(name="price", counts=(0, 300, 200, 50, 20, 10, 5, 4, 1, 0, 10)), *part[1:])
    forecast = FeatureCounts(name="forecast", counts=FORECAST.counts)
    strata = tuple(
        Stratum(key=key, rows=600, features=features, prediction=forecast)
        for key, features in (("no|Mon", part), ("promotion|Mon", promoted))
    )
    baseline = replace(
        BASELINE,
        conditions=(Condition(name="promotion"), Condition(name="day", kind="day_of_week")),
        strata=strata,
        pairs=None,
    )
    counts = replace(
        counts_of(baseline),
        strata=(replace(strata[1], rows=900), replace(strata[0], key="promotion|Sun", rows=100)),
    )
    features = tuple(replace(f, untested="is a condition") if f.name == "store" else f for f in QUIET[:5])
    drifting = DriftResult(state=MonitorState.OK, features=features, left_out=BASELINE.left_out, uncovered_rows=100)
    report = report_of(8, (), baseline_sha256=content_hash(baseline), drift=drifting)
    return Sample(report=report, baseline=baseline, counts=counts)


def classifier() -> Sample:
    """Return a classifier that is worse for a segment, biased for a facet and uses other features."""
    baseline = replace(BASELINE, target="classification", facets=(Facet(name="age", threshold=65),), pairs=None)

    def metrics(auc: float, *, violated: bool) -> tuple[Measured, ...]:
        return (
            Measured(
                name="auc", value=auc, low=auc - 0.02, high=auc + 0.02, baseline=0.83, limit=0.75, violated=violated
            ),
            Measured(name="brier", value=0.18, low=0.17, high=0.19, baseline=0.15),
        )

    def bias(name: str, value: float, *, violated: bool | None) -> BiasMetric:
        metric = Measured(name=name, value=value, low=value - 0.04, high=value + 0.04, baseline=0.05, violated=violated)
        return BiasMetric(facet="age", facet_value="(65.0, inf)", metric=metric, stage="post_training")

    report = report_of(
        8,
        QUIET[:5],
        quality=replace(
            QUALITY,
            state=MonitorState.VIOLATION,
            metrics=metrics(0.7, violated=True),
            segments=(
                SegmentQuality(segment="store=store 3", rows=210, metrics=metrics(0.61, violated=True)),
                SegmentQuality(segment="store=store 1", rows=430, metrics=metrics(0.8, violated=False)),
            ),
        ),
        bias=BiasResult(
            state=MonitorState.VIOLATION,
            metrics=(
                bias("DI", 0.7, violated=None),
                bias("DPPL", 0.21, violated=True),
                bias("AD", 0.02, violated=False),
            ),
        ),
        explainability=ExplainabilityResult(
            state=MonitorState.VIOLATION, attributions={"store": 3.0, "price": 1.0, "stock": 0.4}, ndcg=0.86
        ),
        baseline_sha256=content_hash(baseline),
        engine="PROCESSING",
    )
    return Sample(report=report, baseline=baseline, counts=counts_of(baseline))


CULTIVARS = ("barolo", "grignolino", "barbera", "nebbiolo d'Alba superiore")


def classes() -> Sample:
    """Return a model of four classes with low recall for one and a drifted prediction."""
    predicted = FeatureBaseline(
        name="prediction", type="category", levels=CULTIVARS, counts=(1500, 1800, 1200, 500, 0, 0), tail=0, known=()
    )
    baseline = replace(BASELINE, target="classes", classes=CULTIVARS, prediction=predicted, pairs=None)

    def measured(name: str, value: float, *, limit: float | None = None, violated: bool | None = None) -> Measured:
        low, high = max(0.0, value - 0.05), value + 0.05
        return Measured(name=name, value=value, low=low, high=high, baseline=0.9, limit=limit, violated=violated)

    quality = replace(
        QUALITY,
        state=MonitorState.VIOLATION,
        rows=1190,
        metrics=(
            measured("macro_log_loss", 0.52, limit=0.3, violated=True),
            measured("macro_recall", 0.74),
            measured("accuracy", 0.8),
            *(measured(f"recall/{name}", value) for name, value in zip(CULTIVARS, (0.96, 0.9, 0.81), strict=False)),
            measured(f"recall/{CULTIVARS[3]}", 0.28, limit=0.6, violated=True),
            *(measured(f"ece/{name}", 0.06) for name in CULTIVARS),
        ),
        classes=CULTIVARS,
        confusion=((384, 12, 4, 0), (20, 360, 20, 0), (10, 42, 243, 5), (0, 52, 13, 25)),
    )
    features = (*QUIET[:3], drift("prediction", 0.31, 1e-9, drifted=True, persistent=True))
    report = report_of(8, features, quality=quality, baseline_sha256=content_hash(baseline))
    counts = counts_of(baseline, prediction=(280, 620, 250, 40, 0, 0))
    return Sample(report=report, baseline=baseline, counts=counts)


def estimated() -> Sample:
    """Return a window without labels yet; one earlier estimate was wrong."""
    scored = tuple(
        ScoredWindow(
            window_from=f"2017-08-{day - 1:02}T06:00:00Z",
            window_until=f"2017-08-{day:02}T06:00:00Z",
            rows=870,
            metrics=(EstimateScore(name="wape", estimated=0.4, low=0.37, high=0.43, measured=measured),),
        )
        for day, measured in ((5, 0.46), (4, 0.41))
    )
    estimates = EstimatesResult(
        state=MonitorState.OK,
        rows=1000,
        metrics=(Measured(name="wape", value=0.4, low=0.37, high=0.43, baseline=0.38, rows=1000),),
        note="expected from stock, not from the prediction",
        scored=scored,
    )
    quality = QualityResult(state=MonitorState.NO_LABELS_YET)
    return Sample(
        report=report_of(8, QUIET, quality=quality, estimates=estimates), baseline=BASELINE, counts=counts_of(BASELINE)
    )


def silent() -> Sample:
    """Return a window without calls."""
    report = report_of(
        8,
        (),
        rows=0,
        drift=DriftResult(state=MonitorState.NO_TRAFFIC, left_out=BASELINE.left_out),
        quality=NO_LABELS,
        latency=LatencyResult(state=MonitorState.NO_TRAFFIC),
    )
    return Sample(report=report, baseline=BASELINE, counts=None, history=quiet().history)


def tampered() -> Sample:
    """Return a window with a changed baseline."""
    report = silent().report
    report = replace(
        report,
        drift=replace(report.drift, state=MonitorState.MONITOR_NOT_RUN),
        verdict="nobody watches: the baseline is not the one that was approved",
        problems={
            "baseline s3://artifacts/evaluations/demand-forecast/7/baseline.json is not the one that was approved": 1
        },
    )
    return Sample(report=report, baseline=None, counts=None, history=quiet().history)


def wide() -> Sample:
    """Return two hundred features, a tenth of them drifted."""
    features = tuple(
        FeatureBaseline(name=f"feature_number_{n}", type="number", edges=PRICE.edges, counts=PRICE.counts, bounded=True)
        for n in range(200)
    )
    baseline = replace(BASELINE, features=features, pairs=None, null_patterns=None, attributions=None)
    moved = {f"feature_number_{n}": HIGH_PRICES["price"] for n in range(0, 200, 10)}
    found = tuple(
        replace(MOVED[0], name=f.name) if f.name in moved else drift(f.name, p_value=0.01 + n / 250)
        for n, f in enumerate(features)
    )
    history = [report_of(day, found) for day in range(2, 8)]
    report = report_of(8, found, baseline_sha256=content_hash(baseline))
    return Sample(report=report, baseline=baseline, counts=counts_of(baseline, **moved), history=history)


def hostile() -> Sample:
    """Return names, levels, reasons and problems that contain markup."""
    feature = replace(STORE, name=HOSTILE, levels=(HOSTILE, *STORE.levels[1:]))
    baseline = replace(
        BASELINE,
        features=(feature,),
        pairs=None,
        null_patterns=None,
        attributions={HOSTILE: 1.0},
        left_out={HOSTILE: HOSTILE},
    )
    found = drift(HOSTILE, 0.3, 1e-9, persistent=True, rule=HOSTILE, description=HOSTILE)
    other = drift("other", untested=HOSTILE)
    rate = Measured(name=HOSTILE, value=0.5, low=0.4, high=0.6, baseline=0.3, violated=True)
    report = report_of(
        8, (found, other), endpoint=HOSTILE, variant=HOSTILE, verdict=HOSTILE, suppressed=HOSTILE, problems={HOSTILE: 3},
        model_package_arn=HOSTILE, baseline_sha256=content_hash(baseline),
        drift=DriftResult(state=MonitorState.VIOLATION, features=(found, other), left_out={HOSTILE: HOSTILE}),
        quality=replace(QUALITY, metrics=(rate,), segments=(SegmentQuality(segment=HOSTILE, rows=1, metrics=(rate,)),)),
        bias=BiasResult(metrics=(BiasMetric(facet=HOSTILE, facet_value=HOSTILE, metric=rate, stage="pre_training"),)),
        explainability=ExplainabilityResult(attributions={HOSTILE: 1.0}), latency=replace(LATENCY, metrics=(rate,)),
    )  # fmt: skip
    return Sample(report=report, baseline=baseline, counts=counts_of(baseline), history=[report_of(7, (found,))])


def empty() -> Sample:
    """Return the report of a first run without results."""
    report = MonitorReport(
        endpoint="demand-forecast",
        variant="AllTraffic",
        window_from="2017-08-07T06:00:00Z",
        window_until="2017-08-08T06:00:00Z",
        drift=DriftResult(state=MonitorState.NOT_YET_DEPLOYED),
        quality=QualityResult(state=MonitorState.NOT_YET_DEPLOYED),
        rows=0,
        baseline_sha256=None,
        model_package_arn=None,
    )
    return Sample(report=replace(report, verdict=verdict(report)), baseline=None, counts=None)


SAMPLES = {
    each.__name__: each
    for each in (quiet, drifting, conditioned, classifier, classes, estimated, silent, tampered, wide, hostile, empty)
}
