"""The next phase: the same small classifier on events as they are, reconstructed, and encoded."""
