# Out of the study: the chosen run. `rule all` does not ask for it.


rule best:
    input:
        run_files("cfg.yaml"),
        run_files("model.pt"),
        "results/comparison.csv",
        "results/verdict.json",
        summary="results/summary.csv",
        baselines=f"{BASELINES}/events_test.npz",
    output:
        expand("results/best/{name}", name=BEST_FILES),
    log:
        "results/logs/export/best.log",
    localrule: True
    conda:
        "../../envs/environment.yaml"
    params:
        best=subpath(output[0], parent=True),
        results=subpath(input.summary, parent=True),
        baselines=subpath(input.baselines, parent=True),
        choose=STUDY.choose.model_dump_json(),
        pack=STUDY.pack.model_dump_json(),
        code=provenance.code_digest("best"),
    shell:
        "python -m globals_heads best {params.best} --results {params.results}"
        " --baselines {params.baselines} --choose {params.choose:q} --pack {params.pack:q}"
        " > {log} 2>&1"
