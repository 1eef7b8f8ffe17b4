"""Commands of the leaderboard: submit, check, verify, pull, board."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from grokbench.board import LEADERBOARD
from grokbench.cli.runs import Names, read_runs
from grokbench.errors import HUB_EXTRA, EntryError

if TYPE_CHECKING:
    from grokbench.board.entries.checks import Checked


def submit(
    folders: Positional[tuple[Path, ...]] = (Path("runs"),),
    *,
    name: str,
    title: str,
    authors: Names,
    link: str,
    description: str,
    tuning: Path | None = None,
    settings_tried: int | None = None,
    tuned_on: Names = (),
    suite: str = "core",
    division: Literal["closed", "open"] = "closed",
    agent: str | None = None,
    license: str = "MIT",
    reproduces: str | None = None,
    leaderboard: Path = LEADERBOARD,
    open_pr: bool = False,
) -> int:
    """Pack an entry for the leaderboard from finished runs, check it, and say what to do next.

    Example: grokbench submit runs --suite mini --name my-method --title "My method" --authors "A. Person" …

    Args:
        folders: folders of runs.
        name: the entry's folder: small letters, digits, hyphens.
        title: the entry's name in tables.
        authors: the people who made it.
        link: a web address with more about the method.
        description: the method in a few sentences.
        tuning: the folder of a finished `grokbench tune`, or the tuning.jsonl of its entry to another suite. It gives a rank.
        settings_tried: without a tuning, how many settings were tried before this one.
        tuned_on: without a tuning, the tasks on which they were tried.
        suite: the suite of the runs.
        division: closed (a baseline's network, unchanged) or open.
        agent: the agent of the runs, if the folders hold several.
        license: the license of recipe and code.
        reproduces: the entry that this one reproduces independently.
        leaderboard: the checkout's leaderboard folder.
        open_pr: push a branch with the entry alone and open the pull request, with `gh` where it is installed. Nothing that is
            checked out or staged changes. After a push that was refused, the same command goes on.
    """
    from shlex import join

    from grokbench.board.entries.proposal import open_pull_request, pull_request_commands
    from grokbench.board.entries.submit import pack_entry

    records, _ = read_runs(folders)
    checked = pack_entry(
        records,
        name,
        title=title,
        authors=authors,
        link=link,
        description=description,
        tuning=tuning,
        settings_tried=settings_tried,
        tuned_on=tuned_on,
        suite=suite,
        division=division,
        agent=agent,
        license=license,
        reproduces=reproduces,
        leaderboard=leaderboard,
    )
    _print_checked(checked, indent="")
    folder = leaderboard / "entries" / name
    if checked.refused:
        print(f"{folder} is written, but it wouldn't be accepted: mend the errors above, remove the folder and pack it again")
        return 1
    if open_pr:
        print(open_pull_request(folder, title))
        return 0
    commands = "\n".join(f"  {join(command)}" for command in pull_request_commands(folder, title))
    print(f"{folder} is ready. Open a pull request with it, or add --open-pr to this command:\n{commands}")
    return 0


def check(entries: Positional[tuple[str, ...]] = (), *, leaderboard: Path = LEADERBOARD) -> int:
    """Check entries of the leaderboard: every number is recomputed from the exams, and all findings are shown at once.

    Example: grokbench check my-method

    Args:
        entries: names or folders; none: all entries, and whether the generated files are whole and up to date.
        leaderboard: the checkout's leaderboard folder.
    """
    from grokbench.board.entries.checks import check_entries
    from grokbench.board.publishing.publish import stale_files

    checked = check_entries(entries, leaderboard=leaderboard)
    for entry in checked:
        _print_checked(entry, indent="  ")
    stale = [] if entries else stale_files(checked, leaderboard)
    for path in stale:
        print(f"{path} is missing, damaged or out of date: run `grokbench board`")
    return 1 if stale or any(entry.refused for entry in checked) else 0


def verify(
    entry: Positional[str],
    *,
    salt: str,
    runs: int = 2,
    sandbox: bool = True,
    container: str | None = None,
    seconds: float = 14_400,
    threads: int = 1,
    processes: int | None = None,
    save: bool = False,
    leaderboard: Path = LEADERBOARD,
) -> int:
    """Repeat some runs of an entry, and run fresh instances until the evidence decides, with its agent in a sandbox.

    Example: grokbench verify my-method --salt "$(date)"

    Args:
        entry: name or folder.
        salt: chooses the runs and the fresh instances; it must not have been known when the entry was made.
        runs: how many runs to repeat.
        sandbox: keep the agent from network and secrets; --no-sandbox for code that you trust.
        container: run the agent in a container of this image.
        seconds: the longest that all of it may take.
        threads: the threads that a run computes on. Runs repeat to the bit on as many as the entry's own.
        processes: the most worker processes. By default as many as the cores that this command may use, divided by threads.
        save: keep the verdict, good or bad, in the leaderboard's verdicts.
        leaderboard: the checkout's leaderboard folder.
    """
    from grokbench.board.entries.checks import find_entry
    from grokbench.board.entries.verdicts import save_verdict
    from grokbench.board.verification.rerun import verify_entry
    from grokbench.runs.progress import Progress

    folder = find_entry(entry, leaderboard=leaderboard)
    with Progress() as progress:
        verdict = verify_entry(
            folder,
            salt=salt,
            runs=runs,
            sandboxed=sandbox,
            image=container,
            seconds=seconds,
            threads=threads,
            processes=processes,
            callbacks=[progress],
        )
    print(verdict)
    if save:
        path = save_verdict(verdict, folder.name, leaderboard=leaderboard)
        print(f"kept in {path}: write the table with `grokbench board`")
    return 0 if verdict.passed else 1


def pull(
    *,
    base: str,
    head: str,
    leaderboard: Path = LEADERBOARD,
    out: Path | None = None,
    take: Path | None = None,
) -> int:
    """Check the entry that one commit adds to another, as CI does. Its files are taken out of git as data.

    Example: grokbench pull --base main --head my-branch

    Args:
        base: the commit that a pull request goes to.
        head: the commit that it brings.
        leaderboard: the checkout's leaderboard folder, with the accepted entries.
        out: write the comment here; default: print it.
        take: copy the entry's files into this folder.
    """
    from grokbench.board.entries.git_pulls import check_pull_request
    from grokbench.board.publishing.comment import comment, comment_without_entry

    try:
        request = check_pull_request(base, head, leaderboard=leaderboard, take=take)
    except EntryError as error:
        if out:
            out.write_text(comment_without_entry(str(error)), encoding="utf-8")
        raise
    if request is None:
        print("the pull request brings no entry")
        if out:
            out.write_text(comment_without_entry("The pull request brings no entry."), encoding="utf-8")
        return 0
    text = comment(request.checked, request.others)
    if out:
        out.write_text(text, encoding="utf-8", newline="\n")
    else:
        print(text)
    return 1 if request.checked.refused else 0


def board(*, leaderboard: Path = LEADERBOARD) -> int:
    """Write the leaderboard's tables, pages and Parquet files from its entries.

    Example: grokbench board

    Args:
        leaderboard: the checkout's leaderboard folder.
    """
    from grokbench.board.publishing.publish import publish

    published = publish(leaderboard)
    for name in published.refused:
        print(f"left out: {name}, which `grokbench check {name}` refuses", file=sys.stderr)
    if not published.parquet:
        print(f"the Parquet files are unchanged: {HUB_EXTRA} to have them written too")
    return 1 if published.refused else 0


def _print_checked(checked: "Checked", *, indent: str) -> None:
    from grokbench.board.publishing.standings import summary

    print(f"{checked.name}: {summary(checked)}")
    for finding in checked.findings:
        print(f"{indent}{finding}")
