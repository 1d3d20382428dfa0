"""What the audit needs of a client: one connection to a shard, which calls it in Connect's protocol, in JSON, or in bytes where a
native task's input and output are bytes."""
import ctypes
import functools
import http.client
import json
import struct

from raw_grpc import field  # of the integration tests

PROJECT, DOMAIN = "default", "development"
RUNS, ACTIONS, REGION = "flyteidl2.workflow.RunService", "switchyard.v1.ActionService", "switchyard.v1.RegionService"
END = 2  # flag of a stream's last envelope


class Refused(Exception):
    """The shard answered, and it was no."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


def refusal(data, status):
    try:
        said = json.loads(data)
        return Refused(said.get("code"), said.get("message"))
    except ValueError:
        return Refused(f"HTTP {status}", data[:200])


class Client:
    """One thread's. A call that gets no answer raises OSError; the next one connects anew."""

    def __init__(self, endpoint, timeout=30):
        self.endpoint, self.timeout, self.connection = endpoint, timeout, None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def post(self, method, body, content_type, read):
        try:
            if not self.connection:
                self.connection = http.client.HTTPConnection(self.endpoint, timeout=self.timeout)
            self.connection.request("POST", f"/{method}", body, {"Content-Type": content_type})
            return read(self.connection.getresponse())
        except (OSError, http.client.HTTPException) as e:
            self.close()
            raise OSError(f"{self.endpoint}: {e!r}") from e

    def unary(self, method, body, content_type):
        def read(answer):
            data = answer.read()
            if answer.status != 200:
                raise refusal(data, answer.status)
            return data

        return self.post(method, body, content_type, read)

    def json(self, method, message):
        return json.loads(self.unary(method, json.dumps(message).encode(), "application/json"))

    def bytes(self, method, message):
        return self.unary(method, message, "application/proto")

    def stream(self, method, message, each):
        """Calls `each` with every message of a stream, until it ends by itself."""
        body = json.dumps(message).encode()

        def read(answer):
            if answer.status != 200:
                raise refusal(answer.read(), answer.status)
            while True:
                head = answer.read(5)
                if len(head) < 5:
                    raise OSError("the stream was cut off")
                part = json.loads(answer.read(struct.unpack(">I", head[1:])[0]))
                if not head[0] & END:
                    each(part)
                elif part.get("error"):
                    raise Refused(part["error"].get("code"), part["error"].get("message"))
                else:
                    return answer.read()

        self.post(method, b"\0" + struct.pack(">I", len(body)) + body, "application/connect+json", read)


def run_id(run):
    return {"project": PROJECT, "domain": DOMAIN, "name": run}


def create_run(client, run, library, function, text, retries=0, policy=None):
    """A run of one native task; its input is the text. The policy: what becomes of it when it is not heard of (docs/guarantees.md)."""
    requests = b"".join(field(1, field(1, kind) + field(2, amount)) for kind, amount in ((1, "10m"), (3, "16Mi")))
    container = field(1, "native") + field(3, str(library)) + field(3, function) + field(4, requests)
    if policy:
        container += field(5, field(1, "SWITCHYARD_ON_PARTITION") + field(2, policy))
    template = field(1, field(1, 1) + field(4, function)) + field(2, "switchyard.function") + field(6, container)
    template += field(3, field(5, field(5, retries)) if retries else b"")
    spec = field(1, template) + field(3, function)
    name = field(2, PROJECT) + field(3, DOMAIN) + field(4, run)
    client.bytes(f"{RUNS}/CreateRun", field(1, name) + field(3, spec) + field(4, text))


def get_run(client, run):
    """(phase, attempt) of its root."""
    status = client.json(f"{RUNS}/GetRunDetails", {"runId": run_id(run)})["details"]["action"]["status"]
    return status["phase"].removeprefix("ACTION_PHASE_"), status.get("attempts", 0)


def output_of(client, run, action):
    """The output of a native task that succeeded, as text; it is short."""
    name = field(2, PROJECT) + field(3, DOMAIN) + field(4, run)
    data = client.bytes(f"{RUNS}/GetActionData", field(1, field(1, name) + field(2, action)))
    while data:  # fields with a length below 128 only: inputs (1), outputs (2)
        tag, length, data = data[0], data[1], data[2:]
        if tag == 2 << 3 | 2:
            return data[:length].decode()
        if length > 127:  # two bytes of it
            length, data = length & 127 | data[0] << 7, data[1:]
        data = data[length:]
    return None


@functools.cache
def xxhash():
    library = ctypes.CDLL("libxxhash.so.0")
    library.XXH3_64bits.restype = ctypes.c_uint64
    library.XXH3_64bits.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
    return library


def partition_of(run, count):
    """As proto/switchyard/v1/region_service.proto says."""
    key = "".join(f"{part}\0" for part in (PROJECT, DOMAIN, run)).encode()
    return xxhash().XXH3_64bits(key, len(key)) * count >> 64
