"""The numbers of the first entries under protocol v1, which no change of the code may move."""

from pathlib import Path
from typing import Any

import pytest

from grokbench.board.entries.checks import check_entry
from grokbench.board.publishing.standings import standings

ENTRIES = Path(__file__).resolve().parents[2] / "leaderboard" / "entries"
GOLDEN: dict[str, Any] = {
    "deep-mlp": {
        "score": 1.0,
        "rmst": [12017.0, 11214.3],
        "ranks": [108.8775792081521, 104.18198185654457],
    },
    "grokfast-authors": {
        "score": 0.1060105258924792,
        "rmst": [10000.0, 10000.0],
        "ranks": [54.258246748539115, 41.09482779598141],
    },
    "grokfast-ema": {
        "score": 0.7336093759872184,
        "rmst": [1409.6, 1481.4],
        "ranks": [33.13105200127456, 27.71115961792161],
    },
    "mlp": {
        "score": 1.9865442423853428,
        "rmst": [536.4, 530.9],
        "ranks": [237.56911690234926, 236.28772379479426],
    },
    "mlp-core": {
        "score": 4.552491238666094,
        "rmst": [684.8, 649.0, 961.4, 645.1, 686.2, 568.5, 646.3, 575.6],
        "ranks": [
            240.03142449142376,
            241.97754482487872,
            243.46228073892675,
            239.59520297180674,
            234.74583032867767,
            239.33367416906842,
            241.37032934624344,
            242.7303941731056,
        ],
    },
    "muon": {
        "score": 0.1060105258924792,
        "rmst": [10000.0, 10000.0],
        "ranks": [42.80146071066286, 48.00569367578661],
    },
    "orthograd-core": {
        "score": 0.687986165295161,
        "rmst": [323.0, 2670.3, 9498.5, 4310.8, 4299.0, 6872.4, 12743.0, 11058.8],
        "ranks": [
            12.271219099243064,
            14.96383255546247,
            9.758891889043607,
            7.65813376951522,
            10.685120155755266,
            11.203337004844009,
            9.494761743473367,
            12.567978512722531,
        ],
    },
    "orthograd-decay": {
        "score": 4.840865153702215,
        "rmst": [221.0, 217.0],
        "ranks": [11.925319822248792, 13.557396603999878],
    },
    "orthograd-stablemax": {
        "score": 3.9360464349981363,
        "rmst": [260.0, 279.0],
        "ranks": [13.801302792781753, 22.063823396367663],
    },
    "transformer": {
        "score": 1.0,
        "rmst": [1004.4, 1118.9],
        "ranks": [42.080795697983376, 33.071334508890594],
    },
    "transformer2": {
        "score": 0.239519255493153,
        "rmst": [4652.8, 4210.2],
        "ranks": [22.188944295223212, 30.97568589882709],
    },
    "transformer-core": {
        "score": 1.0,
        "rmst": [2453.2, 1957.7, 8492.7, 1483.7, 1964.8, 6529.3, 4402.3, 2159.4],
        "ranks": [
            41.37613258961029,
            37.5051999684228,
            18.21419341315597,
            22.964416755453463,
            35.123972675822344,
            25.539493061460387,
            6.566366326149071,
            27.380604656936477,
        ],
    },
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_first_entries_numbers(name: str) -> None:
    """The score against the pinned reference, the restricted means, and the final ranks of seed 0."""
    (standing,) = standings([check_entry(ENTRIES / name)])
    expected = GOLDEN[name]
    assert standing.score == pytest.approx(expected["score"], rel=1e-9)
    assert [sum(sample) / len(sample) for sample in standing.samples] == pytest.approx(expected["rmst"])
    assert [run.outcome.final_rank for run in standing.runs if run.seed == 0] == pytest.approx(expected["ranks"], rel=1e-12)
