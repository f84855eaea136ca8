"""The chosen run: copy its model.pt and settings out of the grid, with an overlay and a card.

It is chosen by a priority of the decision matrix in verdict.json, or named by its cell. This
module reads results that are finished and knows nothing of models.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from globals_heads.errors import UserError, brief
from globals_heads.export.model_card import model_card
from globals_heads.facts import RunFolder
from globals_heads.files import atomic_path, write_text
from globals_heads.settings import (
    ChooseSettings,
    PackSettings,
    Priority,
    RunKey,
    RunSettings,
    format_beta,
)
from globals_heads.tables import read_facts, read_summary

# The line of the decision matrix of each priority.
CLAIMS: dict[Priority, str] = {
    "reconstruction": "M1",
    "balanced": "M2",
    "globals": "M3",
    "interpretable": "M4",
    "production": "M5",
}
OVERLAY = """\
# {run} as the new default: the grid is its cell alone, with its settings.
#     snakemake --profile local --configfile {path}
"""


def copy_best(
    choose: ChooseSettings, pack: PackSettings, results: Path, baselines: Path, output: Path
) -> None:
    """Write model.pt, cfg.yaml, overlay.yaml and model_card.md of the chosen run.

    Parameters
    ----------
    choose
        The priority, or the cell, and the seed.
    pack
        How the data were packed, for the overlay.
    results, baselines
        The folder of the study's results, and of its data set.
    output
        The folder to write into.

    Raises
    ------
    UserError
        If no run fits, or results are damaged.
    """
    summary = read_summary(results / "summary.csv", ["val_loss", "best_epoch", "epochs"])
    key, reason = choose_run(choose, summary, results / "verdict.json")
    folder = RunFolder.of(results, key.name)
    settings = folder.read_settings()
    text = OVERLAY.format(run=key.name, path=output / "overlay.yaml")
    text += yaml.safe_dump(overlay(settings, pack), sort_keys=False)
    cells = read_facts(results / "comparison.csv", columns=["metric", "n", "mean", "low", "high"])
    card = model_card(settings, reason, summary, cells, baselines, folder.path)
    for source in (folder.model, folder.settings):
        with atomic_path(output / source.name) as temporary:
            temporary.write_bytes(source.read_bytes())
    write_text(output / "overlay.yaml", text)
    write_text(output / "model_card.md", card)
    print(f"{output} holds {key.name}: {reason}")


def choose_run(choose: ChooseSettings, summary: pd.DataFrame, verdict: Path) -> tuple[RunKey, str]:
    """Return the chosen run and, in words, why.

    Raises
    ------
    UserError
        If no cell qualifies for the priority, or no finished run fits.
    """
    if choose.latent_space is None or choose.globals_beta is None:
        line = _matrix(verdict)[CLAIMS[choose.priority]]
        if line["best"] is None:
            raise UserError(
                f"No cell qualifies for the priority {choose.priority} ({line['rule']}); choose "
                "another one, or a cell: --config 'choose={latent_space: linear, globals_beta: 1}'."
            )
        space, _, beta = str(line["best"]).partition("/beta_")
        reason = f"it measured best for the priority {choose.priority}: {line['rule']}"
    else:
        space, beta = choose.latent_space, format_beta(choose.globals_beta)
        reason = "the setting choose names its cell"
    of_cell = (summary["latent_space"] == space) & (summary["globals_beta"] == beta)
    finished = summary[of_cell & (summary["variant"] == "") & (summary["status"] == "ok")]
    seeds = sorted(finished["seed"])
    if choose.seed is not None:
        reason += "; the setting choose names its seed"
        finished = finished[finished["seed"] == choose.seed]
    elif len(seeds) > 1:
        reason += f"; its validation loss is the median of {len(seeds)} seeds"
    if finished.empty:
        ok = summary[(summary["variant"] == "") & (summary["status"] == "ok")]
        raise UserError(
            f"The setting choose asks for {space}/beta_{beta}"
            f"{'' if choose.seed is None else f'/seed_{choose.seed}'}, which is no finished run of "
            f"this study; choose one of {', '.join(ok['run'])}."
        )
    # Of an even number of seeds, the better one of the middle two.
    by_loss = finished.sort_values(["val_loss", "seed"])
    seed = int(by_loss["seed"].iloc[(len(by_loss) - 1) // 2])
    key = {"latent_space": space, "globals_beta": float(beta), "seed": seed}
    return RunKey.model_validate(key), reason


def overlay(settings: RunSettings, pack: PackSettings) -> dict[str, Any]:
    """Return the settings that make the cell of a run the whole study."""
    cell = {"latent_space": settings.latent_space, "globals_beta": settings.globals_beta}
    content = {name: [value] for name, value in cell.items()} | {
        "epochs": settings.epochs,
        "pack": pack.model_dump(),
        "model": settings.model.model_dump(),
        "train": settings.train.model_dump(),
        "compare": {"reference": cell},
    }
    if settings.bottleneck:
        content["bottleneck"] = {settings.latent_space: settings.bottleneck}
    return content


def _matrix(path: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of the decision matrix by their claims."""
    try:
        lines = json.loads(path.read_text(encoding="utf-8"))["matrix"]
        return {line["claim"]: {"best": line["best"], "rule": line["rule"]} for line in lines}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read as a verdict ({brief(error)}); delete it and run snakemake "
            "again."
        ) from error
