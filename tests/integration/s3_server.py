#!/usr/bin/env python3
"""Runs a test program against a real S3 server process on loopback:

    s3_server.py VENV PROGRAM [ARGUMENT...]

The server is moto's, from PyPI, in a virtual environment of its own that is made when it lacks. When no
registry can be reached the test says so loudly and exits 0: the file adapter is tested anyway.
"""
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

PACKAGE = "moto[server]==5.2.5"  # the version that was tested
AUTHORIZATION = ("AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request,"
                 "SignedHeaders=host,Signature=0")


def installed(venv):
    server = venv / "bin" / "moto_server"
    if server.exists():
        return server
    try:
        subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=120)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE],
                       check=True, timeout=600)
    except (subprocess.SubprocessError, OSError) as why:
        print(f"SKIPPED S3: cannot install {PACKAGE}: {why}", flush=True)
        return None
    return server


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def make_bucket(endpoint, bucket, server):
    request = urllib.request.Request(f"{endpoint}/{bucket}", method="PUT",
                                     headers={"Authorization": AUTHORIZATION})
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(request, timeout=10)
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the S3 server does not answer")


@contextlib.contextmanager
def serving(moto, bucket):
    """A server with an empty bucket; gives its endpoint."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([moto, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        make_bucket(endpoint, bucket, server)
        yield endpoint
    finally:
        server.terminate()
        server.wait()


def main():
    venv, program = pathlib.Path(sys.argv[1]), sys.argv[2:]
    moto = installed(venv)
    if moto is None:
        return 0
    with serving(moto, "contract") as endpoint:
        return subprocess.run(program, env={**os.environ, "SY_TEST_S3": endpoint}, timeout=300).returncode


if __name__ == "__main__":
    sys.exit(main())
