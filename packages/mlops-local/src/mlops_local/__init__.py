"""The embedded cloud: the templates that go to AWS, executed on a laptop."""
