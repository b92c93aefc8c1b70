"""Metrics, figures, reports and settings for MLflow, in a database beside the runs or on a server.

One run folder is one MLflow run, into which training writes, also resumed, and the scoring of its checkpoints.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asd.errors import UserError
from asd.files.atomic import write_whole
from asd.files.locks import lock
from asd.loggers.base import Logger, Outcome, Record, Source, TrackerSettings
from asd.process.startup import quick_imports
from asd.text.shell import command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

ID_FILE = "mlflow_run_id"  # in the run folder
MAX_PARAMS, MAX_VALUE = 100, 6000  # settings that MLflow takes at once, and characters of one
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowConfig(TrackerSettings, frozen=True):
    """Metrics, reports and figures of every run in one place, to be compared and searched.

    tracking_uri: of a database (sqlite:///runs/mlflow.db) or a server (https://…); null: MLFLOW_TRACKING_URI of the
    environment, or mlflow.db in the folder that holds the run folder. experiment: under which the run appears.
    """

    name: Literal["mlflow"] = "mlflow"
    tracking_uri: str | None = None
    experiment: str = "asd"

    def uri(self, folder: Path) -> str:
        """Where the run in a folder is written to."""
        beside = f"sqlite:///{folder.resolve().parent / 'mlflow.db'}"
        return self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or beside

    def build(self, source: Source) -> Logger:
        os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # its warnings look like all others
        uri = self.uri(source.folder)
        try:
            with quick_imports():
                from mlflow.tracking import MlflowClient
            with _one_after_another(uri, source.folder):
                client = MlflowClient(tracking_uri=uri)
                return MlflowLogger(client, _run_id(client, self.experiment, uri, source), source)
        except ImportError as error:
            raise UserError(
                f"logging.trackers names mlflow, which is not installed ({error}): pip install -r "
                "requirements-mlflow.txt, or leave it out"
            ) from None
        except Exception as error:  # also the database's own, and the network's
            raise UserError(
                f"logging.trackers: MLflow at {uri} cannot be written to ({_first_line(error)}): check tracking_uri"
            ) from None

    def viewer(self, folder: Path) -> str | None:
        uri = self.uri(folder)
        return command("mlflow", "ui", "--backend-store-uri", uri) if uri.startswith("sqlite:") else None


@contextmanager
def _one_after_another(uri: str, folder: Path) -> Iterator[None]:
    """Runs of a sweep that begin at once would each make the tables of the database, and the experiment."""
    database = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else folder.resolve().parent / "mlflow"
    with Path(f"{database}.lock").open("ab") as file:
        lock(file.fileno())
        yield


def _run_id(client: MlflowClient, experiment: str, uri: str, source: Source) -> str:
    """The MLflow run of a run folder, which is made where there is none yet."""
    from mlflow.entities import Param
    from mlflow.exceptions import MlflowException

    path = source.folder / ID_FILE
    if path.is_file():
        run_id = path.read_text(encoding="utf-8").strip()
        try:
            client.get_run(run_id)
            return run_id
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise  # else another database: the run begins anew there
    files = (source.folder.resolve().parent / "mlflow").as_uri() if uri.startswith("sqlite:") else None
    known = client.get_experiment_by_name(experiment)
    number = known.experiment_id if known is not None else client.create_experiment(experiment, files)
    run_id = client.create_run(number, run_name=source.folder.name, tags={"asd.folder": str(source.folder)}).info.run_id
    settings = [Param(name, value[:MAX_VALUE]) for name, value in _flat(source.settings)]
    for first in range(0, len(settings), MAX_PARAMS):
        client.log_batch(run_id, params=settings[first : first + MAX_PARAMS])
    write_whole(path, run_id)
    return run_id


def _flat(settings: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, str]]:
    """train.lr → value, of a config in sections."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{section}{name}.")
        else:
            yield section + name, str(value)


class MlflowLogger(Logger):
    """See MlflowConfig. What MLflow does not take later on is left out, with one warning: metrics.jsonl has it."""

    def __init__(self, client: MlflowClient, run_id: str, source: Source) -> None:
        self._client, self._run_id, self._source = client, run_id, source
        self._pending: list[Any] = []
        self._there: dict[str, set[int]] = {}  # metric → steps that an earlier process wrote
        self._warned = False
        if source.process == "train":
            client.update_run(run_id, status="RUNNING")

    def log(self, step: int, record: Record) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = {name if "/" in name else f"train/{name}": value for name, value in record.items()}
        with self._left_out():
            metrics = [Metric(_name(n), value, now, step) for n, value in named.items() if step not in self._steps(n)]
            if metrics:
                self._pending.append(self._client.log_batch(self._run_id, metrics, synchronous=False))

    def text(self, step: int, name: str, markdown: str) -> None:
        self._keep(lambda: self._client.log_text(self._run_id, markdown, f"{_name(name)}/step_{step:08d}.md"))

    def figure(self, step: int, name: str, figure: Figure) -> None:
        self._keep(lambda: self._client.log_figure(self._run_id, figure, f"{_name(name)}/step_{step:08d}.png"))

    def flush(self) -> None:
        with self._left_out():
            while self._pending:
                self._pending.pop(0).wait()

    def close(self, outcome: Outcome = "finished") -> None:
        self.flush()
        if self._source.process == "train":
            self._keep(lambda: self._client.set_terminated(self._run_id, STATUS[outcome]))

    def _keep(self, work: Callable[[], object]) -> None:
        with self._left_out():
            work()

    def _steps(self, name: str) -> set[int]:
        """MLflow would show a step twice that a resumed run, or a scoring that begins again, does once more."""
        if name not in self._there:
            history = self._client.get_metric_history(self._run_id, _name(name))
            self._there[name] = {point.step for point in history}
        return self._there[name]

    @contextmanager
    def _left_out(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # also the database's own, and the network's
            if not self._warned:
                self._warned = True
                log.warning(f"MLflow logging failed and is off from now on: {_first_line(error)}")


def _name(name: str) -> str:
    """MLflow allows letters, digits and `_-. /:` in the name of a metric."""
    return "".join(sign if sign.isalnum() or sign in "_-. /:" else "_" for sign in name)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
