"""Running one case: a folder of its own, limits, and what must hold afterwards whatever the case is."""

import dataclasses
import hashlib
import os
import pathlib
import re
import resource
import shutil
import signal
import stat
import threading
import time

KEY = "sk-proj-Zx8Qv7Lm2Ty5Rk9Wd4Hb6Nc3Pf1Gs0Ja8Ue7Xi2Oo5Mm9Vq1"
MEMORY_KB = 1_000_000
CPU_SECONDS = 60
WALL_SECONDS = 600
IDLE_SECONDS = 45


@dataclasses.dataclass
class Case:
    """What is typed and what is due. `make` is given the folder that the program runs in."""

    kind: str
    name: str
    argv: list
    make: object = None
    # Exit codes that are right: random damage may leave a file that can be read.
    codes: tuple = (2,)
    # Words that a refusal must hold, the place above all.
    words: tuple = ()
    # A finished run, `run`, made of `d.jsonl`, stands in the folder.
    run: bool = False
    # What may change or appear, by the beginning of its path.
    writes: tuple = ()
    env: dict = dataclasses.field(default_factory=dict)
    limits: tuple = ()
    as_nobody: bool = False
    stdin: object = b""
    stdout_to: str = ""
    server: object = None
    after: object = None
    memory: int = MEMORY_KB
    cpu: float = CPU_SECONDS
    # Nothing needs to be said about how to go on.
    needs_hint: bool = True
    small: bool = False


@dataclasses.dataclass
class Outcome:
    code: int
    signal: int
    out: bytes
    err: str
    peak: int
    cpu: float
    is_hung: bool


def described(path):
    """What stands at a path, without following links."""
    kind = os.lstat(path).st_mode
    if stat.S_ISLNK(kind):
        return "link to " + os.fsdecode(os.readlink(path))
    if stat.S_ISREG(kind):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return "special" if not stat.S_ISDIR(kind) else "folder"


def everything(folder):
    found = {}
    for root, folders, files in os.walk(os.fsencode(folder)):
        for name in [*files, *[name for name in folders if os.path.islink(os.path.join(root, name))]]:
            path = os.path.join(root, name)
            found[os.fsdecode(os.path.relpath(path, os.fsencode(folder)))] = described(path)
    return found


class Slot:
    """A folder in which one case after the other runs, so that what a run remembers of its place stays true."""

    def __init__(self, root, binary):
        self.root, self.binary = pathlib.Path(root), binary
        self.place, self.pristine = self.root / "place", self.root / "pristine"
        self.tmp, self.home = self.root / "tmp", self.root / "home"
        for folder in (self.tmp, self.home):
            folder.mkdir(parents=True)
            folder.chmod(0o777)

    def clear(self, with_run):
        shutil.rmtree(self.place, ignore_errors=True)
        if with_run:
            shutil.copytree(self.pristine, self.place, symlinks=True)
        else:
            self.place.mkdir()

    def environment(self, more):
        env = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LD_LIBRARY_PATH")}
        env |= {"HOME": str(self.home), "TMPDIR": str(self.tmp), "WIMHF_CACHE_DIR": str(self.place / "cache"),
                "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "OPENAI_API_KEY": KEY}
        env |= more
        return {name: value for name, value in env.items() if value is not None}

    def call(self, argv, case=None):
        """Runs the program to its end or to the wall clock's."""
        case = case or Case("", "", argv)
        feed, out, err = os.pipe(), os.pipe(), os.pipe()
        environment = self.environment(case.env)
        arguments = [os.fsencode(self.binary), *[os.fsencode(one) for one in argv]]
        child = os.fork()
        if child == 0:
            try:
                os.chdir(self.place)
                os.dup2(feed[0], 0)
                os.dup2(os.open(case.stdout_to, os.O_WRONLY) if case.stdout_to else out[1], 1)
                os.dup2(err[1], 2)
                os.closerange(3, 256)
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                for which, most in case.limits:
                    resource.setrlimit(which, (most, most))
                if case.as_nobody:
                    # Limits of processes do not hold for root.
                    os.setgid(65534)
                    os.setuid(65534)
                os.execve(arguments[0], arguments, environment)
            except OSError as error:
                os.write(2, f"cannot start: {error}".encode())
            finally:
                os._exit(127)
        for end in (feed[0], out[1], err[1]):
            os.close(end)
        texts = {}

        def read(name, end):
            with open(end, "rb") as stream:
                texts[name] = stream.read()

        def write():
            with open(feed[1], "wb") as stream:
                try:
                    stream.write(case.stdin() if callable(case.stdin) else case.stdin)
                    stream.flush()
                except (BrokenPipeError, OSError):
                    pass

        threads = [threading.Thread(target=read, args=("out", out[0])), threading.Thread(target=read, args=("err", err[0])),
                   threading.Thread(target=write)]
        hung = threading.Event()
        over = threading.Event()

        def watch():
            began, spent, since = time.monotonic(), -1, time.monotonic()
            while not over.wait(0.2):
                try:
                    with open(f"/proc/{child}/stat") as file:
                        fields = file.read().rsplit(")", 1)[1].split()
                except (OSError, IndexError):
                    continue
                now, resident = time.monotonic(), int(fields[21]) * 4
                if int(fields[11]) + int(fields[12]) != spent:
                    spent, since = int(fields[11]) + int(fields[12]), now
                # What has done nothing for so long waits for what never comes.
                is_late = now - began > WALL_SECONDS or now - since > IDLE_SECONDS
                # Well over what is allowed: the machine is not to be filled to prove it.
                if is_late or resident > max(case.memory, MEMORY_KB) * 2.5:
                    hung.set() if is_late else None
                    os.kill(child, signal.SIGKILL)
                    return

        watcher = threading.Thread(target=watch)
        for thread in [*threads, watcher]:
            thread.start()
        _, status, usage = os.wait4(child, 0)
        over.set()
        for thread in [*threads, watcher]:
            thread.join()
        ended = os.WIFSIGNALED(status)
        return Outcome(code=-1 if ended else os.WEXITSTATUS(status), signal=os.WTERMSIG(status) if ended else 0,
                       out=texts.get("out", b""), err=texts.get("err", b"").decode(errors="replace"),
                       peak=usage.ru_maxrss, cpu=usage.ru_utime + usage.ru_stime, is_hung=hung.is_set())

    def run(self, case):
        """What is wrong with a case; an empty list where all is right. And its outcome."""
        self.clear(case.run)
        argv, env = list(case.argv), dict(case.env)
        if case.make:
            case.make(self.place)
        stop = None
        if case.server:
            url, stop = case.server()
            argv = [one.replace("URL", url) if isinstance(one, str) else one for one in argv]
        before = everything(self.place)
        if case.as_nobody:
            self.place.chmod(0o777)
        outcome = self.call(argv, dataclasses.replace(case, env=env))
        if stop:
            stop()
        after = everything(self.place)
        return faults(case, outcome, before, after, self), outcome


def faults(case, outcome, before, after, slot):
    found = []
    if outcome.is_hung:
        return ["did not end: it waits for something, or works for ever"]
    if outcome.signal:
        found.append(f"ended by signal {outcome.signal} at {outcome.peak // 1000} MB: {outcome.err[-300:]}")
    elif outcome.code not in case.codes:
        found.append(f"exit {outcome.code}, due is {' or '.join(map(str, case.codes))}: {outcome.err[-600:]}")
    if outcome.peak > case.memory:
        found.append(f"{outcome.peak // 1000} MB of memory")
    if outcome.cpu > case.cpu:
        found.append(f"{outcome.cpu:.0f} s of processor time")
    found += message_faults(case, outcome)
    changed = [name for name, what in before.items()
               if after.get(name) != what and not name.startswith(tuple(case.writes) or ("\0",))]
    if changed:
        found.append(f"changed or lost: {changed[:3]}")
    left = [name for name in after if ".wimhf-tmp-" in name] + [name for name in os.listdir(slot.tmp)]
    if left:
        found.append(f"left behind: {left[:3]}")
        for name in os.listdir(slot.tmp):
            path = slot.tmp / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if outcome.code == 2:
        allowed = ("cache", "run2/", *case.writes)
        new = [name for name in after if name not in before and not name.startswith(allowed)]
        if new:
            found.append(f"refused, and yet made: {new[:3]}")
    told = outcome.out + outcome.err.encode()
    if KEY.encode() in told or KEY[:40].encode() in told:
        found.append("the key is shown")
    if case.server:
        for root, _, files in os.walk(slot.place):
            for name in files:
                path = os.path.join(root, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        if KEY[:40].encode() in file.read():
                            found.append(f"the key is in {name}")
    if case.after and not outcome.signal:
        found += case.after(slot.place, outcome)
    return found


# What no user should read: names of types, places in sources, numbers of the system.
INNER = re.compile(r"panicked|RUST_BACKTRACE|\bSome\(|\bErr\(|\bunwrap\b|\.rs:\d|\.wimhf-tmp-|ComputeError|ErrString|Os \{")


def message_faults(case, outcome):
    err, found = outcome.err, []
    inner = INNER.search(err)
    if inner:
        found.append(f"says {inner.group()!r}: {err[-400:]}")
    if "a defect of wimhf" in err:
        found.append(f"calls itself defective: {err[-400:]}")
    control = [c for c in err if (ord(c) < 32 and c not in "\n\t\r") or c in "\x7f\x9b\u202e"]
    if control:
        found.append(f"says control characters {control[0]!r}")
    if outcome.code != 2:
        return found
    at = [hit.start() for hit in re.finditer(r"(?m)^error: ", err)]
    if not at and "Usage: wimhf" in err:
        # Typed without what it needs: its help.
        return found
    if len(at) != 1:
        return [*found, f"{len(at)} errors: {err[-400:]}"]
    message = err[at[0] + len("error: "):]
    if len(message) > 4000:
        found.append(f"a message of {len(message)} characters")
    usage = "For more information, try" in message
    # "must lie between 0 and 1" says what to do, too.
    if case.needs_hint and "hint:" not in message and " must " not in message and not usage:
        found.append(f"no hint: {message[:300]!r}")
    for word in case.words:
        if word.lower() not in message.lower():
            found.append(f"lacks {word!r}: {message[:300]!r}")
    what = message.split("\nhint:")[0]
    for part in set() if usage else {part.strip() for part in re.split(r": |\n", what) if len(part.strip()) > 12}:
        if what.count(part) > 1:
            found.append(f"says twice {part!r}: {message[:300]!r}")
            break
    if message.count("(os error") > 1 or message.count("hint:") > 1:
        found.append(f"says a cause or a hint twice: {message[:300]!r}")
    return found
