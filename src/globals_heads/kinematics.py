"""Angles and vectors in the transverse plane; pure numpy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from globals_heads.arrays import Array


def wrap_angle(angle: Array) -> Array:
    """Return `angle` in radians moved into (-pi, pi]."""
    return np.pi - (np.pi - angle) % (2 * np.pi)


def delta_r(eta_a: Array, phi_a: Array, eta_b: Array, phi_b: Array) -> Array:
    """Return the distance sqrt(delta eta^2 + delta phi^2), delta phi taken the short way round."""
    return np.hypot(eta_a - eta_b, wrap_angle(phi_a - phi_b))


def components(pt: Array, phi: Array) -> Array:
    """Return (x, y) of transverse vectors in the units of `pt`, shape (n, 2)."""
    direction: Array = np.stack([np.cos(phi), np.sin(phi)], axis=-1)
    return pt[:, None] * direction


def event_sum(values: Array, offsets: NDArray[np.integer[Any]]) -> Array:
    """Return the sum of `values` over the objects of each event; 0 for an event without objects.

    Parameters
    ----------
    values
        One number per object, event after event, shape (n,).
    offsets
        Event i owns the objects offsets[i] to offsets[i + 1], shape (N + 1,).
    """
    # Differences of a running sum would lose digits; reduceat cannot sum empty events.
    event = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    sums: Array = np.bincount(event, values, minlength=len(offsets) - 1).astype(np.float64)
    return sums


def vector_sum(pt: Array, phi: Array, offsets: NDArray[np.integer[Any]]) -> Array:
    """Return the transverse vector sum of the objects of each event.

    Parameters
    ----------
    pt, phi
        Of all objects, event after event, shape (n,).
    offsets
        Event i owns the objects offsets[i] to offsets[i + 1], shape (N + 1,).

    Returns
    -------
    Array
        (x, y) in the units of `pt`, shape (N, 2); zero for an event without objects.
    """
    return np.stack([event_sum(c, offsets) for c in components(pt, phi).T], axis=-1)
