"""Compare: the facts of all runs become tables and a verdict."""
