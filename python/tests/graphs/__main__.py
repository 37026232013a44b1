"""python -m graphs SECONDS SEED WHICH SIZE: WHICH is CPU, REF, generated or some joined with +; figures as JSON."""
import sys

from graphs.hunt import main

main(*sys.argv[1:])
