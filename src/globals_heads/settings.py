"""Every setting of the study: its default, its limits and what it means.

These models are the only source. The workflow passes its config through `Settings`, the JSON
schema is generated from it, and each run's cfg.yaml is a `RunSettings`. This module knows
nothing of files' contents, torch or Snakemake.
"""

import math
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from globals_heads.validation import (
    AS_INTEGER,
    AS_REAL,
    Count,
    Fraction,
    NotNegative,
    Positive,
    SeedCount,
    Size,
    validated,
)

LatentSpace = Literal["none", "linear", "vq", "fsq", "residual_vq"]
Priority = Literal["reconstruction", "balanced", "globals", "interpretable", "production"]
Process = Literal["tttt", "ttH", "ttW", "ttZ"]
EnergyUnit = Literal["auto", "MeV", "GeV"]
# A code is stored in one byte, and 0 is an empty slot.
MAX_TYPES = 255
# Each is a job that Snakemake keeps in memory.
MAX_SHARDS = 100_000
# Part of the name of a folder, results/runs_NAME.
VariantName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


def _each_once(values: list[Any]) -> list[Any]:
    names = [format_beta(v) if isinstance(v, float) else v for v in values]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Input should list each value once, but {name} comes twice")
    return values


LatentSpaces = Annotated[list[LatentSpace], Field(min_length=1), AfterValidator(_each_once)]
Weights = Annotated[list[NotNegative], Field(min_length=1), AfterValidator(_each_once)]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SimulateSettings(_Block):
    """Events made with Pythia 8, FastJet and a fast detector."""

    fractions: dict[Process, NotNegative] = {"tttt": 3.0, "ttH": 1.0, "ttW": 1.0, "ttZ": 1.0}
    """Share of each process among the accepted events; only the ratios matter, 0 leaves one out."""
    seed: Annotated[int, Field(ge=0, le=1_000_000, strict=True), AS_INTEGER] = 0
    """Seed of the sample; every shard derives its own from it."""
    shard_size: Count = 1000
    """Accepted events per shard; each shard is one job."""
    multiparton: bool = False
    """Simulate multiparton interactions; about three times slower."""
    min_ht_gev: NotNegative = 400.0
    """Smallest accepted HT, the scalar sum of jet pT, in GeV."""
    min_objects: Annotated[int, Field(ge=1, le=18, strict=True), AS_INTEGER] = 4
    """Fewest accepted objects per event."""
    jet_radius: Annotated[float, Field(gt=0, le=1.5)] = 0.4
    """Radius R of the anti-kt jets; 0.4 as in ATLAS, 0.6 in its Delphes card."""
    lepton_pt_min_gev: Annotated[float, Field(ge=10)] = 10.0
    """Smallest pT of electrons and muons in GeV; from 10, where the efficiencies are known."""
    photon_pt_min_gev: Annotated[float, Field(ge=10)] = 10.0
    """Smallest pT of photons in GeV; from 10, where the efficiencies are known."""

    @field_validator("fractions")
    @classmethod
    def _not_empty(cls, value: dict[Process, float]) -> dict[Process, float]:
        if not any(value.values()):
            raise ValueError("Input should give at least one process a share above 0")
        return {process: share for process, share in value.items() if share > 0}

    def num_shards(self, num_events: int) -> int:
        """Return how many shards hold `num_events`; the last one may be smaller."""
        return -(-num_events // self.shard_size)


class DelphesBranches(_Block):
    """Branches of a Delphes file; cards name them differently."""

    jet: str = "Jet"
    """Jets, such as Jet or JetPUPPI."""
    electron: str = "Electron"
    """Electrons and positrons."""
    muon: str = "Muon"
    """Muons, such as Muon or MuonTight."""
    photon: str = "Photon"
    """Photons."""
    met: str = "MissingET"
    """Missing transverse energy, such as MissingET or PuppiMissingET."""


class ReadSettings(_Block):
    """How files of events are read; not used when events are made."""

    unit: EnergyUnit = "auto"
    """Unit of energies: MeV, GeV, or auto: MeV if the median leading jet has a pT above 5000."""
    slots: Annotated[int, Field(ge=1, le=1000, strict=True), AS_INTEGER] = 18
    """Slots of an event from CSV or ROOT; the hardest objects are kept. Token files keep theirs."""
    labels: dict[str, str] = {
        "4top": "tttt",
        "ttbarHiggs": "ttH",
        "ttbarW": "ttW",
        "ttbarWW": "ttWW",
        "ttbarZ": "ttZ",
    }
    """Process of a process ID, or of a file's name without its ending; others have the label 0."""
    seed: Annotated[int, Field(ge=0, le=1_000_000, strict=True), AS_INTEGER] = 0
    """Seed of the order of events, and so of the split into train, val and test."""
    max_skipped: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), AS_REAL] = 0.05
    """Largest share of lines or events of a file that may be skipped because they are damaged."""
    tree: str = "Delphes"
    """The tree of a ROOT file."""
    branches: DelphesBranches = DelphesBranches()
    """Branches of a Delphes file; cards name them differently."""
    btag_bit: Annotated[int, Field(ge=0, le=31, strict=True), AS_INTEGER] = 0
    """The bit of Jet.BTag, a bit mask of working points, that makes a jet a b-jet."""


class PackSettings(_Block):
    """How events become the numbers that the network sees."""

    features: Literal["log", "raw"] = "log"
    """Features of objects: log (log E, log pT, eta, cos phi, sin phi), or raw (E, pT, eta, phi)."""
    globals_target: Literal["components", "polar"] = "components"
    """Target of the globals head: components (MET_x, MET_y), or polar (MET, METphi)."""
    globals_scale: Literal["normalised", "gev"] = "normalised"
    """Scale of this target: normalised, or gev (GeV and radians), where weights mean more."""


class ModelSettings(_Block):
    """The autoencoder, identical in every cell of the grid."""

    latent_dim: Size = 32
    """Size of the latent vector of one token."""
    hidden_dims: Annotated[list[Size], Field(max_length=64)] = [128, 128]
    """Hidden layers of the encoder; the decoder mirrors them."""
    type_embedding_dim: Size = 8
    """Size of the object-type embedding that the encoder sees."""
    globals_hidden_dim: Size = 32
    """Hidden layer of the globals head."""


class VqSettings(_Block):
    """Vector quantisation with a codebook learned by moving averages (EMA)."""

    codebook_size: Annotated[int, Field(ge=2, le=2**16, strict=True), AS_INTEGER] = 512
    """Number of codes."""
    ema_decay: Fraction = 0.99
    """Decay of the moving averages that update the codes."""
    commitment_weight: NotNegative = 0.25
    """Weight of the commitment loss in the total loss."""
    dead_code_threshold: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False), AS_REAL] = 0.05
    """A code used less than this fraction of the mean occupancy is drawn again from the batch."""
    gradient: Literal["straight_through", "rotation"] = "straight_through"
    """Gradient through the codes: straight_through, or rotation, the rotation trick."""
    kmeans: bool = True
    """Start the codes from k-means on the first batch; false: from random numbers."""


class ResidualVqSettings(VqSettings):
    """Several vector quantisers in a row, each coding what the one before it left over."""

    num_quantizers: Annotated[int, Field(ge=1, le=64, strict=True), AS_INTEGER] = 2
    """Number of quantisers."""


class FsqSettings(_Block):
    """Finite scalar quantisation: each of a few latent numbers is rounded to fixed levels."""

    levels: Annotated[
        list[Annotated[int, Field(ge=3, strict=True), AS_INTEGER]], Field(min_length=1)
    ] = [8, 8, 8]
    """Levels per dimension, at least 3; their product, at most 65536, is the number of codes."""

    @field_validator("levels")
    @classmethod
    def _small_codebook(cls, value: list[int]) -> list[int]:
        if math.prod(value) > 2**16:
            raise ValueError("Input should multiply to at most 65536 codes")
        return value


class BottleneckSettings(_Block):
    """Settings of the latent spaces that have any. A run gets those of its latent space only."""

    vq: VqSettings = VqSettings()
    """Settings of latent_space vq."""
    residual_vq: ResidualVqSettings = ResidualVqSettings()
    """Settings of latent_space residual_vq."""
    fsq: FsqSettings = FsqSettings()
    """Settings of latent_space fsq."""


# A latent space has settings of its own because it has a codebook.
DISCRETE = tuple(BottleneckSettings.model_fields)


class TrainSettings(_Block):
    """The optimisation, identical in every cell of the grid."""

    batch_size: Count = 128
    """Events per step."""
    learning_rate: Positive = 1e-3
    """Adam's learning rate, at its start."""
    lr_schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate over the epochs: constant, or cosine, which falls to 0 along half a cosine."""
    clip_norm: Positive | None = 1.0
    """Largest gradient norm; null switches clipping off."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train: cpu, cuda, or auto, which takes a GPU when PyTorch sees one."""


class ReferenceCell(_Block):
    """The cell that every other one is compared with."""

    latent_space: LatentSpace = "linear"
    """Latent space of the reference cell."""
    globals_beta: NotNegative = 1
    """globals_beta of the reference cell."""


class CompareSettings(_Block):
    """What counts as a difference; changing any of these trains nothing."""

    reference: ReferenceCell = ReferenceCell()
    """The cell of results/comparison.csv that the others are compared with."""
    margin_globals: Positive = 0.02
    """Smallest difference of the globals error (G) that matters; about 1 GeV per MET component."""
    margin_tokens_ln: Positive = 0.2231
    """Smallest difference of ln rec_tokens that matters; ln 1.25, a quarter more error."""
    margin_physics: Positive = 0.01
    """Smallest change of relative pT sigma68 or median dR that is called physically relevant."""
    min_skill: Positive = 0.9
    """Skill (S) that a balanced cell needs: the one-parameter fit has 1, the mean about 0."""
    min_code_use: Fraction = 0.2
    """Perplexity per code that an interpretable cell needs."""
    min_relative_speed: Fraction = 0.8
    """Training events per second, relative to the fastest cell, that a production cell needs."""


class PlotSettings(_Block):
    """How figures look; changing any of these trains nothing."""

    dpi: Annotated[int, Field(ge=50, le=1200, strict=True), AS_INTEGER] = 150
    """Resolution of the PNG files."""
    colormap: Literal["cividis", "viridis", "Blues", "Greys"] = "cividis"
    """Colours of the heat maps: cividis, viridis, Blues or Greys."""
    formats: Annotated[list[Literal["svg", "png", "pdf"]], AfterValidator(_each_once)] = [
        "svg",
        "png",
    ]
    """Files of each figure: svg, which the report shows, and png or pdf, whose fonts are inside."""
    width: Annotated[float, Field(ge=8, le=40)] | None = None
    """Width in cm: 16 for pages with one column, 8.6 for a column of two; null: for the screen."""

    @field_validator("formats")
    @classmethod
    def _for_the_report(cls, value: list[str]) -> list[str]:
        if "svg" not in value:
            raise ValueError("Input should contain svg, which the report shows")
        return value


class ChooseSettings(_Block):
    """The run of results/best: the best cell by a priority, or a cell of the grid."""

    priority: Priority = "balanced"
    """Line of the decision matrix: reconstruction, balanced, globals, interpretable, production."""
    latent_space: LatentSpace | None = None
    """Latent space of the cell; null: the cell that measured best by priority."""
    globals_beta: NotNegative | None = None
    """globals_beta of the cell; null: the cell that measured best by priority."""
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True), AS_INTEGER] | None = None
    """Seed of the run; null: the seed with the median validation loss."""

    @model_validator(mode="after")
    def _whole_cell(self) -> "ChooseSettings":
        if (self.latent_space is None) != (self.globals_beta is None):
            raise ValueError("Input should name latent_space and globals_beta, or none of them")
        return self


def _as_priority(value: Any) -> Any:
    # `--config choose=globals`
    return {"priority": value} if isinstance(value, str) else value


class Variant(_Block):
    """The grid, or a part of it, trained with other settings beside the plain one."""

    latent_space: LatentSpaces | None = None
    """Its latent spaces; null: the latent spaces of the grid."""
    globals_beta: Weights | None = None
    """Its weights of the globals head; null: the weights of the grid."""
    seeds: SeedCount | None = None
    """Its number of seeds per cell; null: the number of the grid."""
    model: dict[str, Any] = {}
    """Keys of model that differ."""
    bottleneck: dict[str, Any] = {}
    """Keys of bottleneck that differ."""
    train: dict[str, Any] = {}
    """Keys of train that differ."""

    @model_validator(mode="after")
    def _another_way(self) -> "Variant":
        if not self.changes:
            raise ValueError("Input should change a key of model, bottleneck or train")
        return self

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """What differs from the plain grid, by block."""
        return self.model_dump(include={"model", "bottleneck", "train"}, exclude_defaults=True)

    @property
    def only_latent_dim(self) -> bool:
        """Whether nothing but the size of the latent vector differs."""
        return self.changes == {"model": {"latent_dim": self.model.get("latent_dim")}}


class Grid(_Block):
    """The axes of the study: every latent space with every globals_beta with every seed."""

    latent_space: LatentSpaces = ["none", "linear", "vq"]
    """Kinds of latent space, the columns of the grid: none, linear, vq, fsq, residual_vq."""
    globals_beta: Weights = [0, 1, 10]
    """Weights of the globals head in the loss, the rows of the grid; each 0 or more."""
    seeds: SeedCount = 1
    """Number of runs per cell; their seeds are 0, 1, 2, ..."""
    variants: dict[VariantName, Variant] = {}
    """The grid, or a part of it, trained with other settings beside it; see controls.yaml."""

    @field_validator("variants")
    @classmethod
    def _unlike_latent_spaces(cls, value: dict[str, Variant]) -> dict[str, Variant]:
        for name in set(value) & set(get_args(LatentSpace)):
            raise ValueError(f"Input should name variants unlike latent spaces, but one is {name}")
        return value

    @property
    def plain(self) -> "Grid":
        """The axes without variants."""
        return self.model_copy(update={"variants": {}})

    @property
    def runs(self) -> "list[RunKey]":
        """All runs in the order of their numbers: by seed, then row by row; variants follow."""
        return [
            RunKey(latent_space=space, globals_beta=beta, seed=seed, variant=name)
            for name, part in [("", Variant.model_construct()), *self.variants.items()]
            for seed, beta, space in product(
                range(part.seeds or self.seeds),
                part.globals_beta or self.globals_beta,
                part.latent_space or self.latent_space,
            )
        ]


class ObjectTypesSettings(_Block):
    """The meaning of the codes in a token file."""

    object_types: dict[int, str] = {
        1: "jet",
        2: "b-jet",
        3: "e+",
        4: "e-",
        5: "mu-",
        6: "mu+",
        7: "photon",
    }
    """What each object-type code in the token file stands for; 0 is an empty slot."""

    @field_validator("object_types", mode="before")
    @classmethod
    def _codes_as_integers(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        # `--config` adds its codes, as texts, to those of the config file; the later ones win.
        return {int(k) if str(k).isdecimal() else k: name for k, name in value.items()}

    @field_validator("object_types")
    @classmethod
    def _codes_from_one(cls, value: dict[int, str]) -> dict[int, str]:
        if sorted(value) != list(range(1, len(value) + 1)) or len(set(value.values())) < len(value):
            raise ValueError("Input should map the codes 1, 2, 3, ... to different names")
        if len(value) > MAX_TYPES:
            raise ValueError(f"Input should have at most {MAX_TYPES} codes")
        return dict(sorted(value.items()))


class Settings(Grid, ObjectTypesSettings):
    """The whole study, as config/config.yaml and its overlays give it."""

    data: str | Annotated[list[str], Field(min_length=1)] | None = None
    """File, list of files, or folder with events: CSV, Delphes ROOT, HDF5; null makes events."""
    num_events: Annotated[int, Field(ge=10, strict=True), AS_INTEGER] = 16_000
    """Number of events to make when data is null, at least 10."""
    epochs: Count = 20
    """Passes over the training split."""
    missing_runs: Literal["train", "show"] = "train"
    """train: train the missing runs; show: compare the finished runs and mark the others."""
    simulate: SimulateSettings = SimulateSettings()
    """Events made with Pythia 8, FastJet and a fast detector; not used when data is given."""
    read: ReadSettings = ReadSettings()
    """How files of events are read; not used when events are made."""
    pack: PackSettings = PackSettings()
    """How events become the numbers that the network sees."""
    model: ModelSettings = ModelSettings()
    """The autoencoder, identical in every cell of the grid."""
    bottleneck: BottleneckSettings = BottleneckSettings()
    """Settings of the latent spaces that have any. A run gets those of its latent space only."""
    train: TrainSettings = TrainSettings()
    """The optimisation, identical in every cell of the grid."""
    compare: CompareSettings = CompareSettings()
    """What counts as a difference; changing these trains nothing."""
    plot: PlotSettings = PlotSettings()
    """How figures look; changing these trains nothing."""
    downstream: bool = False
    """Train a classifier on original, reconstructed and encoded events; see downstream.yaml."""
    choose: Annotated[ChooseSettings, BeforeValidator(_as_priority, str | ChooseSettings)] = (
        ChooseSettings()
    )
    """The run of results/best, as a priority or a block; changing these trains nothing."""

    @field_validator("data", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        # `--config data=null` hands over a text, and no shell expands the ~ in `data=~/x.h5`.
        if value in (None, "null"):
            return None
        paths = value if isinstance(value, list) else [value]
        if not paths or not all(isinstance(path, str) for path in paths):
            raise ValueError("Input should be a path, a list of paths, or null")
        expanded = [_expanded(path) for path in paths]
        return expanded if isinstance(value, list) else expanded[0]

    @model_validator(mode="after")
    def _detector_types_known(self) -> "Settings":
        made = {"jet", "b-jet", "e+", "e-", "mu-", "mu+", "photon"}
        if self.data is None and not made <= set(self.object_types.values()):
            raise ValueError(
                f"object_types should name all of {sorted(made)} when events are made (data: null)"
            )
        return self

    @model_validator(mode="after")
    def _few_shards(self) -> "Settings":
        num_shards = self.simulate.num_shards(self.num_events)
        if self.data is None and num_shards > MAX_SHARDS:
            raise ValueError(
                f"simulate.shard_size should be larger: {self.num_events} events would come in "
                f"{num_shards} shards, and at most {MAX_SHARDS} are allowed"
            )
        return self

    @model_validator(mode="after")
    def _variants_known(self) -> "Settings":
        for variant in self.variants:
            self._blocks(variant)
        return self

    @property
    def grid(self) -> Grid:
        """The axes alone, with the variants."""
        return Grid.model_validate(self.model_dump(include=set(Grid.model_fields)))

    @property
    def globals_only_network(self) -> "RunSettings":
        """The network that is trained on the globals alone, as a baseline."""
        return self.run_settings(RunKey(latent_space="none", globals_beta=1, seed=0))

    def run_settings(self, key: "RunKey") -> "RunSettings":
        """Return all that decides the outcome of the run `key`, besides its data."""
        blocks = self._blocks(key.variant)
        bottleneck = getattr(blocks["bottleneck"], key.latent_space, None)
        return RunSettings(
            **key.model_dump(),
            epochs=self.epochs,
            model=blocks["model"],
            bottleneck=bottleneck.model_dump() if bottleneck else {},
            train=blocks["train"],
        )

    def _blocks(self, variant: str) -> dict[str, Any]:
        """Return the blocks model, bottleneck and train as `variant` changes them."""
        blocks = {name: getattr(self, name) for name in ("model", "bottleneck", "train")}
        if variant:
            for name, changes in self.variants[variant].changes.items():
                values = merged(blocks[name].model_dump(), changes)
                source = f"variants: {variant}: {name}: of the config"
                blocks[name] = validated(type(blocks[name]), values, source)
        return blocks


def _expanded(path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # ~NAME without such a user is the name of a file
        return path


class RunKey(_Block):
    """One run: a cell of the grid and a seed."""

    latent_space: LatentSpace
    globals_beta: NotNegative
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True), AS_INTEGER]
    variant: VariantName | Literal[""] = ""

    @property
    def name(self) -> str:
        """The run's name in tables; `run_path` says where it lies."""
        cell = f"{self.latent_space}/beta_{format_beta(self.globals_beta)}"
        return f"{self.variant}/{cell}/seed_{self.seed}".lstrip("/")

    @property
    def columns(self) -> dict[str, Any]:
        """The key columns that every table of facts begins with."""
        return {
            "run": self.name,
            "latent_space": self.latent_space,
            "globals_beta": format_beta(self.globals_beta),
            "seed": self.seed,
            "variant": self.variant,
        }


class RunSettings(RunKey):
    """A run's cfg.yaml: everything that decides its outcome, besides its data."""

    epochs: Count
    model: ModelSettings
    bottleneck: dict[str, Any]
    train: TrainSettings

    @property
    def key(self) -> RunKey:
        """The run's place in the grid."""
        return RunKey.model_validate(self.model_dump(include=set(RunKey.model_fields)))


def run_path(name: str) -> str:
    """Return the folder of a run below results: runs/..., or runs_VARIANT/... for a variant."""
    # A variant's name comes before latent space, weight and seed.
    return f"runs_{name}" if name.count("/") > 2 else f"runs/{name}"


def format_beta(value: float) -> str:
    """Return the one spelling of a globals_beta: 0, 0.5, 10."""
    return repr(int(value)) if value == int(value) and value < 1e15 else repr(float(value))


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `values` with `changes`: mappings merge, all else is replaced."""
    return values | {
        key: merged(values[key], change)
        if isinstance(change, dict) and isinstance(values.get(key), dict)
        else change
        for key, change in changes.items()
    }
