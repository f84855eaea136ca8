# One run: its settings and its training, and links to the runs by their numbers.


rule link_runs:
    output:
        directory("results/by_number"),
    log:
        "results/logs/train/link_runs.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        grid=PLAIN_GRID,
    shell:
        "python -m globals_heads link-runs {output} --results results --grid {params.grid:q}"
        " > {log} 2>&1"


# With `missing_runs: show` these rules do not exist.
if TRAIN:

    rule configure:
        input:
            require_run,
        output:
            "results/<run>/cfg.yaml",
        log:
            "results/logs/train/<run>.configure.log",
        # First of all, so that `make status` lists every run from the start.
        priority: 1
        localrule: True
        conda:
            "../../envs/environment.yaml"
        params:
            settings=run_settings,
        shell:
            "printf %s {params.settings:q} > {output} 2> {log}"

    rule train:
        input:
            cfg="results/<run>/cfg.yaml",
            data=PACKED,
        output:
            model="results/<run>/model.pt",
            train="results/<run>/facts/metrics_train.csv",
            val="results/<run>/facts/metrics_val.csv",
            manifest="results/<run>/facts/manifest_train.json",
            log="results/<run>/run.log",
        log:
            # A hard link to run.log. Snakemake deletes run.log when the job fails; this one stays.
            "results/logs/train/<run>.log",
        benchmark:
            "results/benchmarks/train/<run>.tsv"
        conda:
            "../../envs/environment.yaml"
        params:
            run=subpath(output.model, parent=True),
            code=provenance.code_digest("train"),
        shell:
            # exec: a signal reaches the training itself, not a shell that would leave it behind.
            ": > {log} && ln -f {log} {output.log} &&"
            " exec python -m globals_heads train {params.run} --data {input.data}"
            " --threads {threads} --stop-with-parent >> {log} 2>&1"
