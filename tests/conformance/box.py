"""A devbox for programs of the Flyte SDK, and what their tests need."""
import contextlib
import importlib.util
import pathlib
import tempfile

TESTS = pathlib.Path(__file__).resolve().parents[1]


def load(name):
    """A module of the integration tests."""
    spec = importlib.util.spec_from_file_location(f"integration_{name}", TESTS / f"integration/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


harness = load("harness")


@contextlib.contextmanager
def s3_storage(root, secret_key):
    """Settings for storage in s3://BUCKET/..., of a server process of its own; None when none can be installed."""
    s3_server = load("s3_server")
    moto = s3_server.installed(TESTS.parent / "build/s3-venv")
    if moto is None:
        yield None
        return
    with s3_server.serving(moto, root.split("/")[2]) as endpoint, tempfile.NamedTemporaryFile("w") as key:
        key.write(secret_key + "\n")
        key.flush()
        storage = {"root": root, "endpoint": endpoint, "access_key": "access-key", "secret_key_file": key.name}
        yield [f"{daemon}.storage_{name}={value}" for daemon in ("operator", "agent") for name, value in storage.items()]


class Box(harness.Devbox):
    def __init__(self, settings, venv, options=()):
        super().__init__(settings, options=["--flyte", venv, *options])

    def notes(self):
        """A new directory for notes.py."""
        return tempfile.mkdtemp(dir=self.dir, prefix="notes.")

    def submit(self, task, *args, context=None, **inputs):
        """A run that was started; `context`: what flyte.with_runcontext() takes."""
        import flyte

        return flyte.with_runcontext(**(context or {})).run(task, *args, **inputs)

    def run(self, task, *args, context=None, **inputs):
        """What a task gave; for several outputs a tuple."""
        return self.finish(self.submit(task, *args, context=context, **inputs))

    def details(self, run):
        """What is known of its root action."""
        from flyte.remote import ActionDetails

        return ActionDetails.get(run_name=run.name, name="a0")

    def finish(self, run):
        run.wait(quiet=True)
        if run.phase != "succeeded":
            raise AssertionError(f"run {run.name} is {run.phase}: {self.details(run).error_message}")
        outputs = tuple(run.outputs())
        return outputs[0] if len(outputs) == 1 else outputs

    def fail(self, task, *args, context=None, **inputs):
        """The details of the root action of a run that must not succeed."""
        run = self.submit(task, *args, context=context, **inputs)
        run.wait(quiet=True)
        details = self.details(run)
        assert run.phase != "succeeded", f"run {run.name} succeeded"
        return details

    def actions(self, run, **filters):
        from flyte.remote import Action

        return list(Action.listall(for_run_name=run.name, **filters))
