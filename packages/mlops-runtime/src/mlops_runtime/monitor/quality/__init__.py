"""Labels, metrics with intervals, segments, bias."""
