"""Clients that watch all runs of a region, one through each shard (Connect over HTTP/1.1). One whose stream ends begins anew."""
import contextlib
import http.client
import json
import struct
import threading
import time

METHOD = "/flyteidl2.workflow.RunService/WatchRuns"
SCOPE = json.dumps({"projectId": {"name": "default", "domain": "development"}}).encode()
END = 2  # flag of a stream's last envelope


class Watch:
    def __init__(self, endpoint):
        self.endpoint, self.phases, self.ends, self.over = endpoint, {}, [], False
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self):
        while not self.over:
            try:
                why = self.read_stream()
            except (OSError, http.client.HTTPException) as e:
                why = repr(e)
            if not isinstance(why, bool):
                self.ends.append(why)
            time.sleep(0.1)

    def read_stream(self):
        """What its end says. True: it never began, since the shard is down, or stops, as the end before has said."""
        began = False
        with contextlib.closing(http.client.HTTPConnection(self.endpoint, timeout=120)) as connection:
            try:
                connection.request("POST", METHOD, b"\0" + struct.pack(">I", len(SCOPE)) + SCOPE,
                                   {"Content-Type": "application/connect+json"})
                answer = connection.getresponse()
            except OSError:
                return True
            while answer.status == 200:
                head = answer.read(5)
                if len(head) < 5:
                    return "cut off"
                message = json.loads(answer.read(struct.unpack(">I", head[1:])[0]))
                if head[0] & END:
                    return message if began or message not in self.ends[-1:] else True
                began = True
                for run in message.get("runs", ()):
                    self.phases[run["action"]["id"]["run"]["name"]] = run["action"]["status"]["phase"]
            return True


class Watches:
    def __init__(self, endpoints):
        self.watches = {shard: Watch(endpoint) for shard, endpoint in endpoints.items()}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for watch in self.watches.values():
            watch.over = True

    def ends(self, shard):
        return self.watches[shard].ends

    def missing(self, runs):
        """Those that a client has not seen succeed."""
        return {shard: left for shard, watch in self.watches.items()
                if (left := [run for run in runs if watch.phases.get(run) != "ACTION_PHASE_SUCCEEDED"])}
