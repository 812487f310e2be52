"""Reads YAML into plain values that remember which file and line they stand on."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ml_platform.errors import Place, Problem, SpecError

Spot = tuple[str, int]  # file and line
_NUMBERED = re.compile(r"(?P<name>[A-Za-z_]\w*_)(?P<first>0|[1-9]\d*)\.\.(?P<last>\d+)")


class _Loader(yaml.SafeLoader):
    """YAML whose only booleans are `true` and `false`, as in YAML 1.2: a parameter called `on` stays a word."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


@dataclass(frozen=True)
class Document:
    """What a YAML file says and, for each place in it, the file and line that say so."""

    file: str
    data: dict[str, Any]
    spots: dict[Place, Spot]

    def problem(self, place: Place, message: str) -> Problem:
        """Puts a message at a place, or at the nearest one around it that was written."""
        # What is missing has no line: then that of the mapping which lacks it.
        while place and place not in self.spots:
            place = place[:-1]
        return Problem(*self.spots.get(place, (self.file, 1)), message)


def load_document(path: Path) -> Document:
    """Reads a YAML file that holds a mapping.

    Raises:
        SpecError: not YAML, not a mapping, or a key that stands twice.
    """
    file = _display_path(path)
    try:
        loader = _Loader(path.read_bytes().decode("utf-8-sig"))
        root = loader.get_single_node()
    except FileNotFoundError as error:
        raise SpecError([Problem(file, 1, "no such file")]) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SpecError([Problem(file, line, f"not UTF-8: {error.reason}; save the file as UTF-8")]) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise SpecError([Problem(file, line, f"not YAML: {getattr(error, 'problem', error)}")]) from error
    if not isinstance(root, yaml.MappingNode):
        raise SpecError([Problem(file, 1, "expected a mapping of keys and values")])
    reader = _Reader(loader, file)
    data = reader.read(root, ())
    if reader.problems:
        raise SpecError(reader.problems)
    return Document(file, data, {place: (file, line) for place, line in reader.lines.items()})


class _Reader:
    """Walks the nodes, noting lines and duplicate keys."""

    def __init__(self, loader: yaml.SafeLoader, file: str):
        self._loader = loader
        self._file = file
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []  # what is being read, from the outside to the inside

    def read(self, node: yaml.Node, place: Place) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        if any(node is outer for outer in self._open):
            self.problems.append(
                Problem(self._file, line, "an alias that contains itself; write out what it stands for")
            )
            return None
        self._open.append(node)
        try:
            return self._read_open(node, place)
        finally:
            self._open.pop()

    def _read_open(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return self._read_sequence(node, place)
        return self._loader.construct_object(node, deep=True)

    def _read_sequence(self, node: yaml.SequenceNode, place: Place) -> list[Any]:
        """Reads a list; an item such as `pixel_0..63` stands for all those names."""
        values: list[Any] = []
        for item in node.value:
            here = (*place, len(values))
            value = self.read(item, here)
            names = _names_in(value) if isinstance(value, str) else [value]
            self.lines |= {(*place, len(values) + index): self.lines[here] for index in range(len(names))}
            values += names
        return values

    def _read_mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here = (*place, key)
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                self.problems.append(Problem(self._file, line, "YAML's merge key '<<' is not read; use 'extends'"))
                continue
            if key in values:
                first = self.lines[here]
                self.problems.append(Problem(self._file, line, f"key {key!r} stands twice; first on line {first}"))
            self.lines.setdefault(here, line)
            values[key] = self.read(value_node, here)
        return values


def _names_in(item: str) -> list[str]:
    """Writes out names that are numbered.

    >>> _names_in("pixel_0..2")
    ['pixel_0', 'pixel_1', 'pixel_2']
    """
    match = _NUMBERED.fullmatch(item)
    if match is None:
        return [item]
    return [f"{match['name']}{number}" for number in range(int(match["first"]), int(match["last"]) + 1)]


def _display_path(path: Path) -> str:
    """Shortens a path below the working folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
