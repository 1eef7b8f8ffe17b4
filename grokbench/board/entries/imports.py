"""What an entry's code imports, read from its text: no code of the entry runs.

Re-execution has the entry's one file, grokbench, the baselines, Python's standard library, and `LIBRARIES`. The container
installs these in the versions of `constraints.txt`.
"""

import sys
from collections.abc import Iterator

from grokbench.agents.imports import find_imports
from grokbench.board.entries.files import CODE
from grokbench.board.entries.findings import Finding
from grokbench.errors import EntryError

LIBRARIES = (  # by the names that code imports; a package is called the same, with hyphens
    "array_api_compat",
    "gymnasium",
    "numpy",
    "pandas",
    "pytorch_optimizer",
    "safetensors",
    "scipy",
    "torch",
    "typing_extensions",
)
OWN = ("grokbench", "baselines")
# Modules that Python 3.11, 3.12 or 3.13 lacks, that only Windows has, and that need a screen.
NOT_EVERYWHERE = (
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib ossaudiodev "
    "pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib msvcrt winreg winsound _winapi nt idlelib tkinter turtle turtledemo"
)
REMEDY = (
    f"write what the code needs into this one file, or use the standard library, {', '.join(LIBRARIES)}; "
    "then make the runs again"
)


def import_findings(code: bytes) -> Iterator[Finding]:
    """A finding for every module that the code imports and re-execution doesn't have, or one if it isn't Python."""
    try:
        imports = imported_modules(code)
    except EntryError as error:
        yield Finding(CODE, "", f"can't be read as Python ({error})", "bring the file that made the runs")
        return
    for name, line in imports.items():
        if not is_available(name):
            yield Finding(CODE, "", f"line {line} imports {name[:80]!a}, which re-execution doesn't have", REMEDY)


def needed_libraries(code: bytes) -> list[str]:
    """Those of `LIBRARIES` that the code imports, sorted.

    Raises:
        EntryError: it isn't Python.
    """
    return sorted({name.partition(".")[0] for name in imported_modules(code)} & set(LIBRARIES))


def is_available(module: str) -> bool:
    """Whether re-execution has the module. A relative import starts with a point and is a file of the entry's own."""
    top = module.partition(".")[0]
    return top in (*OWN, *LIBRARIES) or (top in sys.stdlib_module_names and top not in NOT_EVERYWHERE.split())


def imported_modules(code: bytes) -> dict[str, int]:
    """The modules that the code imports, each with the line of its first import.

    Raises:
        EntryError: it isn't Python.
    """
    try:
        imports = find_imports(code)
    except SyntaxError as error:
        raise EntryError(str(error)[:200]) from None
    found: dict[str, int] = {}
    for each in imports:
        found.setdefault(each.module, each.line)
    return found
