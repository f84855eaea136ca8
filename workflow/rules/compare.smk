# From the facts of all runs to the summary, and from the summary to the verdict.


rule collect:
    input:
        run_files("facts/metrics_train.csv"),
        run_files("facts/metrics_val.csv"),
        run_files("facts/metrics_test.csv"),
        baselines=f"{BASELINES}/baselines.csv",
    output:
        report(
            "results/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "summary of the runs", "as": "CSV file"},
        ),
    log:
        "results/logs/compare/collect.log",
    conda:
        "../../envs/environment.yaml"
    params:
        grid=GRID,
        baselines=subpath(input.baselines, parent=True),
        # Runs made with other settings; collect counts them as missing.
        others=[
            f"--leave-out {key.name}" for key in STUDY.runs if key.name not in COMPARED
        ],
        code=provenance.code_digest("collect"),
    shell:
        "python -m globals_heads collect {output} --results results --grid {params.grid:q}"
        " --baselines {params.baselines} {params.others} > {log} 2>&1"


rule compare:
    input:
        run_files("cfg.yaml"),
        run_files("facts/events_test.npz"),
        downstream_files(),
        "results/summary.csv",
        baselines=f"{BASELINES}/events_test.npz",
    output:
        "results/manifest_compare.json",
        "results/verdict.json",
        "results/tables/grid.tex",
        "results/tables/decision_matrix.tex",
        "results/verdict.md",
        *(["results/downstream.csv"] if STUDY.downstream else []),
        report(
            "results/verdict.html",
            caption="../report/verdict.rst",
            category="Tables",
            labels={"table": "verdict", "as": "page"},
        ),
        report(
            "results/verdict_numbers.csv",
            caption="../report/verdict.rst",
            category="Tables",
            labels={"table": "verdict", "as": "CSV file"},
        ),
        report(
            "results/comparison.csv",
            caption="../report/comparison.rst",
            category="Tables",
            labels={"table": "comparison of the cells", "as": "CSV file"},
        ),
        report(
            "results/tables/summary.html",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "summary of the runs", "as": "page"},
        ),
        report(
            "results/tables/comparison.html",
            caption="../report/comparison.rst",
            category="Tables",
            labels={"table": "comparison of the cells", "as": "page"},
        ),
    log:
        "results/logs/compare/compare.log",
    conda:
        "../../envs/environment.yaml"
    params:
        baselines=subpath(input.baselines, parent=True),
        settings=STUDY.compare.model_dump_json(),
        downstream_of=(
            "none"
            if not STUDY.downstream
            else "generated" if STUDY.data is None else "given"
        ),
        code=provenance.code_digest("compare"),
    shell:
        "python -m globals_heads compare --results results --baselines {params.baselines}"
        " --settings {params.settings:q} --downstream-of {params.downstream_of}"
        " > {log} 2>&1"
