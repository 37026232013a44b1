"""Writes csrc/_docs.h: the comments of the C header as docstrings of the methods.

A comment of the header belongs to the declarations that follow it, up to a blank line or the next
comment; one behind a declaration on its line belongs to that. Names lose their tg_.
"""
import re
import sys

DECLARATION = re.compile(r"^[a-z_0-9 ]+[ *]tg_([a-zA-Z0-9_]+)\(")
SECTION = re.compile(r"^/\* -{3,}.*-- \*/$")


def python_words(text):
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"(?<![A-Za-z_0-9])\.(?=[a-z])", "", text)
    return text.replace("tg_", "").replace("NULL", "None").replace("TG_ZERO asks for 0 itself.", "")


def read_docs(header):
    docs, current, lines = {}, "", iter(header.split("\n"))
    for line in lines:
        if not line.strip() or SECTION.match(line):
            current = ""
        elif line.startswith("/*"):
            block = line
            while "*/" not in block:
                block += "\n" + next(lines)
            current = re.sub(r"\n \*( |$)", "\n", block.replace("/*", "").replace("*/", ""))
        elif match := DECLARATION.match(line):
            while ";" not in line and "{" not in line:
                line += next(lines)
            own = re.search(r"/\*(.*)\*/\s*$", line)
            text = python_words(own.group(1) if own else current)
            docs[match.group(1)] = text or f"The {match.group(1)} of each element."
    return docs


def main(header_path, out_path):
    with open(header_path, encoding="utf-8") as f:
        docs = read_docs(re.split(r"/\* -+ C\+\+ -- \*/", f.read())[0])
    out = ["/* Made by gendocs.py from include/teenygrad/teenygrad.h. */"]
    for name, text in sorted(docs.items()):
        text = text.replace("\\", "\\\\").replace('"', '\\"')
        out.append(f'#define DOC_{name} "{text}"')
    text = "\n".join(out) + "\n"
    try:
        with open(out_path, encoding="utf-8") as f:
            if f.read() == text:
                return
    except OSError:
        pass
    with open(out_path, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
