# One page to browse and to hand on: `snakemake --profile local report`.


rule tabulate:
    input:
        "results/{table}.csv",
    output:
        report(
            "results/tables/{table}.html",
            caption="../report/table.rst",
            category="Tables",
            labels=table_labels,
        ),
    log:
        "results/logs/tabulate/{table}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        code=provenance.code_digest("compare.tables"),
    shell:
        "python -m globals_heads tabulate {output} --table {input} > {log} 2>&1"


rule report:
    input:
        study_results,
        "results/verdict.rst",
        tables=expand("results/tables/{table}.html", table=TABLES),
    output:
        "results/report.html",
    log:
        "results/logs/report.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        snakefile=workflow.main_snakefile,
        config=config_options(),
        # Its text, since its path is another one in every call.
        style=Path(workflow.source_path("../report/report.css")).read_text(),
    shell:
        # --nolock: the snakemake that runs this rule holds the lock.
        "snakemake all {input.tables} --snakefile {params.snakefile:q} {params.config:q} --nolock"
        " --report {output} --report-stylesheet <(printf %s {params.style:q}) > {log} 2>&1"
