"""Settings: what is accepted, and the one sentence for what is not."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from globals_heads.errors import UserError
from globals_heads.settings import RunKey, RunSettings, Settings, format_beta
from globals_heads.validation import validated


def study(text=""):
    return validated(Settings, yaml.safe_load(text) or {}, "config/config.yaml")


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1.0, "1"), (0.5, "0.5"), (10, "10"), (1e-3, "0.001")]
)
def test_a_beta_has_one_spelling(value, text):
    assert format_beta(value) == text


@given(st.floats(min_value=0, allow_infinity=False, allow_nan=False))
def test_the_spelling_of_a_beta_loses_nothing(value):
    assert float(format_beta(value)) == value


def test_runs_are_numbered_row_by_row():
    names = [key.name for key in study("seeds: 2").runs]
    assert names[:4] == [
        "none/beta_0/seed_0",
        "linear/beta_0/seed_0",
        "vq/beta_0/seed_0",
        "none/beta_1/seed_0",
    ]
    assert names[9:] == [name.replace("seed_0", "seed_1") for name in names[:9]]


VARIANTS = """
seeds: 2
variants:
  wide: {latent_space: [none], globals_beta: [0, 3], seeds: 1, model: {latent_dim: 64}}
  free: {latent_space: [vq], train: {clip_norm: null}, bottleneck: {vq: {codebook_size: 16}}}
"""


@pytest.mark.parametrize(("num_events", "shards"), [(3000, 3), (2500, 3), (10, 1)])
def test_the_last_shard_may_be_smaller(num_events, shards):
    assert study().simulate.num_shards(num_events) == shards


def test_variants_follow_the_plain_grid():
    names = [key.name for key in study(VARIANTS).runs]
    assert names[:18] == [key.name for key in study("seeds: 2").runs]
    assert names[18:20] == ["wide/none/beta_0/seed_0", "wide/none/beta_3/seed_0"]
    assert names[20:] == [f"free/vq/beta_{b}/seed_{s}" for s in (0, 1) for b in (0, 1, 10)]


def test_a_variant_changes_what_it_names_and_nothing_else():
    settings = study(VARIANTS)
    plain, free = (
        settings.run_settings(RunKey(latent_space="vq", globals_beta=1, seed=0, variant=variant))
        for variant in ("", "free")
    )
    assert (free.train.clip_norm, free.bottleneck["codebook_size"]) == (None, 16)
    changes = {
        "variant": "",
        "train": free.train.model_copy(update={"clip_norm": plain.train.clip_norm}),
        "bottleneck": free.bottleneck | {"codebook_size": 512},
    }
    assert free.model_copy(update=changes) == plain


def test_a_run_sees_the_settings_of_its_own_latent_space_only():
    settings = study()
    for space, expected in (("none", {}), ("vq", settings.bottleneck.vq.model_dump())):
        key = RunKey(latent_space=space, globals_beta=1, seed=0)
        assert settings.run_settings(key).bottleneck == expected


def test_cfg_yaml_comes_back_as_it_was_written():
    settings = study().run_settings(RunKey(latent_space="vq", globals_beta=0.5, seed=3))
    text = yaml.safe_dump(settings.model_dump())
    assert validated(RunSettings, yaml.safe_load(text), "cfg.yaml") == settings


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("train: {learning_rate: 1e-3}", lambda s: s.train.learning_rate, 1e-3),
        ("train: {clip_norm: null}", lambda s: s.train.clip_norm, None),
        ("train: {batch_size: '64'}", lambda s: s.train.batch_size, 64),
        ("globals_beta: ['0.5', 2]", lambda s: s.globals_beta, [0.5, 2.0]),
        ("latent_space: [fsq, residual_vq]", lambda s: len(s.runs), 6),
        ("data: 'null'", lambda s: s.data, None),
        ("data: [a.csv, ~/b.csv]", lambda s: s.data, ["a.csv", str(Path.home() / "b.csv")]),
        ("data: ~/x.h5", lambda s: s.data, str(Path.home() / "x.h5")),
        ("simulate: {fractions: {tttt: 1, ttH: 0}}", lambda s: s.simulate.fractions, {"tttt": 1}),
        (
            # What `--config 'object_types={5: mu+, 6: mu-}'` makes of the default map.
            "object_types: {1: jet, 2: b-jet, 3: e+, 4: e-, 5: mu-, 6: mu+, 7: photon, "
            "'5': mu+, '6': mu-}",
            lambda s: (s.object_types[5], s.object_types[6]),
            ("mu+", "mu-"),
        ),
    ],
)
def test_accepted(text, read, expected):
    assert read(study(text)) == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("epochs: -1", ("epochs is -1", "greater than or equal to 1")),
        ("epochs: 5.0", ("epochs is 5.0", "integer")),
        ("epochs: 1e2", ("epochs is '1e2'", "integer")),
        ("epochs: true", ("epochs is True", "integer")),
        ("seeds: 2.5", ("seeds is 2.5", "integer")),
        ("latent_space: [vqq]", ("latent_space.0 is 'vqq'", "'none', 'linear', 'vq'")),
        ("latent_space: []", ("latent_space is []", "at least 1")),
        ("latent_space: [vq, vq]", ("once", "vq comes twice")),
        ("latent_space: vq", ("latent_space is 'vq'", "list")),
        ("globals_beta: [-1]", ("globals_beta.0 is -1", "greater than or equal to 0")),
        ("globals_beta: [.inf]", ("globals_beta.0 is inf", "finite")),
        ("globals_beta: [.nan]", ("globals_beta.0 is nan", "finite")),
        ("globals_beta: [-0.0]", ("globals_beta.0 is -0.0", "0, not -0.0")),
        ("globals_beta: [x]", ("globals_beta.0 is 'x'", "number")),
        ("globals_beta: [true]", ("globals_beta.0 is True", "number")),
        ("globals_beta: [1, 1.0]", ("once", "1 comes twice")),
        ("epoch: 3", ("epoch does not exist", "did you mean epochs?")),
        ("train: 5", ("train is 5", "dictionary")),
        ("train: {lr: 3}", ("train.lr does not exist; allowed here: batch_size, learning_rate",)),
        ("train: {learning_rates: 1e-3}", ("train.learning_rates", "did you mean learning_rate?")),
        ("train: {learning_rate: fast}", ("learning_rate is 'fast'", "number")),
        ("bottleneck: {vq: {codebooksize: 8}}", ("vq.codebooksize", "did you mean codebook_size?")),
        ("train: {lr_schedule: step}", ("lr_schedule is 'step'", "'constant' or 'cosine'")),
        ("train: {clip_norm: 0}", ("clip_norm is 0", "greater than 0")),
        ("model: {hidden_dims: [0]}", ("model.hidden_dims.0 is 0", "greater than")),
        ("bottleneck: {vq: {ema_decay: 1}}", ("ema_decay is 1", "less than 1")),
        ("simulate: {fractions: {tttt: 0}}", ("at least one process a share above 0",)),
        ("simulate: {fractions: {tttt: -1}}", ("fractions.tttt is -1", "greater than or equal")),
        ("bottleneck: {fsq: {levels: [2]}}", ("levels.0 is 2", "greater than or equal to 3")),
        ("bottleneck: {fsq: {levels: [1000, 1000]}}", ("at most 65536",)),
        ("seeds: 100000", ("seeds is 100000", "less than or equal to 10000")),
        ("simulate: {fractions: {ttWW: 1}}", ("ttWW", "'tttt', 'ttH', 'ttW' or 'ttZ'")),
        ("object_types: {1: jet, 3: photon}", ("codes 1, 2, 3",)),
        ("object_types: {1: jet}", ("The setting object_types should name all of",)),
        ("num_events: 5", ("num_events is 5", "10")),
        ("data: 3", ("data is 3", "a path, a list of paths, or null")),
        ("- a list", ("The configuration is ['a list'], but it should be a valid dictionary",)),
        ("variants: {a: {seeds: 3}}", ("should change a key of model, bottleneck or train",)),
        ("variants: {vq: {model: {latent_dim: 2}}}", ("unlike latent spaces, but one is vq",)),
        ("variants: {a/b: {model: {latent_dim: 2}}}", ("variants.a/b", "^[a-z][a-z0-9_]*$")),
        ("variants: {a: {latent_dim: 2}}", ("variants.a.latent_dim does not exist", "bottleneck")),
        ("variants: {a: {globals_beta: [0, 0.0], train: {clip_norm: null}}}", ("comes twice",)),
        ("missing_runs: hide", ("missing_runs is 'hide'", "'train' or 'show'")),
    ],
)
def test_refused_with_one_sentence(text, parts):
    with pytest.raises(UserError) as error:
        study(text)
    message = str(error.value)
    assert message.endswith("correct it in config/config.yaml.")
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ("model: {latent_dm: 2}", ("latent_dm does not exist", "did you mean latent_dim?")),
        ("model: {latent_dim: 0}", ("latent_dim is 0", "greater than or equal to 1")),
        ("bottleneck: {vq: {codebook_size: 1}}", ("vq.codebook_size is 1",)),
    ],
)
def test_a_bad_change_of_a_variant_is_refused_with_its_place(changes, parts):
    with pytest.raises(UserError) as error:
        study(f"variants: {{wide: {{{changes}}}}}")
    message = str(error.value)
    block = changes.split(":")[0]
    assert message.endswith(f"correct it in variants: wide: {block}: of the config.")
    for part in parts:
        assert part in message


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**300),
    st.floats(),
    st.text(max_size=5),
    st.dates(),
    st.binary(max_size=3),
    st.sampled_from(["none", "vq", "auto", "1e-3", "--5", "~nobody/x.h5", "tttt"]),
)
KEYS = st.one_of(
    st.sampled_from(sorted(set(Settings.model_fields) | {"vq", "levels", "hidden_dims", "seed"})),
    st.text(max_size=5),
    st.integers(),
    st.none(),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)) | KEYS, VALUES, max_size=3))
def test_any_config_is_accepted_or_refused_with_one_sentence(values):
    try:
        validated(Settings, values, "config/config.yaml")
    except UserError as error:
        assert len(str(error)) < 2000
        assert "\n" not in str(error)


def test_numbers_and_names_without_end_make_no_page():
    for values in ({"epochs": 16**9999}, {"e" * 10**6: 1}, {"latent_space": ["x" * 10**6] * 10**4}):
        with pytest.raises(UserError) as error:
            validated(Settings, values, "config/config.yaml")
        assert len(str(error.value)) < 1500


def test_choose_is_a_priority_or_a_block():
    assert Settings(choose="globals").choose.priority == "globals"
    assert Settings(choose={"latent_space": "vq", "globals_beta": 1}).choose.globals_beta == 1
    with pytest.raises(UserError, match=r"choose.priority is 'best', but it should be 'recons"):
        validated(Settings, {"choose": "best"}, "here")
    with pytest.raises(UserError, match=r"choose is .*should name latent_space and globals_beta"):
        validated(Settings, {"choose": {"latent_space": "vq"}}, "here")
