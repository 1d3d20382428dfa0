"""Pages of other origins (CORS): only those that the configuration names, at the shard and at the operator."""
import urllib.request

ORIGIN = "https://console.example"


def allowed(address, origin):
    """What a browser is told before it sends a call."""
    call = urllib.request.Request(f"http://{address}/grpc.health.v1.Health/Check", method="OPTIONS",
                                  headers={"origin": origin, "access-control-request-method": "POST"})
    with urllib.request.urlopen(call, timeout=60) as answer:
        return answer.headers["access-control-allow-origin"]


def addresses(box):
    return [box.endpoint, box.setting("operator", "listen")]


def test_none_by_default(box):
    assert [allowed(address, ORIGIN) for address in addresses(box)] == [None, None]


def test_named_origins(box):
    for address in addresses(box):
        assert allowed(address, ORIGIN) == ORIGIN
        assert allowed(address, "https://elsewhere.example") is None


test_named_origins.settings = [f"shard.allow_origins=[{ORIGIN}]", f"operator.allow_origins=[{ORIGIN}]"]
