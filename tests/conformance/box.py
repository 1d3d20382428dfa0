"""A devbox for programs of the Flyte SDK, and what their tests need."""
import importlib.util
import pathlib
import tempfile

HARNESS = pathlib.Path(__file__).resolve().parents[1] / "integration/harness.py"


spec = importlib.util.spec_from_file_location("integration_harness", HARNESS)
harness = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)


class Box(harness.Devbox):
    def __init__(self, settings, venv):
        super().__init__(settings, options=["--flyte", venv])

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
