"""For every process of the tests: none of them gives way to other work.

Scoring beside a training runs in the idle class (asd.background), which gets nothing where other processes hold every
core: tests would wait for hours. tests/conftest.py puts this folder on PYTHONPATH.
"""

import os

os.setpriority = lambda *_: None  # type: ignore[assignment]
os.sched_setscheduler = lambda *_: None  # type: ignore[assignment]
