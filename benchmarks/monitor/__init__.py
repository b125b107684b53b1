"""Monitors: speed against other tools, counting, false alarms and power."""
