"""Stores fitted scikit-learn objects by skops, without pickle, with equal bytes for equal objects."""

import io
import json
import sys
import zipfile
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.limits import reading
from ml_platform.artifacts.networks import STATE, WEIGHTS, is_network, read_network, refuse_nested, write_network
from ml_platform.artifacts.skops_limits import refuse_bombs
from ml_platform.artifacts.store import ArtifactStore
from ml_platform.errors import ArtifactError, first_few

KIND = "sklearn"
FILE = "object.skops"

# What skops does not trust by itself and we do. Never taken from a file: each name was looked at.
# A test stores every classifier and transformer of scikit-learn; Birch alone cannot be stored.
TRUSTED = (
    "numpy.dtype",
    "numpy.mean",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.sparse._csr.csr_array",
    "scipy.sparse._csr.csr_matrix",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.cluster._bisect_k_means._BisectingTree",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)
_RULE = (
    "Learned state is arrays, numbers, strings, lists and dicts; keep to those, or add the type to artifacts/objects.py"
)


class Fitted:
    """A fitted transformer or model, with what is known about its fit (plain JSON values); loaded when it is used."""

    def __init__(self, load: Callable[[], Any], facts: Mapping[str, Any], ref: Artifact | None = None):
        self._load = load
        self.facts = facts
        self.ref = ref

    @classmethod
    def of(cls, estimator: Any, facts: Mapping[str, Any] | None = None) -> "Fitted":
        """Wraps an estimator in memory."""
        return cls(lambda: estimator, facts or {})

    @cached_property
    def estimator(self) -> Any:
        """The scikit-learn object itself."""
        return self._load()


def write_object(folder: Path, estimator: Any, trusted: Collection[str] = ()) -> None:
    """Stores a scikit-learn object; a network as its weights and plain values.

    Args:
        trusted: types beside `TRUSTED` that code (never a file) names, such as a pipeline's own classes.

    Raises:
        ArtifactError: if its state holds types that we would refuse to load.
    """
    if is_network(estimator):
        write_network(folder, estimator, trusted)
        return
    (folder / FILE).write_bytes(dump_object(estimator, trusted))


def dump_object(estimator: Any, trusted: Collection[str] = ()) -> bytes:
    """Returns the bytes that a scikit-learn object is stored as; equal objects have equal bytes.

    Raises:
        ArtifactError: if its state holds types that we would refuse to load; names the attributes.
    """
    refuse_nested(estimator, own_classes(estimator) if hasattr(estimator, "get_params") else ())
    try:
        # Checked right after writing, as reading would check it: better to fail at the fit than at the next use.
        content = _canonical(load_skops().dumps(estimator))
        _refuse_untrusted(content, trusted, type(estimator).__name__)
    except Exception as error:
        raise ArtifactError(_why_not(estimator, trusted, error)) from error
    return content


def _why_not(estimator: Any, trusted: Collection[str], error: Exception) -> str:
    """Returns a message that names the attributes that cannot be stored."""

    # skops says which type it refuses, not where it is; each attribute is tried by itself to name it.
    def can_be_stored(value: Any) -> bool:
        try:
            _refuse_untrusted(load_skops().dumps(value), trusted, "")
        except Exception:  # noqa: BLE001  (skops raises whatever the object's own protocols raise)
            return False
        return True

    state = getattr(estimator, "__dict__", {})
    bad = [f"{name} ({type(value).__module__}.{type(value).__qualname__})"
           for name, value in state.items() if not can_be_stored(value)]  # fmt: skip
    told = f"attribute {first_few(bad)}: " if bad else ""
    reason = str(error) if isinstance(error, ArtifactError) else f"{str(error) or type(error).__name__}. {_RULE}"
    return f"{type(estimator).__name__} cannot be stored: {told}{reason}"


def own_types(estimator: Any) -> list[str]:
    """Returns the dotted names of `own_classes`: the types that code may trust in the object's file."""
    return sorted({f"{kind.__module__}.{kind.__qualname__}" for kind in own_classes(estimator)})


def own_classes(estimator: Any) -> set[type]:
    """Returns the classes of an object and of the estimators among its parameters."""
    parts = [estimator, *(part for part in estimator.get_params(deep=True).values() if hasattr(part, "get_params"))]
    return {type(part) for part in parts}


def stored_object(store: ArtifactStore, artifact: Artifact, trusted: Collection[str] = ()) -> Fitted:
    """Returns a stored scikit-learn object, which is read when it is used."""
    return Fitted(lambda: read_object(store, artifact, trusted), artifact.facts, artifact)


def read_object(store: ArtifactStore, artifact: Artifact, trusted: Collection[str] = ()) -> Any:
    """Loads a scikit-learn object or a network, whichever its files are.

    Raises:
        ArtifactError: if the file is damaged or names a type outside of the closed list.
    """
    if artifact.has(STATE):  # what the manifest names was verified, whatever else lies in the folder
        store.file(artifact, WEIGHTS)
        path = store.file(artifact, STATE)
        with reading(path, artifact.label, "the network that its manifest tells of"):
            return read_network(path.parent, trusted, artifact.label)
    path = store.file(artifact, FILE)
    with reading(path, artifact.label, "the scikit-learn object that its manifest tells of"):
        return load_object(path.read_bytes(), trusted, artifact.label)


def load_object(content: bytes, trusted: Collection[str], label: str) -> Any:
    """Loads what `dump_object` returned.

    Raises:
        ArtifactError: if the content is damaged or names a type outside of the closed list.
    """
    # skops loads the types that it is told to trust. The list comes from code; taken from the file, as its own advice
    # goes, it would trust whatever the file names.
    allowed = _refuse_untrusted(content, trusted, label)
    try:
        return load_skops().loads(content, trusted=allowed)
    except Exception as error:  # whatever trusted types make of values that are not their own
        raise ArtifactError(f"{label}: damaged or made up: {type(error).__name__}: {error!s:.200}") from error


def load_skops() -> Any:
    """Imports skops, which imports every module of scikit-learn to list its classes.

    One of those imports torch, which takes as long as all others together and has no class to list: it is left out.
    """
    # skops walks all of scikit-learn's modules; a None in sys.modules makes the import of this one fail as if it were
    # not installed.
    passed_over = "sklearn.externals.array_api_compat.torch"
    # Once either is imported there is nothing left to save, and removing the entry would take a module from somebody.
    if "skops.io" in sys.modules or passed_over in sys.modules:
        import skops.io

        return skops.io
    modules: dict[str, Any] = sys.modules
    modules[passed_over] = None  # Python's way to say: not there
    try:
        import skops.io
    finally:
        del modules[passed_over]
    return skops.io


def _refuse_untrusted(content: bytes, trusted: Collection[str], label: str) -> list[str]:
    allowed = sorted({*TRUSTED, *trusted})
    try:
        refuse_bombs(content, label)
        untrusted = load_skops().get_untrusted_types(data=content)
    except ArtifactError:
        raise
    except Exception as error:  # skops and zipfile raise whatever a file makes them
        raise ArtifactError(f"{label}: not a skops file ({type(error).__name__}: {error!s:.200})") from error
    unknown = [name for name in untrusted if name not in allowed]
    if unknown:
        raise ArtifactError(f"{label}: holds types that are not on the closed list: {first_few(unknown)}. {_RULE}")
    return allowed


def _canonical(content: bytes) -> bytes:
    """Rewrites a skops file so that equal objects give equal bytes.

    skops names arrays and nodes by memory address and stamps the time; here they are numbered as they come. Numbers and
    texts are numbered by what they are: whether two equal ones are one object differs between processes.
    """
    source = zipfile.ZipFile(io.BytesIO(content))
    numbers: dict[str, str] = {}

    def number(name: object, ending: str = "") -> str:
        return numbers.setdefault(str(name), f"{len(numbers)}{ending}")

    def rewrite(node: Any) -> Any:
        if isinstance(node, list):
            return [rewrite(item) for item in node]
        if not isinstance(node, dict):
            return node
        renamed = {key: rewrite(value) for key, value in node.items()}
        if "__id__" in node:
            # skops gives a node the id() of its object. Two equal numbers may be one object here and two in another
            # process; named by content, they are numbered alike.
            is_value = node.get("__loader__") == "JsonNode"
            renamed["__id__"] = int(number(f"value {node['content']}" if is_value else node["__id__"]))
        if "__loader__" in node and isinstance(node.get("file"), str):
            # Arrays are files named by memory address as well; the ending says how to read them, and stays.
            renamed["file"] = number(node["file"], "." + node["file"].rsplit(".", 1)[-1])
        return renamed

    schema = rewrite(json.loads(source.read("schema.json")))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry("schema.json"), json.dumps(schema, indent=1))
        # In the order in which skops wrote them, which is that of the object's attributes; a sort by the old names
        # would follow addresses.
        for name in source.namelist():
            if name != "schema.json":
                archive.writestr(_entry(numbers[name]), source.read(name))
    return target.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    # 1980 is the earliest date that a zip can have. The bytes of stored objects are compared by hash: nothing here may
    # change.
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry
