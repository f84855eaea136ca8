"""Facts to tables and pictures."""
