"""What a parent catches, by the SDK's own classes; what the client sees of a failure."""
import asyncio
import os

import flyte
import flyte.errors

small = flyte.TaskEnvironment("small", resources=flyte.Resources(cpu="100m", memory="400Mi"))
env = flyte.TaskEnvironment("errors", depends_on=[small])


@env.task
async def bad(what: str) -> int:
    match what:
        case "value":
            raise ValueError("no such value")
        case "custom":
            raise flyte.errors.CustomError("E42", "the answer is wrong")
        case "never":
            raise flyte.errors.NonRecoverableError("do not try again")
        case "exit":
            os._exit(17)
    return 1


@env.task(retries=1)
async def bad_twice() -> int:
    raise ValueError("always")


@small.task
async def eat() -> int:
    return len([bytearray(os.urandom(1 << 20)) * 50 for _ in range(100)])


@env.task(timeout=flyte.Timeout(max_runtime=1))
async def slow() -> int:
    await asyncio.sleep(60)
    return 1


@env.task
async def sees(what: str) -> str:
    tasks = {"eat": eat, "slow": slow, "twice": bad_twice}
    try:
        await (tasks[what]() if what in tasks else bad(what))
    except Exception as error:
        return f"{type(error).__name__} {getattr(error, 'code', '')} {error}"
    return "nothing"


def test_own_error(box):
    seen = box.run(sees, "value")
    assert seen.startswith("RuntimeUserError ValueError") and "no such value" in seen, seen


def test_custom_code(box):
    seen = box.run(sees, "custom")
    assert seen.startswith("RuntimeUserError E42 ") and "the answer is wrong" in seen, seen


def test_non_recoverable(box):
    assert "do not try again" in box.run(sees, "never")


def test_exit_status(box):
    seen = box.run(sees, "exit")
    assert "Error" in seen and "17" in seen, seen


def test_retries_exhausted(box):
    seen = box.run(sees, "twice")
    assert seen.startswith("RetriesExhaustedError") and "always" in seen, seen


def test_timeout(box):
    assert box.run(sees, "slow").startswith("MaxRuntimeExceededError")


def test_out_of_memory(box):
    seen = box.run(sees, "eat")
    assert seen.startswith("OOMError"), seen


def test_what_the_client_sees(box):
    details = box.fail(bad, "value")
    assert details.phase == "failed"
    assert details.error_info.kind == 1 and "no such value" in details.error_info.message, details.error_info
