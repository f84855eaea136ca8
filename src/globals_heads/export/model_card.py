"""The model card: what a chosen model is, how well it does, where its limits are; Markdown."""

import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml

from globals_heads.errors import UserError, brief
from globals_heads.numbers import LOGARITHMS, MIN_SEEDS, level, number
from globals_heads.settings import RunSettings, format_beta

# Metric: what the card says of it. All are errors of the test split but for the last three.
METRICS = {
    "rec_tokens": "error of the tokens (T), 0 is perfect and 1 is the mean of the training split",
    "probe_rec_globals": "globals error of a ridge probe on the pooled latents (G)",
    "reco_objects_rec_globals": "globals error from the reconstructed objects (L)",
    "rec_globals": "globals error of the trained head (H)",
    "pt_relative_sigma68": "width of the relative pT residual",
    "token_dr_median": "median distance dR of an object to its reconstruction",
    "skill": "skill of the probe (S), 1 is as good as the one-parameter fit",
    "perplexity": "perplexity of the codes",
    "val_loss": "validation loss, with globals_beta in it",
}
TEMPLATE = """\
# Model card: {{ settings.key.name }}

A token autoencoder of collision events with a globals head, the run `{{ settings.key.name }}` of a
globals-heads study. Why this run: {{ reason }}.

## What it is

The encoder maps one object (energy, pT, eta, phi and its type) to {{ settings.model.latent_dim }}
numbers, the latent space is `{{ settings.latent_space }}`, and the decoder maps back. The globals
head reads MET from the sum of an event's latents. Its weight in the loss was
{{ beta }}. Trained for {{ settings.epochs }} epochs; these are the weights of epoch
{{ best_epoch }}, the best by validation loss.

```yaml
{{ cfg }}```

## Data

{{ source }}.

## Numbers

Test split, but `val_loss` is of the validation split. The second column is this very run, the third
its cell: the mean over {{ n }} {{ "seed" if n == 1 else "seeds" }}{% if n > 2 %} with its 95 % \
interval over seeds and test events{% endif %}. Of rec_tokens and val_loss it is the geometric mean.

| metric | this run | cell | what it is |
|---|---|---|---|
{% for row in rows -%}
| `{{ row.metric }}` | {{ row.run }} | {{ row.cell }} | {{ row.about }} |
{% endfor %}
## Limits

- The object type is an input and travels along; the model does not reconstruct it.
- The encoder sees one object at a time. What an event has in common is in the sum of its latents.
- Other processes, selections or detectors than those of its data were not tried.
{% for limit in limits -%}
- {{ limit }}
{% endfor %}
## Use it

model.pt holds settings, weights and normalisation; no other file is needed.

```
python -m globals_heads encode model.pt EVENTS.h5 encoded.h5
python -m globals_heads decode model.pt encoded.h5 reconstructed.h5
```

## Made by

```
snakemake --profile local results/best/model.pt --configfile results/study.yaml
```

The run itself: `snakemake --profile local -j1 -f {{ path }}/model.pt --configfile
results/study.yaml`. `{{ path }}/facts/manifest_train.json` holds digests of its settings, data and
code, and the versions.
"""


def model_card(
    settings: RunSettings,
    reason: str,
    summary: pd.DataFrame,
    comparison: pd.DataFrame,
    baselines: Path,
    path: Path,
) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    settings
        The settings of the run.
    reason
        In words, why it was chosen.
    summary, comparison
        The tables of the study.
    baselines
        The folder of the data set, whose events_test.npz names the source of the data.
    path
        The folder of the run.
    """
    row = _records(summary[summary["variant"] == ""], "run")[settings.key.name]
    beta = format_beta(settings.globals_beta)
    of_cell = (comparison["latent_space"] == settings.latent_space) & (
        comparison["globals_beta"] == beta
    )
    cells = _records(comparison[of_cell & (comparison["variant"] == "")], "metric")
    rows = [
        {
            "metric": metric,
            "about": about,
            "run": number(row[metric], digits=3),
            "cell": _in_words(LOGARITHMS.get(metric, metric), cells),
        }
        for metric, about in METRICS.items()
        if metric in row and metric in cells and not math.isnan(cells[metric]["mean"])
    ]
    n = int(cells["rec_tokens"]["n"])
    limits = []
    if settings.globals_beta == 0:
        limits.append("Its globals head was never trained: the predicted MET means nothing.")
    if row["best_epoch"] == row["epochs"]:
        limits.append("Its best epoch is the last one, so it may not have converged.")
    if n < MIN_SEEDS:
        limits.append("Fewer than three seeds: another seed may give other numbers.")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(TEMPLATE).render(
        settings=settings,
        beta=beta,
        reason=reason,
        best_epoch=int(row["best_epoch"]),
        cfg=yaml.safe_dump(settings.model_dump(exclude={"variant"}), sort_keys=False),
        source=_source(baselines / "events_test.npz"),
        n=n,
        rows=rows,
        limits=limits,
        path=path,
    )


def _records(table: pd.DataFrame, key: str) -> dict[str, dict[Any, Any]]:
    return {str(row[key]): row for row in table.to_dict("records")}


def _in_words(metric: str, cells: dict[str, dict[Any, Any]]) -> str:
    numbers = [cells[metric][name] for name in ("mean", "low", "high")]
    if metric in LOGARITHMS.values():
        numbers = [math.exp(each) for each in numbers]
    return level(*numbers)


def _source(path: Path) -> str:
    """Return what the data were packed from."""
    try:
        with np.load(path) as content:
            return str(content["source"])
    except Exception as error:  # numpy, zipfile and zlib each have errors of their own
        raise UserError(
            f"{path} does not say what the data were packed from ({brief(error)}); delete it and "
            "run snakemake again."
        ) from error
