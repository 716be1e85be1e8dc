"""### Squares of random integers

Next to no work for each of many items. A run has the same numbers at each try.
"""

import logging
from random import Random

from airflow.sdk import dag, task
from shared import fail_some, form


@task.scatter(engine="{{ params.engine }}", tolerate="20%")
def square(n, fail):
    fail_some(n, fail)
    return n * n


@task
def report(squares):
    logging.getLogger(__name__).info("%s; their sum is %s", squares, f"{sum(squares):,}")


@dag(schedule="0 12 * * *", catchup=False, doc_md=__doc__, tags=["manifold", "example"], params=form(1_000, 10_000_000))
def squares():
    def numbers(context):
        random = Random(context["run_id"])
        return [random.randrange(1_000_000) for _ in range(context["params"]["items"])]

    report(square.partial(fail="{{ params.fail }}").over(n=numbers))


squares()
