"""What does a pipeline say that extends another: what the other says, but for its overrides?"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_platform.errors import Place, PlatformError, Problem, SpecError, expected_one_of
from ml_platform.pipeline.discovery import find_pipeline
from ml_platform.pipeline.document import Document, load_document

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
    if parent.resolve() in chain:
        names = " -> ".join(str(file.parent.name) + "/" + file.name for file in [*chain, parent.resolve()])
        raise SpecError([document.problem(("extends",), f"the pipelines extend each other: {names}; break the cycle")])
    return extend(load_declaration(parent, chain), document)


def _parent_of(document: Document, path: Path) -> Path:
    """Finds the parent: a pipeline of the project by its name, any other by its path from the variant's folder."""
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
    laid = _Overlay(parent, variant)
    data = laid.merged((), parent.data, variant.data)
    laid.check_name()
    if laid.problems:
        raise SpecError(laid.problems)
    return Document(variant.file, data, laid.spots)


class _Overlay:
    """Merges values place by place, collecting where each was said and what overrides nothing."""

    def __init__(self, parent: Document, variant: Document):
        self.parent = parent
        self.variant = variant
        self.spots = {**parent.spots, (): variant.spots[()]}
        self.problems: list[Problem] = []

    def note(self, place: Place, message: str) -> None:
        self.problems.append(self.variant.problem(place, message))

    def check_name(self) -> None:
        """A variant is a pipeline of its own."""
        name, former = self.variant.data.get("pipeline"), self.parent.data.get("pipeline")
        if name is None or name == former:
            self.note(("pipeline",), f"a variant of {former!r} needs a name of its own: pipeline: ...")

    def merged(self, place: Place, base: Any, over: Any) -> Any:
        """Gives what stands at a place that the variant names, where the parent has something."""
        if isinstance(base, Mapping) and isinstance(over, Mapping):
            return self._merged_mapping(place, base, over)
        if isinstance(base, list) and isinstance(over, Mapping):
            return self._edited(place, base, over) if set(over) <= _EDITS else self._merged_parts(place, base, over)
        return self._taken(place, place, over)

    def _merged_mapping(self, place: Place, base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
        if not over:
            self.note(place, f"{_name(place)} overrides nothing; write what is to change, or leave it out")
        self._say(place)
        if _is_another(place, base, over):
            base = {key: value for key, value in base.items() if key not in _OF_THE_CLASS and len(place) == 2}
        result = dict(base)
        for key, value in over.items():
            here = (*place, key)
            if value is None and "with" not in place:
                self._leave_out(here, result)
            elif key in base:
                result[key] = self.merged(here, base[key], value)
            else:
                self._require_whole(here, base, value)
                result[key] = self._taken(here, here, value)
        return result

    def _leave_out(self, place: Place, result: dict[str, Any]) -> None:
        *_, key = place
        if key not in result:
            self.note(place, f"{_name(place)}: nothing to leave out; {expected_one_of(str(key), result)}")
        result.pop(str(key), None)

    def _require_whole(self, place: Place, base: Mapping[str, Any], value: Any) -> None:
        """Refuses an override of an entry that the parent does not have."""
        whole = _WHOLE.get(str(place[0])) if len(place) == 2 else None
        if whole and isinstance(value, Mapping) and whole not in value:
            parent, hint = self.parent.data.get("pipeline"), expected_one_of(str(place[1]), base)
            told = f"{parent!r} has no such entry ({hint}); a new one needs {whole!r}"
            self.note(place, f"{_name(place)} overrides nothing: {told}")

    def _taken(self, place: Place, source: Place, value: Any) -> Any:
        """Takes a value as the variant has it."""
        for known in [known for known in self.spots if known[: len(place)] == place]:
            del self.spots[known]
        for known, spot in self.variant.spots.items():
            if known[: len(source)] == source:
                self.spots[(*place, *known[len(source) :])] = spot
        return value

    def _say(self, place: Place) -> None:
        if place in self.variant.spots:
            self.spots[place] = self.variant.spots[place]

    def _edited(self, place: Place, base: list[Any], over: Mapping[str, Any]) -> list[Any]:
        """Adds to a list and removes from it."""
        removed, added = (_as_list(over.get(key)) for key in ("remove", "add"))
        for key, items, wrong in (("remove", removed, _absent(removed, base)), ("add", added, _present(added, base))):
            for item in wrong:
                known = expected_one_of(str(item), map(str, base))
                hint = f"is not there: {known}" if key == "remove" else "is there already"
                self.note((*place, key, items.index(item)), f"{_name(place)}: {item!r} {hint}")
        kept = [(index, item) for index, item in enumerate(base) if item not in removed]
        spots = [self.spots.get((*place, index), self.spots.get(place)) for index, _ in kept]
        self._taken(place, place, None)
        for index, spot in enumerate(spots):
            if spot:
                self.spots[(*place, index)] = spot
        for index in range(len(added)):
            self._taken((*place, len(kept) + index), (*place, "add", index), None)
        return [*(item for _, item in kept), *added]

    def _merged_parts(self, place: Place, base: list[Any], over: Mapping[str, Any]) -> list[Any]:
        """Changes named parts of a list, such as the steps of a scikit-learn pipeline."""
        named = {part[0]: index for index, part in enumerate(base) if isinstance(part, list) and len(part) > 1}
        result = [list(part) if isinstance(part, list) else part for part in base]
        for name, value in over.items():
            if name not in named:
                hint = expected_one_of(name, named) if named else "it is a list without named parts; write all of it"
                self.note((*place, name), f"{_name((*place, name))} overrides nothing: {hint}")
                continue
            index = named[name]
            result[index][1] = self._merged_part((*place, index, 1), (*place, name), base[index][1], value)
        return result

    def _merged_part(self, place: Place, source: Place, base: Any, over: Any) -> Any:
        """Merges at a place what the variant says at another."""
        inner = _Overlay(
            Document(self.parent.file, {}, {(): self.variant.spots[()], **_under(place, self.spots)}),
            Document(self.variant.file, {}, {(): self.variant.spots[()], **_under(source, self.variant.spots)}),
        )
        value = inner.merged(("part",), base, over)
        self.problems += inner.problems
        for known in [known for known in self.spots if known[: len(place)] == place]:
            del self.spots[known]
        self.spots |= {(*place, *known[1:]): spot for known, spot in inner.spots.items() if known}
        return value


def _under(place: Place, spots: Mapping[Place, Any]) -> dict[Place, Any]:
    """Takes what stands below a place, as seen from `part`."""
    return {("part", *known[len(place) :]): spot for known, spot in spots.items() if known[: len(place)] == place}


def _is_another(place: Place, base: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    """Says whether a class, or a way to split, takes the place of another."""
    if place == ("split",):
        return bool(set(over) - set(base)) or over.get("method") != base.get("method", over.get("method"))
    return "uses" in base and over.get("uses", base["uses"]) != base["uses"]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _absent(items: Sequence[Any], base: Sequence[Any]) -> Iterator[Any]:
    return (item for item in items if item not in base)


def _present(items: Sequence[Any], base: Sequence[Any]) -> Iterator[Any]:
    return (item for item in items if item in base)


def _name(place: Place) -> str:
    return ".".join(map(str, place))
