"""The page of a phase diagram in a real browser: every setting is there, and pointing at one shows its curves."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from grokbench.agents.recipes import recipe
from grokbench.results.frames import Runs
from grokbench.results.phase_page import phase_page
from tests.support.entries import make_run

BROWSER = shutil.which("chromium")
RATIOS, DECAYS, SEEDS = (0.5, 0.6, 0.7), (0.3, 1.0), 2
POINT_AT_EVERY_SETTING = """<script>
const seen = [...document.querySelectorAll(".setting")].map((box) => {
  box.dispatchEvent(new Event("EVENT"));
  const facts = [...document.querySelectorAll("#facts dd")].map((fact) => fact.textContent);
  const lines = [...document.querySelectorAll("#curves polyline")];
  return { facts, lines: lines.length, broken: lines.some((line) => /NaN|Infinity/.test(line.getAttribute("points"))),
           shown: document.querySelectorAll(".shown").length, label: box.getAttribute("aria-label") };
});
document.body.dataset.seen = JSON.stringify({ seen, title: document.title });
</script></html>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="chromium isn't installed")


@pytest.fixture(scope="module")
def page() -> str:
    """The page of two axes, with a setting of every kind."""
    records = [
        make_run(
            f"sub_mod29-{ratio}", seed=seed, steps_to_generalize=time, recipe=recipe("mlp", optimizer={"weight_decay": decay})
        )
        for ratio, time in zip(RATIOS, (1e9, 900.0, 400.0), strict=True)
        for decay in DECAYS
        for seed in range(SEEDS)
    ]
    runs = Runs(tuple(records))
    table = runs.phase_table("ratio", "weight_decay")
    return phase_page(runs.runs, [each.exams for each in runs], table, "ratio", "weight_decay", {})


@pytest.mark.parametrize("event", ["mouseenter", "focus", "click"])
def test_pointing_at_a_setting_shows_its_curves(page: str, tmp_path: Path, event: str) -> None:
    """A line for training and one for held-out accuracy of every run; one setting is marked at a time. So with the keyboard."""
    file = tmp_path / "page.html"
    file.write_text(page.replace("</html>", POINT_AT_EVERY_SETTING.replace("EVENT", event)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    command = [str(BROWSER), *options, file.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-seen="([^"]+)"', dom)
    assert found, "the page's script failed"
    result = json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&"))
    seen = result["seen"]
    assert len(seen) == len(RATIOS) * len(DECAYS)
    assert all((setting["lines"], setting["shown"], setting["broken"]) == (2 * SEEDS, 1, False) for setting in seen)
    assert {setting["facts"][1] for setting in seen} == {"grokked", "memorized"}
    assert all(setting["facts"][0] in setting["label"] for setting in seen)
    assert len({setting["facts"][0] for setting in seen}) == len(seen)
