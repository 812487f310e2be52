"""`ml-platform steps`."""

import json

import pytest
import yaml
from click.testing import CliRunner, Result

from ml_platform.cli.main import commands, main
from ml_platform.cli.steps import Described, as_markdown, list_steps
from ml_platform.contract.construction import build, declare
from ml_platform_tests.repository import project_root


@pytest.fixture(scope="module")
def known() -> list[Described]:
    return list_steps()


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["steps", *arguments])


def test_the_page_is_as_it_is_generated() -> None:
    page = (project_root() / "docs" / "steps.md").read_text()
    assert page == as_markdown(), "python docs/list_steps.py writes it again"


def test_each_has_a_sentence_and_an_example(known: list[Described]) -> None:
    assert [one.name for one in known if not one.sentence.endswith(".")] == []
    assert [one.name for one in known if f"{one.name}(" not in one.example] == []


def test_each_parameter_has_a_type_and_a_meaning(known: list[Described]) -> None:
    parameters = [(one.name, each) for one in known for each in one.parameters]
    assert [(name, each.name) for name, each in parameters if not (each.type and each.meaning)] == []


def test_the_yaml_of_each_builds_what_its_example_builds(known: list[Described]) -> None:
    for one in known:
        parsed = yaml.safe_load(one.snippet)
        built = build(parsed["uses"], parsed["with"])
        assert type(built).__name__ == one.name
        assert declare(built)["with"].items() <= parsed["with"].items()


def test_all_are_listed_by_name_with_their_sentence(known: list[Described]) -> None:
    listed = ask().output
    assert [one.name for one in known if f"  {one.name} " not in listed or one.sentence[:20] not in listed] == []
    assert [one["name"] for one in json.loads(ask("--json").output)] == [one.name for one in known]


def test_bases_are_not_listed(known: list[Described]) -> None:
    assert {"SQL", "Rolling"} <= {one.name for one in known}
    assert [one.name for one in known if not one.parameters] == []


def test_one_is_shown_with_parameters_example_and_yaml() -> None:
    shown = ask("Clip").output
    for line in (
        "Holds number columns between two quantiles of the training rows.",
        "  >>> step = Clip([\"delay\"], lower=0.25, upper=0.75).fit(seen)",
        "  2   15.0",
        "  uses: ml_platform.transformers.Clip",
        "    columns: [delay]",
    ):  # fmt: skip
        assert line in shown.splitlines()
    assert "float = 0.01" in shown
    assert json.loads(ask("Clip", "--json").output)["name"] == "Clip"


def test_an_unknown_name_is_refused_with_the_likely_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["steps", "Clp"])
    assert "error: no step or model 'Clp': did you mean 'Clip'? Expected one of: Aggregate," in capsys.readouterr().err
