"""Angles and vectors against cases computed by hand."""

import numpy as np
from numpy.testing import assert_allclose

from globals_heads import kinematics


def test_wrap_angle_takes_the_short_way_and_keeps_plus_pi():
    angles = np.array([0.0, np.pi, -np.pi, 1.5 * np.pi, -1.5 * np.pi, 2 * np.pi, 7.0])
    expected = [0.0, np.pi, np.pi, -0.5 * np.pi, 0.5 * np.pi, 0.0, 7.0 - 2 * np.pi]
    assert_allclose(kinematics.wrap_angle(angles), expected, atol=1e-12)


def test_vector_sum_by_event_with_empty_events():
    pt = np.array([10.0, 20.0, 5.0])
    phi = np.array([0.0, np.pi / 2, np.pi])
    offsets = np.array([0, 2, 2, 3, 3])
    expected = [[10, 20], [0, 0], [-5, 0], [0, 0]]
    assert_allclose(kinematics.vector_sum(pt, phi, offsets), expected, atol=1e-12)


def test_delta_r_across_the_jump_of_phi():
    """3.1 and -3.1 rad are 0.083 rad apart."""
    a, b = (np.array([0.3]), np.array([3.1])), (np.array([0.0]), np.array([-3.1]))
    expected = np.hypot(0.3, 2 * np.pi - 6.2)
    assert_allclose(kinematics.delta_r(*a, *b), [expected])
    assert_allclose(kinematics.delta_r(*b, *a), [expected])
