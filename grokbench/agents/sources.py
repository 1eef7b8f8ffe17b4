"""The code that makes an agent: its own modules, followed through their import statements, and the libraries they import.

The Python library, installed packages, grokbench and its baselines aren't own modules: their versions stand in the record.
"""

import ast
import contextlib
import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, NoneType
from typing import Any

from grokbench.agents.imports import find_imports
from grokbench.agents.targets import importable_here
from grokbench.agents.texts import text_bytes

OURS = {"grokbench", "baselines"}
PACKAGE_FOLDERS = {"site-packages", "dist-packages"}  # of another environment too, which a .pth file brings in
MAIN = "__main__"  # the module of a notebook or a script
CONSTANTS = (bool, int, float, complex, str, bytes, NoneType)


@dataclass(frozen=True)
class Sources:
    """The code of an agent, or of an optimizer, from outside the baselines.

    Attributes:
        modules: SHA-256 by module. A class or constant of a notebook, or of a function, stands under its own name.
        packages: the installed packages that the modules import, sorted.
    """

    modules: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """One SHA-256 of all: a single module's own. Empty without modules."""
        if len(self.modules) < 2:
            return next(iter(self.modules.values()), "")
        return _sha256(json.dumps(dict(self.modules), sort_keys=True).encode())

    @staticmethod
    def of(target: Any) -> "Sources":
        """The code that `target`, a class or a function, comes with. Modules of the current folder are found too."""
        walk = _Walk()
        with importable_here():
            walk.follow(target)
        return walk.sources

    @staticmethod
    def of_module(name: str) -> "Sources":
        """The code of a module and of those that it imports. Nothing is imported."""
        walk = _Walk()
        with importable_here():
            walk.add_module(name)
        return walk.sources


class _Walk:
    """A walk over modules: from an object to its module, and from a module to those that it imports."""

    def __init__(self) -> None:
        self.modules: dict[str, str] = {}
        self.packages: set[str] = set()
        self._seen: set[str] = set()

    @property
    def sources(self) -> Sources:
        """What was found so far."""
        return Sources(dict(sorted(self.modules.items())), tuple(sorted(self.packages)))

    def follow(self, target: Any) -> None:
        """Add the modules of a class with all its bases, or of a function."""
        for each in getattr(target, "__mro__", (target,)):
            module = inspect.getmodule(each)
            if module is None or module.__name__ == MAIN or (_is_own(module.__name__) and not _file(module)):
                self._add_object(each, vars(module) if module else {})
            else:
                self.add_module(module.__name__)
                if _is_own(module.__name__) and "<locals>" in getattr(each, "__qualname__", ""):
                    self._add_object(each, {})  # the module's text doesn't tell with which values it was made

    def add_module(self, name: str) -> None:
        """Add a module and what it imports, unless it belongs to Python, to grokbench or to a package."""
        top = name.partition(".")[0]
        if name in self._seen or not _is_own(name):
            return
        self._seen.add(name)
        if _is_installed(top):
            self.packages.update(_distributions().get(top, []))
            return
        if parent := name.rpartition(".")[0]:
            self.add_module(parent)
        origin = _origin(name)
        if origin is None:
            return
        content = text_bytes(origin) if origin.suffix == ".py" else origin.read_bytes()
        if _has_code(origin, content):
            self.modules[name] = _sha256(content)
        if origin.suffix == ".py":
            package = name if origin.name == "__init__.py" else parent
            for imported in _imports(content, package):
                self.add_module(imported)

    def _add_object(self, target: Any, names: Mapping[str, Any]) -> None:
        """Add a class or function of a notebook, and what it refers to there."""
        label = getattr(target, "__qualname__", repr(target))
        if label in self.modules:
            return
        self.modules[label] = _sha256(repr((_source_text(target), _values_of(target))).encode())
        used = {name: names[name] for name in _names_used(target) & names.keys()}
        for name, value in sorted((used | {f"{label}.{name}": value for name, value in _closure(target).items()}).items()):
            if isinstance(value, ModuleType):
                self.add_module(value.__name__)
            elif isinstance(value, type | FunctionType):
                self.follow(value)
            elif (shown := _shown(value)) is not None:
                self.modules[name] = _sha256(shown.encode())


def _is_own(name: str) -> bool:
    """Whether a module is neither Python's nor grokbench's. It may be a package's."""
    top = name.partition(".")[0]
    return top not in OURS and top not in sys.stdlib_module_names


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _file(module: ModuleType) -> Path | None:
    """The file of a module, if there is one."""
    file = getattr(module, "__file__", None)
    return Path(file) if file and Path(file).is_file() else None


def _origin(name: str) -> Path | None:
    """The file of a module by its name, loaded or not; None for one without a file, or that can't be found."""
    if (module := sys.modules.get(name)) is not None:
        return _file(module)
    spec = _spec(name)
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def _spec(name: str) -> ModuleSpec | None:
    with contextlib.suppress(Exception):  # a package on the way to the module may fail to import, in any way
        return importlib.util.find_spec(name)
    return None


def _is_installed(top: str) -> bool:
    """Whether a top-level module lies in a folder of installed packages."""
    spec = _spec(top)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return any(not PACKAGE_FOLDERS.isdisjoint(Path(place).parts) for place in places if place)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _has_code(origin: Path, content: bytes) -> bool:
    """Whether a module's file does anything. The mark of a package is empty, or has a docstring alone."""
    if origin.name != "__init__.py":
        return True
    try:
        body = ast.parse(content).body
    except (SyntaxError, ValueError):
        return True
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def _imports(content: bytes, package: str) -> Iterator[str]:
    """The modules that a source text of the package may import. A name from a module may be a module itself."""
    with contextlib.suppress(SyntaxError):
        for found in find_imports(content):
            with contextlib.suppress(ImportError):  # a relative import that leaves its package
                module = importlib.util.resolve_name(found.module, package)
                yield from (module, *(f"{module}.{name}" for name in found.names))


def _source_text(target: Any) -> str:
    """The source of a class or function; its compiled code where the text is gone."""
    try:
        return inspect.getsource(target)
    except (OSError, TypeError):
        return repr(_compiled(target))


def _names_used(target: Any) -> set[str]:
    """The global names that the functions of a class, or a function, refer to."""
    names: set[str] = set()
    codes = [function.__code__ for function in _functions(target).values()]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return names


def _closure(target: Any) -> dict[str, Any]:
    """The variables of an enclosing function that the functions of a class, or a function, refer to."""
    found: dict[str, Any] = {}
    for function in _functions(target).values():
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # a variable that isn't set yet
                found[name] = cell.cell_contents
    return found


def _functions(target: Any) -> dict[str, FunctionType]:
    """The functions of a class by name, those of class methods and static methods too. A function is its own."""
    if isinstance(target, FunctionType):
        return {"": target}
    values = {name: getattr(value, "__func__", value) for name, value in sorted(getattr(target, "__dict__", {}).items())}
    return {name: value for name, value in values.items() if isinstance(value, FunctionType)}


def _compiled(target: Any) -> list[Any]:
    """The compiled functions of a class, for a class whose source text is gone."""
    return [(name, *_instructions(function.__code__)) for name, function in _functions(target).items()]


def _values_of(target: Any) -> list[Any]:
    """The attributes of a class and the defaults of its functions: the text may name what a loop or a command line has set."""
    defaults = [(name, _shown([f.__defaults__, f.__kwdefaults__])) for name, f in _functions(target).items()]
    attributes = {} if isinstance(target, FunctionType) else vars(target)
    return defaults + [(name, _shown(value)) for name, value in sorted(attributes.items()) if not name.startswith("__")]


def _shown(value: Any) -> str | None:
    """A constant, or a collection of constants, as a text that is the same in every process. None for anything else."""
    if isinstance(value, CONSTANTS):
        return repr(value)
    if isinstance(value, dict):
        value = [*value.items()]
    elif not isinstance(value, list | tuple | set | frozenset):
        return None
    parts = [_shown(each) for each in value]
    ordered = parts if isinstance(value, list | tuple) else sorted(map(str, parts))
    return f"{type(value).__name__}({', '.join(map(str, ordered))})"


def _instructions(code: CodeType) -> tuple[Any, ...]:
    constants = [_instructions(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return code.co_code, code.co_names, constants
