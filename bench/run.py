#!/usr/bin/env python3
"""The benchmark: this library and other frameworks, one table.

    bench/run.py                     every row
    bench/run.py tiny8 matmul512/1   some rows; "/1" asks for one thread (default: all)
    bench/run.py --list              the names of the rows
    bench/run.py --kernels tiny8     our kernels in that row, the slowest first
    bench/run.py --processes         whole programs, first steps, memory, sizes
      --top N         with --kernels: how many (10)
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
import datetime
import os
import pathlib
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ["torch==2.13.0", "jax", "tinygrad", "numpy"]
COLUMNS = {"off": "built-in", "sync": "C", "torch": "torch", "compile": "torch.compile",
           "jax": "jax.jit", "tinygrad": "tinygrad", "numpy": "numpy", "blas": "OpenBLAS"}
ONLY = {"numpy": ("matmul", "sum"), "blas": ("matmul",)}  # kinds; the others do all
# What issue 3 asks for: our time over that of torch, at most.
WANTED = {"tiny8": 0.2, "tiny32": 0.4, "beautiful": 0.55, "mlp128": 0.45, "mlp1": 0.1, "mlp1jit": 0.1,
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

    def __init__(self, column, threads, options, works, log=subprocess.DEVNULL, **variables):
        self.works, self.column = works, column
        variables = {**environment(column, threads, options), **variables}
        self.process = subprocess.Popen(command(column, threads, options) + ["serve"], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log, start_new_session=True,
                                        preexec_fn=lambda: set_priority(options.nice),
                                        env=variables)
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
    for name in ("DEBUG", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # it knows the processor itself
        env.pop(name, None)
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


# ---- where the time goes

KERNEL = re.compile(r"^  (\S.*?) +\S+ +([\d.]+) ms +([\d.]+) GFLOP/s +([\d.]+) GB/s")


def kernels(work, column, threads, options, works, runs=10):
    """The milliseconds of one run outside of kernels, and [(milliseconds per run, times per
    run, name, GFLOP/s)], the slowest first, from what DEBUG=2 prints."""
    with tempfile.TemporaryFile("w+") as log:
        w = Worker(column, threads, options, works, log, DEBUG="2")
        w.times(work, 3)
        start = log.seek(0, os.SEEK_END)
        wall = w.times(work, runs) or [0]
        w.close()
        log.seek(start)
        found = {}
        for m in filter(None, map(KERNEL.match, log)):
            ms, count, flops = found.get(m[1], (0, 0, 0))
            found[m[1]] = (ms + float(m[2]), count + 1, flops + float(m[2]) * float(m[3]))
    outside = (sum(wall) - sum(ms for ms, _, _ in found.values())) / runs
    return outside, sorted(((ms / runs, count / runs, name, flops / ms if ms else 0)
                            for name, (ms, count, flops) in found.items()), reverse=True)


def where(rows, results, column, options, works):
    """Lines of a table: share of the machine's peak, and the slowest kernels."""
    peaks, lines = {}, []
    for row in rows:
        work, _, threads = row.partition("/")
        threads = int(threads or os.cpu_count())
        w = Worker(column, threads, options, works)
        if threads not in peaks:
            peaks[threads] = [float(x) for x in w.ask("peak")]
        flops, gbytes = (float(x) for x in w.ask(f"info {work}"))
        w.close()
        if column not in results[row]:
            continue
        seconds = statistics.median(results[row][column]) / 1e3
        outside, found = kernels(work, column, threads, options, works)
        lines.append([row, number(flops / seconds), number(gbytes / seconds),
                      f"{100 * flops / seconds / peaks[threads][0]:.0f}",
                      f"{100 * gbytes / seconds / peaks[threads][1]:.0f}",
                      f"{sum(k[1] for k in found):.0f}", number(outside),
                      "; ".join(f"{name} {number(ms)} ms ({rate:.0f})"
                                for ms, _, name, rate in found[:3])])
    return peaks, lines


# ---- whole processes

def run_process(args, env, nice):
    start = time.monotonic()
    out = subprocess.run(args, env=env, text=True, capture_output=True, start_new_session=True,
                         preexec_fn=lambda: set_priority(nice))
    return time.monotonic() - start, out


def processes(options, works):
    """(label, seconds or text, wanted) of programs that start, work and end."""
    with tempfile.TemporaryDirectory() as folder:
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("TG_", "DEBUG"))}

        def env(name, **more):  # a cache of its own by name; the same name finds it again
            home = f"{folder}/{name}"
            os.makedirs(home, exist_ok=True)
            return dict(plain, XDG_CACHE_HOME=home, HOME=home, CI="1", **more)

        def mnist(label, names, wanted, **more):
            args = [options.build + "/examples/mnist", "--data", options.build + "/data/mnist",
                    "--save", folder + "/mnist.npz"]
            taken = [run_process(args, env(n, **more), options.nice)[0] for n in names]
            yield (f"mnist, 100 steps and the test, {label}", f"{statistics.median(taken):.2f} s",
                   wanted)
        run_process([options.build + "/examples/mnist", "--data", options.build + "/data/mnist",
                     "--save", folder + "/mnist.npz"], env("warm", TG_JIT="sync"), options.nice)
        yield from mnist("warm cache", ["warm"] * 5, "0.7 s")
        yield from mnist("empty cache", ["cold1", "cold2", "cold3"], "2.5 s")
        yield from mnist("no compiler", ["none"] * 3, "3 s", TG_CC="/nonexistent", PATH="")
        for work in ("tiny8", "beautiful"):
            yield from first_steps(work, env, options, works)
    yield from sizes(options)


def first_steps(work, env, options, works):
    """Start of the process to the end of the first step."""
    cases = [(f"ours, {jit}, {cache} cache", [options.build + "/bench/bench", "once", work],
              env(f"{work}-{jit}", TG_JIT=jit))
             for jit, cache in (("off", "no"), ("async", "empty"), ("sync", "empty"),
                                ("sync", "warm"))]
    for peer in ("torch", "compile", "jax", "tinygrad"):
        if peer in options.peers.split(","):
            cases.append((COLUMNS[peer], [options.venv + "/bin/python", str(ROOT / "bench/peers.py"),
                                          peer, str(os.cpu_count()), "once", work, *works[work]],
                          env(f"{work}-{peer}")))
    for label, args, variables in cases:
        _, out = run_process(args, variables, options.nice)
        words = out.stdout.split()
        if out.returncode != 0 or len(words) != 6:
            continue
        made, first, second, memory, compiler = (float(w) for w in words[1:])
        yield (f"{work}, {label}", f"{made:.0f} ms to the end of step 1, which took {first:.1f} ms; "
               f"step 2: {second:.1f} ms; {memory:.0f} MB at peak; compilers: {compiler:.2f} s", "")


def sizes(options):
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run(["strip", "-o", f.name, options.build + "/libteenygrad.so"], check=True)
        yield "library, stripped", f"{os.path.getsize(f.name) / 1e3:.0f} KB", ""
    for name in ("torch", "jaxlib", "tinygrad"):
        for folder in pathlib.Path(options.venv).glob(f"lib/python*/site-packages/{name}"):
            total = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            yield f"{name}, as installed", f"{total / 1e6:.0f} MB", ""


# ---- docs/benchmarks.md

def shell(*args):
    out = subprocess.run(args, text=True, capture_output=True).stdout
    return out.strip().splitlines()[0] if out.strip() else "unknown"


def machine(options):
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), platform.processor())
    code = "import torch,jax,tinygrad,numpy,importlib.metadata as m;" \
           "print(*(f'{n} {m.version(n)}' for n in ('torch','jax','tinygrad','numpy')), sep=', ')"
    return [f"{datetime.date.today()}, commit {shell('git', '-C', str(ROOT), 'describe', '--always', '--dirty')}.",
            f"{model}, {os.cpu_count()} processors, Linux {platform.release()}, "
            f"{shell('cc', '--version')}.",
            f"{shell(options.venv + '/bin/python', '-c', code)}, Python {platform.python_version()}.",
            f"Load average at the start {options.load:.1f}; priority of all measured processes "
            f"{options.nice}; {options.rounds} rounds."]


def markdown(head, lines):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *lines])


def write(options, rows, columns, results, works):
    head, line = table(columns)
    ours = "sync" if "sync" in columns else "off"
    peaks, why = where(rows, results, ours, options, works)
    rest = [["overhead: a replayed step, TG_JIT=" + c, number(
        1e3 * statistics.median(results["overhead"][c])) + " us", "20 us"]
            for c in ("off", "sync") if c in results.get("overhead", {})]
    rest += [list(p) for p in processes(options, works)]
    peak_text = "; ".join(f"{n} thread{'s' * (n > 1)}: {f:.0f} GFLOP/s, {b:.0f} GB/s"
                          for n, (f, b) in sorted(peaks.items()))
    text = TEXT.format(machine="\n".join(machine(options)), command=" ".join(sys.argv), ours=ours,
                       times=markdown(head, [line(r, results[r]) for r in rows]),
                       where=markdown(["work", "GFLOP/s", "GB/s", "% of FMA peak", "% of bandwidth",
                                       "kernels", "ms outside",
                                       "the three slowest kernels (GFLOP/s)"], why),
                       peaks=peak_text, rest=markdown(["what", "measured", "wanted"], rest))
    (ROOT / "docs/benchmarks.md").write_text(text)


TEXT = """# Benchmarks

Written by `{command}`; `make bench` measures the same, `make bench-quick` this library alone.

{machine}

## Times

Milliseconds of one run, median; every column with the same number of threads: all of the machine's, or one
in the rows that end in /1. *built-in* is `TG_JIT=off`, *C* `TG_JIT=sync`. *ratio* is our time over that of eager
PyTorch next to it in the same run, *wanted* the most that the project allows itself. Threads are set through
TG_THREADS, torch.set_num_threads, OPENBLAS_NUM_THREADS and tinygrad's NUM_CPU_THREADS; JAX and tinygrad are
also held on as many processors. How the columns take turns stands in `bench/run.py`; what each row computes, in
`bench/bench.c` and `bench/peers.py`. *overhead* is an MLP 8-8-4 with one row, whose kernels do next to nothing:
graph, lookup and launches are what is left. *mlp1jit* is mlp1 as a captured step (`tg_jit`), beside the same eager
step of PyTorch. An empty cell: that framework has no such row, or failed.

{times}

## Where the time goes

Operations of the contractions and bytes that must move at least once, both from the shapes, over the measured time
of `TG_JIT={ours}`; percent of what a loop of multiply-adds in registers and a loop that reads memory reach on this
machine in the same run ({peaks}). Rows whose data fit in a cache can pass 100 % of the bandwidth. *ms outside* is the
time of a run less that of its kernels, in runs with `DEBUG=2`, whose printing is included.

{where}

## Whole programs, first steps, memory, size

The mnist rows are whole processes, default settings (`TG_JIT=async`). First steps are counted from the start of the
process, imports and inputs included.

{rest}
"""


def arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("rows", nargs="*")
    for flag in ("--list", "--kernels", "--processes"):
        p.add_argument(flag, action="store_true")
    p.add_argument("--top", type=int, default=10)
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
    options.load = os.getloadavg()[0]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the workers end too
    works = read_works(options)
    rows = options.rows or all_rows(works)
    if options.list:
        return print("\n".join(rows))
    unknown = [r for r in rows if r.partition("/")[0] not in works]
    if unknown:
        sys.exit(f"no such row: {' '.join(unknown)}; --list names them")
    if options.kernels:
        return show_kernels(rows, options, works)
    columns = [c for c in COLUMNS if c in options.peers.split(",")]
    if set(columns) - {"off", "sync", "blas"}:
        install(options.venv)
    if options.processes:
        return print("\n".join("   ".join(p) for p in processes(options, works)))
    head, line = table(columns)
    results = {}
    print("times in milliseconds\n" + " ".join(f"{h:>13}" for h in head), flush=True)
    for row, taken in measure_rows(rows, columns, options, works):
        results[row] = taken
        print(" ".join(f"{c:>13}" for c in line(row, taken)), flush=True)
    if options.write:
        write(options, rows, columns, results, works)


def show_kernels(rows, options, works):
    for row in rows:
        work, _, threads = row.partition("/")
        for column in (c for c in ("off", "sync") if c in options.peers.split(",")):
            outside, found = kernels(work, column, int(threads or os.cpu_count()), options, works)
            print(f"{row}, {COLUMNS[column]}: {sum(k[1] for k in found):.0f} kernels, "
                  f"{number(sum(k[0] for k in found))} ms, {number(outside)} ms outside")
            for ms, count, name, gflops in found[:options.top]:
                print(f"  {number(ms):>8} ms {count:6.1f} x {name} {gflops:.1f} GFLOP/s")


if __name__ == "__main__":
    main()
