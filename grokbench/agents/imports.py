"""The imports in a source text, read without running it."""

import ast
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

IMPORTING_CALLS = ("import_module", "__import__")


@dataclass(frozen=True)
class Import:
    """An import statement, or a call that imports.

    Attributes:
        module: the module as the text names it; a relative import starts with a point.
        names: what it takes from the module. Each may be a module itself.
        line: the line in the text.
    """

    module: str
    names: tuple[str, ...]
    line: int


def find_imports(code: bytes) -> list[Import]:
    """The imports anywhere in the text, also inside functions.

    Imports for type checkers alone (`if TYPE_CHECKING:`) don't count. Calls of `import_module` count if they name the module.

    Raises:
        SyntaxError: the text isn't Python, or is nested too deeply.
    """
    return [found for node in _nodes_that_run(_parsed(code)) for found in _imports(node)]


def _parsed(code: bytes) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in the text's strings
            return ast.parse(code)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "is nested too deeply") from None


def _nodes_that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those in the body of `if TYPE_CHECKING:`."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        if isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _imports(node: ast.AST) -> list[Import]:
    """What this node imports."""
    if isinstance(node, ast.Import):
        return [Import(alias.name, (), node.lineno) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names if alias.name != "*")
        return [Import(f"{'.' * node.level}{node.module or ''}", names, node.lineno)]
    if isinstance(node, ast.Call) and node.args and _last_name(node.func) in IMPORTING_CALLS:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return [Import(first.value, (), node.lineno)]
    return []


def _last_name(expression: ast.expr) -> str:
    """`c` of `a.b.c` and of `c`; empty for any other expression."""
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""
