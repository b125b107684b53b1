"""What only AWS can show, shown in an own account: a unit that is deployed, looked at and torn down within a budget."""
