"""Computes which code makes a value, and its version: the closure of the classes and functions that make it.

The closure of a class or function: every function, class and constant of the project that it uses, found in the
source, without importing any of it, and the files beside it that it names. Formatting, comments, docstrings, the
annotations of functions and a transformer's `output_schema` (it checks columns and makes none) have no say.
What comes from an installed distribution counts by that distribution's version, and the platform's own base classes
by a number (`ml_platform/versions/platform_versions.py`).
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ml_platform.versions.distributions import distributions_of
from ml_platform.versions.graph import Cell, Library, Node, Numbered, SourceGraph, Symbol
from ml_platform.versions.platform_versions import runner_version
from ml_platform.versions.source import Module, Reading, read_statement


@dataclass(frozen=True)
class Code:
    """What makes a value.

    Attributes:
        symbols: dotted name of each function, class and constant used, to a hash of its syntax tree.
        places: the same names, to file and line; for people, no part of the version.
        distributions: installed distributions used, and `python`, to their versions.
        platform: what the platform does around it, by kind (`frame`, `contract`), to the number of its version.
    """

    symbols: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    distributions: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, int] = field(default_factory=dict)

    def __or__(self, other: "Code") -> "Code":
        return Code(
            {**self.symbols, **other.symbols},
            {**self.places, **other.places},
            {**self.distributions, **other.distributions},
            {**self.platform, **other.platform},
        )


def hash_of(value: Any) -> str:
    """Returns the hash of a plain JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def runner_code(kind: str) -> Code:
    """Returns what the platform does around the classes that a pipeline names, for one kind of value."""
    version = runner_version(kind)
    return Code(distributions=distributions_of(version.libraries), platform={kind: version.number})


def code_of(paths: Iterable[str]) -> Code:
    """Returns the closure of what dotted paths name, as it stands on disk now.

    Raises:
        Undescribable: what a notebook defines uses a global that has no plain value.
    """
    wanted = list(paths)
    graph = SourceGraph()
    reached = graph.reach(wanted)
    # Schemas have no say, unless something that makes the value asks for one.
    if any("output_schema" in chain.split(".")[1:] for reading in _readings(reached) for chain in reading.chains):
        graph = SourceGraph(with_schemas=True)
        reached = graph.reach(wanted)
    return _code_in(graph, reached)


def _readings(nodes: Iterable[Node]) -> Iterator[Reading]:
    symbols = (node for node in nodes if isinstance(node, Symbol))
    return (read_statement(one.module, node) for one in symbols for node in one.module.statements(one.name))


def _code_in(graph: SourceGraph, nodes: Iterable[Node]) -> Code:
    """Returns the versions of all nodes of a closure."""
    symbols: dict[str, str] = {}
    places: dict[str, str] = {}
    platform: dict[str, int] = {}
    libraries: set[str] = set()
    for node in nodes:
        if isinstance(node, Library):
            libraries.add(node.name)
        elif isinstance(node, Numbered):
            version = runner_version(node.kind)
            platform[node.kind] = version.number
            libraries.update(version.libraries)
        else:
            found = _of_symbol(node) if isinstance(node, Symbol) else _of_cell(node, graph)
            for label, content, place in found:
                symbols[label] = content
                places |= {label: place} if place else {}
    return Code(symbols, places, distributions_of(libraries), platform)


def _of_symbol(node: Symbol) -> Iterator[tuple[str, str, str]]:
    """Lists label, hash and place of a symbol, if statements bind it, and of the files that they name."""
    module, statements, folder = node.module, node.module.statements(node.name), node.module.path.parent
    if statements:
        yield f"{module.name}.{node.name}", _hash_of_symbol(module, node.name), f"{module.path}:{statements[0].lineno}"
    for path in (path for statement in statements for path in read_statement(module, statement).files):
        # A file elsewhere that is named by its whole path counts, too.
        label = f"{module.name}:{path.relative_to(folder) if path.is_relative_to(folder) else path}"
        yield label, hashlib.sha256(path.read_bytes()).hexdigest()[:16], f"{path}:1"


@lru_cache(maxsize=8192)
def _hash_of_symbol(module: Module, symbol: str) -> str:
    # Of the syntax tree, so that formatting and comments have no say; the module has taken away the rest that has none.
    return hash_of([ast.dump(statement) for statement in module.statements(symbol)])[:16]


def _of_cell(node: Cell, graph: SourceGraph) -> Iterator[tuple[str, str, str]]:
    binding = graph.binding(node)
    yield f"__main__.{node.name}", hash_of(binding.content)[:16], "__main__:1" if binding.is_source else ""
