"""Malformed, hostile and extreme inputs, each called once on the built program: a table of tried and right.

    python3 tests/campaign target/debug/wimhf [--small | --all] [--only KIND] [--jobs N]

Exit 0 where all are right. Whatever the case is, it must end with the exit code that is due, by itself, in at most 1 GB of memory
and a minute of processor time; a refusal says what, where and how to go on, each once, in words of ours; nothing that
was there has changed, no temporary file is left, and the key of the server is nowhere. Needs pyarrow, to write files.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import queue
import shutil
import sys
import tempfile
import time

import cases
from place import Case, Slot


def template(slot):
    """A finished run with everything in it that commands add, in the place where it is used."""
    slot.place.mkdir()
    cases.common(slot.place)
    for argv in cases.TEMPLATE:
        outcome = slot.call(argv)
        if outcome.code != 0:
            sys.exit(f"the run that the cases need: {argv}: exit {outcome.code} {outcome.signal}: {outcome.err}")
    shutil.rmtree(slot.place / "cache", ignore_errors=True)
    shutil.copytree(slot.place, slot.pristine, symlinks=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--small", action="store_true", help="some of each kind")
    parser.add_argument("--only", help="kinds or cases whose name holds this")
    parser.add_argument("--all", action="store_true", help="every case, which takes hours with a slow build; else a third of the kinds that have many")
    parser.add_argument("--every", type=int, default=1, help="each Nth case only")
    parser.add_argument("--offset", type=int, default=0, help="begin to count there")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--after", type=int, default=0, help="leave out so many at the beginning")
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("--slowest", type=int, default=0, help="list so many")
    options = parser.parse_args()
    binary = os.path.abspath(options.binary)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-") as root:
        os.chmod(root, 0o755)
        root = pathlib.Path(root)
        # Some cases run as another user, who need not be able to reach the folder of the build.
        binary = shutil.copy(binary, root / "wimhf")
        os.chmod(binary, 0o755)
        slots = queue.Queue()
        first = Slot(root / "0", binary)
        template(first)
        slots.put(first)
        for number in range(1, options.jobs):
            slot = Slot(root / str(number), binary)
            template(slot)
            slots.put(slot)
        chosen = cases.all_cases(first.pristine)
        if options.small:
            chosen = cases.some(chosen)
        elif not (options.all or options.only):
            chosen = cases.a_third(chosen)
        chosen = [case for number, case in enumerate(chosen) if number % options.every == options.offset % options.every]
        if options.only:
            chosen = [case for case in chosen if options.only in f"{case.kind}: {case.name}"]

        chosen = chosen[options.after:]

        def one(case):
            slot = slots.get()
            try:
                return case, *slot.run(case)
            finally:
                slots.put(slot)

        tried, right, wrong, outcomes = collections.Counter(), collections.Counter(), [], []
        peak, cpu, codes = collections.Counter(), collections.Counter(), collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for case, faults, outcome in pool.map(one, chosen):
                tried[case.kind] += 1
                if sys.stderr.isatty() or options.progress:
                    print(f"{sum(tried.values())} of {len(chosen)}: {case.kind}", end="\r", file=sys.stderr)
                right[case.kind] += not faults
                peak[case.kind] = max(peak[case.kind], outcome.peak)
                cpu[case.kind] = max(cpu[case.kind], outcome.cpu)
                codes[case.kind, outcome.code] += 1
                outcomes.append((outcome.cpu, outcome.peak, case))
                if faults:
                    wrong.append(case)
                    print(f"WRONG {case.kind}: {case.name}\n    {' '.join(map(repr, case.argv))[:300]}", flush=True)
                    for fault in faults:
                        print("    " + fault.replace("\n", "\n      "), flush=True)
    for seconds, memory, case in sorted(outcomes, key=lambda one: -one[0])[:options.slowest]:
        print(f"{seconds:6.1f} s {memory // 1000:5} MB  {case.kind}: {case.name}")
    print(f"\n{'kind':44} {'tried':>6} {'right':>6} {'done':>6} {'refused':>8} {'most MB':>8} {'most s':>7}")
    for kind in tried:
        print(f"{kind:44} {tried[kind]:6} {right[kind]:6} {codes[kind, 0]:6} {codes[kind, 2]:8} {peak[kind] // 1000:8} {cpu[kind]:7.1f}")
    total = sum(tried.values())
    print(f"{'all':44} {total:6} {sum(right.values()):6}   in {time.monotonic() - began:.0f} s")
    sys.exit(1 if wrong or not total else 0)


if __name__ == "__main__":
    main()
