"""Secrets: into the environment of a task, into a file; nowhere else."""
import os
import pathlib
import subprocess
import uuid

import flyte
from flyte.remote import Secret

env = flyte.TaskEnvironment("secrets", secrets=[flyte.Secret("api-key", as_env_var="API_KEY")])


@env.task
async def reads() -> int:
    return len(os.environ["API_KEY"])


files = flyte.TaskEnvironment(
    "secret_files", secrets=[flyte.Secret("key-file", group="files", mount=pathlib.Path("/etc/flyte/secrets"))]
)


@files.task
async def reads_file() -> tuple[int, int]:
    path = pathlib.Path(os.environ["FLYTE_SECRETS_DEFAULT_DIR"]) / "files" / "key-file"
    return len(path.read_text()), path.parent.parent.stat().st_mode & 0o777


def test_secret(box):
    value = f"open-{uuid.uuid4().hex}"
    Secret.create("api-key", value)
    assert box.run(reads) == len(value)
    assert "api-key" in {secret.name for secret in Secret.listall()}
    found = subprocess.run(["grep", "-rl", value, box.dir], capture_output=True, text=True).stdout
    assert found == "", f"the value lies in {found}"
    Secret.delete("api-key")
    assert "api-key" not in {secret.name for secret in Secret.listall()}


def test_missing(box):
    assert "api-key" in box.fail(reads).error_message


def test_file(box):
    value = f"file-{uuid.uuid4().hex}"
    Secret.create("files/key-file", value)
    assert box.run(reads_file) == (len(value), 0o700)
    found = subprocess.run(["grep", "-rl", value, box.dir], capture_output=True, text=True).stdout
    assert found == "", f"the value lies in {found}"
