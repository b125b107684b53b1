"""What a monitor tests and how strictly, as data: declared by the construct, read by ``monitor_decide``."""

from dataclasses import dataclass
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
        minimum_rows: Rows below which a window is ``INSUFFICIENT_DATA``. Default: 200.
        minimum_labels: Labelled rows below which quality is ``INSUFFICIENT_DATA``. Default: 100.
        maximum_wape_ratio: Live WAPE over the holdout's, above which quality is a ``VIOLATION``. Default: 1.25.
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
    minimum_rows: int = 200
    minimum_labels: int = 100
    maximum_wape_ratio: float = 1.25
    label_delay_hours: int = 192
    format: Literal["mlops.monitor/1"] = "mlops.monitor/1"

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {allowed}, got {value!r}"
            for name, value, allowed, ok in (
                ("minimum_effect", self.minimum_effect, "from 0 up to 1", 0 <= self.minimum_effect <= 1),
                ("significance", self.significance, "above 0 and below 0.5", 0 < self.significance < 0.5),
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
