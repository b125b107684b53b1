"""Runtime code of a business unit as a whole: its published entries, status, pause, freezes and platform limits."""
