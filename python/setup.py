"""Builds the extension: its own files (csrc) and the whole C library in one module of the stable ABI.

In the repository the library lies beside this folder (../src, ../include); a source distribution carries a copy of it
(clib). Docstrings come from the C header (gendocs.py).
"""
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = os.path.dirname(os.path.abspath(__file__))
os.chdir(HERE)
sys.path.insert(0, HERE)
import gendocs  # noqa: E402

REPOSITORY = os.path.join("..", "include", "teenygrad", "teenygrad.h")
HEADER = os.path.join("clib", "include", "teenygrad", "teenygrad.h")


def copy_if_changed(source, target):
    """Keeps the time of what is the same, so that nothing is compiled twice."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(source, "rb") as f:
        text = f.read()
    if os.path.exists(target):
        with open(target, "rb") as f:
            if f.read() == text:
                return
    with open(target, "wb") as f:
        f.write(text)


def take_library():
    """Makes clib equal to the library of the repository; without one it stays as it is."""
    if not os.path.exists(REPOSITORY):
        return
    wanted = set()
    for folder in ("src", "include"):
        for where, _, names in os.walk(os.path.join("..", folder)):
            for name in names:
                source = os.path.join(where, name)
                target = os.path.join("clib", os.path.relpath(source, ".."))
                copy_if_changed(source, target)
                wanted.add(target)
    # the text that generated kernels begin with (see the Makefile)
    made = os.path.join("clib", "gen", "prelude.inc")
    strings = subprocess.check_output(["sh", "../tools/strings.sh", "../src/backend/c/prelude.h"])
    os.makedirs(os.path.dirname(made), exist_ok=True)
    with open(made, "wb") as f:
        f.write(strings)
    wanted.add(made)
    for where, _, names in os.walk("clib"):
        for name in names:
            if os.path.join(where, name) not in wanted:
                os.remove(os.path.join(where, name))
    licence = os.path.join("..", "LICENSE")
    if os.path.exists(licence):
        shutil.copyfile(licence, "LICENSE")


class parallel_build(build_ext):
    """Compiles the files on all processors."""

    def build_extensions(self):
        compile_all = self.compiler.compile

        def compile_parallel(sources, **options):
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                parts = list(pool.map(lambda source: compile_all([source], **options), sources))
            return [name for part in parts for name in part]

        def compile_call(sources, output_dir=None, macros=None, include_dirs=None, debug=0, extra_preargs=None,
                         extra_postargs=None, depends=None):
            return compile_parallel(sources, output_dir=output_dir, macros=macros, include_dirs=include_dirs,
                                    debug=debug, extra_preargs=extra_preargs, extra_postargs=extra_postargs,
                                    depends=depends)

        self.compiler.compile = compile_call
        super().build_extensions()


take_library()
gendocs.main(HEADER, os.path.join("csrc", "_docs.h"))
with open(HEADER, encoding="utf-8") as header:
    VERSION = re.search(r'#define TG_VERSION "(.*)"', header.read()).group(1)

setup(
    version=VERSION,
    cmdclass={"build_ext": parallel_build},
    ext_modules=[Extension(
        "teenygrad._teenygrad",
        sources=sorted(glob("csrc/*.c") + glob("clib/src/**/*.c", recursive=True)),
        depends=sorted(glob("csrc/*.h") + glob("clib/**/*.h", recursive=True)
                       + glob("clib/**/*.inc", recursive=True) + glob("clib/**/*.def", recursive=True)),
        include_dirs=["clib/include", "clib/src", "clib/gen"],
        define_macros=[("Py_LIMITED_API", "0x03090000")],
        extra_compile_args=["-std=c11", "-O2", "-g0", "-fvisibility=hidden", "-Werror=implicit-function-declaration"],
        libraries=["m", "pthread"],
        py_limited_api=True)],
    options={"bdist_wheel": {"py_limited_api": "cp39"}},
)
