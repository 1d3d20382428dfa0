"""A devbox whose daemons have a network namespace each, and the links between them, which can be cut, slow, or lose packets."""
import contextlib
import pathlib
import struct
import subprocess
import tempfile

import flyte_load
import harness

WIRE = harness.BIN / "switchyard-test-wire"
SHIM = harness.BIN / "libswitchyard-test-shim.so"
HERE = "."  # the namespace of the test, where its clients are


class Net:
    """Hosts 10.77.0.1, 10.77.0.2, ...; this namespace is the last one. wire.c says what its orders mean."""

    def __init__(self, directory, names):
        self.directory, self.names = directory, [*names, HERE]
        self.directory.mkdir()
        hosts = [f"{name}={self.address(name)}" for name in self.names]
        self.wire = subprocess.Popen([WIRE, directory, *hosts], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1)
        if self.wire.stdout.readline() != "ready\n":
            raise harness.Skipped("network namespaces with TUN devices are not permitted here")

    def address(self, name):
        return f"10.77.0.{self.names.index(name) + 1}"

    def close(self):
        self.wire.stdin.close()
        self.wire.wait()
        for path in self.directory.iterdir():
            subprocess.run(["umount", path], check=True)
            path.unlink()
        self.directory.rmdir()

    def link(self, source, target, loss=0, delay=0.0, jitter=0.0):
        """One direction; loss in per mille, times in seconds."""
        print(source, target, loss, round(delay * 1e6), round(jitter * 1e6), file=self.wire.stdin, flush=True)
        answer = self.wire.stdout.readline()
        if answer != "ok\n":
            raise AssertionError(f"{source} {target}: {answer}")

    def of(self, part):
        """Names of a role, or of one daemon."""
        found = [name for name in self.names if name == part or name.startswith(f"{part}-")]
        assert found, part
        return found

    def links(self, sources, targets, **how):
        for source in self.of(sources):
            for target in self.of(targets):
                if source != target:
                    self.link(source, target, **how)

    @contextlib.contextmanager
    def cut(self, one, other, forth=True, back=True):
        """Between all of the one and all of the other; `forth` is what the one sends."""
        try:
            if forth:
                self.links(one, other, loss=1000)
            if back:
                self.links(other, one, loss=1000)
            yield
        finally:
            self.links(one, other)
            self.links(other, one)

    @contextlib.contextmanager
    def everywhere(self, **how):
        try:
            self.link("*", "*", **how)
            yield
        finally:
            self.link("*", "*")


class Box(harness.Devbox):
    """Three shards, three members of etcd, three clusters of two nodes. With `shimmed`, what its shards, operators and agents believe
    of wall clock and disk can be changed (shim.c)."""

    def __init__(self, settings=(), shimmed=False, programs=harness.BIN):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="switchyard-faults."))
        self.newer = set()  # daemons that are not of the programs that it began with
        names = [f"{role}-{i}" for role in ("etcd", "shard", "operator") for i in (1, 2, 3)]
        names += [f"agent-{cluster}-{node}" for cluster in (1, 2, 3) for node in (1, 2)]
        self.net = Net(directory / "net", names)
        (directory / "shim").mkdir()
        lines = []
        for name in names:
            shim = directory / "shim" / name
            shim.write_bytes(bytes(16))
            believes = f"env LD_PRELOAD={SHIM} SWITCHYARD_TEST_SHIM={shim}" if shimmed and not name.startswith("etcd") else ""
            lines.append(f"{name} {self.net.address(name)} nsenter --net={directory / 'net' / name} {believes}\n")
        hosts = directory / "hosts.wanted"
        hosts.write_text("".join(lines))
        try:
            options = ["--flyte", flyte_load.VENV] if flyte_load.there() else []
            super().__init__(settings, directory, [*options, "--shards", "3", "--etcds", "3", "--clusters", "3", "--nodes", "2",
                                                   "--hosts", hosts], programs)
        except subprocess.CalledProcessError as e:
            print(e.stderr)
            self.close(keep=True)
            raise

    @contextlib.contextmanager
    def believing(self, daemon, wall=0.0, sync=0.0):
        """The wall clock is so many seconds ahead, a sync takes so many longer."""
        shim = self.dir / "shim" / daemon
        try:
            with open(shim, "r+b") as file:
                file.write(struct.pack("=qq", round(wall * 1e9), round(sync * 1e3)))
            yield
        finally:
            with open(shim, "r+b") as file:
                file.write(bytes(16))

    def replace(self, daemon, newer):
        """By the newer program, or the one that it began with, from now on."""
        self.devbox("stop", daemon)
        (self.newer.add if newer else self.newer.discard)(daemon)
        self.restart(daemon)

    def restart(self, daemon):
        self.devbox("restart", daemon, *(["--bin", harness.BIN] if daemon in self.newer else []))

    def join_anew(self, operator):
        """One whose cluster was deleted comes back as a new one of that name."""
        name, region = self.setting(operator, "cluster"), self.setting(operator, "region")
        self.devbox("stop", operator)
        (self.dir / "data" / operator / "identity").unlink()
        (self.dir / f"{operator}.token").write_text(self.cli("cluster", "create", name, "--region", region).stdout)
        self.restart(operator)

    def endpoints(self):
        return [self.setting(f"shard-{i}", "listen") for i in (1, 2, 3)]

    def close(self, keep=False):
        self.devbox("kill", check=False)
        self.net.close()
        super().close(keep)
