"""Monitors: speed compared with other tools, counting, false alarms and power."""
