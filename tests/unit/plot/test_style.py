"""The common look: names of lost runs."""

import pandas as pd

from globals_heads.plot.style import runs_without_result


def test_long_lists_of_runs_without_result_are_cut():
    lost = pd.DataFrame({"run": [f"run_{i}" for i in range(9)], "status": "missing"})
    assert runs_without_result(lost[:0]) == ""
    assert runs_without_result(lost[:2]) == "no result: run_0 missing, run_1 missing"
    assert runs_without_result(lost).endswith("run_5 missing, and 3 more")
