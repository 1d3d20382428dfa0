"""A warm Python interpreter for Flyte's tasks: agent/worker_page.h and worker.proto say how an agent
speaks with it. Needs nothing but the Python of the task's environment, and `flyte` in it.

    switchyard_worker.py fork  --concurrency N    imports the SDK once, forks a child for each task
    switchyard_worker.py reuse --concurrency N    runs N tasks at a time in this very process
"""

import contextvars
import gc
import importlib
import mmap
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
import traceback

SOCKET, PAGE, STDOUT, STDERR = 3, 4, 5, 6
PAGE_MAGIC, PROTOCOL = 0x53595057, 1
SUCCEEDED, FAILED, REFUSED, CANCELLED = 1, 2, 4, 5
PR_SET_PDEATHSIG = 1
PRELOAD = """flyte._bin.runtime flyte._internal.runtime.entrypoints flyte._internal.runtime.rusty
    flyte._internal.runtime.taskrunner flyte._internal.controllers.remote._controller
    flyte._internal.resolvers.default flyte.remote._client.controlplane flyte.extras flyte.io
    flyte.report fsspec.implementations.local""".split()


# ---- protobuf, as far as it is needed ----


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode(errors="replace") if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data):
    """(number, int or bytes) of each field."""
    at = 0

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = read()
        value = read()
        if tag & 7 == 2:
            value, at = data[at : at + value], at + value
        yield tag >> 3, value


class Task:
    """A `Task` of ToWorker that holds a Program."""

    def __init__(self, data):
        self.args, self.env, self.cwd, self.joins = [], {}, ".", []
        program = b""
        for number, value in fields(data):
            if number == 1:
                self.id = value
            elif number == 12:
                program = value
        for number, value in fields(program):
            text = os.fsdecode(value)
            if number == 1:
                self.args.append(text)
            elif number == 2:
                key, _, rest = text.partition("=")
                self.env[key] = rest
            elif number == 3:
                self.cwd = text
            elif number == 4 and text:
                self.joins = text.split(":")


# ---- the agent ----


class Agent:
    """Frames of a length and a message, and the page that says what runs."""

    def __init__(self, concurrency):
        self.socket = socket.socket(fileno=SOCKET)
        self.page = mmap.mmap(PAGE, 4096)
        self.slots = [0] * concurrency
        self.lock = threading.Lock()
        self.input = b""
        struct.pack_into("<I", self.page, 0, PAGE_MAGIC)
        self.send(field(1, PROTOCOL))

    def send(self, message):
        with self.lock:
            self.socket.sendall(struct.pack("<I", len(message)) + message)

    def receive(self):
        """The messages that are there; None: the agent has gone."""
        data = self.socket.recv(1 << 16)
        if not data:
            return None
        self.input += data
        messages = []
        while len(self.input) >= 4:
            size = struct.unpack_from("<I", self.input)[0]
            if len(self.input) < 4 + size:
                break
            messages.append(self.input[4 : 4 + size])
            self.input = self.input[4 + size :]
        return messages

    def log(self, task_id, stream, data):
        if data:
            self.send(field(2, field(1, task_id) + field(2, stream) + field(3, data)))

    def started(self, task_id):
        slot = self.slots.index(0)
        self.slots[slot] = task_id
        now = time.time_ns()
        struct.pack_into("<q", self.page, 16 + 16 * slot, now)
        struct.pack_into("<Q", self.page, 8 + 16 * slot, task_id)
        self.send(field(5, task_id))
        return now

    def ended(self, task_id, kind, started_ns, exit_code=0, message=""):
        if task_id in self.slots:
            slot = self.slots.index(task_id)
            self.slots[slot] = 0
            struct.pack_into("<Q", self.page, 8 + 16 * slot, 0)
        result = field(1, task_id) + field(2, kind) + field(6, message)
        result += field(7, started_ns) + field(8, time.time_ns()) + field(9, exit_code)
        self.send(field(4, result))


class Worker:
    """What both ways of running tasks share: reading what the agent says."""

    def __init__(self, concurrency):
        self.agent = Agent(concurrency)
        self.stopping = False

    def on_socket(self):
        messages = self.agent.receive()
        if messages is None:
            self.kill_all()
            os._exit(0)
        for message in messages:
            for number, value in fields(message):
                if number == 1:
                    task = Task(value)
                    if self.stopping:
                        self.agent.ended(task.id, CANCELLED, 0)
                    else:
                        self.start(task)
                elif number == 3:
                    self.cancel(value)
                elif number == 4:
                    self.stopping = True


def preload():
    """The SDK, and what else SWITCHYARD_PRELOAD names; versions of it that lack a module are fine."""
    import flyte  # noqa: F401

    for name in PRELOAD + os.environ.get("SWITCHYARD_PRELOAD", "").split():
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"{name} is not preloaded: {error}", file=sys.stderr)


# ---- a child for each task ----


class Postponed:
    """Threads do not survive a fork: what the SDK starts when it is imported starts in the child."""

    def __enter__(self):
        self.threads, self.start = [], threading.Thread.start
        threading.Thread.start = lambda thread: self.threads.append(thread)
        return self

    def __exit__(self, *_):
        threading.Thread.start = self.start

    def go(self):
        import asyncio

        self.__exit__()
        for thread in self.threads:
            owner = getattr(thread._target, "__self__", None)
            if isinstance(getattr(owner, "loop", None), asyncio.AbstractEventLoop):
                owner.loop.close()  # its descriptors are shared with the parent and its children
                owner.loop = asyncio.new_event_loop()
            thread.start()


async def rehearsed():
    """A task's docstring is parsed."""


def rehearse(postponed):
    """The SDK imports much of itself when it first connects and when a first task is defined: a child
    does so, and says what that was. No call is made."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        signal.alarm(10)
        try:
            postponed.go()
            from flyte._initialize import init_in_cluster
            from flyte._internal.controllers import create_controller

            os.environ.update({"_U_EP_OVERRIDE": "localhost:1", "_U_INSECURE": "true"})
            create_controller(ct="remote", **init_in_cluster(org="o", project="p", domain="d"))
            importlib.import_module("flyte._utils.asyncify")
            sys.modules["flyte"].TaskEnvironment("rehearsal").task(rehearsed)
            os.write(write, "\n".join(sys.modules).encode()[: 1 << 16])
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as names:
        for name in names.read().split():
            try:
                importlib.import_module(name)
            except ImportError:
                pass  # it was made, not imported
    os.waitpid(pid, 0)


class Certificates:
    """The SDK makes two TLS contexts, whatever it connects to, and each reads the certificates of all authorities,
    20 ms: a child finds two that nobody has used. What it asks for otherwise is made for it."""

    def __init__(self):
        import ssl

        import certifi

        self.asked, self.make = {"cafile": certifi.where()}, ssl.create_default_context
        self.ready = [self.make(**self.asked) for _ in range(2)]
        ssl.create_default_context = self.create

    def create(self, *args, **kwargs):
        if args or kwargs != self.asked or not self.ready or "SSLKEYLOGFILE" in os.environ:
            return self.make(*args, **kwargs)
        return self.ready.pop()


def prepare():
    """What the SDK computes in each process anew, and is the same in all."""
    try:
        Certificates()
        importlib.import_module("flyte._utils.entry_points").entry_points(group="flyte.plugins.types")
    except (ImportError, AttributeError, OSError) as error:
        print(f"not prepared: {error}", file=sys.stderr)  # another version of the SDK; each child does it


class Child:
    def __init__(self, task, pid, outputs):
        self.id, self.pid, self.outputs = task.id, pid, outputs
        self.pidfd = os.pidfd_open(pid)
        self.cancels = 0


class Forker(Worker):
    def __init__(self, concurrency):
        import ctypes

        self.libc = ctypes.CDLL(None)
        with Postponed() as self.postponed:
            preload()
            rehearse(self.postponed)
            prepare()
        if len(os.listdir("/proc/self/task")) != 1:
            sys.exit("what was imported has started threads: this interpreter cannot be forked")
        gc.collect()
        gc.freeze()
        super().__init__(concurrency)
        self.children, self.pid = {}, os.getpid()
        self.selector = selectors.DefaultSelector()
        self.selector.register(SOCKET, selectors.EVENT_READ, self.on_socket)

    def run(self):
        while self.children or not self.stopping:
            for key, _ in self.selector.select():
                if key.fd in self.selector.get_map():
                    key.data()
        os._exit(0)  # nothing of the SDK has begun that would want to end

    def start(self, task):
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        started_ns = self.agent.started(task.id)
        try:
            pid = os.fork()
        except OSError as error:
            for fd in (out_read, out_write, err_read, err_write):
                os.close(fd)
            self.agent.ended(task.id, REFUSED, 0, message=f"fork: {error}")
            return
        if pid == 0:
            os.dup2(out_write, 1)
            os.dup2(err_write, 2)
            self.become(task, (out_read, out_write, err_read, err_write))
        os.close(out_write)
        os.close(err_write)
        child = self.children[task.id] = Child(task, pid, {1: out_read, 2: err_read})
        child.started_ns = started_ns
        for stream, fd in child.outputs.items():
            os.set_blocking(fd, False)
            self.selector.register(fd, selectors.EVENT_READ, lambda c=child, s=stream: self.read(c, s))
        self.selector.register(child.pidfd, selectors.EVENT_READ, lambda c=child: self.reap(c))

    def become(self, task, fds):
        """In the child: never returns."""
        code = 1
        try:
            self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self.pid:
                os._exit(1)
            os.setpgid(0, 0)
            for path in task.joins:
                with open(path, "w") as file:
                    file.write("0")
            self.selector.close()
            for child in self.children.values():
                fds += (child.pidfd, *child.outputs.values())
            for fd in (*fds, SOCKET, PAGE, STDOUT, STDERR):
                os.close(fd)
            code = run_program(task, self.postponed)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def read(self, child, stream):
        """Until the pipe is empty; False: at its end."""
        fd = child.outputs[stream]
        while True:
            try:
                data = os.read(fd, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                self.selector.unregister(fd)
                os.close(fd)
                del child.outputs[stream]
                return
            self.agent.log(child.id, stream, data)

    def reap(self, child):
        _, status = os.waitpid(child.pid, 0)
        for stream in list(child.outputs):
            self.read(child, stream)
        for fd in (child.pidfd, *child.outputs.values()):
            self.selector.unregister(fd)
            os.close(fd)
        try:
            os.killpg(child.pid, signal.SIGKILL)  # what it left running
        except ProcessLookupError:
            pass
        del self.children[child.id]
        code = os.waitstatus_to_exitcode(status)
        self.agent.ended(child.id, FAILED if code else SUCCEEDED, child.started_ns, code)

    def cancel(self, task_id):
        child = self.children.get(task_id)
        if child is None:
            return
        child.cancels += 1
        for kill, target in ((os.killpg, child.pid), (os.kill, child.pid)):
            try:
                kill(target, signal.SIGTERM if child.cancels == 1 else signal.SIGKILL)
                return
            except ProcessLookupError:
                pass  # it has no group of its own yet

    def kill_all(self):
        for child in self.children.values():
            os.kill(child.pid, signal.SIGKILL)


def run_program(task, postponed):
    """What the environment's a0 does, in a process that has imported it already. The exit status."""
    os.environ.clear()
    os.environ.update(task.env)
    time.tzset()
    os.chdir(task.cwd)
    sys.argv = task.args
    sys.path[0:1] = [os.path.dirname(task.args[0])] + task.env.get("PYTHONPATH", "").split(":")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    postponed.go()
    code = 0
    try:
        sys.modules["flyte._bin.runtime"].main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    import atexit

    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


# ---- task after task in one process ----

current = contextvars.ContextVar("switchyard_task", default=0)


class Output:
    """sys.stdout and sys.stderr: every line goes to the task that wrote it."""

    encoding, errors, closed = "utf-8", "replace", False

    def __init__(self, agent, stream):
        self.agent, self.stream = agent, stream

    def write(self, text):
        data = text.encode(errors="replace")
        if current.get():
            self.agent.log(current.get(), self.stream, data)
        else:
            os.write(self.stream, data)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        pass

    def isatty(self):
        return False

    def fileno(self):
        return self.stream

    def writable(self):
        return True


def arguments(args):
    """a0's options, and what follows them."""
    options, at = {}, 1
    while at + 1 < len(args) and args[at].startswith("--"):
        options[args[at][2:].replace("-", "_")] = args[at + 1]
        at += 2
    return options, args[at:]


class Reuser(Worker):
    def __init__(self, concurrency):
        preload()
        super().__init__(concurrency)
        self.running, self.oldest, self.loaded, self.controller = {}, [], {}, None
        self.concurrency = concurrency
        self.rss_max = int(os.environ.get("SWITCHYARD_RSS_MAX", "0"))
        sys.stdout, sys.stderr = Output(self.agent, 1), Output(self.agent, 2)

    def run(self):
        import asyncio

        asyncio.run(self.main())

    async def main(self):
        import asyncio

        self.loop = asyncio.get_running_loop()
        self.loading = asyncio.Lock()
        self.loop.add_reader(SOCKET, self.on_socket_and_end)
        for fd, stream in ((STDOUT, 1), (STDERR, 2)):
            os.set_blocking(fd, False)
            self.loop.add_reader(fd, self.read, fd, stream)
        await asyncio.Event().wait()

    def on_socket_and_end(self):
        self.on_socket()
        self.end_if_idle()

    def end_if_idle(self):
        if not self.running and (self.stopping or self.grown()):
            os._exit(0)  # at once: a task that is still in the socket goes to another worker

    def grown(self):
        """It holds more memory than it should: a new one takes its place."""
        with open("/proc/self/statm") as file:
            return 0 < self.rss_max < int(file.read().split()[1]) * mmap.PAGESIZE

    def read(self, fd, stream):
        """What was written past sys.stdout: by the task that has run longest."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        if self.oldest:
            self.agent.log(self.oldest[0], stream, data)

    def start(self, task):
        self.running[task.id] = self.loop.create_task(self.attempt(task))
        self.oldest.append(task.id)

    def cancel(self, task_id):
        if task_id in self.running:
            self.running[task_id].cancel()

    def kill_all(self):
        pass

    async def attempt(self, task):
        import asyncio

        current.set(task.id)
        started_ns, code = self.agent.started(task.id), 0
        try:
            await self.execute(task)
        except asyncio.CancelledError:
            code = -signal.SIGTERM
        except BaseException:
            traceback.print_exc()
            code = 1
        for fd, stream in ((STDOUT, 1), (STDERR, 2)):
            self.read(fd, stream)
        del self.running[task.id]
        self.oldest.remove(task.id)
        self.agent.ended(task.id, FAILED if code else SUCCEEDED, started_ns, code)
        self.end_if_idle()

    async def execute(self, task):
        from flyte._internal.runtime.convert import convert_from_native_to_error
        from flyte._internal.runtime.io import upload_error

        options, rest = arguments(task.args)
        if self.concurrency == 1 or self.controller is None:
            os.environ.update(task.env)
        try:
            await self.execute_with(options, rest, task.env, task.cwd)
        except Exception as error:
            traceback.print_exc()
            told = convert_from_native_to_error(error)
            await upload_error(told.err, options["outputs_path"], recoverable=told.recoverable)

    async def execute_with(self, options, rest, env, cwd):
        from datetime import datetime

        from flyte._internal.runtime import rusty

        async with self.loading:  # once, whoever comes first
            if self.controller is None:
                os.chdir(cwd)
                self.controller = await rusty.create_controller(env["_U_EP_OVERRIDE"], insecure=True)
                self.watch = self.loop.create_task(self.watch_controller())
            bundle, template = await self.load(options, rest)
        start = datetime.fromisoformat(options["run_start_time"].replace("Z", "+00:00"))
        await rusty.run_task(
            template,
            self.controller,
            env["_U_ORG_NAME"],
            env["FLYTE_INTERNAL_EXECUTION_PROJECT"],
            env["FLYTE_INTERNAL_EXECUTION_DOMAIN"],
            options["run_name"],
            options["name"],
            options.get("raw_data_path"),
            options["outputs_path"],
            env["_U_RUN_BASE"],
            options["version"],
            image_cache=options.get("image_cache"),
            checkpoint_path=options.get("checkpoint_path"),
            prev_checkpoint=options.get("prev_checkpoint"),
            code_bundle=bundle,
            input_path=options["inputs"],
            run_start_time=start,
        )

    async def load(self, options, rest):
        from flyte._internal.runtime import rusty

        tgz, pkl, resolver = options.get("tgz"), options.get("pkl"), options.get("resolver")
        key = (tgz or pkl, resolver, *rest)
        if key in self.loaded:
            return self.loaded[key]
        bundle, template = self.loaded.get(tgz), None
        if pkl:
            bundle, template = await rusty.download_load_pkl(options["dest"], options["version"], pkl)
        elif tgz and bundle is None:
            bundle = await rusty.download_tgz(options["dest"], options["version"], tgz)
            self.loaded[tgz] = bundle
        if template is None:
            template = rusty.load_task_from_code_bundle(resolver, rest)
        self.loaded[key] = bundle, template
        return bundle, template

    async def watch_controller(self):
        """Without its controller no action of this process can go on: they run again elsewhere."""
        current.set(0)
        try:
            await self.controller.watch_for_errors()
        except Exception:
            traceback.print_exc()
            os._exit(1)


def main():
    mode, concurrency = sys.argv[1], int(sys.argv[sys.argv.index("--concurrency") + 1])
    worker = {"fork": Forker, "reuse": Reuser}[mode](concurrency)
    worker.run()


if __name__ == "__main__":
    main()
