"""Commands of the leaderboard: submit, check, verify, pull, board, export."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from grokbench.board import LEADERBOARD
from grokbench.cli.runs import Names, read_runs
from grokbench.errors import EntryError, MissingExtraError, install

if TYPE_CHECKING:
    from grokbench.board.entries.checks import Checked
    from grokbench.board.entries.pulls import PullRequest
    from grokbench.hub.client import Repository


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
    to: Literal["hub"] | None = None,
    repo: str | None = None,
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
        to: hub opens the pull request on the Hugging Face Hub instead. After any failure the same command goes on.
        repo: OWNER/NAME, the leaderboard's dataset on the Hub.
    """
    from shlex import join

    from grokbench.board.entries.proposal import open_pull_request, pull_request_commands
    from grokbench.board.entries.submit import pack_entry

    folder = leaderboard / "entries" / name
    if to and open_pr:
        raise EntryError("--open-pr opens a pull request in git, --to hub one on the Hub: choose one of them")
    repository = _repository(to, repo, kept=f"the entry is packed in {folder}")
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
    if checked.refused:
        print(f"{folder} is written, but it wouldn't be accepted: mend the errors above, remove the folder and pack it again")
        return 1
    if repository:
        from grokbench.hub.submit import open_hub_pull_request

        print(open_hub_pull_request(folder, title, repository))
        return 0
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
    out: Path = Path("runs-verify"),
    save: bool = False,
    leaderboard: Path = LEADERBOARD,
) -> int:
    """Repeat some runs of an entry, and run fresh instances until the evidence decides, with its agent in a sandbox.

    Example: grokbench verify my-method --salt "$(openssl rand -hex 16)"

    Args:
        entry: name or folder.
        salt: chooses the runs and the fresh instances; it must not have been known when the entry was made.
        runs: how many runs to repeat.
        sandbox: keep the agent from network and secrets; --no-sandbox for code that you trust.
        container: run the agent in a container of this image.
        seconds: the longest that all of it may take.
        threads: the threads that a run computes on. Runs repeat to the bit on as many as the entry's own.
        processes: the most worker processes. By default as many as the cores that this command may use, divided by threads.
        out: the folder of the new runs, where the same command goes on after it was stopped.
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
            out=out,
            callbacks=[progress],
        )
    print(verdict)
    if save:
        path = save_verdict(verdict, folder.name, leaderboard=leaderboard)
        print(f"kept in {path}: write the table with `grokbench board`")
    return 0 if verdict.passed else 1


def pull(
    *,
    base: str | None = None,
    head: str | None = None,
    from_: Annotated[Literal["hub"] | None, arg(name="from")] = None,
    repo: str | None = None,
    pr: int | None = None,
    leaderboard: Path = LEADERBOARD,
    out: Path | None = None,
    take: Path | None = None,
) -> int:
    """Check the entry of a pull request, as CI does. Its files are taken out of git, or from the Hub, as data.

    Example: grokbench pull --base main --head my-branch

    Args:
        base: the commit that a pull request goes to.
        head: the commit that it brings.
        from_: hub takes a pull request on the Hugging Face Hub instead.
        repo: OWNER/NAME, the leaderboard's dataset on the Hub.
        pr: the number of the pull request there.
        leaderboard: the checkout's leaderboard folder, with the accepted entries.
        out: write the comment here; default: print it.
        take: copy the entry's files into this folder.
    """
    from grokbench.board.publishing.comment import comment, comment_without_entry

    try:
        repository = _repository(from_, repo, kept="nothing is written")
        request = _pull_request((base, head), (repository, pr), leaderboard=leaderboard, take=take)
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


def _pull_request(
    commits: tuple[str | None, str | None],
    on_hub: "tuple[Repository | None, int | None]",
    *,
    leaderboard: Path,
    take: Path | None,
) -> "PullRequest | None":
    """The checked pull request between two commits of git, or with its number in a repository on the Hub."""
    base, head = commits
    repository, number = on_hub
    if repository and number and not (base or head):
        from grokbench.hub.pulls import check_hub_pull_request

        return check_hub_pull_request(number, repository, leaderboard=leaderboard, take=take)
    if base and head and not (repository or number):
        from grokbench.board.entries.git_pulls import check_pull_request

        return check_pull_request(base, head, leaderboard=leaderboard, take=take)
    raise EntryError("name a pull request: --base and --head in git, or --from hub with --repo and --pr on the Hub")


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
        print(f"the Parquet files are unchanged: {install('hub')} to have them written too")
    return 1 if published.refused else 0


def export(
    folder: Positional[Path | None] = None,
    *,
    to: Literal["hub"] | None = None,
    repo: str | None = None,
    leaderboard: Path = LEADERBOARD,
) -> int:
    """Write the board as one folder that `datasets.load_dataset` reads, or push it to the Hugging Face Hub.

    Example: grokbench export board

    Args:
        folder: a new or empty folder, or an earlier export.
        to: hub pushes it there. The dataset is made if there is none; without a folder nothing is kept here.
        repo: OWNER/NAME, the dataset on the Hub.
        leaderboard: the checkout's leaderboard folder.
    """
    from tempfile import TemporaryDirectory

    from grokbench.board.publishing import parquet
    from grokbench.hub.board import export_board, push_board

    kept = f"the board is kept in {folder}" if folder else "nothing is lost"
    repository = _repository(to, repo, kept=kept)
    if not (folder or repository):
        raise EntryError("say where the board goes: a folder, or --to hub with --repo")
    if not parquet.installed():
        raise MissingExtraError(f"the board's Parquet files need the extra `hub`: {install('hub')}")
    with TemporaryDirectory() as scratch:
        place = folder or Path(scratch) / "board"
        published = export_board(place, leaderboard=leaderboard)
        for name in published.refused:
            print(f"left out: {name}, which `grokbench check {name}` refuses", file=sys.stderr)
        if folder:
            print(f'{folder} is written: datasets.load_dataset("{folder}", "runs")')
        if repository:
            print(push_board(place, repository))
    return 0


def _repository(place: Literal["hub"] | None, name: str | None, *, kept: str) -> "Repository | None":
    """The dataset on the Hub that a command names; None for a command that goes elsewhere."""
    if place is None and name is None:
        return None
    if place is None or name is None:
        raise EntryError("--to hub (for `pull`, --from hub) and --repo OWNER/NAME belong together: give both")
    from grokbench.hub.client import Repository

    return Repository(name, kept=kept)


def _print_checked(checked: "Checked", *, indent: str) -> None:
    from grokbench.board.publishing.standings import summary

    print(f"{checked.name}: {summary(checked)}")
    for finding in checked.findings:
        print(f"{indent}{finding}")
