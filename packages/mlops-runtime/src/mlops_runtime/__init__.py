"""What runs in Lambda, jobs, servers and notebooks: pure cores with thin adapters."""
