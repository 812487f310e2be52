"""The sample's first three months: where what is looked at does not depend on how many there are."""

from dataclasses import replace
from datetime import date

from ml_platform.sources.partitions import Partitions
from ml_platform_tests import lake

_MONTHS = Partitions(every="month", start=date(2013, 1, 1), end=date(2013, 4, 1))

FLIGHTS = replace(lake.FLIGHTS, partitions=_MONTHS)
WEATHER = replace(lake.WEATHER, partitions=_MONTHS)
PLANES = lake.PLANES
AIRPORTS = lake.AIRPORTS
