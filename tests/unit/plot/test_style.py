"""The common look: names of lost runs."""

import pandas as pd

from globals_heads.plot.style import lost_runs


def test_long_lists_of_lost_runs_are_cut():
    lost = pd.DataFrame({"run": [f"run_{i}" for i in range(9)], "status": "missing"})
    assert lost_runs(lost[:0]) == ""
    assert lost_runs(lost[:2]) == "no result: run_0 missing, run_1 missing"
    assert lost_runs(lost).endswith("run_5 missing, and 3 more")
