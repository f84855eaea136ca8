"""What a site wants, from environment variables; profiles/slurm/config.yaml reads it."""

import os
import re
import sys

# What the executor plugin takes for --gres; anything else it refuses without a word.
GPU = re.compile(r"\w+(:[\w.]+)?(:\d+)?", re.ASCII)
# The last one is for the signal before the limit.
MIN_MINUTES = 2


def text(name: str, default: str = "") -> str:
    """Return a variable, or `default` where it is not set."""
    return os.environ.get(name, default).strip()


def gpu(name: str, default: str) -> str:
    """Return a request for GPUs; end with one sentence if it is none."""
    value = text(name, default)
    if value and not GPU.fullmatch(value):
        sys.exit(
            f"Error: {name} is {value!r}, but Snakemake's plugin for Slurm takes gpu, gpu:1 or "
            "gpu:TYPE:1 with a TYPE of letters, digits, _ and . only; ask for gpu:1 and choose the "
            "type by a partition, or leave it empty for none."
        )
    return value


def minutes(name: str, default: int) -> int:
    """Return a number of minutes; end with one sentence if it is none or too small."""
    value = text(name) or str(default)
    if not value.isdecimal() or int(value) < MIN_MINUTES:
        sys.exit(
            f"Error: {name} is {value!r}; give whole minutes, at least {MIN_MINUTES}, since the "
            "last one is for saving."
        )
    return int(value)
