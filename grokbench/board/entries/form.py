"""The form of an entry, `entry.toml`: title, authors, suite, division and how the recipe was tuned."""

import re
from typing import Annotated, Any, Literal
from unicodedata import normalize

from pydantic import AfterValidator, Field, ValidationError

from grokbench.errors import EntryError
from grokbench.runs.schema import TASK_FORM, Strict
from grokbench.tasks import SUITES, get_suite, parse_id
from grokbench.tasks.task import NAMESPACE

NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,40}")
NAME_RULE = "small letters, digits and hyphens, 2 to 41 in all, and isn't a device's name on Windows, such as con or nul"
DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")  # no folder can have such a name there
OWN_AGENT = re.compile(r"agent:[A-Za-z_][A-Za-z0-9_]*")  # a class in the entry's agent.py
MOST_PROBLEMS = 10  # of a form that one message lists
LONGEST_MESSAGE = 1_000  # characters
WEB_ADDRESS = r"https?://[A-Za-z0-9._~:/?#@!$&+,;=%-]+"
# What JSON schemas can state of `str.isprintable`: no control, format or private character, and no space but " ".
INVISIBLE = (
    r"\u0000-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064"
    r"\u2066-\u206f\u3000\ud800-\uf8ff\ufeff\ufff9-\ufffb"
)
LINE_PATTERN = rf"^ *[^ {INVISIBLE}][^{INVISIBLE}]*$"

Division = Literal["closed", "open"]


def is_entry_name(name: str) -> bool:
    """Whether an entry's folder can have this name on every system. Names that differ by case alone don't exist."""
    return NAME.fullmatch(name) is not None and DEVICE.fullmatch(name) is None


def _one_line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("must be one line of visible characters")
    return text


def _known_suite(name: str) -> str:
    return get_suite(name).name


def _web_address(text: str) -> str:
    if not re.fullmatch(WEB_ADDRESS, text):
        raise ValueError("must be a web address that starts with https:// or http://, other characters as %XX")
    return text


def _task_id(name: str) -> str:
    parse_id(name)
    return name


def _stated(pattern: str, **keywords: Any) -> Any:
    """The pattern for the JSON schema of a text that a validator checks."""
    return Field(json_schema_extra={"pattern": pattern}, **keywords)


Line = Annotated[str, _stated(LINE_PATTERN, min_length=1, max_length=120), AfterValidator(_one_line)]
TaskId = Annotated[str, _stated(rf"^(?:{NAMESPACE}/)?{TASK_FORM}(?:-v1)?$", max_length=120), AfterValidator(_task_id)]


class SettingsTried(Strict):
    """How the recipe was tuned: how many settings were tried, and on which tasks."""

    settings: Annotated[int, Field(ge=0, le=10**9)]
    tasks: Annotated[list[TaskId], Field(max_length=100)]


class Form(Strict):
    """The contents of `entry.toml`, written by the entry's authors."""

    title: Line
    authors: Annotated[list[Line], Field(min_length=1, max_length=50)]
    link: Annotated[str, _stated(f"^{WEB_ADDRESS}$", max_length=300), AfterValidator(_web_address)]
    description: Annotated[str, Field(min_length=1, max_length=2_000)]
    license: Line
    protocol: Literal[2]
    suite: Annotated[str, AfterValidator(_known_suite), Field(json_schema_extra={"enum": list(SUITES)})]
    agent: Annotated[str, Field(pattern=rf"^(recipe\.toml|{OWN_AGENT.pattern})$")]
    division: Division
    tuning: SettingsTried
    reproduces: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")] | None = None


RE_EXECUTED = {"protocol", "suite", "agent", "division"}  # the keys of a form on which a re-execution depends


def author_names(form: Form) -> set[str]:
    """The authors as they are compared: case, spaces and the way in which Unicode composes letters don't count."""
    folded = (normalize("NFKC", normalize("NFKC", author).casefold()) for author in form.authors)
    return {" ".join(author.split()) for author in folded}


def make_form(content: dict[str, Any]) -> Form:
    """The form with this content.

    Raises:
        EntryError: a key is missing, unknown or has a value that it can't have. The message lists the first ten problems.
    """
    try:
        return Form.model_validate(content)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()[:MOST_PROBLEMS]]
        raise EntryError("; ".join(problems).replace(": Value error, ", ": ")[:LONGEST_MESSAGE]) from None
