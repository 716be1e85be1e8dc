"""### Is everything there?

Every five minutes one item goes through each configured engine, and a value through each store. A task that fails says
which, and what to do; its result has the hosts that answered and the seconds it took. The Airflow variable
`manifold_hosts` (a JSON list) names the hosts that must be there; `manifold_engines` and `manifold_stores` add engines
and stores to those of the deployment.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, task
from shared import ENGINES

from manifold.airflow import health

TRIED = """Which engine one item is sent through. **all**: those that this deployment names, and those of the variable
`manifold_engines`. **default**: the one of `[manifold] default_engine`. **celery_default**: the connection of that
name. **processes://2**, **threads://2**: processes, or threads, of the host that runs the task."""
FORM = {"engine": Param("all", type="string", enum=["all", *ENGINES], title="Engine", description_md=TRIED)}


@task
def engines(params):
    return health.engines() if params["engine"] == "all" else [params["engine"]]


@task(map_index_template="{{ task.op_kwargs['name'] }}", execution_timeout=timedelta(minutes=3))
def engine(name):
    return health.through_engine(name)


@task
def stores():
    return health.stores()


@task(map_index_template="{{ task.op_kwargs['name'] }}", execution_timeout=timedelta(minutes=1))
def store(name):
    return health.through_store(name)


@dag(
    schedule=timedelta(minutes=5),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    doc_md=__doc__,
    tags=["manifold", "health"],
    params=FORM,
)
def cluster_health():
    engine.expand(name=engines())
    store.expand(name=stores())


cluster_health()
