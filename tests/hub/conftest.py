"""Fixtures: a stand-in for the Hub on the loopback, and grokbench's commands against it."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars
from PIL import Image

from grokbench.cli import main
from tests.board.conftest import leaderboard, reference
from tests.support.hub_server import HubServer, hub_server

__all__ = ["leaderboard", "reference"]  # fixtures
Command = Callable[..., tuple[int, str]]


def draw_nothing(runs: Any, path: Path, **options: Any) -> None:
    """A picture of one pixel, in place of curves."""
    Image.new("L", (1, 1)).save(path.with_suffix(".png"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub for the real client, which has no login, no cache and no patience. Pictures are small, which saves time."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in ("HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH", "HF_HUB_CACHE", "HF_XET_CACHE"):
        monkeypatch.setattr(huggingface_hub.constants, name, str(home / name))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setattr("grokbench.results.plots.draw_curves", draw_nothing)
    disable_progress_bars()
    with hub_server() as server:
        monkeypatch.setattr("huggingface_hub.HfApi", partial(HfApi, endpoint=server.endpoint))
        yield server
    enable_progress_bars()


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Log in with a token."""
    return lambda token: monkeypatch.setenv("HF_TOKEN", token)


@pytest.fixture
def grokbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], leaderboard: Path) -> Command:
    """Runs `grokbench` in this process, on a leaderboard of three entries: the exit status, and all that was printed."""

    def run(*arguments: str, board: Path = leaderboard) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["grokbench", *arguments, "--leaderboard", str(board)])
        with pytest.raises(SystemExit) as status:
            main()
        printed = capsys.readouterr()
        assert isinstance(status.value.code, int)
        return status.value.code, printed.out + printed.err

    return run
