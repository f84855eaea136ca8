# One run: its settings, its training, its evaluation.


rule configure:
    output:
        "results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/cfg.yaml",
    log:
        "results/logs/configure/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}.log",
    # Before all else, so that `make status` knows every run that waits.
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
        cfg="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/cfg.yaml",
        data=PACKED,
    output:
        model="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/model.pt",
        train="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/facts/metrics_train.csv",
        val="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/facts/metrics_val.csv",
        manifest="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/facts/manifest_train.json",
        log="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/run.log",
    log:
        # The same file as run.log: Snakemake deletes the outputs of a failed job, but not its log.
        "results/logs/train/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}.log",
    benchmark:
        "results/benchmarks/train/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}.tsv"
    conda:
        "../../envs/environment.yaml"
    resources:
        # No parameter: another one of those would train every run again.
        checkpoint_minutes=STUDY.checkpoint_minutes,
    params:
        run=subpath(output.model, parent=True),
        code=provenance.code_digest("train.train"),
    shell:
        # exec: a signal reaches the training itself, not a shell that dies and leaves it behind.
        ": > {log} && ln -f {log} {output.log} &&"
        " exec python -m globals_heads train {params.run} --data {input.data} --threads {threads}"
        " --checkpoint-minutes {resources.checkpoint_minutes} --stop-with-parent >> {log} 2>&1"


rule evaluate:
    input:
        model="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/model.pt",
        data=PACKED,
    output:
        facts="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/facts/metrics_test.csv",
        errors="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/facts/events_test.npz",
        manifest="results/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}/facts/manifest_evaluate.json",
    log:
        "results/logs/evaluate/{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        run=subpath(input.model, parent=True),
        code=provenance.code_digest("evaluate.evaluate"),
    shell:
        "python -m globals_heads evaluate {params.run} --data {input.data} --threads {threads}"
        " > {log} 2>&1"
