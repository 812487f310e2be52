"""Some hundred real rows of the lake's tables, in files of the tests' own."""

from dataclasses import replace
from pathlib import Path

from ml_platform.sources import nycflights13

_HERE = Path(__file__).parent

FLIGHTS = replace(nycflights13.FLIGHTS, folder=_HERE, file="flights.csv")
WEATHER = replace(nycflights13.WEATHER, folder=_HERE, file="weather.csv")
PLANES = replace(nycflights13.PLANES, folder=_HERE, file="planes.csv")
AIRPORTS = replace(nycflights13.AIRPORTS, folder=_HERE, file="airports.csv")

TABLES = (FLIGHTS, WEATHER, PLANES, AIRPORTS)
