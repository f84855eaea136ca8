"""The unit of energies in a file: as the setting says, or found from the hardest jets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.settings import EnergyUnit

# The median leading jet has some 100 GeV, so a median above 5000 can only be MeV.
MEV_THRESHOLD = 5000.0
GEV_PER_UNIT = {"MeV": 1e-3, "GeV": 1.0}


class LeadingJets:
    """The pT of the hardest jet of each event, which tells MeV from GeV.

    Parameters
    ----------
    object_types
        Meaning of each object-type code.
    """

    def __init__(self, object_types: Mapping[int, str]) -> None:
        self._is_jet = np.zeros(256, bool)
        for code, name in object_types.items():
            self._is_jet[code] = name in ("jet", "b-jet")
        self._leading: list[tuple[Array, Array]] = []

    def add(self, types: NDArray[Any], pt: Array) -> None:
        """Take note of some events: the object types and pT of all slots, shape (N, S)."""
        jets = np.where(self._is_jet[types.astype(np.uint8)], pt, 0).max(axis=1)
        self._leading.append((jets, np.where(types > 0, pt, 0).max(axis=1)))

    @property
    def any_objects(self) -> bool:
        """Whether any event has an object."""
        return any(bool(objects.any()) for _, objects in self._leading)

    def unit(self, setting: EnergyUnit) -> tuple[str, str]:
        """Return the unit, and the unit with the reason for it."""
        if setting != "auto":
            return setting, f"{setting} (as given)"
        jets, objects = (np.concatenate(part) for part in zip(*self._leading, strict=True))
        # Without jets the hardest object decides: nobody selects objects of some keV.
        leading = jets if jets.any() else objects
        median = float(np.median(leading[leading > 0])) if leading.any() else 0.0
        unit = "MeV" if median > MEV_THRESHOLD else "GeV"
        return unit, f"{unit} (the median leading-jet pT is {median:.4g})"
