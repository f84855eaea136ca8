# Simulated events, or the user's files, become one packed file.


rule simulate:
    output:
        f"{EVENTS}/shards/shard_{{shard}}.h5",
    log:
        "results/logs/data/simulate_shard_{shard}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        num_events=shard_events,
        settings=STUDY.simulate.model_dump_json(),
        object_types=OBJECT_TYPES,
        code=provenance.code_digest("simulate"),
    shell:
        "python -m globals_heads simulate {output} --shard {wildcards.shard}"
        " --num-events {params.num_events} --settings {params.settings:q}"
        " --object-types {params.object_types:q} > {log} 2>&1"


rule merge:
    input:
        expand(f"{EVENTS}/shards/shard_{{shard}}.h5", shard=range(NUM_SHARDS)),
    output:
        f"{EVENTS}/events.h5",
    log:
        "results/logs/data/merge.log",
    conda:
        "../../envs/environment.yaml"
    params:
        shards=subpath(input[0], parent=True),
        num_events=STUDY.num_events,
        settings=STUDY.simulate.model_dump_json(),
        object_types=OBJECT_TYPES,
        code=provenance.code_digest("simulate"),
    shell:
        "python -m globals_heads merge {output} --shards {params.shards}"
        " --num-events {params.num_events} --settings {params.settings:q}"
        " --object-types {params.object_types:q} > {log} 2>&1"


rule read:
    input:
        user_files,
    output:
        tokens=f"{EVENTS}/tokens.h5",
        report=f"{EVENTS}/read.json",
    log:
        "results/logs/data/read.log",
    # A second try cannot mend bad files.
    retries: 0
    conda:
        "../../envs/environment.yaml"
    threads: 2
    params:
        settings=STUDY.read.model_dump_json(),
        object_types=OBJECT_TYPES,
        code=provenance.code_digest("read"),
    shell:
        # --: the name of a file may begin with a dash.
        "python -m globals_heads read --settings {params.settings:q}"
        " --object-types {params.object_types:q} --report {output.report}"
        " -- {output.tokens} {input:q} > {log} 2>&1"


rule pack:
    input:
        token_file,
    output:
        "results/data/{dataset}/packed.h5",
    log:
        "results/logs/data/pack_{dataset}.log",
    # A second try cannot mend a bad token file.
    retries: 0
    conda:
        "../../envs/environment.yaml"
    params:
        settings=STUDY.pack.model_dump_json(),
        object_types=OBJECT_TYPES,
        # All files made here are in GeV.
        unit=STUDY.read.unit if IS_TOKEN_FILE else "GeV",
        code=provenance.code_digest("pack"),
    shell:
        # --: the name of a file may begin with a dash.
        "python -m globals_heads pack --settings {params.settings:q}"
        " --object-types {params.object_types:q} --unit {params.unit}"
        " -- {input:q} {output} > {log} 2>&1"
