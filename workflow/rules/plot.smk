# Figures of each run and of the study; src/globals_heads/plot/figures.py lists them.


rule plot_run:
    input:
        lambda wildcards: inputs_of(RUN_FIGURES[wildcards.figure], [run_key(wildcards)]),
    output:
        "results/<run>/figures/{figure}.csv",
        svg=report(
            "results/<run>/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Runs",
            labels=lambda wildcards: {
                "latent_space": wildcards.latent_space,
                "globals_beta": wildcards.globals_beta,
                "seed": wildcards.seed,
                "variant": run_key(wildcards).variant or "plain grid",
            },
        ),
        others=expand("results/<run>/figures/{{figure}}.{kind}", kind=OTHER_FORMATS),
        manifest="results/<run>/figures/{figure}.json",
    log:
        "results/logs/plot/<run>/{figure}.log",
    wildcard_constraints:
        figure="|".join(RUN_FIGURES),
    conda:
        "../../envs/environment.yaml"
    params:
        run=subpath(output.svg, ancestor=2),
        settings=STUDY.plot.model_dump_json(),
        caption=lambda wildcards: caption_of(
            RUN_FIGURES[wildcards.figure], STUDY.run_settings(run_key(wildcards))
        ),
        code=provenance.code_digest("plot"),
    shell:
        "python -m globals_heads plot-run {params.run} {wildcards.figure}"
        " --settings {params.settings:q} > {log} 2>&1"


rule plot:
    input:
        figure_inputs,
    output:
        "results/figures/{figure}.csv",
        svg=report(
            "results/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Comparison",
            labels=lambda wildcards: {
                "figure": in_reading_order(wildcards.figure),
                "metric": FIGURES[wildcards.figure].metric,
            },
        ),
        others=expand("results/figures/{{figure}}.{kind}", kind=OTHER_FORMATS),
        manifest="results/figures/{figure}.json",
    log:
        "results/logs/plot/{figure}.log",
    wildcard_constraints:
        figure="|".join(figures_of(STUDY)),
    conda:
        "../../envs/environment.yaml"
    params:
        baselines=BASELINES,
        grid=GRID,
        settings=STUDY.plot.model_dump_json(),
        caption=lambda wildcards: caption_of(FIGURES[wildcards.figure], STUDY),
        code=provenance.code_digest("plot"),
    shell:
        "python -m globals_heads plot {wildcards.figure} {output.svg} --results results"
        " --baselines {params.baselines} --grid {params.grid:q} --settings {params.settings:q}"
        " > {log} 2>&1"
