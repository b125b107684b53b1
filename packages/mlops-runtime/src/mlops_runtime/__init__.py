"""Code that runs in Lambda functions, jobs, servers and notebooks: pure logic with thin adapters."""
