"""What of the embedded cloud outlives `mlops local down`, and a crash.

Stores are declared where they are (`kept_stores`), MiniStack's found by their type (`ministack_stores`). A snapshot
(`snapshot_files`) is one JSON document and the large bytes beside it, made in a fork of the process (`saver`), so that it is the
state of one instant. What was under way in it ends after a start as a fault of AWS would end it (`interruptions`).
"""
