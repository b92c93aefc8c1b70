"""For every process of the tests: none of them gives way to other work, or waits for the disk.

Scoring beside a training runs in the idle class (asd.evaluate.background), which gets nothing where other processes
hold every core: tests would wait for hours. And what is synced matters to those alone who lose their power.
tests/conftest.py puts this folder on PYTHONPATH.
"""

import os

os.setpriority = lambda *_: None  # type: ignore[assignment]
os.sched_setscheduler = lambda *_: None  # type: ignore[assignment]
os.fsync = lambda _: None  # type: ignore[assignment]
