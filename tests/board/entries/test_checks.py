"""The checker: a good entry stands; whatever is wrong with one is found, named, and never a traceback."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grokbench.board.entries.checks import Checked, check_all, check_entry
from tests.support.entries import good_runs, restate, rewrite, write


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good entry, to be copied."""
    return write(tmp_path_factory.mktemp("entries") / "good")


@pytest.fixture
def entry(template: Path, tmp_path: Path) -> Path:
    """A good entry, to be spoiled."""
    return shutil.copytree(template, tmp_path / "good")


def problems(checked: Checked) -> str:
    """All that refuses the entry."""
    return "\n".join(str(finding) for finding in checked.findings if finding.refused)


def test_a_good_entry_stands(entry: Path) -> None:
    """No finding at all, and every run sound."""
    checked = check_entry(entry)
    assert checked.findings == ()
    assert len(checked.sound) == 22
    assert checked.entry is not None
    assert checked.entry.architecture == "transformer"


def test_it_reproduces_an_entry_that_is_there(tmp_path: Path) -> None:
    """Another one, by its name."""
    write(tmp_path / "entries" / "first")
    for original, fits in (("first", True), ("frist", False), ("again", False)):
        again = write(tmp_path / "entries" / "again", good_runs(luck=1), reproduces=original)
        (checked,) = (one for one in check_all(tmp_path / "entries") if one.name == "again")
        assert checked.refused != fits
        assert fits or f"reproduces {original!r}, which isn't another entry" in problems(checked)
        shutil.rmtree(again)


def test_it_was_tuned_on_tasks(entry: Path) -> None:
    """A task that doesn't exist is named."""
    form = entry / "entry.toml"
    form.write_text(form.read_text(encoding="utf-8").replace('"add_mod47-0.7"', '"ad_mod47-0.7"'), encoding="utf-8")
    assert "tuning.tasks.0: unknown operation 'ad'" in problems(check_entry(entry))


def spoil_exam(**changes: Any) -> Callable[[list[dict[str, Any]]], None]:
    """Change the fourth run's last exam."""
    return lambda runs: runs[3]["exams"][-1].update(changes)


def spoil_run(**changes: Any) -> Callable[[list[dict[str, Any]]], None]:
    """Change the fourth run."""
    return lambda runs: runs[3].update(changes)


def copy_exams(runs: list[dict[str, Any]]) -> None:
    """Give the fourth run the fifth one's exams."""
    for key in ("exams", "outcome", "cost"):
        runs[3][key] = runs[4][key]


def copy_to_another_task(runs: list[dict[str, Any]]) -> None:
    """Give the first run of the second task, a table as large, the exams of the first's, its ranks a little changed."""
    for key in ("exams", "outcome", "cost"):
        runs[10][key] = json.loads(json.dumps(runs[0][key]))
    for exam in runs[10]["exams"]:
        exam["ranks"]["effective_rank"] = [rank + 1e-9 for rank in exam["ranks"]["effective_rank"]]
    runs[10]["outcome"]["final_rank"] = runs[10]["exams"][-1]["ranks"]["effective_rank"][0]


def nested(levels: int) -> dict[str, Any]:
    """Tables in tables."""
    return {"a": nested(levels - 1)} if levels else {}


def know_the_control(runs: list[dict[str, Any]]) -> None:
    """Let the last run answer a hundred cells of the random table."""
    runs[-1]["exams"][-1]["held_out"] = 100


SPOILED: list[tuple[Callable[[list[dict[str, Any]]], Any], str]] = [
    (spoil_exam(step=123_456), r"add_mod47-0.7-v1 seed 3: its exams don't follow the protocol"),
    (spoil_exam(step=-1), r"line 4: exams.*greater than or equal to 0"),
    (spoil_exam(train=10**9), "don't fit add_mod47-0.7-v1"),
    (spoil_exam(held_out=0), "the outcome it states doesn't follow from its exams"),
    (spoil_exam(loss=1e308), ""),
    (spoil_exam(extra=1), "line 4: exams.*Extra inputs"),
    (
        lambda runs: runs[3]["exams"][-1]["ranks"].update(srank=[1e308]),
        r"a rank lies outside what 2209 rows of widths \[128\] allow",
    ),
    (lambda runs: runs[3]["exams"][-1]["ranks"].update(srank=[-1.0]), "a rank lies outside"),
    (lambda runs: runs[3]["exams"][-1]["ranks"].pop("srank"), "don't all have every measure"),
    (lambda runs: runs[3]["exams"][-1]["ranks"].update(srank=[1.0, 2.0]), "don't all have every measure"),
    (lambda runs: runs[3]["exams"][-1]["ranks"].pop("effective_rank"), "don't follow the protocol"),
    (lambda runs: runs[3]["agent"].update(feature_dims=[64]), r"states layers of widths \[64\], its network's are \[128\]"),
    (lambda runs: runs[3]["agent"].update(feature_dims=[0]), "line 4: agent.feature_dims"),
    (lambda runs: runs[3]["exams"].clear(), "the outcome it states doesn't follow"),
    (lambda runs: runs[3]["exams"].pop(), "the outcome it states doesn't follow"),
    (lambda runs: runs[3]["exams"].append(runs[3]["exams"][-1]), "don't follow the protocol"),
    (lambda runs: runs[3]["outcome"].update(steps_to_generalize=10), "the outcome it states doesn't follow"),
    (lambda runs: runs[3]["cost"].update(steps=1), "its cost doesn't fit"),
    (lambda runs: runs[3]["cost"].update(seconds=-1.0), "line 4: cost.seconds"),
    (lambda runs: runs[3]["cost"].update(seconds=1e300), "line 4: cost.seconds"),
    (spoil_run(exams=[{}] * 100_000), "line 4: exams.0.step: Field required"),
    (
        lambda runs: runs[3].update(exams=runs[3]["exams"][:1] * 10_001),
        "line 4: exams: List should have at most 10000 items|has .* bytes",
    ),
    (lambda runs: runs[3]["agent"]["hyperparameters"].update(deep=nested(50)), "line 4: is nested too deeply"),
    (spoil_run(**{"\x1b[31m\n::error::": 1}), r"line 4:  \[31m ::error::: Extra inputs"),
    (lambda runs: runs[3]["agent"]["hyperparameters"]["training"].update(learning_rate=0.1), "made by another recipe"),
    (lambda runs: runs[3]["agent"].update(target="baselines.agents:mlp"), "made by another recipe"),
    (lambda runs: runs[3]["agent"].update(target="baselines_of_mine:transformer"), "made by another recipe"),
    (lambda runs: runs[3]["agent"].update(hash="\n\n# Title\n"), "hash isn't that of the recipe"),
    (lambda runs: runs[3]["agent"].update(name="<b>x</b>"), "a name that can't be shown"),
    (spoil_run(fingerprint="0" * 64), "its fingerprint isn't that of the instance"),
    (spoil_run(salt="mine"), "ran on a salted instance"),
    (spoil_run(incomplete="stopped"), "is incomplete"),
    (spoil_run(cohort=[9]), "its batch isn't one"),
    (spoil_run(cohort=list(range(1_001))), "line 4: cohort.*at most 1000"),
    (lambda runs: runs[3]["cost"].update(flops=10**30), "line 4: cost.flops"),
    (spoil_run(protocol=2), "line 4: protocol"),
    (spoil_run(task="add_mod48-0.7-v1"), "line 4: task"),
    (spoil_run(task="add_mod4093-0.9-v1"), "doesn't belong to the suite"),
    (spoil_run(seed=10), "seed 3: is missing"),
    (lambda runs: runs.pop(3), "add_mod47-0.7-v1 seed 3: is missing"),
    (lambda runs: runs.insert(3, runs[3]), "stands there 2 times"),
    (lambda runs: runs.reverse(), "isn't sorted"),
    (copy_exams, "has the same exams as add_mod47-0.7-v1 seed 3"),
    (copy_to_another_task, "mul_mod47-0.7-v1 seed 0: has the same exams as add_mod47-0.7-v1 seed 0"),
    (know_the_control, "answers held-out cells of the random control"),
]


@pytest.mark.parametrize(("change", "problem"), SPOILED)
def test_a_bad_run_is_named_and_the_others_reported(entry: Path, change: Callable[[Any], Any], problem: str) -> None:
    """One bad run refuses the entry by its name; the others stay sound."""
    rewrite(entry, change)
    checked = check_entry(entry)
    found = problems(checked)
    assert bool(found) == bool(problem)
    assert re.search(problem, found), found
    assert len(checked.sound) >= 20


BAD_BYTES: list[tuple[str, bytes, str]] = [
    ("runs.jsonl", b"", "seed 0: is missing"),
    ("runs.jsonl", b"{}", "doesn't end with a line break"),
    ("runs.jsonl", b"{}\n", "line 1: schema: Field required"),
    ("runs.jsonl", b"\xff\xfe\n", "isn't UTF-8"),
    ("runs.jsonl", b"\x00" * 1000 + b"\n", "line 1"),
    ("runs.jsonl", b'{"seed": NaN}\n', "NaN is not a number"),
    ("runs.jsonl", b'{"seed": 1, "seed": 2}\n', "a key stands twice"),
    ("runs.jsonl", b"[" * 100_000 + b"\n", "line 1: is nested too deeply"),
    ("runs.jsonl", b'{"seed": ' + b"9" * 10_000 + b"}\n", "line 1"),
    ("runs.jsonl", b"x" * (3 << 20) + b"\n", "has 3,145,728 bytes, more than"),
    ("runs.jsonl", b"\n" * 5_000, "5,000 lines, more than 1,000"),
    ("entry.toml", b"", "title: Field required"),
    ("entry.toml", b"\xff", "isn't UTF-8"),
    ("entry.toml", b"title = ", "isn't valid TOML"),
    ("entry.toml", b"a = " + b"[" * 5_000, "isn't valid TOML"),
    ("entry.toml", b"#" * 20_000, "has 20,000 bytes, more than 16,384"),
    ("recipe.toml", b"", "has no agent"),
    ("recipe.toml", b'agent = "os:system"', "has no agent"),
    ("recipe.toml", b"network" + b".a" * 1_000 + b" = 1", "is nested too deeply"),
    ("recipe.toml", b'agent = "baselines.agents:x](#) | [money](https://evil.example)"', "has no agent"),
    ("recipe.toml", b'agent = "baselines.agents:find_recipe"', "has no agent"),
    ("recipe.toml", b'agent = "agent:Mine | <b>"', "has no agent"),
    ("recipe.toml", b'agent = "agent:Mine"', "agent.py is not there"),
    ("recipe.toml", b'agent = "baselines.agents:transformer"\nnetwork = 3', "isn't a baseline's"),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD_BYTES, ids=range(len(BAD_BYTES)))
def test_bad_bytes_are_findings(entry: Path, name: str, content: bytes, problem: str) -> None:
    """Whatever a file holds, the answer is a finding in bounded time."""
    (entry / name).write_bytes(content)
    assert problem in problems(check_entry(entry))


def test_a_huge_file_is_not_read(entry: Path) -> None:
    """A gigabyte, announced by the file system, is refused by its size."""
    with (entry / "runs.jsonl").open("wb") as file:
        file.truncate(1 << 30)
    assert "has 1,073,741,824 bytes" in problems(check_entry(entry))


def test_only_the_entrys_own_files(entry: Path) -> None:
    """No stray file or folder, no link, no device, no name that could be a path elsewhere."""
    (entry / "model.pkl").write_bytes(b"x")
    (entry / "more").mkdir()
    (entry / "\u202eevil\n").write_text("x")
    os.symlink("/etc/passwd", entry / "agent.py")
    found = problems(check_entry(entry))
    for name in ("model.pkl", "more", r"\u202eevil\n", "agent.py: is a link"):
        assert name in found
    (entry / "entry.toml").unlink()
    os.mkfifo(entry / "entry.toml")
    assert "isn't a plain file" in problems(check_entry(entry))
    (entry / "entry.toml").unlink()
    assert "can't be read" in problems(check_entry(entry))


def test_the_folders_name(entry: Path) -> None:
    """Small letters, digits, hyphens; a link to an entry is none."""
    bad = entry.rename(entry.with_name("Not_Good"))
    assert "the folder's name" in problems(check_entry(bad))
    os.symlink(bad, entry.with_name("link"))
    assert "is no entry's folder" in problems(check_entry(entry.with_name("link")))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('title = ""', "title"),
        ('title = "two\\nlines"', "one line"),
        ('link = "javascript:alert(1)"', "a web address"),
        ('link = "https://x.org/)<script>"', "a web address"),
        ('link = "https://x.org/**b**"', "a web address"),
        ('link = "https://x.org/\\u202e"', "a web address"),
        ('suite = "none"', "no suite is called"),
        ('division = "secret"', "division"),
        ('agent = "../../x.toml"', "agent"),
        ("protocol = 2", "protocol"),
        ("color = 1", "color: Extra inputs"),
    ],
)
def test_a_form_is_checked_line_by_line(entry: Path, line: str, problem: str) -> None:
    """The schema refuses what it doesn't know or can't use."""
    path, key = entry / "entry.toml", line.split(" ")[0]
    others = [old for old in path.read_text(encoding="utf-8").splitlines() if old.split(" ")[0] != key]
    path.write_text("\n".join([line, *others]), encoding="utf-8")
    assert problem in problems(check_entry(entry))


def test_the_closed_division_keeps_the_network(entry: Path) -> None:
    """A wider network belongs to the open division, with the runs that it made."""

    def widen(runs: list[dict[str, Any]]) -> None:
        for run in runs:
            run["agent"]["hyperparameters"]["network"]["width"] = 256
            run["agent"]["feature_dims"] = [256]
            restate(run)

    rewrite(entry, widen)
    recipe = entry / "recipe.toml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("width = 128", "width = 256"), encoding="utf-8")
    assert "its [network] isn't a baseline's" in problems(check_entry(entry))
    form = entry / "entry.toml"
    form.write_text(form.read_text(encoding="utf-8").replace('"closed"', '"open"'), encoding="utf-8")
    assert not check_entry(entry).refused


@pytest.mark.parametrize(
    ("widths", "problem"),
    [
        (None, "doesn't state the widths"),
        ([8], r"a rank lies outside what 2209 rows of widths \[8\] allow"),
        ([128, 128], r"ranks of other layers .* of widths \[128, 128\]"),
        ([128], "^$"),
    ],
)
def test_a_network_of_its_own_states_its_widths(entry: Path, widths: list[int] | None, problem: str) -> None:
    """They bound its ranks."""

    def own(runs: list[dict[str, Any]]) -> None:
        for run in runs:
            run["agent"]["hyperparameters"]["network"].pop("width")
            restate(run)
            if widths is None:
                del run["agent"]["feature_dims"]
            else:
                run["agent"]["feature_dims"] = widths

    rewrite(entry, own)
    for name, old, new in (("recipe.toml", "width = 128\n", ""), ("entry.toml", '"closed"', '"open"')):
        text = (entry / name).read_text(encoding="utf-8")
        (entry / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert re.search(problem, problems(check_entry(entry)))


def test_an_implausible_entry_is_noted_not_refused(tmp_path: Path) -> None:
    """Ten times sooner than the reference ever was: stands, with a note."""
    checked = check_entry(write(tmp_path / "fast", good_runs(around=20)))
    assert not checked.refused
    assert any("10 times sooner" in finding.problem for finding in checked.findings)


def test_what_generalizes_without_memorizing_is_noted(tmp_path: Path) -> None:
    """And a control that diverged."""

    def forget(runs: list[dict[str, Any]]) -> None:
        for exam in runs[3]["exams"]:
            exam["train"] = 0
        runs[3]["outcome"]["steps_to_memorize"] = None

    rewrite(folder := write(tmp_path / "strange"), forget)
    checked = check_entry(folder)
    assert not checked.refused
    assert [f.problem for f in checked.findings] == ["generalizes without having memorized"]


def test_a_recipe_that_makes_no_agent(entry: Path) -> None:
    """A closed entry's recipe is tried: its numbers are data for a baseline's code."""

    def add(runs: list[dict[str, Any]]) -> None:
        for run in runs:
            run["agent"]["hyperparameters"]["training"]["luck"] = 1
            restate(run)

    rewrite(entry, add)
    with (entry / "recipe.toml").open("a", encoding="utf-8") as recipe:
        recipe.write("\n[training.more]\n")
    text = (
        (entry / "recipe.toml")
        .read_text(encoding="utf-8")
        .replace("[training.more]", "")
        .replace("[training]", "[training]\nluck = 1")
    )
    (entry / "recipe.toml").write_text(text, encoding="utf-8")
    assert "makes no agent" in problems(check_entry(entry))


def test_what_lies_beside_the_entries(template: Path, tmp_path: Path) -> None:
    """Neither files nor links, but git's own; several names are all reported."""
    shutil.copytree(template, tmp_path / "entries" / "good")
    (tmp_path / "entries" / ".gitkeep").touch()
    assert not any(one.refused for one in check_all(tmp_path / "entries"))
    (tmp_path / "entries" / "code.py").touch()
    os.symlink("/etc", tmp_path / "entries" / "link")
    assert [one.name for one in check_all(tmp_path / "entries") if one.refused] == ["code.py", "link"]
    assert "is no entry's folder" in problems(check_entry(tmp_path / "entries" / "nosuch"))


def test_runs_of_another_entry_are_noted(template: Path, tmp_path: Path) -> None:
    """The same exams in two entries."""
    for name in ("first", "second"):
        shutil.copytree(template, tmp_path / name)
    first, second = check_all(tmp_path)
    assert first.findings == ()
    assert not second.refused
    assert len([f for f in second.findings if "the same exams as in 'first'" in f.problem]) == 22


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzzed_runs_never_raise(entry: Path, template: Path, data: st.DataObject) -> None:
    """One value of one run replaced by whatever JSON can hold: a finding or nothing, never a traceback."""
    lines = (template / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    run = json.loads(lines[3])
    node: Any = run
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=5),
            lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
        )
    )
    dumped = json.dumps(run, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    (entry / "runs.jsonl").write_bytes(b"\n".join([dumped, *(line.encode() for line in lines[4:6])]) + b"\n")
    assert check_entry(entry).refused


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), name=st.sampled_from(["entry.toml", "recipe.toml", "runs.jsonl"]))
def test_any_bytes_never_raise(entry: Path, content: bytes, name: str) -> None:
    """Random bytes in place of any file."""
    before = (entry / name).read_bytes()
    (entry / name).write_bytes(content)
    try:
        assert check_entry(entry).refused
    finally:
        (entry / name).write_bytes(before)
