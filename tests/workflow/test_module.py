"""Another workflow uses the study as a module, with its own config, data and targets."""

import yaml

SNAKEFILE = """
configfile: "mine.yaml"


module study:
    snakefile:
        "house/Snakefile"
    config:
        config["globals_heads"]


use rule * from study as study_*


rule mine:
    default_target: True
    input:
        "results/best/model.pt",
    output:
        "mine.pt",
    shell:
        "cp {input} {output}"
"""


def test_another_workflow_uses_the_study(study_type, tmp_path, finished):
    study = study_type.create(tmp_path / "house")
    other = study_type(tmp_path, environment={"PYTHONPATH": str(study / "src")})
    (tmp_path / "tokens.h5").write_bytes((finished / "tokens.h5").read_bytes())
    (tmp_path / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    settings = yaml.safe_load((finished / "tiny.yaml").read_text(encoding="utf-8"))
    settings |= {
        "latent_space": ["vq"],
        "globals_beta": [1],
        "choose": {"latent_space": "vq", "globals_beta": 1},
    }
    content = {"globals_heads": settings}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    other.run("mine", "--cores", "1", profile=None)
    model = (tmp_path / "results/runs/vq/beta_1/seed_0/model.pt").read_bytes()
    assert (tmp_path / "mine.pt").read_bytes() == model
    assert not (study / "results").exists()
    assert not other.plan("mine", "--cores", "1", profile=None)
    found = other.fail("results/runs/vq/beta_2/seed_0/model.pt", "--cores", "1", profile=None)
    assert "is no run of this study" in found
