"""Data: simulated events or the user's token file become one packed file."""
