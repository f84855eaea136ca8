"""Pure numpy metrics: every function takes arrays and returns numbers; none reads a file."""

import math
from collections.abc import Sequence

import numpy as np

from globals_heads.arrays import Array

# Ridge penalties as fractions of the mean diagonal of the Gram matrix.
RIDGE_PENALTIES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
ROWS_PER_BLOCK = 2**16


def sigma68(residual: Array) -> float:
    """Return half the distance between the 16 % and the 84 % quantile of `residual`."""
    low, high = np.quantile(residual, [0.16, 0.84])
    return float(high - low) / 2


def residual_summary(residual: Array) -> dict[str, float]:
    """Return bias (the median), sigma68, RMS and the fraction of tails of residuals.

    A tail is a residual further than three sigma68 from the median.
    """
    median, width = float(np.median(residual)), sigma68(residual)
    return {
        "bias": median,
        "sigma68": width,
        "rms": float(np.sqrt(np.mean(residual**2))),
        "tail_fraction": float(np.mean(np.abs(residual - median) > 3 * width)),
    }


def normalised_mse(predicted: Array, true: Array, scale: float) -> float:
    """Return the mean squared error over events and components in units of `scale` squared."""
    return float(np.mean((predicted - true) ** 2)) / scale**2


def skill(error: float, baseline_error: float) -> float:
    """Return the fraction of a baseline's improvement over the mean that a prediction reaches.

    Parameters
    ----------
    error, baseline_error
        Normalised errors; the prediction of the mean has the error 1.

    Returns
    -------
    float
        1: as good as the baseline; 0: as good as the mean; NaN if the baseline is no better than
        the mean.
    """
    return (1 - error) / (1 - baseline_error) if baseline_error < 1 else math.nan


def component_rms(predicted: Array, true: Array) -> float:
    """Return the root mean squared residual of one component, in the units of the input."""
    return float(np.sqrt(np.mean((predicted - true) ** 2)))


def delta_phi(predicted: Array, true: Array) -> Array:
    """Return the signed angle from the true to the predicted two-vector, in (-pi, pi].

    Parameters
    ----------
    predicted, true
        Two-vectors, shape (N, 2).

    Returns
    -------
    Array
        Radians, positive when `predicted` is counter-clockwise of `true`, shape (N,).
    """
    parallel, perpendicular = parallel_perpendicular(predicted, true)
    # atan2(-0.0, negative) is -pi; adding zero turns -0.0 into 0.0.
    angle: Array = np.arctan2(perpendicular + 0.0, parallel)
    return angle


def parallel_perpendicular(predicted: Array, true: Array) -> tuple[Array, Array]:
    """Return the components of `predicted` along and across `true`.

    Parameters
    ----------
    predicted, true
        Two-vectors p and t, shape (N, 2); |t| above 0.

    Returns
    -------
    tuple of Array
        u_par = p·t / |t| and u_perp = (p_y t_x - p_x t_y) / |t|, both signed, shape (N,); u_perp
        is positive when p is counter-clockwise of t.
    """
    length = np.hypot(*true.T)
    parallel = (predicted * true).sum(axis=-1) / length
    perpendicular = (predicted[:, 1] * true[:, 0] - predicted[:, 0] * true[:, 1]) / length
    return parallel, perpendicular


def fit_one_parameter(visible: Array, met: Array) -> float:
    """Return the `a` that minimises the squared error of MET = -a times the visible sum.

    Parameters
    ----------
    visible, met
        Two-vectors of the same events, shape (N, 2).
    """
    norm = float((visible**2).sum())
    return -float((visible * met).sum()) / norm if norm > 0 else 0.0


def fit_ridge(x: Array, y: Array, penalties: Sequence[float]) -> list[tuple[Array, Array]]:
    """Return the ridge regressions of `y` on the standardised `x`, one for each penalty.

    Parameters
    ----------
    x
        Inputs, shape (N, D); read in blocks, so that no copy in float64 is made.
    y
        Targets, shape (N, C).
    penalties
        Relative to the mean diagonal of the Gram matrix of standardised inputs; the intercept is
        free.

    Returns
    -------
    list of tuple of Array
        Weights of `x` as it is, shape (D, C), and the intercept, shape (C,).
    """
    x_mean, y_mean = x.mean(axis=0, dtype=np.float64), y.mean(axis=0)
    gram, cross = np.zeros((x.shape[1],) * 2), np.zeros((x.shape[1], y.shape[1]))
    for start in range(0, len(x), ROWS_PER_BLOCK):
        block = slice(start, start + ROWS_PER_BLOCK)
        centred = x[block] - x_mean
        gram += centred.T @ centred
        cross += centred.T @ (y[block] - y_mean)
    spread = np.sqrt(gram.diagonal() / len(x))
    spread = np.where(spread > 0, spread, 1)
    gram, cross = gram / np.outer(spread, spread), cross / spread[:, None]
    fits = []
    for penalty in penalties:
        system = gram + penalty * gram.trace() / len(gram) * np.eye(len(gram))
        # Of all solutions the shortest: latents that are all equal have weights of 0.
        weights = np.linalg.lstsq(system, cross, rcond=None)[0] / spread[:, None]
        fits.append((weights, y_mean - x_mean @ weights))
    return fits


def ridge_probe(train: tuple[Array, Array], val: tuple[Array, Array], inputs: Array) -> Array:
    """Return the predictions of a ridge regression on standardised inputs.

    It is fitted on `train`, with the penalty of `RIDGE_PENALTIES` that does best on `val`.

    Parameters
    ----------
    train, val
        Inputs (N, D) and targets (N, C) of the two splits.
    inputs
        Inputs to predict for, shape (M, D).

    Returns
    -------
    Array
        Predictions, shape (M, C).
    """
    fits = fit_ridge(*train, RIDGE_PENALTIES)
    errors = [np.mean((val[0] @ weights + intercept - val[1]) ** 2) for weights, intercept in fits]
    weights, intercept = fits[int(np.argmin(errors))]
    predicted: Array = inputs @ weights + intercept
    return predicted
