"""Facts, summary and comparison to figures."""
