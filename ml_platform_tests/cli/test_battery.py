"""`ml-platform check-transformer`."""

import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from ml_platform.cli.main import commands
from ml_platform.contract.battery.report import PROMISES
from ml_platform_tests.contract.battery.zoo.rows import FLIGHTS, LATE, WEATHER

ZOO = "ml_platform_tests.contract.battery.zoo"
CALENDAR = ("ml_platform.transformers.Calendar", "--params", '{"column": "at"}')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("examples")
    FLIGHTS.assign(late=LATE).to_parquet(found / "flights.parquet")
    FLIGHTS[["distance", "delay"]].assign(late=LATE).to_parquet(found / "numbers.parquet")
    WEATHER.to_parquet(found / "weather.parquet")
    FLIGHTS[:0].to_parquet(found / "empty.parquet")
    (found / "text.parquet").write_text("no parquet")
    return found


def check(*arguments: object) -> Result:
    return CliRunner().invoke(commands, ["check-transformer", *map(str, arguments)])


def test_what_is_kept_exits_0_and_is_told_line_by_line() -> None:
    done = check(*CALENDAR, "--strict")
    assert done.exit_code == 0, done.output
    assert [line.split()[1] for line in done.output.splitlines() if line[:3].strip().isdigit()] == list(PROMISES)
    assert "40 rows drawn from its schema" in done.output


def test_what_is_broken_exits_1_with_counterexample_and_what_to_do(folder: Path) -> None:
    done = check(f"{ZOO}.broken_rows.AveragesTheGroupOnline", "--examples", folder / "flights.parquet")
    assert done.exit_code == 1, done.output
    assert "5 row_wise              BROKEN" in done.output
    assert "one row alone is answered differently than in a batch of 2" in done.output
    assert "to do: what a row needs of other rows is learnt in fit" in done.output


def test_json_has_every_promise(folder: Path) -> None:
    done = check(f"{ZOO}.broken.HashesText", "--examples", folder / "flights.parquet", "--json")
    found = json.loads(done.output)
    assert done.exit_code == 1
    assert found["broken"] == ["determinism"]
    assert [one["promise"] for one in found["promises"]] == list(PROMISES)
    assert found["promises"][7]["findings"][0]["check"] == "another_process_gives_equal_bytes"


@pytest.mark.full
def test_strict_exits_1_where_something_is_not_declared(folder: Path) -> None:
    asked = ("sklearn.preprocessing.StandardScaler", "--examples", folder / "numbers.parquet", "--target", "late")
    assert check(*asked).exit_code == 0
    assert check(*asked, "--strict").exit_code == 1


@pytest.mark.full
def test_other_inputs_are_given_by_name(folder: Path) -> None:
    params = json.dumps({"on": "at", "by": ["origin"], "columns": ["temp"], "tolerance_hours": 3})
    files = ("--examples", folder / "flights.parquet", "--examples", f"weather={folder / 'weather.parquet'}")
    done = check("ml_platform.transformers.AsOfLookup", "--params", params, *files, "--strict")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.such.Thing",), "no module 'no.such'"),
        (("ml_platform.transformers.Calender",), "did you mean 'Calendar'"),
        (("Calendar",), "Calendar"),
        (("sklearn.linear_model.LogisticRegression", "--examples", "numbers"), "has no transform; expected a transformer"),
        (("os.path.join",), "has no transform"),
        (("ml_platform.transformers",), "module has no transform"),
        (("ml_platform.transformers.Calendar", "--params", "{column}"), "--params: not JSON"),
        (("ml_platform.transformers.Calendar", "--params", "[1]"), "--params: expected an object"),
        (("ml_platform.transformers.Calendar", "--params", '{"colum": "at"}'), "did you mean 'column'"),
        (("ml_platform.transformers.Calendar",), "missing 1 required positional argument: 'column'"),
        ((*CALENDAR, "--examples", "nothing"), "--examples: no file"),
        ((*CALENDAR, "--examples", "text"), "is no Parquet file"),
        ((*CALENDAR, "--examples", "empty"), "expected rows and columns, found 0 of 7"),
        ((*CALENDAR, "--examples", "weather", "--target", "latee"), "--target: no column 'latee'"),
        ((*CALENDAR, "--examples", "numbers"), "the examples do not fit the input schema of Calendar: column 'at' is missing"),
        (("sklearn.preprocessing.StandardScaler",), "declares no input_schema to draw them from"),
        (("sklearn.preprocessing.StandardScaler", "--examples", "flights"), "fitted with the examples, raises TypeError"),
    ],
    ids=lambda value: None if isinstance(value, tuple) else value,
)  # fmt: skip
def test_what_is_unusable_exits_2_with_what_was_expected(
    arguments: tuple[str, ...], message: str, folder: Path
) -> None:
    given = [
        folder / f"{value}.parquet" if name == "--examples" else value
        for name, value in zip(("", *arguments), arguments, strict=False)
    ]
    done = check(*given)
    assert done.exit_code == 2, done.output
    assert done.output.startswith("error: ")
    assert message in done.output
    assert json.loads(check(*given, "--json").output)["error"]


@pytest.mark.full
def test_a_class_on_the_python_path_is_found(tmp_path: Path) -> None:
    (tmp_path / "my_steps.py").write_text(
        "from ml_platform import DataTransformer\n"
        "class Twice(DataTransformer):\n"
        "    def transform(self, X):\n"
        "        print('this is no part of the answer')\n"
        "        return X.assign(twice=X['a'] * 2)\n"
    )
    pd.DataFrame({"a": [1.0, 2.0, 3.0]}).to_parquet(tmp_path / "a.parquet")
    command = ["ml-platform", "check-transformer", "my_steps.Twice", "--examples", "a.parquet", "--json"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "is found if its folder is on PYTHONPATH" in found.stdout
    found = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["broken"] == []
