"""Networks with scikit-learn's interface, written in torch."""

from ml_platform.models.images import ConvolutionalClassifier
from ml_platform.models.network import Network, NetworkClassifier, NetworkRegressor
from ml_platform.models.tables import EntityEmbeddingClassifier, EntityEmbeddingRegressor

__all__ = [
    "ConvolutionalClassifier",
    "EntityEmbeddingClassifier",
    "EntityEmbeddingRegressor",
    "Network",
    "NetworkClassifier",
    "NetworkRegressor",
]
