"""The rows of the speed tables from known rates, and the command that writes them."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from baselines.training.agent import NetworkAgent
from benchmarks import speed
from benchmarks.timing import ROUNDS, Spread, Trainer
from benchmarks.trainers import PRODUCT_FLOPS, TASK, agent_on
from grokbench.agents.recipes import find_recipe
from tests.support.baselines import started

RESULTS = json.loads((speed.FOLDER / "speed.json").read_text(encoding="utf-8"))


class TimedRunner:
    """A runner without a process. Trainers take known times, and every round all of them take twice as long as in the last."""

    seconds_per_step: Callable[..., float]  # the trainer's name and arguments → seconds
    live: list[Any]

    def __init__(self, make: Callable[..., Trainer], *arguments: Any) -> None:
        self.first_step, self.round, self.arguments = 7.0, 0, (make.__name__, *arguments)
        self.live.append(self.arguments)

    def seconds(self, steps: int) -> float:
        """The time that so many steps take."""
        self.round += 1
        return type(self).seconds_per_step(*self.arguments) * steps * 2.0**self.round

    def stop(self) -> int:
        """The peak memory, which tells the runners apart."""
        self.live.remove(self.arguments)
        return len(str(self.arguments))


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., float]], None]:
    """Sets the steps per second of every trainer, by its name and arguments."""

    def set_rates(steps_per_second: Callable[..., float]) -> None:
        seconds_per_step = staticmethod(lambda *arguments: 1 / steps_per_second(*arguments))
        monkeypatch.setattr(speed, "Runner", type("Timed", (TimedRunner,), {"live": [], "seconds_per_step": seconds_per_step}))

    return set_rates


def median(values: Sequence[float]) -> float:
    """The median of a spread."""
    return Spread(*values).median


def test_seeds_together_are_compared_with_one_after_another(rates: Callable[..., None]) -> None:
    """S seeds at r steps/s take S·r seed-steps/s. A slower round changes no ratio, and all processes are ended."""
    rates(lambda name, recipe, seeds=1: 50.0 if name == "plain" else 200 / math.sqrt(seeds))
    rows = speed.measure_seeds("mlp")
    for row, seeds in zip(rows, speed.SEEDS, strict=True):
        assert row["seeds"] == seeds
        assert row["over_one_after_another"] == pytest.approx([math.sqrt(seeds)] * 3)
        assert row["over_plain"] == pytest.approx([4 * math.sqrt(seeds)] * 3)
        most, least = row["seed_steps_per_second"][2], row["seed_steps_per_second"][1]
        assert most / least == pytest.approx(2 ** (ROUNDS - 1))
        assert row["peak_memory"] == len(str(("fast", "mlp", seeds)))
    assert not speed.Runner.live  # type: ignore[attr-defined]


def test_deep_mlps_together_are_compared_with_plain_pytorch(rates: Callable[..., None]) -> None:
    """Members times steps, over the steps of a single network in plain PyTorch."""
    rates(lambda name, members=1: 10.0 if name == "plain_deep" else 20.0 / members)
    assert [row["over_plain"] for row in speed.measure_deep()] == [pytest.approx([2.0] * 3)] * len(speed.MEMBERS)


def test_a_sweep_is_compared_with_one_plain_process(rates: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """At a plain rate of 100 steps/s its runs would take their steps divided by 100 seconds."""
    rates(lambda name, recipe, last_only, task: 100.0)
    monkeypatch.setattr(speed, "SWEPT_TASK", "add_mod5-{ratio}")
    monkeypatch.setattr(speed, "SWEPT_RATIOS", "0.4:0.6:2")
    monkeypatch.setattr(speed, "SWEPT_BUDGET", 20)
    monkeypatch.setitem(speed.SWEPT_DECAYS, "mlp", "0.1,1")
    row = speed.measure_sweep("mlp")
    assert row["runs"] == 4
    # Rates halve from round to round, and rounds of both measurements count.
    plain = row["plain_per_minute"] * row["steps"] / (60 * row["runs"])
    assert row["over_plain"] == pytest.approx(row["runs_per_minute"] / row["plain_per_minute"])
    assert 0 < plain < 100
    assert 0 < row["training_share"] < 1


def test_moduli_are_trained_on_their_own_tables(rates: Callable[..., None]) -> None:
    """Each modulus has its task, with 30 % of its p² questions."""
    rates(lambda name, recipe, seeds, task: float(task.removeprefix("add_mod").partition("-")[0]))
    for row in speed.measure_moduli():
        least = row["p"] / 2**ROUNDS
        assert row["steps_per_second"][1] == pytest.approx(least / 2)
        assert row["num_train"] == pytest.approx(0.3 * row["p"] ** 2, abs=1)


def test_variants_are_compared_with_plain_training_and_with_products(rates: Callable[..., None]) -> None:
    """A step's GFLOP/s over those of a large product; an MLP has no positions, so its plain training has a single variant."""
    by_name = {"plain": 10.0, "fast": 40.0, "fast_compiled": 30.0, "torch's product": 100.0, "our product": 200.0}
    rates(lambda name, *arguments: 20.0 if len(arguments) > 1 else by_name[arguments[0] if name == "product" else name])
    flops = agent_on(find_recipe("mlp"), TASK, 1).cost()["flops_per_step"]
    rows = {row["variant"]: row for row in speed.measure_variants("mlp")}
    assert {name: median(row["over_plain"]) for name, row in rows.items()} == pytest.approx(
        {"plain": 1, "fast": 4, "fast, compiled": 3}
    )
    assert median(rows["fast"]["share_of_torch_products"]) == pytest.approx(40 * flops / (100 * PRODUCT_FLOPS))
    assert median(rows["fast"]["share_of_products"]) == pytest.approx(40 * flops / (200 * PRODUCT_FLOPS))
    assert [row["compile_seconds"] for row in rows.values()] == [None, None, 7.0]
    assert median(next(row for row in speed.measure_variants("transformer") if "last" in row["variant"])["over_plain"]) == 2


def test_calls_are_timed_within_the_block_alone() -> None:
    """Seconds add up over calls, and the methods are restored even if the block raises."""
    originals = NetworkAgent.learn, NetworkAgent.act
    agent = started("mlp", [0])
    with speed.timed_calls("learn", "act") as seconds:
        agent.learn(2)
        first = seconds["learn"]
        agent.learn(2)
    assert 0 < first < seconds["learn"]
    assert seconds["act"] == 0
    with pytest.raises(ZeroDivisionError), speed.timed_calls("learn", "act"):
        raise ZeroDivisionError
    agent.learn(1)
    assert (NetworkAgent.learn, NetworkAgent.act) == originals


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the committed results and page; every part measures the first committed row of its table."""
    for name in ("speed.json", "README.md"):
        (tmp_path / name).write_bytes((speed.FOLDER / name).read_bytes())
    monkeypatch.setattr(speed, "FOLDER", tmp_path)
    monkeypatch.setattr(speed, "CUDA", False)
    monkeypatch.setattr(speed, "PARTS", {part: lambda rows=RESULTS[part]: rows[:1] for part in speed.PARTS})
    return tmp_path


def test_a_part_is_measured_again_and_the_others_are_kept(folder: Path) -> None:
    """Its table has the new rows, and its commit is the one that measured."""
    speed.main(["deep"])
    results = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    assert results["deep"] == RESULTS["deep"][:1]
    assert {part: results[part] for part in speed.PARTS if part != "deep"} == {
        part: RESULTS[part] for part in speed.PARTS if part != "deep"
    }
    assert results["commits"].keys() == RESULTS["commits"].keys() | {"deep"}
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert page.count("<!-- speed -->") == 1
    section = page.partition("<!-- speed -->")[2].partition("<!-- /speed -->")[0]
    deep = section.strip().splitlines()[-3:]
    assert deep[0].startswith("| deep MLPs together")
    assert deep[2].split("|")[1].strip() == str(RESULTS["deep"][0]["members"])


def test_all_parts_are_measured_by_default(folder: Path) -> None:
    """Nothing of the old results is left."""
    speed.main([])
    results = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    assert {part: len(results[part]) for part in speed.PARTS} == dict.fromkeys(speed.PARTS, 1)


def test_an_unknown_part_is_named(folder: Path) -> None:
    """Nothing is measured, and the parts that there are follow."""
    before = (folder / "speed.json").read_bytes()
    with pytest.raises(
        SystemExit, match="no part is called depth, widths: choose from variants, seeds, runs, sweeps, moduli, deep"
    ):
        speed.main(["widths", "seeds", "depth"])
    assert (folder / "speed.json").read_bytes() == before
