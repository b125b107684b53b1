"""The code that the documentation shows: one file a page, synthesized by the tests."""
