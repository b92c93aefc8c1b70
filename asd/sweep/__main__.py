"""`python -m asd.sweep`."""

from asd.errors import run_main
from asd.sweep.sweep import main

run_main(main)
