"""Writes a pipeline that loads and runs, for `dg scaffold defs ml_platform.components.MLPipelineComponent NAME`."""

import csv
from pathlib import Path

import click
import dagster as dg
from pydantic import BaseModel, Field

from ml_platform.errors import PlatformError
from ml_platform.project import find_project

_IRISES = "irises.csv"


class PipelineParams(BaseModel):
    """What the pipeline is about; without data it is an example, over 150 irises."""

    data: str | None = Field(None, description="A CSV file with a header.")
    target: str | None = Field(None, description="The column to predict.")
    time: str | None = Field(None, description="A column of dates or times: what is newest tests.")


class PipelineScaffolder(dg.Scaffolder[PipelineParams]):
    """Writes what `ml-platform new pipeline` writes."""

    @classmethod
    def get_scaffold_params(cls) -> type[PipelineParams]:
        """Names the parameters."""
        return PipelineParams

    def scaffold(self, request: dg.ScaffoldRequest[PipelineParams]) -> None:
        """Writes source, YAML and component; what is refused is told as `dg` tells it, and leaves no folder.

        Raises:
            ClickException: data without a target, or what `new_pipeline` refuses.
        """
        folder = request.target_path
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _write(folder, request.params, in_yaml=request.scaffold_format == "yaml")
        except PlatformError as error:
            (folder / _IRISES).unlink(missing_ok=True)
            if not any(folder.iterdir()):
                folder.rmdir()
            raise click.ClickException(str(error)) from error
        if request.scaffold_format != "yaml":
            dg.scaffold_component(request, {})


def _write(folder: Path, given: PipelineParams, *, in_yaml: bool) -> None:
    from ml_platform.scaffolding.pipelines import new_pipeline

    if (given.data is None) != (given.target is None):
        raise PlatformError("expected both of --data and --target, or neither for an example")
    data = Path(given.data) if given.data else _write_irises(folder / _IRISES)
    target = given.target or "species"
    new_pipeline(find_project(folder), folder, data, target, given.time, with_component=in_yaml)


def _write_irises(path: Path) -> Path:
    """Writes R. A. Fisher's irises (1936) as scikit-learn has them, centimetres, with a header."""
    from sklearn.datasets import load_iris

    irises = load_iris()
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sepal_length", "sepal_width", "petal_length", "petal_width", "species"])
        for row, species in zip(irises.data, irises.target, strict=True):
            writer.writerow([*row.tolist(), irises.target_names[species]])
    return path
