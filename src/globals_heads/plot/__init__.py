"""Plot: facts, summary and comparison become figures."""
