"""From claims to conclusions."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from grokbench.analysis.curves import Curves
from grokbench.studies.settings import CurvesBySetting, Deep
from grokbench.studies.statements import Claim, Share, Statement, all_runs, count_conclusions
from tests.support.curves import AT_ONCE, make_curves

FIRST, SECOND = (Deep("mnist5k-n60", 3, 1.0, decay, steps=100) for decay in (0.1, 0.2))


@dataclass(frozen=True)
class NumRuns:
    """The number of runs, which must be 2."""

    count: int

    @classmethod
    def measure(cls, curves: Mapping[Deep, list[Curves]]) -> "NumRuns":
        """Count them."""
        return cls(len(all_runs(curves)))

    @property
    def holds(self) -> bool:
        """There are 2."""
        return self.count == 2

    def __str__(self) -> str:
        return f"{self.count} runs"


@pytest.mark.parametrize(
    ("measurement", "conclusion"),
    [(None, "not tested at this scale"), (NumRuns(2), "reproduced"), (NumRuns(3), "not reproduced")],
)
def test_a_measurement_decides(measurement: NumRuns | None, conclusion: str) -> None:
    """A statement without a measurement wasn't tested."""
    assert Statement("there are two runs", "text", measurement).conclusion == conclusion


def test_a_claim_is_tested_on_its_own_runs() -> None:
    """Runs of other settings don't count."""
    curves: CurvesBySetting = {
        setting: [make_curves(setting, AT_ONCE, seed=seed) for seed in (0, 1)] for setting in (FIRST, SECOND)
    }
    statement = Claim("there are two runs", source="Fig. 1", runs=(FIRST,), test=NumRuns.measure).check(curves)
    assert statement == Statement("there are two runs", "Fig. 1", NumRuns(2))


def test_a_claim_gets_its_settings_in_its_own_order() -> None:
    """A measurement by depth or by width reads them in this order, whatever the order of the runs."""
    seen: list[Deep] = []

    def test(curves: Mapping[Deep, list[Curves]]) -> None:
        seen.extend(curves)

    curves: CurvesBySetting = {setting: [make_curves(setting, AT_ONCE)] for setting in (FIRST, SECOND)}
    statement = Claim("undecided", source="text", runs=(SECOND, FIRST), test=test).check(curves)
    assert seen == [SECOND, FIRST]
    assert statement.conclusion == "not tested at this scale"


@pytest.mark.parametrize("runs", [(), (FIRST, SECOND)])
def test_a_claim_with_missing_runs_is_not_tested(runs: tuple[Deep, ...]) -> None:
    """All of its settings must have run, and a claim without settings has no runs."""
    claim = Claim("there are two runs", source="Fig. 1", runs=runs, test=NumRuns.measure)
    assert claim.check({FIRST: [make_curves(FIRST, AT_ONCE)]}).measurement is None


def test_a_share_is_a_majority_above_half() -> None:
    """Half of the runs isn't a majority, and no runs have none."""
    assert [Share(count, 4).is_majority for count in (1, 2, 3)] == [False, False, True]
    assert not Share(0, 0).is_majority
    assert str(Share(3, 4)) == "3 of 4 runs"


def test_conclusions_are_counted_in_a_fixed_order() -> None:
    """Conclusions that nobody reached are left out."""
    statements = [Statement("", "", measurement) for measurement in (None, NumRuns(2), NumRuns(2))]
    assert count_conclusions(statements) == "2 reproduced, 1 not tested at this scale"
    assert count_conclusions([Statement("", "", NumRuns(3)), *statements]).startswith("2 reproduced, 1 not reproduced, 1 not t")
    assert count_conclusions([]) == ""
