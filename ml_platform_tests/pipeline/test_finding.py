from pathlib import Path

import pytest

from ml_platform.errors import PlatformError
from ml_platform.pipeline.finding import declared_pipelines, find_pipeline
from ml_platform_tests.platform import YAML


def test_a_pipeline_is_found_by_its_name_and_any_by_its_path() -> None:
    assert find_pipeline("flight_delays") == YAML
    assert find_pipeline("/somewhere/else.yaml") == Path("/somewhere/else.yaml")
    assert "flight_delays" in declared_pipelines()


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(PlatformError, match="no pipeline 'flight_delay': did you mean 'flight_delays'"):
        find_pipeline("flight_delay")
