"""For every Python that has this folder on its path: reads of tars take long while the file of ASD_SOAK_SLOW exists."""

import os
import time

DELAY_S = 0.1

_read, _switch = os.preadv, os.environ.get("ASD_SOAK_SLOW", "")


def _slow(*words):
    if os.path.exists(_switch):  # noqa: PTH110  # every Python of the run comes here, and pathlib takes long to import
        time.sleep(DELAY_S)
    return _read(*words)


os.preadv = _slow
