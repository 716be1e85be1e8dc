"""### The same job on each engine

Fibonacci of 20 to 27 and 100,000 squares, on each engine that answers: the default one, the environment's connections,
those of the Airflow variable `manifold_engines`, and two of the task's own host; one task at a time, so that none slows
another. `report` returns a table, in which an engine that does not answer has its reason.
"""

from airflow.sdk import Param, TriggerRule, dag, task, task_group
from shared import write

from manifold.airflow import comparison

FORM = {"engines": Param([], type="array", items={"type": "string"}, title="Engines", description=comparison.WHICH)}


@task.scatter(retries=0, map_index_template="{{ task.engine }}")
def fibonacci(i):
    return fib(i)


def fib(i):
    return i if i < 2 else fib(i - 1) + fib(i - 2)


@task.scatter(retries=0, map_index_template="{{ task.engine }}")
def squares(n):
    return n * n


@task
def engines(params, ti):
    answering, others = comparison.look(params["engines"])
    ti.xcom_push("others", others)
    return answering


@task(trigger_rule=TriggerRule.ALL_DONE, map_index_template="{{ task.op_kwargs['engine'] }}")
def measure(engine, numbers, products):
    return comparison.measured(engine, fibonacci=numbers, squares=products)


@task_group
def each(engine):
    numbers = fibonacci.override(engine=engine).over(i=range(20, 28))
    return measure(engine=engine, numbers=numbers, products=squares.override(engine=engine).over(n=range(100_000)))


@task(trigger_rule=TriggerRule.ALL_DONE)
def report(rows, ti):
    table = comparison.table(rows or [], ti.xcom_pull(task_ids="engines", key="others") or {})
    write("engines_compared.csv", comparison.lines(table))
    return table


@dag(schedule=None, max_active_tasks=1, max_active_runs=1, doc_md=__doc__, tags=["manifold", "example"], params=FORM)
def engines_compared():
    report(each.expand(engine=engines()))


engines_compared()
