# From the facts of all runs to one table, and from there to the verdict.


rule link_runs:
    output:
        directory("results/by_number"),
    log:
        "results/logs/link_runs.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        grid=PLAIN_GRID,
    shell:
        "python -m globals_heads link-runs {output} --results results --grid {params.grid:q}"
        " > {log} 2>&1"


rule collect:
    input:
        run_files("facts/metrics_train.csv"),
        run_files("facts/metrics_val.csv"),
        run_files("facts/metrics_test.csv"),
        baselines=f"results/data/{DATASET}/baselines.csv",
    output:
        report(
            "results/summary.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "summary of the runs", "as": "CSV file"},
        ),
    log:
        "results/logs/collect.log",
    conda:
        "../../envs/environment.yaml"
    params:
        grid=GRID,
        # Runs in the way that are not those of this study; otherwise Snakemake makes them again.
        others=[
            f"--leave-out {key.name}" for key in STUDY.runs if key.name not in COMPARED
        ],
        code=provenance.code_digest("compare.summary"),
    shell:
        "python -m globals_heads collect {output} --results results --grid {params.grid:q}"
        " --baselines {input.baselines} {params.others} > {log} 2>&1"


rule compare:
    input:
        run_files("cfg.yaml"),
        run_files("facts/events_test.npz"),
        summary="results/summary.csv",
        linear_fit=f"results/data/{DATASET}/events_test.npz",
    output:
        report(
            "results/comparison.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "comparison of the cells", "as": "CSV file"},
        ),
    log:
        "results/logs/compare.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=STUDY.compare.model_dump_json(),
        code=provenance.code_digest("compare.comparison"),
    shell:
        "python -m globals_heads compare {output} --summary {input.summary} --results results"
        " --linear-fit {input.linear_fit} --settings {params.settings:q} > {log} 2>&1"


rule judge:
    input:
        run_files("cfg.yaml"),
        run_files("facts/events_test.npz"),
        summary="results/summary.csv",
        linear_fit=f"results/data/{DATASET}/events_test.npz",
    output:
        json="results/verdict.json",
        md=report(
            "results/verdict.md",
            caption="../report/verdict.rst",
            category="Tables",
            labels={"table": "verdict with every number", "as": "Markdown file"},
        ),
        rst="results/verdict.rst",
    log:
        "results/logs/judge.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=STUDY.compare.model_dump_json(),
        code=provenance.code_digest("compare.verdict"),
    shell:
        "python -m globals_heads judge {output.md} --summary {input.summary} --results results"
        " --linear-fit {input.linear_fit} --settings {params.settings:q} > {log} 2>&1"
