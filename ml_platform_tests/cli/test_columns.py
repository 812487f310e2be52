"""Which columns there are is told before anything runs."""

import json

from ml_platform_tests.cli.test_trial import command
from ml_platform_tests.platform import Platform


def test_the_columns_of_a_step_are_listed(made: Platform) -> None:
    path = str(made.folder / "pipeline.yaml")
    assert "planned_departures" in command(made, "columns", path).stdout
    shown = command(made, "columns", path, "traffic").stdout
    assert ["origin", "string?"] in [line.replace("│", " ").split() for line in shown.splitlines()]
    printed = json.loads(command(made, "columns", path, "traffic", "--json").stdout)
    assert printed["traffic"]["columns"][0] == ["origin", "string?"]
    assert "no source or step 'trafic': did you mean 'traffic'" in command(made, "columns", path, "trafic").stderr
