# The study: train a token autoencoder for every latent space, every weight of the globals head
# and every seed; collect what the runs measured; draw the comparison.
#
#     snakemake --profile local                                  the whole study
#     snakemake --profile local -n                               what would be done
#     snakemake --profile local --report results/report.html     one page with all results
#     snakemake --profile local results/best/model.pt            the chosen run
#     snakemake --profile local -f results/runs/vq/beta_10/seed_0/model.pt   one run again

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


# With missing_runs: show, only finished runs are shown, and no data are made.
if TRAIN:

    include: "workflow/rules/data.smk"


include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"


if STUDY.downstream:

    include: "workflow/rules/downstream.smk"


include: "workflow/rules/compare.smk"
include: "workflow/rules/export.smk"
include: "workflow/rules/plot.smk"


rule all:
    default_target: True
    input:
        run_files(),
        "results/by_number",
        "results/summary.csv",
        rules.compare.output,
        figure_files(),


if workflow.is_main_process:
    require_targets()
