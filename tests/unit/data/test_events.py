"""Events and their rows in the 92-column layout."""

import numpy as np
from numpy.testing import assert_array_equal

from globals_heads.data.events import Events


def test_columns_are_those_of_the_public_layout():
    types = np.zeros((1, 18), np.uint8)
    types[0, :2] = 2, 7
    objects = np.zeros((1, 18, 4))
    objects[0, :2] = [[10, 11, 12, 13], [20, 21, 22, 23]]
    row = Events(types, objects, np.array([[50.0, -1.0]]), np.array([1])).rows[0]
    assert row.shape == (92,)
    assert_array_equal(row[:3], [2, 7, 0])
    assert_array_equal(row[18:28], [50, -1, 10, 11, 12, 13, 20, 21, 22, 23])
