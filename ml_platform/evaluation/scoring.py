"""What does an approved model say of rows?"""

from collections.abc import Iterator, Sequence

from ml_platform.artifacts import Fitted, Frames
from ml_platform.errors import require_columns
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.pipeline.running import Part, require_same_lineage


def predict_partitions(
    pipeline: CompiledPipeline,
    model: Fitted,
    threshold: float,
    features: Frames,
    partitions: Sequence[str | None],
) -> Iterator[Part]:
    """Scores partition by partition.

    Returns:
        Parts whose frames have the key's columns, `probability` in [0, 1] and `predicted_<target>`.

    Raises:
        DataError: features that went through other fitted steps than the model was trained on.
    """
    spec, key = pipeline.spec, list(pipeline.features.key)
    assert model.ref is not None
    names = model.facts["features"]
    columns = list(dict.fromkeys([*key, *names]))
    require_columns(features.columns, columns, f"{model.ref.label} was trained on")
    for partition in partitions:
        part = features.only([partition])
        require_same_lineage(part, model)
        frame = part.read_all(columns)
        probability = model.estimator.predict_proba(frame[names])[:, 1]
        answers = {"probability": probability, f"predicted_{spec.target}": probability >= threshold}
        made_of = {**part.ids(), model.ref.label: model.ref.id}
        yield Part(partition, frame[key].assign(**answers), {}, made_of)
