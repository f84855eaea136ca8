"""Events and their rows in the 92-column layout."""

import numpy as np
from numpy.testing import assert_array_equal
from random_events import random_events

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


def test_events_come_back_from_their_rows():
    events = random_events(20)
    again = Events.from_rows(events.rows, events.labels)
    assert len(again) == len(again[:]) == 20
    for name in ("types", "objects", "met", "labels"):
        assert_array_equal(getattr(again, name), getattr(events, name).astype("f4"))
