"""The values of a site: which ones the plugin can take, and which one to change after a refusal."""

import re
import sys

# What the executor plugin takes for --gres; it refuses anything else without a message.
GPU = re.compile(r"(\w+(:[\w.]+)?(:\d+)?)?", re.ASCII)
# The last one is for the signal before the limit.
MIN_MINUTES = 2
# Errors of sbatch that may be gone at the next try.
TEMPORARY = re.compile(r"controller|timed out|transmitted|temporarily")
# Parts of sbatch's errors, and what to do about them; the first that fits counts.
REMEDIES = {
    TEMPORARY.pattern: "it is tried again while attempts are left",
    "account": "set STUDY_ACCOUNT to an account that may use this partition "
    "(`sacctmgr show associations user=$USER` lists yours)",
    "partition": "set STUDY_PARTITION, or STUDY_GPU_PARTITION for trainings, to a partition that "
    "`sinfo` lists",
    "memory": "set STUDY_PARTITION, or STUDY_GPU_PARTITION for trainings, to a partition with "
    "larger nodes (`sinfo -o '%P %m'`), or lower mem_mb or cores in profiles/slurm/config.yaml",
    "gres|node configuration": "set STUDY_GPU to a GPU that a node of this partition has "
    "(`sinfo -o '%P %G'`), or STUDY_GPU_PARTITION to another partition",
    "time limit": "lower STUDY_MINUTES, or set STUDY_PARTITION, or STUDY_GPU_PARTITION for "
    "trainings, to a partition that allows more time (`sinfo -o '%P %l'`)",
    "": "compare with the values in profiles/slurm/config.yaml",
}


def valid_gpu(text: str) -> str:
    """Return STUDY_GPU, a request for GPUs or nothing; end with one sentence if it is neither."""
    text = text.strip()
    if not GPU.fullmatch(text):
        sys.exit(
            f"Error: STUDY_GPU is {text!r}, but Snakemake's plugin for Slurm takes gpu, gpu:1 or "
            "gpu:TYPE:1 with a TYPE of letters, digits, _ and . only; ask for gpu:1 and choose the "
            "type by a partition, or leave it empty for none."
        )
    return text


def valid_minutes(text: str) -> int:
    """Return STUDY_MINUTES; end with one sentence if it is no whole number or too small."""
    if not text.strip().isdecimal() or int(text) < MIN_MINUTES:
        sys.exit(
            f"Error: STUDY_MINUTES is {text!r}; give whole minutes, at least {MIN_MINUTES}, since "
            "the last one is for saving."
        )
    return int(text)


def remedy(error: str) -> str:
    """Return what to do about an error of sbatch."""
    return next(
        text for pattern, text in REMEDIES.items() if re.search(pattern, error, re.IGNORECASE)
    )
