"""Deployed tasks, triggers, projects and who is asking, as the SDK's remote objects see them."""
import datetime
import time

import flyte
from flyte.remote import Project, Run, Task, TaskDetails, Trigger, User

env = flyte.TaskEnvironment("registry")
UTC = datetime.timezone.utc


@env.task
async def add(x: int, y: int = 2) -> int:
    return x + y


@env.task
async def when(at: datetime.datetime, n: int = 3) -> str:
    return f"{at.astimezone(UTC).isoformat()} {n}"


def test_deployed_tasks(box):
    flyte.deploy(env, version="v1")
    flyte.deploy(env, version="v1")  # again: nothing changes
    flyte.deploy(env, version="v2")
    assert {(t.name, t.version) for t in Task.listall()} == {("registry.add", "v2"), ("registry.when", "v2")}
    details: TaskDetails = Task.get("registry.add", version="v1").fetch()
    assert details.version == "v1" and details.required_args == ("x",)
    assert Task.get("registry.add", auto_version="latest").fetch().version == "v2"
    assert box.run(Task.get("registry.add", version="v1"), x=40) == 42
    try:
        Task.get("registry.add", version="v3").fetch()
    except flyte.errors.RemoteTaskNotFoundError:
        return
    raise AssertionError("a version that was never deployed")


def runs_of(task, count):
    end = time.monotonic() + 120
    while True:
        runs = list(Run.listall(task_name=task))
        if len(runs) >= count and all(run.phase == "succeeded" for run in runs):
            return runs
        assert time.monotonic() < end, [run.phase for run in runs]
        time.sleep(0.2)


def test_trigger_fires_through_a_crash(box):
    start = datetime.datetime.now(UTC).replace(microsecond=0) + datetime.timedelta(seconds=6)
    trigger = flyte.Trigger(
        name="once",
        automation=flyte.FixedRate(60, start_time=start),
        inputs={"at": flyte.TriggerTime, "n": 5},
        auto_activate=True,
    )
    Trigger.create(trigger, task_name="registry.when")
    box.kill("shard")
    time.sleep(max(0.0, (start - datetime.datetime.now(UTC)).total_seconds()) + 1)
    box.restart("shard")  # it was due meanwhile
    (run,) = runs_of("registry.when", 1)
    assert tuple(run.outputs()) == (f"{start.isoformat()} 5",)
    time.sleep(1)
    assert len(list(Run.listall(task_name="registry.when"))) == 1
    (listed,) = Trigger.listall(task_name="registry.when")
    assert listed.name == "once" and listed.is_active
    Trigger.update(name="once", task_name="registry.when", active=False)
    assert not Trigger.get(name="once", task_name="registry.when").is_active
    Trigger.delete(name="once", task_name="registry.when")
    assert not list(Trigger.listall())


def test_projects_and_user(box):
    Project.create(id="zoo", name="Zoo", description="animals", labels={"a": "b"})
    assert {project.pb2.id for project in Project.listall()} == {"zoo", "default"}
    Project.update("zoo", description="more animals")
    assert Project.get("zoo").pb2.description == "more animals"
    Project.update("zoo", state="archived")
    assert {project.pb2.id for project in Project.listall(archived=True)} == {"zoo"}
    assert User.get().subject() == "anonymous"
