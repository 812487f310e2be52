"""Merges the declaration of a pipeline that extends another over its parent's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_platform.errors import Place, PlatformError, Problem, SpecError, expected_one_of
from ml_platform.pipeline.discovery import find_pipeline
from ml_platform.pipeline.document import Document, Spot, load_document

# What makes an entry of a section whole; one without it can only be an override.
_WHOLE = {"steps": "uses", "models": "uses", "gates": "metric"}
# What says how the class of a step or model is used: it goes with the class.
_OF_THE_CLASS = ("uses", "with", "columns", "suffix", "description")
_EDITS = {"add", "remove"}


def load_declaration(path: Path, variants: Sequence[Path] = ()) -> Document:
    """Reads a pipeline's YAML; one that extends another is laid over it.

    Args:
        variants: the files that extend this one, the last directly.

    Raises:
        SpecError: a parent that is not there, a cycle, an override of what the parent does not have.
    """
    document = load_document(path)
    if "extends" not in document.data:
        return document
    parent, chain = _parent_of(document, path), [*variants, path.resolve()]
    # By resolved paths, as one file may be reached by its name and by a path.
    if parent.resolve() in chain:
        names = " -> ".join(str(file.parent.name) + "/" + file.name for file in [*chain, parent.resolve()])
        raise SpecError([document.problem(("extends",), f"the pipelines extend each other: {names}; break the cycle")])
    return extend(load_declaration(parent, chain), document)


def _parent_of(document: Document, path: Path) -> Path:
    """Returns the parent's file: of a pipeline by its name, any other by its path from the variant's folder."""
    name = document.data["extends"]
    if isinstance(name, str) and name.endswith((".yaml", ".yml")):
        found = path.parent / name
        if not found.is_file():
            raise SpecError([document.problem(("extends",), f"no file {name!r} to extend, seen from {path.parent}")])
        return found
    try:
        return find_pipeline(str(name), beside=path)
    except PlatformError as error:
        raise SpecError([document.problem(("extends",), f"nothing to extend: {error}")]) from error


def extend(parent: Document, variant: Document) -> Document:
    """Lays a variant's declaration over its parent's; each place keeps the file and line that said it.

    A mapping changes the keys that it names, null leaves one out (in `with` it is a parameter's value), a step or model
    that `uses` another class takes the old one's place. A list is replaced, unless it is told what to `add` and to
    `remove`; one of named parts (as scikit-learn's pipelines have) takes a mapping by their names.

    Raises:
        SpecError: every override of nothing, with file and line.
    """
    former = parent.data.get("pipeline")
    merge, over = _Merge(former), _tree(variant)
    merged = merge.of((), _tree(parent), over)
    if variant.data.get("pipeline") in (None, former):
        named = over.value.get("pipeline", over)
        merge.note(named, f"a variant of {former!r} needs a name of its own: pipeline: ...")
    if merge.problems:
        raise SpecError(merge.problems)
    return Document(variant.file, merged.plain, dict(_spots_in(merged)))


@dataclass(frozen=True)
class _Node:
    """A value, and the file and line that say it; what is in a mapping or a list are nodes, too."""

    value: Any
    spot: Spot

    @property
    def plain(self) -> Any:
        """The value without files and lines."""
        if isinstance(self.value, dict):
            return {key: inner.plain for key, inner in self.value.items()}
        return [inner.plain for inner in self.value] if isinstance(self.value, list) else self.value


def _tree(document: Document) -> _Node:
    def node(place: Place, value: Any, around: Spot) -> _Node:
        spot = document.spots.get(place, around)
        if isinstance(value, dict):
            return _Node({key: node((*place, key), inner, spot) for key, inner in value.items()}, spot)
        if isinstance(value, list):
            return _Node([node((*place, index), inner, spot) for index, inner in enumerate(value)], spot)
        return _Node(value, spot)

    return node((), document.data, (document.file, 1))


def _spots_in(node: _Node, place: Place = ()) -> Iterator[tuple[Place, Spot]]:
    yield place, node.spot
    is_mapping, is_list = isinstance(node.value, dict), isinstance(node.value, list)
    inner = node.value.items() if is_mapping else enumerate(node.value) if is_list else ()
    for key, child in inner:
        yield from _spots_in(child, (*place, key))


@dataclass
class _Merge:
    """Merges a variant's tree over its parent's, and collects what overrides nothing.

    Attributes:
        parent: the parent's name, for messages.
    """

    parent: Any
    problems: list[Problem] = field(default_factory=list)

    def note(self, node: _Node, message: str) -> None:
        self.problems.append(Problem(*node.spot, message))

    def of(self, place: Place, base: _Node, over: _Node) -> _Node:
        """Returns what stands at a place that both name; `place` decides which rules hold, and is for messages."""
        if not isinstance(over.value, dict) or not isinstance(base.value, dict | list):
            return over
        if isinstance(base.value, dict):
            return self._mapping(place, base, over)
        return self._edited(place, base, over) if set(over.value) <= _EDITS else self._parts(place, base, over)

    def _mapping(self, place: Place, base: _Node, over: _Node) -> _Node:
        if not over.value:
            self.note(over, f"{_name(place)} overrides nothing; write what is to change, or leave it out")
        inherited = base.value
        if _is_another(place, base.plain, over.plain):
            # A step or model keeps its place in the graph; whatever else has a class (a part of it) starts anew.
            inherited = {key: value for key, value in inherited.items() if key not in _OF_THE_CLASS and len(place) == 2}
        result = dict(inherited)
        for key, value in over.value.items():
            here = (*place, key)
            if value.value is None and "with" not in place:  # null is a value of a parameter
                if key not in result:
                    self.note(value, f"{_name(here)}: nothing to leave out; {expected_one_of(str(key), result)}")
                result.pop(key, None)
            elif key in inherited:
                result[key] = self.of(here, inherited[key], value)
            else:
                self._require_whole(here, inherited, value)
                result[key] = value
        return _Node(result, over.spot)

    def _require_whole(self, place: Place, base: Mapping[str, Any], value: _Node) -> None:
        """Refuses an override of an entry that the parent does not have."""
        whole = _WHOLE.get(str(place[0])) if len(place) == 2 else None
        if whole and isinstance(value.value, dict) and whole not in value.value:
            hint = expected_one_of(str(place[1]), base)
            known = f"{self.parent!r} has no such entry ({hint}); a new one needs {whole!r}"
            self.note(value, f"{_name(place)} overrides nothing: {known}")

    def _edited(self, place: Place, base: _Node, over: _Node) -> _Node:
        """Returns a list with items removed and added."""
        removed, added = (_items(over.value.get(key)) for key in ("remove", "add"))
        present, gone = base.plain, [item.plain for item in removed]
        for item in removed:
            if item.plain not in present:
                known = expected_one_of(str(item.plain), map(str, present))
                self.note(item, f"{_name(place)}: {item.plain!r} is not there: {known}")
        for item in added:
            if item.plain in present:
                self.note(item, f"{_name(place)}: {item.plain!r} is there already")
        return _Node([*(item for item in base.value if item.plain not in gone), *added], over.spot)

    def _parts(self, place: Place, base: _Node, over: _Node) -> _Node:
        """Returns a list with named parts changed, such as the steps of a scikit-learn pipeline."""
        parts = list(base.value)
        named = {part.value[0].plain: index for index, part in enumerate(parts)
                 if isinstance(part.value, list) and len(part.value) > 1}  # fmt: skip
        for name, value in over.value.items():
            if name not in named:
                hint = expected_one_of(name, named) if named else "it is a list without named parts; write all of it"
                self.note(value, f"{_name((*place, name))} overrides nothing: {hint}")
                continue
            part = parts[named[name]]
            # A place of its own: a part is below a `with`, where null would be a value, but has a `with` itself.
            changed = self.of(("part",), part.value[1], value)
            parts[named[name]] = _Node([part.value[0], changed, *part.value[2:]], part.spot)
        return _Node(parts, base.spot)


def _is_another(place: Place, base: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    """Returns whether a class, or a way to split, takes the place of another."""
    if place == ("split",):
        return bool(set(over) - set(base)) or over.get("method") != base.get("method", over.get("method"))
    return "uses" in base and over.get("uses", base["uses"]) != base["uses"]


def _items(node: _Node | None) -> list[_Node]:
    """Returns the items of a list; a single value is a list of one."""
    if node is None or node.value is None:
        return []
    return node.value if isinstance(node.value, list) else [node]


def _name(place: Place) -> str:
    return ".".join(map(str, place))
