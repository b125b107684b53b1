"""Code of the documentation, with one file per page, synthesized by the tests."""
