"""Proton collisions at 13 TeV from Pythia 8, as flat arrays of particles.

This module knows the processes and Pythia's settings, and neither detectors nor files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc
from numpy.typing import NDArray

from globals_heads.data.events import LABELS
from globals_heads.settings import Process

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Pythia has no matrix elements for tttt, ttW and ttZ.
# tttt: a scalar of 400 GeV, made together with one top pair, decays to a second top pair.
# ttW, ttZ: a second hard scatter of the same protons makes the vector boson.
# gmZmode 2 leaves out the virtual photon. Half of the lepton and quark pairs from it have masses
# far below the Z, so many ttZ events would be plain top pairs.
_TOP_PAIR = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "SecondHard:generate = on")
PROCESSES: dict[Process, tuple[str, ...]] = {
    "tttt": (
        "Higgs:useBSM = on",
        "HiggsBSM:gg2H2ttbar = on",
        "HiggsBSM:qqbar2H2ttbar = on",
        "35:m0 = 400",
        "35:onMode = off",
        "35:onIfMatch = 6 -6",
    ),
    "ttH": ("HiggsSM:gg2Httbar = on", "HiggsSM:qqbar2Httbar = on"),
    "ttW": (*_TOP_PAIR, "SecondHard:SingleW = on"),
    "ttZ": (*_TOP_PAIR, "SecondHard:SingleGmZ = on", "WeakZ0:gmZmode = 2"),
}
# Of all processes. Tune and parton densities (Monash 2013 with NNPDF2.3 at leading order) and the
# lifetime are Pythia's defaults.
COMMON = (
    "Beams:eCM = 13000",
    "Tune:pp = 14",
    "PDF:pSet = 13",
    # Particles with c tau0 above 10 mm, such as K0s and Lambda, reach the detector.
    "ParticleDecays:limitTau0 = on",
    "ParticleDecays:tau0Max = 10",
)
LABEL_OF = {name: label for label, name in LABELS.items() if name in PROCESSES}
MAX_PYTHIA_SEED = 900_000_000


@dataclass(frozen=True)
class Particles:
    """Particles of many events in flat arrays of shape (P,), event after event.

    Attributes
    ----------
    event
        Number of each particle's event in its batch, from 0.
    pdg_id
        Identity in the numbering of the Particle Data Group.
    pt, eta, phi, energy
        Transverse momentum in GeV, pseudorapidity, azimuth in radians, energy in GeV.
    """

    event: Integers
    pdg_id: Integers
    pt: Floats
    eta: Floats
    phi: Floats
    energy: Floats

    def __len__(self) -> int:
        """Return the number of particles."""
        return len(self.event)

    def __getitem__(self, index: Any) -> "Particles":
        """Return the particles that a NumPy index or mask selects."""
        return Particles(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def concatenate(cls, parts: "Sequence[Particles]") -> "Particles":
        """Return all particles of `parts` as one collection, one part after the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


@dataclass(frozen=True)
class Collisions:
    """A batch of generated events.

    Attributes
    ----------
    num_events
        Number of events.
    final
        The stable particles, neutrinos included.
    heavy_hadrons
        All hadrons with a charm or bottom quark, decayed ones included: the truth of b-tagging.
    """

    num_events: int
    final: Particles
    heavy_hadrons: Particles


def heavy_flavour(pdg_id: Integers) -> Integers:
    """Return the heaviest quark of hadrons: 5 bottom, 4 charm, 0 lighter or no hadron.

    Parameters
    ----------
    pdg_id
        PDG ids of any particles, shape (P,).

    Notes
    -----
    The thousands, hundreds and tens digits of a hadron's id are its quarks; a diquark has no
    tens digit (Monte Carlo numbering scheme, Review of Particle Physics).
    """
    number = np.abs(pdg_id)
    digits = np.stack([number // place % 10 for place in (1000, 100, 10)])
    hadron = (number > 100) & (number < 1_000_000) & (digits[2] > 0)
    heaviest = digits.max(axis=0)
    return np.where(hadron & np.isin(heaviest, (4, 5)), heaviest, 0)


class EventGenerator:
    """Pythia 8 set to one process.

    Parameters
    ----------
    process
        One of `PROCESSES`.
    seed
        Pythia's seed, 1 to 900,000,000; the same seed gives the same events.
    multiparton
        Simulate multiparton interactions.
    """

    def __init__(self, process: Process, seed: int, multiparton: bool) -> None:
        self._pythia = pythia8mc.Pythia("", False)  # False: no banner
        for line in (
            "Print:quiet = on",
            "Random:setSeed = on",
            f"Random:seed = {seed}",
            *COMMON,
            f"PartonLevel:MPI = {'on' if multiparton else 'off'}",
            *PROCESSES[process],
        ):
            if not self._pythia.readString(line):
                raise RuntimeError(f"Pythia does not understand {line!r}.")
        if not self._pythia.init():
            raise RuntimeError(f"Pythia cannot be initialised for {process}.")

    def next_batch(self, num_events: int) -> Collisions:
        """Return the next `num_events` events, or fewer if Pythia fails to make some of them."""
        return collisions_from(self._pythia.nextBatch(num_events).prt)


def collisions_from(record: ak.Array) -> Collisions:
    """Return the stable particles and heavy hadrons of Pythia's event record.

    Parameters
    ----------
    record
        Awkward array (events, particles) with the fields id, status (positive: stable) and
        p, which has px, py, pz and e in GeV.
    """
    counts = ak.to_numpy(ak.num(record))
    flat = ak.flatten(record)
    pdg_id = ak.to_numpy(flat.id).astype(np.int64)
    px, py, pz, energy = (ak.to_numpy(flat.p[name]) for name in ("px", "py", "pz", "e"))
    pt = np.hypot(px, py)
    # A particle along the beam has an infinite eta, beyond every detector.
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.nan_to_num(np.arcsinh(pz / pt), nan=0.0, posinf=np.inf, neginf=-np.inf)
    event = np.repeat(np.arange(len(counts)), counts)
    everything = Particles(event, pdg_id, pt, eta, np.arctan2(py, px), energy)
    return Collisions(
        num_events=len(counts),
        final=everything[ak.to_numpy(flat.status) > 0],
        heavy_hadrons=everything[heavy_flavour(pdg_id) > 0],
    )
