"""Packed events to weights and facts; the only wing that imports torch."""
