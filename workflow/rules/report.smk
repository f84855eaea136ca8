# One page to browse and to hand on: `snakemake --profile local report`.


rule report:
    input:
        study_results,
        "results/verdict.rst",
        tables=["results/tables/summary.html", "results/tables/comparison.html"],
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
