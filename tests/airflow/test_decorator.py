"""`@task.scatter` as an author meets it, while the DAG file is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, XComArg, dag, task, task_group

import manifold
from manifold import per_worker
from manifold.airflow.compat import building_a_dag
from manifold.airflow.decorator import ScatterTask, scatter
from manifold.airflow.operator import ScatterOperator
from manifold.errors import ConfigError
from manifold.policy import Policy
from manifold.protocol import envelope
from manifold.protocol.by_value import by_value


@scatter(engine="threads://2", item_retries=2, tolerate="1%")
def shout(word: str, times: int = 1) -> str:
    """Says it loudly."""
    return word.upper() * times


@scatter
def pair(left: int, right: int) -> tuple[int, int]:
    return left, right


def a_dag(**options: Any) -> DAG:
    return DAG("d", schedule=None, **options)


def operator(output: XComArg) -> ScatterOperator:
    found = output.operator  # type: ignore[attr-defined]
    assert isinstance(found, ScatterOperator)
    return found


def test_outside_a_dag_it_is_the_plain_function() -> None:
    assert shout("a", times=2) == "AA"
    assert shout.function("a") == "A"
    assert (getattr(shout, "__name__", None), shout.__doc__) == ("shout", "Says it loudly.")


def test_calling_it_while_a_dag_is_built_says_what_to_write() -> None:
    with a_dag(), pytest.raises(TypeError, match=r"write shout\.over\(word=items\).*shout\.function\("):
        shout("a")
    with a_dag():
        assert shout.function("a") == "A"


def test_calling_it_in_a_dag_function_says_so_too() -> None:
    @dag(schedule=None)
    def broken() -> None:
        shout("a")

    with pytest.raises(TypeError, match="while the DAG is built"):
        broken()


def test_over_makes_one_task_and_gives_its_output() -> None:
    with a_dag() as made:
        out = shout.partial(times=3).over(word=["a", "b"])
    assert made.task_ids == ["shout"]
    one = operator(out)
    assert one.consts == {"times": 3}
    assert str(one.items) == "word=2 items"
    assert one.doc_md == "Says it loudly."
    assert one.operator_name == "@task.scatter"


def test_a_second_task_of_the_same_function_gets_a_name_of_its_own() -> None:
    with a_dag() as made:
        shout.over(word=["a"])
        shout.over(word=["b"])
    assert made.task_ids == ["shout", "shout__1"]


def test_in_a_task_group_the_name_is_the_groups() -> None:
    @task_group
    def each() -> None:
        shout.over(word=["a"])
        shout.over(word=["a"])

    with a_dag() as made:
        each()
    assert made.task_ids == ["each.shout", "each.shout__1"]


def test_other_tasks_outputs_become_upstream_wherever_they_stand() -> None:
    @task
    def source(n: int) -> list[int]:
        return [n]

    with a_dag():
        first, second, third = source(1), source(2), source(3)
        one = operator(pair.partial(left=first).over(right=[second, third]))
    assert one.upstream_task_ids == {"source", "source__1", "source__2"}


def test_a_scatter_can_go_over_the_results_of_another() -> None:
    with a_dag():
        assert operator(shout.over(word=shout.over(word=["a"]))).upstream_task_ids == {"shout"}


def test_every_option_of_the_policy_and_of_an_operator_is_taken() -> None:
    with a_dag():
        one = operator(
            shout.override(task_id="loud", tolerate=5, retries=7, queue="q", pool_slots=2, chunk_size=10).over(word=[])
        )
    assert (one.task_id, one.retries, one.queue, one.pool_slots) == ("loud", 7, "q", 2)
    policy = Policy.of(one.options)
    assert (policy.tolerate.count, policy.chunk_size, policy.item_retries) == (5, 10, 2)


def test_override_leaves_the_original_as_it_was() -> None:
    with a_dag():
        shout.override(item_retries=9).over(word=[])
        assert operator(shout.over(word=[])).options["item_retries"] == 2


def test_no_option_of_ours_hides_one_of_airflows() -> None:
    from manifold.airflow.decorator import _OPERATOR_OPTIONS

    assert not Policy.names() & _OPERATOR_OPTIONS


def test_crashes_are_retried_twice_unless_something_else_is_said() -> None:
    with a_dag():
        assert operator(shout.over(word=[])).retries == 2
    with a_dag(default_args={"retries": 0, "tolerate": "7%"}):
        assert operator(shout.over(word=[])).retries == 0
        assert operator(shout.override(retries=5).over(word=[])).retries == 5


def test_options_of_the_policy_may_stand_in_default_args() -> None:
    with a_dag(default_args={"rate_limit": 5.0, "item_retries": 1}):
        options = operator(shout.over(word=[])).options
    assert (options["rate_limit"], options["item_retries"]) == (5.0, 2), "what the function says wins"


def test_the_engine_may_be_a_template() -> None:
    with a_dag():
        one = operator(shout.override(engine="{{ params.engine }}").over(word=[]))
    assert one.engine == "{{ params.engine }}"
    assert {"engine", "store", "worker_queue"} <= set(one.template_fields)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tolerate": "abc"}, "tolerate='abc'"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"rate_limit": -1}, "rate_limit=-1"),
        ({"resume": "maybe"}, "resume='maybe'"),
        ({"reduce": 5}, "reduce=5"),
    ],
)
def test_an_option_without_sense_is_refused_when_the_file_is_read(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        scatter(**options)
    with pytest.raises(ConfigError, match=told):
        shout.override(**options)


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(TypeError, match="no option 'item_retry'; did you mean item_retries"):
        scatter(item_retry=3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: shout.over(), r"by keyword, such as over\(word=items\)"),
        (lambda: shout.over(words=[]), "shout has no such argument; it takes word, times"),
        (lambda: shout.partial(word="a").over(word=[]), "word has a value from .partial already"),
        (lambda: pair.over(left=[]), "no value for right"),
        (lambda: shout.expand(word=["a"]), r"map a task group.*each\.expand\(group=groups\)"),
        (lambda: shout.expand_kwargs([{"word": "a"}]), "map a task group"),
        (lambda: scatter(shout), "shout is a scatter already"),
        (
            lambda: scatter(5),  # type: ignore[call-overload]
            "decorates a function",
        ),
    ],
)
def test_a_call_that_cannot_work_says_what_would(call: Any, told: str) -> None:
    with a_dag(), pytest.raises(TypeError, match=told):
        call()


def test_lists_of_unequal_length_are_refused() -> None:
    with a_dag(), pytest.raises(ConfigError, match="left has 2, right has 3"):
        pair.over(left=[1, 2], right=range(3))


def test_a_generator_is_refused_when_the_file_is_read() -> None:
    with a_dag(), pytest.raises(ConfigError, match="only once"):
        shout.over(word=(word for word in "abc"))


def test_a_per_worker_constant_takes_no_output_of_a_task() -> None:
    @task
    def path() -> str:
        return "x"

    with a_dag(), pytest.raises(TypeError, match="cannot be another task's output"):
        shout.partial(times=per_worker(len, path()))


def test_a_mapped_task_group_makes_a_scatter_of_each_group() -> None:
    @task_group
    def each(group: list[str]) -> None:
        shout.over(word=group)

    with a_dag() as made:
        each.expand(group=[["a", "b"], ["c"]])
    (one,) = made.tasks
    assert isinstance(one, ScatterOperator)
    assert one.task_id == "each.shout"
    assert one.get_closest_mapped_task_group() is not None


def test_engine_store_and_queue_may_be_another_tasks_output_and_no_other_option() -> None:
    @task
    def place() -> str:
        return "threads://1"

    with a_dag() as made:
        output = place()
        shout.override(engine=output, store=output, worker_queue=output).over(word=["a"])
        with pytest.raises(ConfigError, match="tolerate="):
            shout.override(tolerate=output)
    assert made.task_dict["shout"].upstream_task_ids == {"place"}


def test_reading_the_file_twice_gives_the_same_dag() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    def read() -> str:
        with a_dag() as made:
            shout.partial(times=per_worker(len, "x")).over(word=Words())
            pair.over(left=range(10**9), right=lambda context: context["params"]["n"])
        return repr(DagSerialization.serialize_dag(made)["tasks"])

    assert read() == read()


class Words:
    def __iter__(self) -> Any:
        return iter(["a", "b"])


def test_a_worker_gets_the_function_and_no_airflow() -> None:
    script = "import sys; from manifold.protocol import envelope; f = envelope.loads(bytes.fromhex(sys.argv[1])); "
    script += "assert 'airflow' not in sys.modules, sys.modules; print(f('a', times=3))"
    with by_value([Path(__file__).parent]):
        packed = envelope.dumps(shout).hex()
    told = subprocess.run([sys.executable, "-c", script, packed], capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("AAA\n", "")


def test_without_registration_the_same_decorator_is_at_hand() -> None:
    @manifold.scatter(engine="threads://1")  # type: ignore[untyped-decorator]
    def whisper(word: str) -> str:
        return word.lower()

    assert isinstance(whisper, ScatterTask)
    with a_dag():
        assert operator(whisper.over(word=["A"])).engine == "threads://1"


def test_nothing_of_a_dag_is_left_open_after_a_test() -> None:
    assert not building_a_dag()
    assert issubclass(ScatterOperator, BaseOperator)


@pytest.mark.parametrize("values", [([1, 2],), (range(3),), ("a", "b", "c")])
def test_items_and_constants_without_a_keyword_are_told_what_to_write(values: tuple[Any, ...]) -> None:
    with a_dag():
        with pytest.raises(TypeError, match=r"write shout\.over\(word="):
            shout.over(*values)
        with pytest.raises(TypeError, match=r"write shout\.partial\(word="):
            shout.partial(*values)
        with pytest.raises(TypeError, match=r"write pair\.over\(left=\[1\], right=\[2\]\)"):
            pair.over([1], [2])


def sleepy(word: str) -> str:
    return word


async def waits(word: str) -> str:
    return word


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "cellery://x"}, "did you mean celery://"),
        ({"engine": "nothing://x"}, "no engine has the scheme"),
        ({"engine": "threads://many"}, "not a number of workers"),
        ({"engine": "processes://2?start=fork"}, "must be one of forkserver, spawn"),
        ({"engine": "celery://q?silence=soon"}, "must be seconds"),
        ({"engine": "celery://q?patience=3"}, "not of the form celery://QUEUE"),
        ({"engine": "threads://2", "item_timeout": 5}, r"item_timeout=5 cannot be enforced by threads://2"),
        ({"engine": "threads://2", "worker_queue": "q"}, "has no queues"),
        ({"store": "memory://"}, "ends with this task's process"),
        ({"store": "s4://bucket"}, "no store has the scheme"),
    ],
)
@pytest.mark.parametrize("where", ["decorator", "override", "default_args"])
def test_what_can_never_run_is_told_when_the_dag_file_is_read(options: dict[str, Any], said: str, where: str) -> None:
    defaults = {"default_args": options} if where == "default_args" else {}
    made = scatter(**options)(sleepy) if where == "decorator" else scatter(sleepy)
    made = made.override(**options) if where == "override" else made
    with a_dag(**defaults), pytest.raises(ConfigError, match=said):
        made.over(word=["a"])


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "{{ params.engine }}", "item_timeout": 5},
        {"engine": "some_connection", "item_timeout": 5},
        {"engine": "celery://q?silence=20", "item_timeout": 5, "worker_queue": "other"},
        {"engine": "threads://2", "worker_queue": "{{ params.queue }}"},
        {"store": "{{ params.store }}"},
        {"store": "some_connection"},
    ],
)
def test_what_only_the_task_can_tell_is_left_to_it(options: dict[str, Any]) -> None:
    with a_dag():
        scatter(**options)(sleepy).over(word=["a"])


def test_an_async_function_may_have_a_timeout_on_threads() -> None:
    with a_dag():
        scatter(engine="threads://2", item_timeout=5)(waits).over(word=["a"])


def test_reading_a_dag_file_imports_no_client_of_an_engine() -> None:
    code = (
        "import sys\n"
        "from airflow.sdk import DAG\n"
        "from manifold.airflow.decorator import scatter\n"
        "with DAG('d', schedule=None):\n"
        "    scatter(engine='celery://q')(lambda word: word).override(task_id='t').over(word=['a'])\n"
        "print([name for name in ('celery', 'kombu', 'manifold.engines.celery') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_handle_that_an_earlier_version_left_in_xcom_is_read() -> None:
    from airflow.sdk.serde import deserialize, serialize

    handle = manifold.Results("u" * 32, 7, 3, 2, 1)
    left = serialize(handle)
    assert isinstance(left, dict)
    left["__classname__"] = "manifold.results.view.Results"
    with pytest.warns(DeprecationWarning, match=r"manifold\.results\.results\.Results"):
        found = deserialize(left)
    assert type(found) is manifold.Results
    assert found.serialize() == handle.serialize()
