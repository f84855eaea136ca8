"""Each kind of bad rows and labels is refused with its own sentence."""

from pathlib import Path

import numpy as np
import pytest
from random_events import OBJECT_TYPES, random_events

from globals_heads.data.checks import check_lengths, check_rows
from globals_heads.errors import UserError


def check(rows, labels):
    names = ("X_val", "Y_val")
    check_rows(Path("tokens.h5"), names, rows, labels, len(OBJECT_TYPES), first=0)


@pytest.fixture
def rows():
    """Good rows of 20 events; event 3 has an object in its first slot."""
    rows = random_events(20).rows.astype(float)
    rows[3, 0], rows[3, 20:24] = 1, (30, 30, 0, 0)
    check(rows, np.ones(20))
    return rows


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (40, np.nan, "nan in event 3, column 40; only finite numbers"),
        (18, np.inf, "inf in event 3, column 18; only finite numbers"),
        (1, -1, "the object type -1 in event 3, slot 1; allowed are the integers 0 .* to 7"),
        (17, 8, "the object type 8 in event 3, slot 17; .* extend the setting object_types"),
        (0, 1.5, r"the object type 1\.5 in event 3, slot 0"),
        (18, -5, "the MET -5 in event 3; it cannot be negative"),
        (18, 1e30, r"the energy or momentum 1e\+30 in event 3; no collider reaches 1e\+12"),
        (21, -1e13, r"the energy or momentum 1e\+13 in event 3; no collider"),
        (22, -999, "eta = -999 in event 3, slot 0; real objects lie within 20"),
        (23, -180, "phi = -180 in event 3, slot 0; angles are in radians"),
        (19, 90, "METphi = 90 in event 3; angles are in radians"),
    ],
)
def test_a_bad_value_is_refused(rows, column, value, message):
    rows[3, column] = value
    with pytest.raises(UserError, match=rf"^X_val in tokens\.h5 has {message}.*\.$"):
        check(rows, np.ones(20))


@pytest.mark.parametrize("label", [np.nan, 1.5, 1e30])
def test_a_bad_label_is_refused(rows, label):
    labels = np.ones(20)
    labels[2] = label
    message = rf"^Y_val in tokens\.h5 has the label {label:g} in event 2; only integers"
    with pytest.raises(UserError, match=message.replace("+", r"\+")):
        check(rows, labels)


@pytest.mark.parametrize(
    ("num_rows", "num_labels", "message"),
    [
        (0, 0, "X_val in .* holds no events; each split needs at least one"),
        (20, 19, "Y_val in .* has 19 labels for 20 events in X_val; each event needs exactly one"),
        (19, 20, "Y_val in .* has 20 labels for 19 events"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(num_rows, num_labels, message):
    with pytest.raises(UserError, match=message):
        check_lengths(Path("tokens.h5"), ("X_val", "Y_val"), num_rows, num_labels)


def test_the_number_of_an_event_counts_from_the_start_of_its_split(rows):
    rows[3, 18] = -5
    with pytest.raises(UserError, match="the MET -5 in event 103;"):
        check_rows(Path("tokens.h5"), ("X", "Y"), rows, np.ones(20), len(OBJECT_TYPES), first=100)


def test_values_in_empty_slots_do_not_count(rows):
    """Files may have any fill value there."""
    empty = int(np.argmax(rows[3, :18] == 0))
    rows[3, 20 + 4 * empty : 24 + 4 * empty] = -999, 1e30, 1e30, -999
    check(rows, np.ones(20))
