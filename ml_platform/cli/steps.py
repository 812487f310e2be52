"""Lists the steps and models that there are to use, and how each is written in YAML."""

import ast
import doctest
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pkgutil import walk_packages
from textwrap import dedent, indent
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ml_platform.errors import NoProject, PlatformError, expected_one_of
from ml_platform.plugins import added, load
from ml_platform.project import find_project

GROUPS = {"Steps": "ml_platform.transformers", "Models": "ml_platform.models"}
_ROWS = {
    "preserve": "one row out for each row in",
    "filter": "some rows are left out",
    "aggregate": "the result has rows of its own",
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a class: its type and default as Python writes them; no default means that it must be given."""

    name: str
    type: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class Described:
    """A class that pipelines can use, as its docstring and signature tell it.

    Attributes:
        facts: what it declares of rows and of learning.
        example: the docstring's, as a Python session.
        snippet: the same declaration in a pipeline's YAML.
    """

    name: str
    group: str
    path: str
    sentence: str
    more: str
    facts: Sequence[str]
    parameters: Sequence[Parameter]
    example: str
    snippet: str

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return asdict(self)


def list_steps() -> list[Described]:
    """Describes every class that pipelines can use, in the order of their names: see `_groups` for where they lie."""
    return list(_known(_groups()))


def describe_step(name: str) -> Described:
    """Describes one class; models, which bring torch, are imported only if no step has its name.

    Raises:
        PlatformError: there is none of that name.
    """
    found = next((one for one in _known(_groups()) if one.name == name), None)
    if found is None:
        raise PlatformError(f"no step or model {name!r}: {expected_one_of(name, [one.name for one in list_steps()])}")
    return found


def _groups() -> Iterator[tuple[str, Mapping[str, type]]]:
    """Lists headings with dotted paths and classes: the platform's, the project's own, those that distributions add."""
    own = None
    with suppress(NoProject):
        own = find_project()
        own.put_on_path()
    for heading, package in GROUPS.items():
        yield heading, _exported(package)
        if own is not None and heading == "Steps" and own.transformers_module != package:
            yield f"{heading} of {own.module}", _defined_in(own.transformers_module)
        group = f"ml_platform.{heading.lower()}"
        for name, point in added(group).items():
            yield f"{heading} of {point.dist.name if point.dist else name}", _exported(load(group, name).__name__)


def _exported(package: str) -> dict[str, type]:
    module = import_module(package)
    names = sorted(getattr(module, "__all__", ()), key=str.lower)
    found = {f"{package}.{name}": getattr(module, name) for name in names}
    return {path: kind for path, kind in found.items() if inspect.isclass(kind)}


def _defined_in(package: str) -> dict[str, type]:
    """Lists the transformers that a package's modules define; there may be no such package."""
    if find_spec(package.partition(".")[0]) is None or find_spec(package) is None:
        return {}
    folder = import_module(package)
    modules = [folder, *(import_module(one.name) for one in walk_packages(folder.__path__, f"{package}."))]
    return {
        f"{module.__name__}.{name}": kind
        for module in modules
        for name, kind in sorted(vars(module).items())
        if inspect.isclass(kind) and kind.__module__ == module.__name__ and hasattr(kind, "transform")
    }


def _known(groups: Iterable[tuple[str, Mapping[str, type]]]) -> Iterator[Described]:
    """Describes classes, but for bases: those without parameters that others are derived from."""
    for heading, classes in groups:
        kinds = list(classes.values())
        bases = {base for kind in kinds for base in kind.__mro__[1:]}
        for path, kind in classes.items():
            if kind not in bases or inspect.signature(kind).parameters:
                yield _described(kind, kinds, heading, path)


def _described(kind: type, kinds: Sequence[type], group: str, path: str) -> Described:
    sections = _sections(kind)
    first, _, more = sections[""].partition("\n\n")
    return Described(
        name=kind.__name__,
        group=group,
        path=path,
        sentence=_on_one_line(first),
        more="\n\n".join(_on_one_line(paragraph) for paragraph in more.split("\n\n") if paragraph.strip()),
        facts=_facts(kind),
        parameters=_parameters(kind, _arguments(kind, kinds)),
        example=sections.get("Examples", ""),
        snippet=_snippet(kind, path, sections.get("Examples", "")),
    )


def _arguments(kind: Any, kinds: Sequence[Any]) -> str:
    """Returns the docstring's Args; of classes with one constructor in common, one says them for all."""
    told = (_sections(one).get("Args", "") for one in [kind, *kinds] if one.__init__ is kind.__init__)
    return next(filter(None, told), "")


def _sections(kind: type) -> dict[str, str]:
    """Takes a docstring apart: what stands before the first heading has no name."""
    parts = re.split(r"^(Args|Attributes|Examples):\n", inspect.getdoc(kind) or "", flags=re.MULTILINE)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {"": parts[0].strip(), **{name: dedent(part).strip("\n") for name, part in named.items()}}


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _facts(kind: Any) -> list[str]:
    if not hasattr(kind, "output_schema"):
        return []
    takes_others = len(inspect.signature(kind.transform).parameters) > 2  # beside self and the first input
    others = "earlier rows" if not kind.row_wise else "other inputs" if takes_others else ""
    looks = f"a row's answer depends on {f'that row and on {others}' if others else 'that row alone'}"
    learns = "learns from the training rows" if kind.learns else "learns nothing"
    return [_ROWS[kind.rows], learns, *([looks] if kind.rows == "preserve" else [])]


def _parameters(kind: type, told: str) -> list[Parameter]:
    """Combines what the signature and the docstring's Args say."""
    parts = re.split(r"^(\w+): ", told, flags=re.MULTILINE)
    meanings = {name: _on_one_line(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return [
        Parameter(name, _type(one), None if one.default is one.empty else repr(one.default), meanings.get(name, ""))
        for name, one in inspect.signature(kind).parameters.items()
    ]


def _type(parameter: inspect.Parameter) -> str:
    if parameter.annotation is parameter.empty:
        return ""
    return re.sub(r"\b(?:collections\.abc|typing)\.", "", inspect.formatannotation(parameter.annotation))


def _snippet(kind: type, path: str, example: str) -> str:
    """Writes the example's constructor call as YAML; empty where no call has plain values alone."""
    for part in doctest.DocTestParser().get_examples(example):
        for node in ast.walk(ast.parse(part.source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind.__name__:
                given = _literals(kind, node)
                if given is not None:
                    declared = {"uses": path, **({"with": given} if given else {})}
                    return yaml.safe_dump(declared, sort_keys=False, default_flow_style=None, width=100).rstrip("\n")
    return ""


def _literals(kind: type, call: ast.Call) -> dict[str, Any] | None:
    try:
        values = [ast.literal_eval(node) for node in call.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
        given: dict[str, Any] = json.loads(json.dumps(inspect.signature(kind).bind(*values, **named).arguments))
    except (ValueError, TypeError):
        return None
    return given


def print_steps(console: Console | None = None) -> None:
    """Prints a line for each class, and how to see more of one."""
    console = console or Console()
    known = list_steps()
    for group in dict.fromkeys(one.group for one in known):
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for one in known:
            if one.group == group:
                table.add_row(escape(one.name), escape(one.sentence))
        console.print(group, style="bold")
        console.print(Padding(table, (0, 0, 1, 2)), highlight=False)
    console.print("ml-platform steps NAME shows one with its parameters and an example.", highlight=False)


def print_step(name: str, console: Console | None = None) -> None:
    """Prints one class: what it does, its parameters, an example, and what a pipeline's YAML says.

    Raises:
        PlatformError: there is none of that name.
    """
    console, one = console or Console(), describe_step(name)
    told = [one.sentence, one.more, f"{'; '.join(one.facts).capitalize()}." if one.facts else ""]
    console.print(f"[bold]{one.name}[/]  {one.path}", highlight=False)
    for paragraph in filter(None, told):
        console.print(f"\n{escape(paragraph)}", highlight=False)
    console.print("\nParameters", style="bold")
    console.print(Padding(_parameter_table(one.parameters), (0, 0, 0, 2)), highlight=False)
    for heading, text in (("Example", one.example), ("In a pipeline's YAML", one.snippet)):
        if text:
            console.print(f"\n{heading}", style="bold")
            console.print(escape(indent(text, "  ")), highlight=False, soft_wrap=True)


def _parameter_table(parameters: Sequence[Parameter]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for one in parameters:
        default = "" if one.default is None else f" = {one.default}"
        table.add_row(escape(one.name), escape(f"{one.type}{default}"), escape(one.meaning))
    return table


def as_markdown() -> str:
    """Writes the page of the platform's classes: a table of each group, then each class with parameters and example."""
    known = list(_known((heading, _exported(package)) for heading, package in GROUPS.items()))
    lines = [
        "# Steps and models",
        "",
        "Written by `python docs/list_steps.py` from the classes' own docstrings; do not edit it by hand. On the",
        "command line, `ml-platform steps` prints the same. Every example runs in our tests, and every step keeps the",
        "[ten promises](transformers.md#the-ten-promises).",
    ]
    for group in dict.fromkeys(one.group for one in known):
        members = [one for one in known if one.group == group]
        lines += ["", f"## {group}", "", f"| {group[:-1].lower()} | what it does |", "|---|---|"]
        lines += [f"| [{one.name}](#{one.name.lower()}) | {_cell(one.sentence)} |" for one in members]
        lines += [line for one in members for line in _markdown(one)]
    return "\n".join([*lines, ""])


def _markdown(one: Described) -> list[str]:
    lines = ["", f"### {one.name}", "", one.sentence, *(["", one.more] if one.more else [])]
    lines += ["", f"{'; '.join(one.facts).capitalize()}."] if one.facts else []
    lines += ["", "| parameter | type | default | meaning |", "|---|---|---|---|"]
    for each in one.parameters:
        default = "required" if each.default is None else _code(each.default)
        lines.append(f"| `{each.name}` | {_code(each.type)} | {default} | {_cell(each.meaning)} |")
    lines += ["", "```python", *one.example.splitlines(), "```"] if one.example else []
    lines += ["", "```yaml", *one.snippet.splitlines(), "```"] if one.snippet else []
    return lines


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
