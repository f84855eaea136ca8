# What a latent space costs later on: the same classifier on the original events, and on what each
# run makes of them.


rule downstream_events:
    input:
        data="results/data/{dataset}/packed.h5",
    output:
        "results/data/{dataset}/downstream/seed_{seed}.npz",
    log:
        "results/logs/downstream/{dataset}/seed_{seed}.log",
    wildcard_constraints:
        seed=r"\d+",
    conda:
        "../../envs/environment.yaml"
    params:
        code=provenance.code_digest("downstream"),
    shell:
        "python -m globals_heads downstream-events {output} --data {input.data}"
        " --seed {wildcards.seed} --threads {threads} > {log} 2>&1"


rule downstream_run:
    input:
        model="results/<run>/model.pt",
        data=PACKED,
    output:
        "results/<run>/facts/downstream_test.npz",
    log:
        "results/logs/downstream/<run>.log",
    conda:
        "../../envs/environment.yaml"
    params:
        run=subpath(input.model, parent=True),
        code=provenance.code_digest("downstream"),
    shell:
        "python -m globals_heads downstream-run {params.run} --data {input.data}"
        " --threads {threads} > {log} 2>&1"
