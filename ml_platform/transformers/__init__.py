"""The steps that come with the platform; pipelines name them by `uses`."""

from ml_platform.transformers.aggregate import Aggregate
from ml_platform.transformers.asof import AsOfLookup
from ml_platform.transformers.calendar import Calendar
from ml_platform.transformers.clip import Clip
from ml_platform.transformers.encoding import Codes, OneHot
from ml_platform.transformers.filter import Filter
from ml_platform.transformers.frequencies import Frequencies
from ml_platform.transformers.images import ScaleImages
from ml_platform.transformers.lag import Lag
from ml_platform.transformers.missing import FillMissing
from ml_platform.transformers.rare import RareCategories
from ml_platform.transformers.rolling import Rolling
from ml_platform.transformers.sql import SQL
from ml_platform.transformers.text import TextCounts

__all__ = [
    "SQL", "Aggregate", "AsOfLookup", "Calendar", "Clip", "Codes", "FillMissing", "Filter", "Frequencies", "Lag",
    "OneHot", "RareCategories", "Rolling", "ScaleImages", "TextCounts",
]  # fmt: skip
