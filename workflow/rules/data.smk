# From nothing, or from the user's token file, to one packed file that every run reads.


rule simulate:
    output:
        "results/data/generated/shards/shard_{shard}.h5",
    log:
        "results/logs/simulate/shard_{shard}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        num_events=shard_events,
        settings=STUDY.simulate.model_dump_json(),
        object_types=OBJECT_TYPES,
        code=provenance.code_digest("data.sample"),
    shell:
        "python -m globals_heads simulate {output} --shard {wildcards.shard}"
        " --num-events {params.num_events} --settings {params.settings:q}"
        " --object-types {params.object_types:q} > {log} 2>&1"


rule merge:
    input:
        expand(
            "results/data/generated/shards/shard_{shard}.h5", shard=range(NUM_SHARDS)
        ),
    output:
        "results/data/generated/events.h5",
    log:
        "results/logs/merge.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shards=subpath(input[0], parent=True),
        num_events=STUDY.num_events,
        settings=STUDY.simulate.model_dump_json(),
        object_types=OBJECT_TYPES,
        code=provenance.code_digest("data.sample"),
    shell:
        "python -m globals_heads merge {output} --shards {params.shards}"
        " --num-events {params.num_events} --settings {params.settings:q}"
        " --object-types {params.object_types:q} > {log} 2>&1"


rule pack:
    input:
        token_file,
    output:
        "results/data/{dataset}/packed.h5",
    log:
        "results/logs/pack/{dataset}.log",
    # A bad token file stays bad: one error is enough.
    retries: 0
    conda:
        "../../envs/environment.yaml"
    params:
        settings=STUDY.pack.model_dump_json(),
        object_types=OBJECT_TYPES,
        code=provenance.code_digest("packed"),
    shell:
        # --: a name may begin with a dash.
        "python -m globals_heads pack --settings {params.settings:q}"
        " --object-types {params.object_types:q} -- {input:q} {output} > {log} 2>&1"


rule baselines:
    input:
        data="results/data/{dataset}/packed.h5",
    output:
        facts="results/data/{dataset}/baselines.csv",
        errors="results/data/{dataset}/events_test.npz",
        manifest="results/data/{dataset}/manifest_baselines.json",
    log:
        "results/logs/baselines/{dataset}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=STUDY.globals_only_network.model_dump_json(),
        code=provenance.code_digest("evaluate.baselines"),
    shell:
        "python -m globals_heads baselines {output.facts} --errors {output.errors}"
        " --manifest {output.manifest} --data {input.data} --settings {params.settings:q} --threads {threads} > {log} 2>&1"
