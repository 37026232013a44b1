"""docs/python.md is true: its blocks run, in order, in one program, and print what stands behind them."""
import contextlib
import io
import os
import re
import runpy

import pytest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DOCUMENT = os.path.join(ROOT, "docs", "python.md")


@pytest.mark.skipif(not os.path.exists(DOCUMENT), reason="the document is in the repository only")
def test_blocks():
    with open(DOCUMENT, encoding="utf-8") as f:
        blocks = re.findall(r"^```(\w+)\n(.*?)^```$", f.read(), re.M | re.S)
    names, printed, count = {}, None, 0
    for language, text in blocks:
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, DOCUMENT, "exec"), names)
            printed, count = out.getvalue(), count + 1
        elif language == "text":
            assert printed == text
    assert count >= 6


def test_tour():
    runpy.run_path(os.path.join(os.path.dirname(__file__), "..", "examples", "tour.py"), run_name="__main__")
