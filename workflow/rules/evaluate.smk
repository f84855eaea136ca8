# Measure each run, and the baselines, on the test split.


if MEASURE:

    rule evaluate:
        input:
            model="results/<run>/model.pt",
            data=PACKED,
        output:
            facts="results/<run>/facts/metrics_test.csv",
            errors="results/<run>/facts/events_test.npz",
            manifest="results/<run>/facts/manifest_evaluate.json",
        log:
            "results/logs/evaluate/<run>.log",
        conda:
            "../../envs/environment.yaml"
        params:
            run=subpath(input.model, parent=True),
            code=provenance.code_digest("evaluate"),
        shell:
            "python -m globals_heads evaluate {params.run} --data {input.data}"
            " --threads {threads} > {log} 2>&1"


# With missing_runs: show, baselines that are missing are measured; none are made again.
if TRAIN or not Path(BASELINES, "baselines.csv").exists():

    rule baselines:
        input:
            data="results/data/{dataset}/packed.h5",
        output:
            facts="results/data/{dataset}/baselines.csv",
            errors="results/data/{dataset}/events_test.npz",
            manifest="results/data/{dataset}/manifest_baselines.json",
        log:
            "results/logs/evaluate/baselines_{dataset}.log",
        conda:
            "../../envs/environment.yaml"
        params:
            settings=STUDY.globals_only_network.model_dump_json(),
            code=provenance.code_digest("baselines"),
        shell:
            "python -m globals_heads baselines {output.facts} --errors {output.errors}"
            " --manifest {output.manifest} --data {input.data} --settings {params.settings:q}"
            " --threads {threads} > {log} 2>&1"
