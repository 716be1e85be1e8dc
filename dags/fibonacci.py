"""### Fibonacci, the hard way

f(i) = f(i-1) + f(i-2), from i = 5 on minus f(i-5): much work for each of a few items, most for the last ones.
"""

from airflow.sdk import dag, task
from shared import fail_some, form, write


def f(i):
    if i < 2:
        return 1
    return f(i - 1) + f(i - 2) - (f(i - 5) if i >= 5 else 0)


@task.scatter(engine="{{ params.engine }}", tolerate="20%", chunk_size=1)
def number(i, fail):
    fail_some(i, fail)
    return f(i)


@task
def report(numbers):
    write("fibonacci.csv", [("i", "f"), *numbers.pairs()])


@dag(schedule="30 12 * * *", catchup=False, doc_md=__doc__, tags=["manifold", "example"], params=form(25, 35))
def fibonacci():
    def items(context):
        return range(context["params"]["items"])

    report(number.partial(fail="{{ params.fail }}").over(i=items))


fibonacci()
