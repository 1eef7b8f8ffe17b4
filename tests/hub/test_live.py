"""The real Hub, for those who ask for it: `GROKBENCH_LIVE_HUB=OWNER/NAME pytest tests/hub/test_live.py`, logged in as OWNER.

It makes that dataset if there is none, pushes the leaderboard to it, and opens a pull request with an entry of made-up runs.
"""

import os
from pathlib import Path

import pytest
from datasets import load_dataset

from grokbench.board.publishing import parquet
from grokbench.hub.board import export_board, push_board
from grokbench.hub.client import Repository
from grokbench.hub.pulls import check_hub_pull_request
from grokbench.hub.submit import open_hub_pull_request
from tests.support.committed import LEADERBOARD
from tests.support.entries import good_runs, write_good_entry

REPO = os.environ.get("GROKBENCH_LIVE_HUB", "")


@pytest.mark.skipif(not REPO, reason="the real Hub is asked only with GROKBENCH_LIVE_HUB=OWNER/NAME")
def test_the_real_hub(tmp_path: Path) -> None:
    """A pushed board can be loaded, and an entry goes from a folder to a checked pull request."""
    repository = Repository(REPO, kept="nothing is lost")
    export_board(tmp_path / "board", leaderboard=LEADERBOARD)
    print(push_board(tmp_path / "board", repository))
    for name, path in parquet.files(tmp_path / "board").items():
        assert len(load_dataset(REPO, name, split="train")) == len(parquet.read_rows(path))
    entry = write_good_entry(tmp_path / "entries" / "live-test", good_runs(luck=11))
    print(open_hub_pull_request(entry, "live test", repository))
    (request,) = [each for each in repository.open_pull_requests(repository.user()) if "live-test" in each.title]
    pull = check_hub_pull_request(request.number, repository, leaderboard=LEADERBOARD)
    assert pull is not None
    assert pull.checked.name == "live-test"
