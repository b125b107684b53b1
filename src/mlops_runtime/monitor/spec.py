"""What a monitor tests and how strictly, as data: declared by the construct, read by ``monitor_decide``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSpec:
    """Thresholds of one monitor.

    Args:
        features: Features that are tested for drift. Default: every feature of the baseline, and the prediction.
        alarm_features: Features with a CloudWatch metric of their own (each costs money). Default: none, only the aggregates.
        minimum_effect: Smallest shift that counts, as PSI: a normal mean that moves by d standard deviations has a PSI of
            about d squared (0.01 is 0.1, 0.05 is 0.22 standard deviations). Smaller shifts never alarm, however many the rows.
            Default: 0.01.
        significance: Chance that a window without drift reports any feature (Holm's step-down over the features). Default: 0.01.
        minimum_share: Smallest share of the rows that counts where a value was rare or absent in the baseline: a level that it
            never saw, a null, a value outside its range. Default: 0.0025.
        relative_shift: Smallest relative shift of mean or quantile that counts for ``amounts``. Default: 0.02, two percent.
        amounts: Features whose relative shift matters (prices): on a wide distribution five percent hide in the bins. Default:
            every continuous number that is above 0 in the whole baseline.
        alarm_windows: Windows of the last ``of_windows`` in which a feature must drift before it alarms. Default: 2.
        of_windows: Default: 3.
        merge_hours: Up to how many hours before a window are added to it until it has ``minimum_rows``. Default: 168.
        minimum_rows: Rows below which a window is ``INSUFFICIENT_DATA``. Default: 200.
        minimum_labels: Labelled rows below which quality is ``INSUFFICIENT_DATA``. Default: 100.
        maximum_wape_ratio: Live WAPE over the holdout's, above which quality is a ``VIOLATION``. Default: 1.25.
        quality_limits: Worst allowed value by metric, such as ``{"auc": 0.7, "rmse": 12}``: violated when the whole interval is
            worse. Default: none.
        maximum_bias_shift: Distance of a bias metric from its baseline's that counts; violated when the whole interval is farther.
            Default: 0.05.
        minimum_ndcg: Similarity of the features' ranking by attribution to the baseline's, below which explainability is a
            ``VIOLATION``. Default: 0.9, Clarify's.
        latency_limits: Largest model latency in milliseconds by ``p50``, ``p95`` or ``p99``. Default: none.
        maximum_latency_ratio: Model latency over that of the weeks before, above which latency is a ``VIOLATION``. Default: 1.5.
        label_delay_hours: How long after its call a label may arrive: captures are read back this far before the window.
            Default: 192 (eight days, for forecasts a week ahead).

    Raises:
        ValueError: With every setting that is out of range.

    Example:
        >>> MonitorSpec(minimum_effect=0.05, alarm_features=("price",)).minimum_rows
        200
    """

    features: tuple[str, ...] = ()
    alarm_features: tuple[str, ...] = ()
    minimum_effect: float = 0.01
    significance: float = 0.01
    minimum_share: float = 0.0025
    relative_shift: float = 0.02
    amounts: tuple[str, ...] | None = None
    alarm_windows: int = 2
    of_windows: int = 3
    merge_hours: int = 168
    minimum_rows: int = 200
    minimum_labels: int = 100
    maximum_wape_ratio: float = 1.25
    label_delay_hours: int = 192
    quality_limits: Mapping[str, float] = field(default_factory=dict)
    maximum_bias_shift: float = 0.05
    minimum_ndcg: float = 0.9
    latency_limits: Mapping[str, float] = field(default_factory=dict)
    maximum_latency_ratio: float = 1.5
    format: Literal["mlops.monitor/1"] = "mlops.monitor/1"

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {allowed}, got {value!r}"
            for name, value, allowed, ok in (
                ("minimum_effect", self.minimum_effect, "from 0 up to 1", 0 <= self.minimum_effect <= 1),
                ("significance", self.significance, "above 0 and below 0.5", 0 < self.significance < 0.5),
                ("minimum_share", self.minimum_share, "from 0 up to 0.5", 0 <= self.minimum_share <= 0.5),
                ("relative_shift", self.relative_shift, "above 0 and below 1", 0 < self.relative_shift < 1),
                ("of_windows", self.of_windows, "1 to 10", 1 <= self.of_windows <= 10),
                (
                    "alarm_windows",
                    self.alarm_windows,
                    f"1 to of_windows, {self.of_windows}",
                    1 <= self.alarm_windows <= self.of_windows,
                ),
                ("merge_hours", self.merge_hours, "0 to 2160", 0 <= self.merge_hours <= 2160),
                ("maximum_bias_shift", self.maximum_bias_shift, "above 0 up to 1", 0 < self.maximum_bias_shift <= 1),
                ("minimum_ndcg", self.minimum_ndcg, "from 0 up to 1", 0 <= self.minimum_ndcg <= 1),
                ("maximum_latency_ratio", self.maximum_latency_ratio, "above 1", self.maximum_latency_ratio > 1),
                ("minimum_rows", self.minimum_rows, "at least 50", self.minimum_rows >= 50),
                ("minimum_labels", self.minimum_labels, "at least 1", self.minimum_labels >= 1),
                ("maximum_wape_ratio", self.maximum_wape_ratio, "above 0", self.maximum_wape_ratio > 0),
                ("label_delay_hours", self.label_delay_hours, "at least 0", self.label_delay_hours >= 0),
            )
            if not ok
        ]
        for name in ("features", "alarm_features"):
            values: tuple[str, ...] = getattr(self, name)
            repeated = sorted({value for value in values if values.count(value) > 1})
            if repeated:
                problems.append(f"{name} must name each feature once, got {', '.join(map(repr, repeated))} twice")
        if self.features and not set(self.alarm_features) <= set(self.features):
            unknown = sorted(set(self.alarm_features) - set(self.features))
            problems.append(f"alarm_features must be among features, got {', '.join(map(repr, unknown))}")
        if problems:
            raise ValueError("; ".join(problems))
