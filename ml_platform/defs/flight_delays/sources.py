"""The lake: five tables about the flights that left New York City in 2013."""

from ml_platform.components.sources import source_assets
from ml_platform.sources import nycflights13

lake = source_assets(nycflights13.TABLES, owners=["team:flight-operations"])
