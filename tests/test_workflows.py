"""The workflows, checked offline: GitHub's schema, zizmor's audit, and the make targets that they call."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from grokbench.board.publishing.comment import MARK

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ZIZMOR = Path(sys.executable).with_name("zizmor")


def findings(path: Path) -> list[str]:
    """The rules that zizmor's strictest persona finds broken in a workflow, or in all that a folder holds."""
    command = [str(ZIZMOR), "--offline", "--no-progress", "--persona", "auditor", "--format", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return sorted(finding["ident"] for finding in json.loads(done.stdout) if not finding["ignored"])


def workflow(path: Path) -> dict[str, Any]:
    """The contents of a workflow."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def test_workflows_follow_the_schema() -> None:
    """GitHub's, as check-jsonschema ships it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing() -> None:
    """But for the exceptions in `.github/zizmor.yml`."""
    assert findings(ROOT / ".github") == []


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ('"refs/pull/$NUMBER/head"', '"${{ github.event.pull_request.head.ref }}"', "template-injection"),
        ("  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
        ("persist-credentials: false", "persist-credentials: true", "artipacked"),
        ("contents: read", "contents: write", "excessive-permissions"),
        ("actions/setup-python@v5", "someone/setup-python@v5", "unpinned-uses"),
    ],
)
def test_zizmor_would_find_a_mistake(tmp_path: Path, good: str, bad: str, rule: str) -> None:
    """The exceptions don't hide these, with the same configuration."""
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder.parent / "zizmor.yml").write_bytes((ROOT / ".github" / "zizmor.yml").read_bytes())
    text = (ROOT / ".github" / "workflows" / "entries.yml").read_text(encoding="utf-8")
    assert good in text
    (folder / "entries.yml").write_text(text.replace(good, bad), encoding="utf-8")
    assert rule in findings(folder.parent)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_only_the_comment_may_write(path: Path) -> None:
    """Whatever reads or runs an entry has a token that can only read."""
    content = workflow(path)
    scopes = [content["permissions"], *(job.get("permissions", {}) for job in content["jobs"].values())]
    writes = {scope for permissions in scopes for scope, access in permissions.items() if access == "write"}
    assert writes == ({"pull-requests"} if path.name == "comment.yml" else set())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_secrets_are_not_used(path: Path) -> None:
    """Not even by name."""
    assert "secrets" not in re.findall(r"\$\{\{\s*(\w+)", path.read_text(encoding="utf-8"))


def test_every_command_is_a_make_target() -> None:
    """The targets that the workflows call are in the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    steps = [step for path in WORKFLOWS for job in workflow(path)["jobs"].values() for step in job["steps"]]
    called = {name for step in steps for name in re.findall(r"\bmake ([a-z]+)", step.get("run", ""))}
    assert called
    assert called <= targets


FAKE_GH = """#!/bin/sh
echo "$@" >> asked
case "$*" in *"--paginate"*) cat ids;; esac
"""


@pytest.mark.parametrize(
    ("ids", "last"),
    [
        ("", "pr comment 7 --body-file comment.md"),
        ("31\n", "api --method PATCH repos/o/r/issues/comments/31 -F body=@comment.md"),
        ("31\n35\n", "api --method PATCH repos/o/r/issues/comments/31 -F body=@comment.md"),
    ],
    ids=["none yet", "one", "two of earlier times"],
)
def test_one_comment_is_kept_up_to_date(tmp_path: Path, ids: str, last: str) -> None:
    """Every push writes the first comment of the workflow anew; only without one there is a new one."""
    steps = workflow(ROOT / ".github" / "workflows" / "comment.yml")["jobs"]["comment"]["steps"]
    (tmp_path / "gh").write_text(FAKE_GH)
    (tmp_path / "gh").chmod(0o755)
    for name, text in (("ids", ids), ("number.txt", "7\n"), ("comment.md", f"{MARK}\n### Entry\n")):
        (tmp_path / name).write_text(text)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_REPOSITORY": "o/r", "VERIFIED": "success"}
    subprocess.run(["bash", "-e", "-c", steps[-1]["run"]], cwd=tmp_path, env=environment, check=True)
    asked = (tmp_path / "asked").read_text()
    assert asked.splitlines()[-1] == last
    assert f'startswith("{MARK}")' in asked
    assert (tmp_path / "comment.md").read_text().endswith("Checks and re-execution: success.\n")


def test_pull_requests_are_compared_with_the_tip_of_their_base() -> None:
    """The commit in the event can be older than what the branch has merged."""
    text = (ROOT / ".github" / "workflows" / "entries.yml").read_text(encoding="utf-8")
    assert text.count("ref: ${{ github.event.pull_request.base.ref }}") == text.count("make pull BASE=HEAD") == 2
    assert "base.sha" not in text


@pytest.mark.parametrize("value", ["$(touch planted)", "x; touch planted", "--leaderboard=planted", "a b"])
def test_values_of_make_variables_are_neither_code_nor_options(value: str) -> None:
    """They reach the command through the environment, quoted."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = re.findall(r"^\t\$\(BIN\)/grokbench (?:pull|verify) .*$", makefile, re.MULTILINE)
    variables = ["BASE", "HEAD", "OUT", "TAKE", "ENTRY", "SALT", "RUNS", "CONTAINER", "LIMIT"]
    for recipe in recipes:
        assert not re.search(rf"\$\((?:{'|'.join(variables)})\)(?!,)", recipe)
    command = recipes[0].replace("$(BIN)/grokbench", "printf '%s|'").replace('$(if $(OUT),--out="$$OUT")', "")
    command = command.replace('$(if $(TAKE),--take="$$TAKE")', "").replace("$$", "$").strip()
    done = subprocess.run(["sh", "-c", command], env=os.environ | {"BASE": value, "HEAD": "x"}, capture_output=True, text=True)
    assert done.stdout == f"pull|--base={value}|--head=x|"
