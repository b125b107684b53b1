"""What runs for a business unit as a whole."""
