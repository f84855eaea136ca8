# From the facts of all runs to one table.


rule link_runs:
    output:
        directory("results/by_number"),
    log:
        "results/logs/link_runs.log",
    localrule: True
    conda:
        "../../envs/compare.yaml"
    params:
        grid=GRID,
    shell:
        "python -m globals_heads link-runs {output} --runs results/runs --grid {params.grid:q}"
        " > {log} 2>&1"


rule collect:
    input:
        run_files("facts/metrics_train.csv"),
        run_files("facts/metrics_val.csv"),
        run_files("facts/metrics_test.csv"),
        yardsticks=f"results/data/{DATASET}/yardsticks.csv",
    output:
        report(
            "results/summary.csv",
            caption="../report/summary.rst",
            category="Comparison",
            labels={"figure": "summary table", "metric": "all"},
        ),
    log:
        "results/logs/collect.log",
    conda:
        "../../envs/compare.yaml"
    params:
        grid=GRID,
        code=provenance.code_digest("compare.summary"),
    shell:
        "python -m globals_heads collect {output} --runs results/runs --grid {params.grid:q}"
        " --yardsticks {input.yardsticks} > {log} 2>&1"
