"""The tracking store: where it is, whether it can be used, and what to do if not."""

import hashlib
import json
import logging
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import mlflow
import sqlalchemy
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.plugins import get_entry_points
from mlflow.utils.rest_utils import http_request
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from pipeline.ambient import drop_mlflow
from pipeline.artifacts.paths import repository
from vaegan.evaluation.metrics import OVERVIEW_KEYS

EXPERIMENT = "vaegan"
VARIABLE, DATABASE = "MLFLOW_TRACKING_URI", "mlflow.db"
VIEW_TAG = "mlflow.sharedViewState.first"
SHOWN_PARAMS = ("dataset", "train.lr", "train.seed")
ANSWER_WITHIN = 5.0  # seconds in which a store has to answer at all
LOCKED_FOR = 10.0  # seconds for another program's transaction
SET_UP_WITHIN = 120.0  # seconds for other processes that set up the same store before
LONGEST_REASON = 200  # characters
SERVERS = ("http", "https")
KNOWS_CONNECT_TIMEOUT = {"psycopg2", "psycopg", "pymysql", "mysqldb"}  # drivers
OWN_TABLES = {"experiments", "runs"}  # that every MLflow database has had since the first version
REFILL = "python -m pipeline track then fills a new one from the journals"


class StoreError(ValueError):
    """The tracking store cannot be used as it is; the message is one line."""


def connect() -> str:
    """Connects MLflow to the user's store and creates the experiment if needed; returns its id.

    ``MLFLOW_TRACKING_URI`` is taken where it is set; else the store is ``mlflow.db`` in the
    user's own repository, with artifacts under ``mlruns/`` beside it, also when a stage runs
    in one of DVC's temporary copies. One process at a time: two that set up a fresh
    store at once would fail.

    Raises:
        StoreError: the store does not answer or is of another kind, or the repository was moved.
    """
    drop_mlflow()
    quiet()
    root, uri = repository(), address()
    with one_line():
        with _sole_user(root):
            check()
            mlflow.set_tracking_uri(uri)
            experiment = mlflow.get_experiment_by_name(EXPERIMENT)
            if experiment is None:
                # Of a database MLflow would take the current folder, perhaps a temporary copy.
                location = (root / "mlruns").as_uri() if is_database(uri) else None
                identity = mlflow.create_experiment(EXPERIMENT, artifact_location=location)
            else:
                identity = experiment.experiment_id
                if is_default():
                    _check_place(experiment, root)
                if experiment.lifecycle_stage == LifecycleStage.DELETED:
                    MlflowClient().restore_experiment(identity)
        mlflow.set_experiment(experiment_id=identity)
        _show_first_columns(identity)
    return identity


@contextmanager
def _sole_user(root: Path) -> Iterator[None]:
    """Waits for other processes: a database that one of them sets up looks like a damaged one."""
    (root / "mlruns").mkdir(exist_ok=True)
    lock = FileLock(root / "mlruns" / ".lock", SET_UP_WITHIN)
    try:
        held = lock.acquire()
    except Timeout as error:
        fault = f"is being set up by another process, which holds {lock.lock_file}"
        raise _refusal(fault, "wait for it, or stop it") from error
    with held:
        yield


def address() -> str:
    """Address of the user's store; the path of a SQLite file is made absolute."""
    return _absolute(os.environ.get(VARIABLE) or f"sqlite:///{DATABASE}", repository())


def is_default() -> bool:
    """Whether the user's store is ``mlflow.db`` in their repository."""
    return address() == _absolute(f"sqlite:///{DATABASE}", repository())


def store_digest() -> str:
    """Digest of the store's address, which itself may hold a password."""
    return hashlib.sha256(address().encode()).hexdigest()[:16]


def shown(uri: str) -> str:
    """A store's address without user, password and query; of a SQLite file its path."""
    if uri.startswith("sqlite:///"):
        return uri.removeprefix("sqlite:///").partition("?")[0]
    scheme, mark, rest = uri.partition("://")
    place = (rest if mark else scheme).partition("?")[0].partition("#")[0]
    return f"{scheme if mark else ''}{mark}{place.rpartition('@')[2]}"


def is_database(uri: str) -> bool:
    """Whether MLflow opens a database at this address itself."""
    return _scheme(uri).partition("+")[0] in DATABASE_ENGINES


def quiet() -> None:
    """Keeps MLflow from printing a traceback of each database error beside our line."""
    if not os.environ.get("VAEGAN_TRACEBACK"):
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@contextmanager
def one_line() -> Iterator[None]:
    """Turns whatever the store raises in the block into a StoreError.

    A fault of our own, which did not come through MLflow, is raised as it is.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        if not raised_by_store(error):
            raise
        raise StoreError(
            f"{_subject()} failed: {reason(error)}; python -m pipeline track repeats the sync"
        ) from error


def raised_by_store(error: Exception) -> bool:
    """Whether MLflow, or what it called (a driver, a client of object stores), raised an error."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, MlflowException | SQLAlchemyError) or any(
        frame.f_globals.get("__name__", "").partition(".")[0] == "mlflow" for frame in frames
    )


def reason(error: Exception) -> str:
    """An error's message in one line, without SQL and without the store's password."""
    text = str(error).partition("[SQL")[0].partition("(Background on")[0]
    text = " ".join(text.split()) or type(error).__name__
    uri = address()
    text = text.replace(uri, shown(uri)).replace(os.environ.get(VARIABLE) or uri, shown(uri))
    text = re.sub(r"://[^/@\s]+@", "://", text)
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


def check() -> None:
    """Checks the user's store without MLflow, which would retry for minutes or change it.

    Raises:
        StoreError: it does not answer, is of another kind or of another version.
    """
    uri = address()
    scheme = _scheme(uri)
    if scheme in SERVERS:
        _check_server(uri)
    elif is_database(uri):
        _check_database(uri)
    elif re.fullmatch(r"[\w.-]+:\d+/?", uri):
        raise _refusal("has no valid address", f"is http://{uri} meant?")
    elif uri == "databricks" or scheme in ("databricks", *_plugins()):
        return
    elif scheme in ("", "file"):
        raise _refusal(
            "is a folder, in which MLflow no longer tracks",
            "set sqlite:///PATH or the address of a server (mlflow migrate-filestore converts old "
            "runs)",
        )
    else:
        kinds = ", ".join((*SERVERS, *DATABASE_ENGINES))
        raise _refusal(f"is of the unknown kind {scheme}", f"expected one of {kinds}")


def _plugins() -> list[str]:
    """Schemes of stores that other packages bring along."""
    return [entry.name for entry in get_entry_points("mlflow.tracking_store")]


def _scheme(uri: str) -> str:
    """The scheme of an address, in lower case; "" if it has none."""
    found = re.match(r"([A-Za-z][\w+.-]*):", uri)
    return found[1].lower() if found else ""


def _subject() -> str:
    """Names the store, and the variable that it comes from."""
    kind = "server" if _scheme(address()) in SERVERS else "store"
    variable = "" if is_default() else f"{VARIABLE}: "
    return f"{variable}the tracking {kind} {shown(address())}"


def _refusal(fault: str, remedy: str) -> StoreError:
    return StoreError(f"{_subject()} {fault}; {remedy}")


def _check_server(uri: str) -> None:
    """Asks a tracking server for an experiment, with MLflow's own credentials."""
    unset = "start it, or unset the variable to track in mlflow.db"
    try:
        answer = http_request(
            get_default_host_creds(uri),
            "/api/2.0/mlflow/experiments/search",
            "GET",
            params={"max_results": 1},
            timeout=ANSWER_WITHIN,
            max_retries=0,
            raise_on_status=False,
        )
    except Exception as error:  # MLflow wraps what requests raises
        kind = type(error.__cause__ or error.__context__ or error).__name__
        if kind == "SSLError":
            remedy = "MLFLOW_TRACKING_SERVER_CERT_PATH names the certificate of its authority"
            raise _refusal("has a certificate that is not trusted", remedy) from error
        if kind in ("InvalidURL", "LocationParseError", "InvalidSchema", "MissingSchema"):
            raise _refusal(f"has no valid address ({kind})", "correct the variable") from error
        raise _refusal(f"does not answer ({kind})", unset) from error
    status = answer.status_code
    if status in (401, 403):
        words = "" if "<" in answer.text else f": {' '.join(answer.text.split())[:80]}"
        raise _refusal(
            f"refuses access (status {status}{words.rstrip(': ')})",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    if status >= 500:
        raise _refusal(f"does not answer (status {status})", f"see its log; {unset}")
    try:
        known = status == 200 and set(json.loads(answer.text)) <= {"experiments", "next_page_token"}
    except (ValueError, TypeError):
        known = False
    if not known:
        kind = answer.headers.get("content-type", "no type").partition(";")[0]
        raise _refusal(f"is no MLflow server (status {status}, {kind})", "correct the address")


def _check_database(uri: str) -> None:
    """Opens a database once, and compares its tables and version with those of this MLflow."""
    unset = "" if is_default() else f"; without {VARIABLE}, runs are tracked in {DATABASE}"
    try:
        url = sqlalchemy.make_url(uri)
        driver = url.get_driver_name()
        options: dict[str, Any] = {}
        if url.get_backend_name() == "sqlite":
            if not _check_file(url.database):
                return  # MLflow makes it
            options = {"timeout": LOCKED_FOR}
        elif driver in KNOWS_CONNECT_TIMEOUT:
            options = {"connect_timeout": int(ANSWER_WITHIN)}
        if url.get_backend_name() == "mysql":  # as MLflow reads them
            names = ("ssl_ca", "ssl_cert", "ssl_key")
            files = {name: os.environ.get(f"MLFLOW_MYSQL_{name.upper()}") for name in names}
            options |= {name: file for name, file in files.items() if file}
        engine = sqlalchemy.create_engine(
            url, poolclass=sqlalchemy.pool.NullPool, connect_args=options
        )
    except ModuleNotFoundError as error:
        remedy = f"install it (make setup-team does for PostgreSQL), or track on a server{unset}"
        raise _refusal(f"needs the Python module {error.name}, which is missing", remedy) from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise _refusal(f"has no valid address: {reason(error)}", "correct the variable") from error
    try:
        with engine.connect() as connection:
            if url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # whether it can be written
            tables = set(sqlalchemy.inspect(connection).get_table_names())
            revision = None
            if "alembic_version" in tables:
                found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
                revision = found.scalar()
            connection.rollback()
    except Exception as error:  # of any driver
        raise _refusal(*_explain(getattr(error, "orig", None) or error, unset)) from error
    if tables and not tables >= OWN_TABLES:
        some = ", ".join(sorted(tables)[:3])
        raise _refusal(
            f"belongs to another program (it has the tables {some})",
            f"move it away, or set {VARIABLE} to another one",
        )
    if revision is not None:
        _check_revision(revision)


def _check_file(database: str | None) -> bool:
    """Checks the place of a SQLite file; returns whether there is a file already."""
    if not database or Path(database).name == ":memory:":
        raise _refusal("lies in memory, where runs are lost", "set sqlite:///PATH")
    path = Path(database)
    if not path.parent.is_dir():
        remedy = "create it, or correct the variable"
        raise _refusal(f"lies in a folder that does not exist, {path.parent}", remedy)
    if path.is_dir():
        raise _refusal("is a folder, expected a SQLite file", "correct the variable")
    if not os.access(path.parent, os.W_OK):
        raise _refusal("lies in a folder that cannot be written", "make it writable")
    return path.exists()


def _explain(error: BaseException, unset: str) -> tuple[str, str]:
    """Fault and remedy for an error that a driver raised."""
    text = " ".join(str(error).split())
    if "is not a database" in text or "malformed" in text:
        return "is damaged, or no SQLite database", f"move it away: {REFILL}"
    if re.search(r"(database|table|schema)( \w+)? is locked", text):
        return "is locked by another program", "close that program, or try again"
    if "readonly" in text or "read-only" in text:
        return "is read-only", f"make it writable{unset}"
    if "unable to open" in text:
        return "cannot be opened", f"check the permissions of the file and its folder{unset}"
    return f"does not answer: {reason(Exception(text))}", f"check address and password{unset}"


def _check_revision(revision: str) -> None:
    """Compares a database's version with that of this MLflow, which would upgrade it silently."""
    scripts = ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))
    if revision in scripts.get_heads():
        return
    if any(script.revision == revision for script in scripts.walk_revisions()):
        place = address() if is_default() else f'"${VARIABLE}"'
        raise _refusal(
            f"was made by an MLflow older than {mlflow.__version__}",
            f"take a backup, then run: mlflow db upgrade {place}",
        )
    raise _refusal(
        f"was made by an MLflow newer than {mlflow.__version__} (its version is {revision})",
        f"install that MLflow, or set {VARIABLE} to another store",
    )


def _show_first_columns(experiment: str) -> None:
    """Saves a view of the runs that starts with the headline columns.

    MLflow's page keeps a shared view as a tag of the experiment; a link with
    ``?viewStateShareKey=first`` opens it.
    """
    # The page puts a run's description, which begins with the verdict, before all metrics, and tags
    # after them, where no window is wide enough.
    columns = ["attributes.`Description`", *(f"metrics.`{name}`" for name in OVERVIEW_KEYS)]
    columns += [f"params.`{name}`" for name in SHOWN_PARAMS] + ["tags.`verdict`", "tags.`gates`"]
    view = json.dumps(
        {"selectedColumns": columns, "orderByKey": "attributes.start_time", "orderByAsc": False}
    )
    client = MlflowClient()
    if client.get_experiment(experiment).tags.get(VIEW_TAG) != view:
        client.set_experiment_tag(experiment, VIEW_TAG, view)


def _absolute(uri: str, root: Path) -> str:
    """Resolves a relative SQLite path against the user's repository."""
    prefix = "sqlite:///"
    path = uri.removeprefix(prefix)
    return uri if path == uri or path.startswith("/") else f"{prefix}{root / path}"


def _check_place(experiment: Experiment, root: Path) -> None:
    """Raises StoreError if the default store keeps its artifacts in another folder."""
    kept = Path(unquote(urlparse(experiment.artifact_location).path))
    if kept != root / "mlruns":
        raise StoreError(
            f"{root / DATABASE} keeps its artifacts in {kept}, expected {root / 'mlruns'}: was "
            "the repository moved? Then run: python -m pipeline track"
        )


def set_aside_moved() -> Path | None:
    """Renames the default store of a repository that was moved; returns its new name.

    MLflow keeps absolute paths of artifacts, so such a store finds none of them.

    Returns:
        ``mlflow.db.before-move``, with a number if there is one already; None if the user's store
        is another one, or lies where it was made.
    """
    path = repository() / DATABASE
    if not is_default() or not path.is_file():
        return None
    quiet()
    with one_line(), _sole_user(repository()):
        check()
        # Another spelling of the address: MLflow keeps the file open that has this one.
        uri = f"sqlite:///{path.parent}/./{path.name}"
        experiment = MlflowClient(uri).get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    try:
        _check_place(experiment, repository())
    except StoreError:
        aside = path.with_name(f"{DATABASE}.before-move")
        number = 1
        while aside.exists():
            number += 1
            aside = path.with_name(f"{DATABASE}.before-move-{number}")
        path.rename(aside)
        return aside
    return None
