"""Planted truths: where a claim is true, false, and true or false by just its margin."""

from planted_results import FLAT, LINEAR_FIT, SETTINGS, but, by_beta, by_space, equal

from globals_heads.compare.results import Cell

DG, DT = SETTINGS.margin_globals, SETTINGS.margin_tokens_ln
GUESS = Cell("linear", "1")

# Truths that make a claim true, false, and true but for one difference at its margin: of the
# globals error, of ln rec_tokens, and of both.
OF_GLOBALS = {
    "1": (equal(0.3), by_beta(0.3, 0.3, 0.3 - 2 * DG), by_beta(0.3, 0.3 - DG, 0.3)),
    "2": (by_beta(0.6, 0.3, 0.3), by_beta(0.6, 0.3, 0.3 + 2 * DG), by_beta(0.6, 0.6 - DG, 0.3)),
    "2b": (by_beta(0.6, 0.3, 0.3 - 2 * DG), by_beta(0.6, 0.3, 0.3), by_beta(0.6, 0.3, 0.3 - DG)),
    "2c": (equal(0.1), equal(0.4), equal(LINEAR_FIT)),
    "E3": (by_beta(0.6, 0.3, 0.3), by_beta(0.3, 0.6, 0.3), by_beta(0.6, 0.6 - DG, 0.3)),
    "E4": (by_beta(0.6, 0.4, 0.3), by_beta(0.6, 0.3, 0.4), by_beta(0.6, 0.3 + DG, 0.3)),
    "M3": (
        but(equal(0.4), [("linear", "10")], 0.3),
        but(equal(0.3), [("linear", "10")], 0.4),
        but(equal(0.4), [("none", "1")], 0.3 - DG) | {Cell("linear", "10"): 0.3},
    ),
}
BALANCED = (
    but(equal(1), [GUESS], 0),
    but(equal(0), [GUESS], 1),
    but(equal(1), [("none", "1")], -DT) | {GUESS: 0},
)
OF_TOKENS = {
    "5": (equal(0), by_space(0, 1, 0), by_space(0, DT / 2, DT)),
    "E1": (by_beta(0, 1, 1), by_beta(1, 0, 1), by_beta(0, DT, 1)),
    "E2": (by_beta(0, 0, 1), by_beta(0, 1, 0), by_beta(0, -1, DT)),
    "M1": (
        but(equal(1), [("none", "0")], 0),
        but(equal(0), [("none", "0")], 1),
        but(equal(1), [("none", "1")], -DT) | {Cell("none", "0"): 0},
    ),
    "M2": BALANCED,
    "M4": (
        but(equal(0), [("vq", "0"), ("vq", "10")], 1),
        but(equal(0), [("vq", "1")], 1),
        but(equal(1), [("vq", "10")], -DT) | {Cell("vq", "1"): 0},
    ),
    "M5": BALANCED,
}
OF_BOTH = {
    "3": (
        (by_beta(0, 1, 1), by_beta(0.6, 0.3, 0.3)),
        (by_beta(0, 0, 0), by_beta(0.6, 0.3, 0.3)),
        (by_beta(0, 1, DT), by_beta(0.6, 0.3, 0.3)),
    ),
    "4": (
        (by_space(0, 0, 1), by_space(0.3, 0.3, 0.4)),
        (by_space(0, 1, 1), by_space(0.3, 0.3, 0.4)),
        (by_space(0, 0, 1), by_space(0.3, 0.3, 0.3 + DG)),
    ),
    "6": (
        (by_space(0, 0, -1), FLAT),
        (by_space(0, 0, -1), by_space(0.3, 0.3, 0.3 + 2 * DG)),
        (by_space(0, 0, -DT), FLAT),
    ),
}
CASES = {claim: [(FLAT, truth) for truth in truths] for claim, truths in OF_GLOBALS.items()}
CASES |= {claim: [(truth, FLAT) for truth in truths] for claim, truths in OF_TOKENS.items()}
CASES |= OF_BOTH

# Claim: (ln rec_tokens, globals error) where it is just not true, one difference at its margin and
# all others far inside; and where it is just true, every difference at its margin.
AT_THE_MARGIN = {
    "1": (CASES["1"][2], (FLAT, by_beta(0.3, 0.3 - DG, 0.3 + DG))),
    "2": (CASES["2"][2], (FLAT, by_beta(0.6, 0.6 - DG, 0.6))),
    "2b": (CASES["2b"][2], CASES["2b"][2]),
    "2c": (CASES["2c"][2], CASES["2c"][2]),
    "3": (CASES["3"][2], (by_beta(0, 1, DT), by_beta(0.6, 0.3, 0.6 - DG))),
    "4": (CASES["4"][2], (by_space(0, 0, DT), by_space(0.3, 0.3, 0.3 + DG))),
    "5": (CASES["5"][2], (by_space(0, DT / 2, DT), by_space(0.3, 0.3 + DG / 2, 0.3 + DG))),
    "6": (CASES["6"][2], (by_space(0, 0, -DT), by_space(0.3, 0.3, 0.3 + DG))),
    "E1": (CASES["E1"][2], (by_beta(0, DT, DT), FLAT)),
    "E4": (CASES["E4"][2], (FLAT, by_beta(0.3 + DG, 0.3 + DG, 0.3))),
    "M1": (CASES["M1"][2], (but(equal(-DT), [("none", "0")], 0), FLAT)),
    "M2": (
        (CASES["M2"][2][0], equal(0.2)),  # no doubt that all cells have the skill
        (but(equal(-DT), [GUESS], 0), equal(0.2)),
    ),
    "M3": (CASES["M3"][2], (FLAT, but(equal(0.3), [("linear", "10")], 0.3 + DG))),
}
