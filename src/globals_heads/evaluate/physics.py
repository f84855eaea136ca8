"""Errors of a reconstruction in physics units: objects, sums over events, MET; pure numpy.

All functions compare a prediction with the truth of one split and return rows of facts.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.evaluate.metrics import (
    component_rms,
    delta_phi,
    normalised_mse,
    parallel_perpendicular,
    residual_summary,
    sigma68,
)
from globals_heads.facts import Metric
from globals_heads.kinematics import delta_r, event_sum, vector_sum, wrap_angle

# Below this MET its direction is noise.
MIN_MET_FOR_ANGLE_GEV = 50.0
MET_BINS_GEV = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 150.0, np.inf)
MIN_EVENTS_PER_BIN = 50
# How far E may lie below pT cosh eta before an object counts as unphysical.
ENERGY_TOLERANCE = 1e-3
JETS = ("jet", "b-jet")


def token_metrics(
    reco: Array, true: Array, types: NDArray[np.uint8], type_names: Sequence[str]
) -> list[Metric]:
    """Return the residuals of single objects, reconstructed minus true.

    Parameters
    ----------
    reco, true
        (E, pT, eta, phi) in GeV and radians, shape (n, 4).
    types
        Object-type codes, counted from 1, shape (n,).
    type_names
        Names of the object types in the order of their codes.

    Returns
    -------
    list of Metric
        Bias (median), sigma68, RMS and tails of each quantity, for all objects and by type, as
        groups such as "pt" and "pt:jet"; the distance dR; the fraction of unphysical energies.
    """
    residual = reco - true
    quantities = {
        "energy": (residual[:, 0], "GeV"),
        "energy_relative": (residual[:, 0] / true[:, 0], "1"),
        "pt": (residual[:, 1], "GeV"),
        "pt_relative": (residual[:, 1] / true[:, 1], "1"),
        "eta": (residual[:, 2], "1"),
        "phi": (wrap_angle(residual[:, 3]), "rad"),
    }
    chosen = {"": np.ones(len(true), dtype=bool)}
    chosen |= {f":{name}": types == code for code, name in enumerate(type_names, start=1)}
    rows = []
    for suffix, mask in chosen.items():
        if mask.any():
            for name, (values, unit) in quantities.items():
                rows += _summary("token", name + suffix, values[mask], unit)
    if len(true):
        distance = delta_r(reco[:, 2], reco[:, 3], true[:, 2], true[:, 3])
        unphysical = reco[:, 0] < (1 - ENERGY_TOLERANCE) * reco[:, 1] * np.cosh(reco[:, 2])
        rows += [
            Metric("test", "token_dr_median", "all", float(np.median(distance)), "1"),
            Metric("test", "token_dr_q95", "all", float(np.quantile(distance, 0.95)), "1"),
            Metric("test", "token_unphysical_fraction", "all", float(unphysical.mean()), "1"),
        ]
    return rows


def closure_metrics(
    reco: Array,
    true: Array,
    types: NDArray[np.uint8],
    type_names: Sequence[str],
    offsets: NDArray[np.integer],
) -> list[Metric]:
    """Return bias and sigma68 of sums over each event, in which errors of single objects add up.

    HT of jets and b-jets, the leading jet's pT, the visible mass, and the length of the vector
    sum of pT, all in GeV, over events with at least one object.

    Parameters
    ----------
    reco, true, types, type_names
        As in `token_metrics`.
    offsets
        Event i owns the objects offsets[i] to offsets[i + 1], shape (N + 1,).
    """
    jets = np.isin(types, [i for i, name in enumerate(type_names, start=1) if name in JETS])
    filled = np.diff(offsets) > 0
    if not filled.any():
        return []
    of_true, of_reco = (
        event_quantities(objects, jets, offsets)[filled] for objects in (true, reco)
    )
    names = ("ht", "leading_jet_pt", "visible_mass", "sum_pt")
    return [
        Metric("test", f"event_{statistic}", name, value, "GeV")
        for name, residual in zip(names, (of_reco - of_true).T, strict=True)
        for statistic, value in residual_summary(residual).items()
        if statistic in ("bias", "sigma68")
    ]


def event_quantities(
    objects: Array, jets: NDArray[np.bool_], offsets: NDArray[np.integer]
) -> Array:
    """Return (HT, leading-jet pT, visible mass, |sum of pT vectors|) in GeV, shape (N, 4).

    An energy below pT cosh eta, which no real object has, is raised to it for the mass.
    """
    energy, pt, eta, phi = objects.T
    event = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))

    def total(values: Array) -> Array:
        return event_sum(values, offsets)

    leading = np.zeros(len(offsets) - 1)
    np.maximum.at(leading, event[jets], pt[jets])
    transverse = vector_sum(pt, phi, offsets)
    physical = np.maximum(energy, pt * np.cosh(eta))
    mass_squared = (
        total(physical) ** 2 - (transverse**2).sum(axis=1) - total(pt * np.sinh(eta)) ** 2
    )
    mass = np.sqrt(np.maximum(mass_squared, 0))
    return np.column_stack([total(pt * jets), leading, mass, np.hypot(*transverse.T)])


def met_metrics(group: str, predicted: Array, true: Array, scale_gev: float) -> list[Metric]:
    """Return the errors of one prediction of the MET components.

    Parameters
    ----------
    group
        Who predicts: head (trained), probe (ridge on the frozen pooled latents), reco_objects
        (linear fit on the reconstructed objects) or a baseline.
    predicted, true
        MET components in GeV, shape (N, 2).
    scale_gev
        Scale of the normalised error.
    """
    error = normalised_mse(predicted, true, scale_gev)
    variance = float(true.var(axis=0).mean())
    r2 = 1 - error * scale_gev**2 / variance if variance > 0 else math.nan
    rows = [
        Metric("test", "rec_globals", group, error, "1"),
        Metric("test", "r2", group, r2, "1"),
        Metric("test", "met_component_rms", group, component_rms(predicted, true), "GeV"),
    ]
    known = np.hypot(*true.T) > 0
    predicted, true = predicted[known], true[known]
    length = np.hypot(*true.T)
    if not known.any():
        return rows
    magnitude = residual_summary(np.hypot(*predicted.T) - length)
    rows += [
        Metric("test", "met_magnitude_bias", group, magnitude["bias"], "GeV"),
        Metric("test", "met_magnitude_sigma68", group, magnitude["sigma68"], "GeV"),
    ]
    hard = length > MIN_MET_FOR_ANGLE_GEV
    if hard.any():
        dphi = delta_phi(predicted[hard], true[hard])
        # Not the median, which is 0 for angles that are all near pi and -pi.
        mean_direction = float(np.angle(np.exp(1j * dphi).mean()))
        rows += [
            Metric("test", "met_dphi_bias", group, mean_direction, "rad"),
            Metric("test", "met_dphi_sigma68", group, sigma68(dphi), "rad"),
            Metric("test", "met_dphi_rms", group, float(np.sqrt(np.mean(dphi**2))), "rad"),
        ]
    return rows + response_metrics(group, predicted, true)


def response_metrics(group: str, predicted: Array, true: Array) -> list[Metric]:
    """Return response and resolution in bins of the true MET, as groups such as "head:20-40".

    The response is mean(u_par) / mean(|t|); the resolutions are sigma68 of u_par - |t| and of
    u_perp in GeV, also divided by the response, since an optimum of the mean squared error has a
    response below one by design.
    """
    parallel, perpendicular = parallel_perpendicular(predicted, true)
    length = np.hypot(*true.T)
    rows = []
    for low, high in merged_bins(length):
        inside = (length >= low) & (length < high)
        name = f"{group}:{low:g}-{high:g}"
        response = float(parallel[inside].mean() / length[inside].mean())
        widths = {
            "met_parallel_sigma68": sigma68((parallel - length)[inside]),
            "met_perpendicular_sigma68": sigma68(perpendicular[inside]),
        }
        rows.append(Metric("test", "met_response", name, response, "1"))
        rows += [Metric("test", metric, name, width, "GeV") for metric, width in widths.items()]
        if response > 0:  # a prediction no better than noise has no resolution to correct
            rows += [
                Metric("test", f"{metric}_over_response", name, width / response, "GeV")
                for metric, width in widths.items()
            ]
    return rows


def merged_bins(length: Array) -> list[tuple[float, float]]:
    """Return the bins of MET, each merged with its upper neighbours until it holds 50 events.

    Events left over at the upper end join the last full bin.
    """
    bins: list[tuple[float, float]] = []
    low = MET_BINS_GEV[0]
    for high in MET_BINS_GEV[1:]:
        if ((length >= low) & (length < high)).sum() >= MIN_EVENTS_PER_BIN:
            bins.append((low, high))
            low = high
    if low < np.inf:
        bins = [*bins[:-1], (bins[-1][0] if bins else low, np.inf)]
    return bins


def _summary(prefix: str, group: str, residual: Array, unit: str) -> list[Metric]:
    return [
        Metric("test", f"{prefix}_{name}", group, value, "1" if name == "tail_fraction" else unit)
        for name, value in residual_summary(residual).items()
    ]
