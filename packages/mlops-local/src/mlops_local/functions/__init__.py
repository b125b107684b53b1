"""Lambda of the embedded cloud: functions, their processes, logs and metrics."""
