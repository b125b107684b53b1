"""Persistence of the embedded cloud's state over `mlops local down` and crashes.

Stores are declared in their modules (`kept_stores`); MiniStack's are found by type (`ministack_stores`). A snapshot
(`snapshot_files`) is one JSON document with large bytes in files beside it, made in a fork of the process (`saver`), so that it is
the state of one instant. Work that was in progress is ended as failed after the next start (`interruptions`).
"""
