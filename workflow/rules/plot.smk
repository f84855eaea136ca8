# Pictures: of every run, and of the grid.


rule plot_run:
    input:
        cfg="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/cfg.yaml",
        train="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/facts/metrics_train.csv",
        val="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/facts/metrics_val.csv",
    output:
        "results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/figures/curves.csv",
        svg=report(
            "results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/figures/curves.svg",
            caption="../report/run.rst",
            category="Runs",
            labels={
                "latent_space": "{latent_space}",
                "globals_beta": "{globals_beta}",
                "seed": "{seed}",
                "grid": "{grid}",
            },
        ),
        png="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/figures/curves.png",
    log:
        "results/logs/plot_run/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        run=subpath(input.cfg, parent=True),
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("plot.epochs"),
    shell:
        "python -m globals_heads plot-run {params.run} --settings {params.settings:q} > {log} 2>&1"


rule plot_heatmap:
    input:
        summary="results/summary.csv",
        comparison="results/comparison.csv",
    output:
        "results/figures/heatmap_{metric}.csv",
        svg=report(
            "results/figures/heatmap_{metric}.svg",
            caption="../report/heatmap.rst",
            category="Comparison",
            labels={"figure": "heat map", "metric": "{metric}"},
        ),
        png="results/figures/heatmap_{metric}.png",
    log:
        "results/logs/plot_heatmap/{metric}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        figure="plot-heatmap --metric {metric}",
        grid=PLAIN_GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("plot.grid"),
    shell:
        "python -m globals_heads {params.figure} {output.svg} --summary {input.summary}"
        " --comparison {input.comparison} --grid {params.grid:q} --settings {params.settings:q}"
        " > {log} 2>&1"


use rule plot_heatmap as plot_tradeoff with:
    output:
        "results/figures/tradeoff.csv",
        svg=report(
            "results/figures/tradeoff.svg",
            caption="../report/tradeoff.rst",
            category="Comparison",
            labels={"figure": "trade-off", "metric": "rec_tokens against rec_globals"},
        ),
        png="results/figures/tradeoff.png",
    log:
        "results/logs/plot_tradeoff.log",
    params:
        figure="plot-tradeoff",


use rule plot_heatmap as plot_chain with:
    output:
        "results/figures/chain.csv",
        svg=report(
            "results/figures/chain.svg",
            caption="../report/chain.rst",
            category="Comparison",
            labels={"figure": "chain of baselines", "metric": "met_component_rms"},
        ),
        png="results/figures/chain.png",
    log:
        "results/logs/plot_chain.log",
    params:
        figure="plot-chain",
        code=provenance.code_digest("plot.physics"),


rule plot_learning_curves:
    input:
        run_files("facts/metrics_train.csv", PLAIN_RUNS),
        run_files("facts/metrics_val.csv", PLAIN_RUNS),
        summary="results/summary.csv",
    output:
        "results/figures/learning_curves.csv",
        svg=report(
            "results/figures/learning_curves.svg",
            caption="../report/learning_curves.rst",
            category="Comparison",
            labels={"figure": "learning curves", "metric": "rec_tokens, rec_globals"},
        ),
        png="results/figures/learning_curves.png",
    log:
        "results/logs/plot_learning_curves.log",
    conda:
        "../../envs/environment.yaml"
    params:
        figure="plot-learning-curves",
        grid=PLAIN_GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("plot.epochs"),
    shell:
        "python -m globals_heads {params.figure} {output.svg} --summary {input.summary}"
        " --results results --grid {params.grid:q} --settings {params.settings:q}"
        " > {log} 2>&1"


use rule plot_learning_curves as plot_codebook with:
    input:
        run_files("cfg.yaml", CODEBOOK_RUNS),
        run_files("facts/metrics_val.csv", CODEBOOK_RUNS),
        summary="results/summary.csv",
    output:
        "results/figures/codebook.csv",
        svg=report(
            "results/figures/codebook.svg",
            caption="../report/codebook.rst",
            category="Comparison",
            labels={"figure": "codebook", "metric": "perplexity, active_codes"},
        ),
        png="results/figures/codebook.png",
    log:
        "results/logs/plot_codebook.log",
    params:
        figure="plot-codebook",


use rule plot_learning_curves as plot_residuals with:
    input:
        run_files("facts/metrics_test.csv", PLAIN_RUNS),
        summary="results/summary.csv",
    output:
        "results/figures/residuals.csv",
        svg=report(
            "results/figures/residuals.svg",
            caption="../report/residuals.rst",
            category="Comparison",
            labels={"figure": "residuals", "metric": "token_sigma68"},
        ),
        png="results/figures/residuals.png",
    log:
        "results/logs/plot_residuals.log",
    params:
        figure="plot-residuals",
        code=provenance.code_digest("plot.physics"),


rule plot_met:
    input:
        run_files("facts/metrics_test.csv", PLAIN_RUNS),
        summary="results/summary.csv",
        baselines=f"results/data/{DATASET}/baselines.csv",
    output:
        "results/figures/met.csv",
        svg=report(
            "results/figures/met.svg",
            caption="../report/met.rst",
            category="Comparison",
            labels={"figure": "MET", "metric": "response, resolution, angle"},
        ),
        png="results/figures/met.png",
    log:
        "results/logs/plot_met.log",
    conda:
        "../../envs/environment.yaml"
    params:
        grid=PLAIN_GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("plot.physics"),
    shell:
        "python -m globals_heads plot-met {output.svg} --summary {input.summary}"
        " --results results --baselines {input.baselines} --grid {params.grid:q}"
        " --settings {params.settings:q} > {log} 2>&1"


rule plot_latent_dim:
    input:
        run_files("cfg.yaml"),
        run_files("facts/events_test.npz"),
        summary="results/summary.csv",
        linear_fit=f"results/data/{DATASET}/events_test.npz",
    output:
        "results/figures/latent_dim.csv",
        svg=report(
            "results/figures/latent_dim.svg",
            caption="../report/latent_dim.rst",
            category="Comparison",
            labels={"figure": "latent_dim", "metric": "rec_tokens, rec_globals"},
        ),
        png="results/figures/latent_dim.png",
    log:
        "results/logs/plot_latent_dim.log",
    conda:
        "../../envs/environment.yaml"
    params:
        figure="plot-latent-dim",
        grid=GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("plot.variants"),
    shell:
        "python -m globals_heads {params.figure} {output.svg} --summary {input.summary}"
        " --results results --linear-fit {input.linear_fit} --grid {params.grid:q}"
        " --settings {params.settings:q} > {log} 2>&1"


use rule plot_latent_dim as plot_variants with:
    output:
        "results/figures/variants.csv",
        svg=report(
            "results/figures/variants.svg",
            caption="../report/variants.rst",
            category="Comparison",
            labels={"figure": "variants", "metric": "rec_tokens, rec_globals"},
        ),
        png="results/figures/variants.png",
    log:
        "results/logs/plot_variants.log",
    params:
        figure="plot-variants",
