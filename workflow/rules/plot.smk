# Pictures: of every run, and of the grid.


rule plot_run:
    input:
        cfg="results/runs/{variant}{latent_space}/beta_{globals_beta}/seed_{seed}/cfg.yaml",
        train="results/runs/{variant}{latent_space}/beta_{globals_beta}/seed_{seed}/facts/metrics_train.csv",
        val="results/runs/{variant}{latent_space}/beta_{globals_beta}/seed_{seed}/facts/metrics_val.csv",
    output:
        "results/runs/{variant}{latent_space}/beta_{globals_beta}/seed_{seed}/figures/curves.csv",
        svg=report(
            "results/runs/{variant}{latent_space}/beta_{globals_beta}/seed_{seed}/figures/curves.svg",
            caption="../report/run.rst",
            category="Runs",
            labels={
                "latent_space": "{latent_space}",
                "globals_beta": "{globals_beta}",
                "seed": "{seed}",
                "variant": "{variant}",
            },
        ),
        png="results/runs/{variant}{latent_space}/beta_{globals_beta}/seed_{seed}/figures/curves.png",
    log:
        "results/logs/plot_run/{variant}{latent_space}/beta_{globals_beta}/seed_{seed}.log",
    conda:
        "../../envs/compare.yaml"
    params:
        run=subpath(input.cfg, parent=True),
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("compare.figures"),
    shell:
        "python -m globals_heads plot-run {params.run} --settings {params.settings:q} > {log} 2>&1"


rule plot_heatmap:
    input:
        summary="results/summary.csv",
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
        "../../envs/compare.yaml"
    params:
        grid=PLAIN_GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("compare.figures"),
    shell:
        "python -m globals_heads plot-heatmap {output.svg} --metric {wildcards.metric}"
        " --summary {input.summary} --grid {params.grid:q} --settings {params.settings:q}"
        " > {log} 2>&1"


rule plot_learning_curves:
    input:
        run_files("facts/metrics_train.csv"),
        run_files("facts/metrics_val.csv"),
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
        "../../envs/compare.yaml"
    params:
        grid=PLAIN_GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("compare.figures"),
    shell:
        "python -m globals_heads plot-learning-curves {output.svg} --runs results/runs"
        " --grid {params.grid:q} --settings {params.settings:q} > {log} 2>&1"


rule plot_tradeoff:
    input:
        summary="results/summary.csv",
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
    conda:
        "../../envs/compare.yaml"
    params:
        grid=PLAIN_GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("compare.figures"),
    shell:
        "python -m globals_heads plot-tradeoff {output.svg} --summary {input.summary}"
        " --grid {params.grid:q} --settings {params.settings:q} > {log} 2>&1"


rule plot_chain:
    input:
        summary="results/summary.csv",
    output:
        "results/figures/chain.csv",
        svg=report(
            "results/figures/chain.svg",
            caption="../report/chain.rst",
            category="Comparison",
            labels={"figure": "chain of yardsticks", "metric": "met_component_rms"},
        ),
        png="results/figures/chain.png",
    log:
        "results/logs/plot_chain.log",
    conda:
        "../../envs/compare.yaml"
    params:
        grid=PLAIN_GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("compare.physics_figures"),
    shell:
        "python -m globals_heads plot-chain {output.svg} --summary {input.summary}"
        " --grid {params.grid:q} --settings {params.settings:q} > {log} 2>&1"


rule plot_met:
    input:
        run_files("facts/metrics_test.csv"),
    output:
        "results/figures/met.csv",
        svg=report(
            "results/figures/met.svg",
            caption="../report/met.rst",
            category="Comparison",
            labels={"figure": "MET", "metric": "response, resolution"},
        ),
        png="results/figures/met.png",
    log:
        "results/logs/plot_met.log",
    conda:
        "../../envs/compare.yaml"
    params:
        grid=PLAIN_GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("compare.physics_figures"),
    shell:
        "python -m globals_heads plot-met {output.svg} --runs results/runs"
        " --grid {params.grid:q} --settings {params.settings:q} > {log} 2>&1"


rule plot_residuals:
    input:
        run_files("facts/metrics_test.csv"),
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
    conda:
        "../../envs/compare.yaml"
    params:
        grid=PLAIN_GRID,
        settings=STUDY.plot.model_dump_json(),
        code=provenance.code_digest("compare.physics_figures"),
    shell:
        "python -m globals_heads plot-residuals {output.svg} --runs results/runs"
        " --grid {params.grid:q} --settings {params.settings:q} > {log} 2>&1"
