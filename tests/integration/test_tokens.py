"""What only agents may ask of an operator: they show a token, and it is nowhere to be read."""
import json
import subprocess
import urllib.error
import urllib.request

from harness import BIN, wait_until

READ = "switchyard.internal.SecretStore/ReadSecrets"


def operator(box):
    return box.setting("operator", "listen")


def ask(box, method, request, **headers):
    """(HTTP status, Connect's answer)"""
    call = urllib.request.Request(f"http://{operator(box)}/{method}", json.dumps(request).encode(),
                                  {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(call, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def make_secret(box):
    secret = {"id": {"name": "key", "project": "p", "domain": "d"}, "secretSpec": {"stringValue": "open sesame"}}
    assert ask(box, "flyteidl2.secret.SecretService/CreateSecret", secret)[0] == 200


WANTED = {"project": "p", "domain": "d", "keys": [{"key": "key"}]}


def test_secrets_are_for_the_bearer(box):
    make_secret(box)
    token = (box.dir / "agent.token").read_text()
    status, answer = ask(box, READ, WANTED, authorization=f"Bearer {token}")
    assert status == 200 and answer == {"values": ["b3BlbiBzZXNhbWU="]}, answer
    for headers in ({}, {"authorization": "Bearer of-somebody-else"}, {"authorization": token}):
        status, answer = ask(box, READ, WANTED, **headers)
        assert (status, answer["code"]) == (401, "unauthenticated"), answer
        assert "agent_token_file" in answer["message"] and token not in answer["message"], answer
    assert box.log("operator").count("call for agents only was refused") == 3
    found = subprocess.run(["grep", "-rlE", f"{token}|somebody-else", box.dir], capture_output=True, text=True).stdout
    assert found.split() == [str(box.dir / "agent.token")], f"the token lies in {found}"


def test_without_a_token_secrets_are_for_nobody(box):
    make_secret(box)
    status, answer = ask(box, READ, WANTED, authorization="Bearer of-somebody-else")
    assert (status, answer["code"]) == (400, "failed_precondition"), answer
    assert "agent_token_file" in answer["message"], answer
    box.cli("run", "--", "true")  # agents attach as ever


test_without_a_token_secrets_are_for_nobody.settings = ["operator.agent_token_file=''"]


def test_agent_with_another_token(box):
    box.kill("agent")
    token = box.dir / "agent.token"
    right = token.read_text()
    token.write_text("not-the-one-it-was")
    box.restart("agent")
    wait_until(lambda: "operator refused this agent" in box.log("agent"), "the agent says that it is refused")
    box.kill("agent")
    token.write_text(right)
    box.restart("agent")
    box.cli("run", "--", "true")
    for daemon in ("operator", "agent"):
        assert right not in box.log(daemon) and "not-the-one" not in box.log(daemon)


def test_token_that_others_may_read(box):
    (box.dir / "agent.token").chmod(0o640)
    for daemon in ("operator", "agent"):
        box.kill(daemon)
        done = subprocess.run([BIN / f"switchyard-{daemon}", "--config", box.dir / f"{daemon}.yaml"], text=True,
                              capture_output=True, timeout=120)
        assert done.returncode != 0
        assert "agent_token_file" in done.stderr and "0600" in done.stderr, done.stderr
