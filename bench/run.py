#!/usr/bin/env python3
"""The benchmark: this library and other frameworks, one table.

    bench/run.py                     every row
    bench/run.py tiny8 matmul512/1   some rows; "/1" asks for one thread (default: all)
    bench/run.py --list              the names of the rows
      --rounds N      how often the frameworks take turns (7)
      --peers A,B     only these columns: off, sync, torch, compile, jax, tinygrad, numpy, blas
      --venv DIR      where the peers are installed (build/bench-venv, made when missing)
      --build DIR     where the library is built (build)
      --env A=B       for our columns, may be given several times
      --nice N        priority of the processes, all the same (0; root may go down to -20)
      --write         also writes docs/benchmarks.md (every row is measured then)

How it measures: each column is a process of its own that stays for the whole run. For a
row all make the same work and run it until nothing new is compiled; then they take turns,
about 0.2 s each; whoever is not at work is stopped with SIGSTOP, so that no thread of an
idle pool can spin. A column shows the median over the rounds of the median within the
round; a ratio is the median over the rounds of the two times next to each other.
"""
import argparse
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ["torch==2.13.0", "jax", "tinygrad", "numpy"]
COLUMNS = {"off": "built-in", "sync": "C", "torch": "torch", "compile": "torch.compile",
           "jax": "jax.jit", "tinygrad": "tinygrad", "numpy": "numpy", "blas": "OpenBLAS"}
ONLY = {"numpy": ("matmul", "sum"), "blas": ("matmul",)}  # kinds; the others do all
# What issue 3 asks for: our time over that of torch, at most.
WANTED = {"tiny8": 0.2, "tiny32": 0.4, "beautiful": 0.55, "mlp128": 0.45, "mlp1": 0.1,
          "epoch500": 0.4, "matmul": 1.0, "conv": 0.75, "expsum": 0.35, "softmax": 0.5,
          "layernorm": 0.5, "entropy": 0.5, "attention": 0.8}


def wanted(row):
    name = row.split("/")[0]
    return WANTED.get(name) or WANTED.get(name.rstrip("0123456789"))


def set_priority(nice):
    """In a new session: on Linux a nice value counts only within its session's group."""
    if not nice:
        return
    os.nice(nice)
    if os.path.exists("/proc/self/autogroup"):
        pathlib.Path("/proc/self/autogroup").write_text(str(nice))


class Worker:
    """A process that answers requests, and is stopped in between."""

    def __init__(self, column, threads, options, works):
        self.works, self.column = works, column
        self.process = subprocess.Popen(command(column, threads, options) + ["serve"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, start_new_session=True,
                                        preexec_fn=lambda: set_priority(options.nice),
                                        env=environment(column, threads, options))
        self.pause()

    def signal(self, number):
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def ask(self, line):
        """The words of the answer, or None after an error."""
        self.signal(signal.SIGCONT)
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().split()
        except BrokenPipeError:
            answer = []
        self.pause()
        if not answer or answer[0] == "error":
            print(f"  {self.column}: {' '.join(answer) or 'the process ended'}", file=sys.stderr)
            return None
        return answer[1:]

    def times(self, work, count):
        words = self.ask(f"run {work} {count} {' '.join(self.works[work])}")
        return words and [float(w) for w in words]

    def close(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.process.wait()


def command(column, threads, options):
    if column in ("off", "sync"):
        return [options.build + "/bench/bench"]
    if column == "blas":
        return [options.build + "/bench/bench", "--blas"]
    return [options.venv + "/bin/python", str(ROOT / "bench/peers.py"), column, str(threads)]


def environment(column, threads, options):
    env = dict(os.environ, TG_THREADS=str(threads))
    env.pop("DEBUG", None)
    if column in ("off", "sync"):
        env["TG_JIT"] = column
        env.update(e.split("=", 1) for e in options.env)
    return env


def warm_up(workers, work):
    """Those that can do the work, each with the number of runs that fill its turn."""
    able = {}
    for column, w in workers.items():
        start = time.monotonic()
        times = w.times(work, 1)
        for _ in range(3):  # TinyJit records in the second run; caches fill
            if times and time.monotonic() - start < 10:
                times = w.times(work, 1)
        if times:
            able[column] = max(1, min(500, int(200 / max(times[0], 1e-3))))
    return able


def measure(workers, work, rounds):
    """{column: [the median of each round]}"""
    able = warm_up(workers, work)
    taken = {column: [] for column in able}
    for _ in range(rounds):
        for column, count in able.items():
            times = workers[column].times(work, count)
            if times:
                taken[column].append(statistics.median(times))
    return {column: t for column, t in taken.items() if len(t) == rounds}


def ratio(taken, ours, theirs="torch"):
    if ours not in taken or theirs not in taken:
        return None
    return statistics.median(a / b for a, b in zip(taken[ours], taken[theirs]))


def number(x, form="{:.3g}"):
    if x is None:
        return ""
    return f"{x:.0f}" if x >= 1000 else form.format(x)


def table(columns):
    """The head of the table and a function that gives one line of it."""
    ours = [c for c in ("off", "sync") if c in columns]
    head = ["work", *(COLUMNS[c] for c in columns)]
    if "torch" in columns:
        head += [COLUMNS[c] + " ratio" for c in ours] + ["wanted"]

    def line(row, taken):
        cells = [row, *(number(taken.get(c) and statistics.median(taken[c])) for c in columns)]
        if "torch" in columns:
            cells += [number(ratio(taken, c), "{:.2f}") for c in ours]
            cells += [number(wanted(row), "{:.2f}")]
        return cells
    return head, line


def install(venv):
    """A venv with the peers, the first time. torch from its own channel of CPU builds is
    smaller, but the plain package does as well."""
    if not os.path.exists(venv + "/bin/python"):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    have = subprocess.run([venv + "/bin/python", "-c", "import torch, jax, tinygrad, numpy"],
                          stderr=subprocess.DEVNULL).returncode == 0
    if not have:
        subprocess.run([venv + "/bin/python", "-m", "pip", "install", *PEERS], check=True)


def read_works(options):
    out = subprocess.run([options.build + "/bench/bench", "list"], check=True, text=True,
                         capture_output=True).stdout
    return {line.split()[1]: line.split()[2:] for line in out.splitlines()}


def all_rows(works):
    rows = []
    for work in works:
        rows.append(work)
        if work.startswith("matmul"):
            rows.append(work + "/1")
    return rows


def measure_rows(rows, columns, options, works):
    """Yields (row, taken). Rows of one thread have processes of their own."""
    threads = os.cpu_count()
    pools = {}
    try:
        for row in rows:
            work, _, count = row.partition("/")
            count = int(count or threads)
            if count not in pools:
                pools[count] = {c: Worker(c, count, options, works) for c in columns}
            fit = {c: w for c, w in pools[count].items()
                   if works[work][0] in ONLY.get(c, works[work][0])}
            yield row, measure(fit, work, options.rounds)
    finally:
        for pool in pools.values():
            for w in pool.values():
                w.close()


def arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", nargs="*")
    p.add_argument("--list", action="store_true")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--peers", default=",".join(COLUMNS))
    p.add_argument("--venv", default=str(ROOT / "build/bench-venv"))
    p.add_argument("--build", default=str(ROOT / "build"))
    p.add_argument("--env", action="append", default=[])
    p.add_argument("--nice", type=int, default=0)
    p.add_argument("--write", action="store_true")
    return p.parse_args()


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the workers end too
    works = read_works(options)
    rows = options.rows or all_rows(works)
    if options.list:
        return print("\n".join(rows))
    unknown = [r for r in rows if r.partition("/")[0] not in works]
    if unknown:
        sys.exit(f"no such row: {' '.join(unknown)}; --list names them")
    columns = [c for c in COLUMNS if c in options.peers.split(",")]
    if set(columns) - {"off", "sync", "blas"}:
        install(options.venv)
    head, line = table(columns)
    print("times in milliseconds\n" + " ".join(f"{h:>13}" for h in head), flush=True)
    for row, taken in measure_rows(rows, columns, options, works):
        print(" ".join(f"{c:>13}" for c in line(row, taken)), flush=True)


if __name__ == "__main__":
    main()
