"""Writes a class from a notebook into a module of the project, where a pipeline can name it."""

import inspect
import json
import keyword
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_platform.errors import PlatformError
from ml_platform.notebooks.dependencies import Lifted, lift
from ml_platform.notebooks.module_source import module_text
from ml_platform.project import find_project

_SECONDS = 300  # for importing the module; torch alone can take half a minute on a cold disk


@dataclass(frozen=True)
class Moved:
    """A class that was written into a module of the project.

    Attributes:
        path: of the module, from the project's folder.
        required: constructor parameters without a default.
        is_unchanged: whether the module was there before, with equal text.
    """

    import_path: str
    path: Path
    lifted: Lifted
    required: Sequence[str]
    is_unchanged: bool


def lift_class(notebook: Path, name: str, to: str | None, *, force: bool = False, root: Path | None = None) -> Moved:
    """Writes a module with the last definition of a class and what it needs, and imports it in a fresh process.

    Args:
        to: the module's dotted name; by default in the project's package of transformers, named after the class.
        force: write over a module that says something else.
        root: the folder that `to` is found from; by default the project's.

    Raises:
        PlatformError: the class cannot leave, the module cannot be written, or what was written is no transformer;
            then the folder is as it was.
    """
    project = find_project()
    root = root or project.sources_root
    if not name.isidentifier() or keyword.iskeyword(name):
        raise PlatformError(f"{name!r} is no name of a class; expected one such as UsualDelay")
    module = to or f"{project.transformers_module}.{snake_case(name)}"
    path = _file_of(module, root)
    lifted = lift(notebook, name)
    # Formatted before it is compared, so that lifting again finds an equal file and leaves it.
    text = _formatted(module_text(lifted, module.split(".", maxsplit=1)[0]), path, root)
    before = path.read_bytes() if path.exists() else None
    is_unchanged = before == text.encode()
    if before is not None and not is_unchanged and not force:
        raise PlatformError(
            f"{path.relative_to(root)} is there already and says something else.\n"
            f"To put {name} elsewhere: --to {module.rpartition('.')[0]}.ANOTHER_NAME; to write over it: --force."
        )
    required = _tried(path, text, before, f"{module}.{name}", root)
    return Moved(f"{module}.{name}", path.relative_to(root), lifted, required, is_unchanged)


def snake_case(name: str) -> str:
    """Returns the module's name for a class's.

    >>> snake_case("UsualDelay"), snake_case("SQLStep"), snake_case("SQL")
    ('usual_delay', 'sql_step', 'sql')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _file_of(module: str, root: Path) -> Path:
    parts = module.split(".")
    if len(parts) < 2 or not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise PlatformError(
            f"--to: {module!r} is no dotted name of a module in a package, such as shop.transformers.seasons"
        )
    folder = root.joinpath(*parts[:-1])
    for count in range(1, len(parts)):
        if not (root.joinpath(*parts[:count]) / "__init__.py").is_file():
            package = ".".join(parts[:count])
            raise PlatformError(f"--to: no package {package!r} in {root}; make its folder and an empty __init__.py")
    if (folder / parts[-1]).is_dir():
        raise PlatformError(f"--to: {module!r} is a package; name a module in it, such as {module}.seasons")
    return folder / f"{parts[-1]}.py"


def _formatted(text: str, path: Path, root: Path) -> str:
    """Returns a module's text, formatted as the project's files are where ruff is installed."""
    # The one of this environment before any on the path: versions of ruff format differently.
    beside = Path(sys.executable).with_name("ruff")
    ruff = str(beside) if beside.exists() else shutil.which("ruff")
    if ruff is None:
        return text
    command = [ruff, "format", "--stdin-filename", str(path), "-"]
    done = subprocess.run(  # noqa: S603  (the project's own formatter)
        command, input=text, capture_output=True, text=True, cwd=root, check=False
    )
    return done.stdout if done.returncode == 0 else text


def _tried(path: Path, text: str, before: bytes | None, import_path: str, root: Path) -> list[str]:
    """Writes a module and imports it in a fresh process; restores what was there if that fails.

    Returns:
        The constructor's parameters that have no default.
    """
    # Written first and tried where it lies, as relative imports and the package's own __init__ decide whether it can be
    # imported.
    _write(path, text.encode())
    is_good = False
    try:
        told = _ask_child(import_path, root)
        is_good = not told["problems"]
    finally:
        if not is_good and before is None:
            path.unlink(missing_ok=True)
        # Also when the child was interrupted: `is_good` is set only after its answer.
        elif not is_good and before is not None:
            _write(path, before)
    if is_good:
        return list(told["required"])
    problems = "\n".join(f"  {problem}" for problem in told["problems"])
    raise PlatformError(
        f"{import_path} was written, tried in a fresh process, and taken back:\n{problems}\n"
        "Mend it in the notebook, save, and lift again."
    )


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        # Replaced in one operation: an editor or a code server that reads the file sees one text or the other.
        beside.replace(path)
    except OSError as error:
        raise PlatformError(f"{path} cannot be written: {error}") from error
    finally:
        beside.unlink(missing_ok=True)


def _ask_child(import_path: str, root: Path) -> dict[str, Any]:
    code = f"from ml_platform.notebooks.extraction import print_problems; print_problems({import_path!r})"
    # No .pyc is left of a module that may be taken back.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        child = subprocess.run(  # noqa: S603  (our own module, under our own interpreter)
            [sys.executable, "-c", code],
            capture_output=True, text=True, cwd=root, env=environment, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"problems": [f"importing it took more than {_SECONDS} seconds"]}
    # The answer is the last line; whatever the module prints when it is imported comes before.
    last = (child.stdout.splitlines() or [""])[-1]
    if child.returncode != 0 or not last.startswith("{"):
        return {"problems": [f"importing it ended the process (status {child.returncode}): {child.stderr[-500:]}"]}
    told: dict[str, Any] = json.loads(last)
    return told


def print_problems(import_path: str) -> None:
    """Prints, as JSON, what keeps a class from being a step of a pipeline; runs in a process of its own."""
    module, _, name = import_path.rpartition(".")
    try:
        kind = getattr(__import__(module, fromlist=[name]), name)
        required = _required(kind)
        problems = _problems(kind, required)
    except ModuleNotFoundError as error:
        required, problems = [], [f"{error}: a module that lies beside the notebook has to move to the package first"]
    except Exception as error:  # noqa: BLE001  (whatever a module does when it is imported)
        required, problems = [], [f"it cannot be imported: {type(error).__name__}: {error}"]
    # A line of its own, as a module may have printed without ending its line.
    sys.stdout.write("\n" + json.dumps({"required": required, "problems": problems}) + "\n")


def _required(kind: type) -> list[str]:
    parameters = inspect.signature(kind).parameters.values()
    fixed = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in fixed]


def _problems(kind: type, required: Sequence[str]) -> list[str]:
    """Lists what the check of definitions would refuse; a constructor that only stores takes None for anything."""
    from ml_platform.contract.battery.checks.declarations import declaration_problems

    name = kind.__name__
    missing = [method for method in ("fit", "transform", "get_params") if not hasattr(kind, method)]
    if missing:
        return [f"{name} has no {' and no '.join(missing)}; expected a transformer: derive it from DataTransformer"]
    try:
        # None for each: a constructor that only stores takes anything, and one that works with a value is not a step.
        built = kind(**dict.fromkeys(required))
    except Exception as error:  # noqa: BLE001  (the class's own)
        advice = "assign each parameter to an attribute of its name and nothing else; work with it in fit or transform"
        return [f"{name}: the constructor works with its parameters ({type(error).__name__}: {error}); {advice}"]
    # What a class declares may work with its parameters, whose values only a pipeline's YAML knows.
    return [] if required else list(declaration_problems(built))
