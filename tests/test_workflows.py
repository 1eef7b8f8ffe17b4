"""The workflows, checked offline: GitHub's schema, zizmor's audit, and the make targets that they call."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

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
