"""Where the parts of Triton's wheel lie, and which of them a user of Triton's own may read."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import pwd
import secrets
import shutil
import stat
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from wardgate.errors import EngineUnavailable

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_DYNAMIC_USERS = range(61184, 65520)
"""User ids that systemd keeps for services without an account (systemd.exec(5), DynamicUser=)."""
_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID = 0, 6, 7
"""linux/capability.h"""


@dataclass(frozen=True, slots=True)
class Installed:
    """The server, its backend and the Python that runs models in it."""

    server: Path
    libraries: Path
    backend: Path
    stub: Path
    python: Path
    """Prefix of the standard library."""
    library: Path | None
    """Folder of libpython where the loader would not look by itself."""
    packages: tuple[Path, ...]
    """Folders of numpy and ONNX Runtime."""

    @property
    def open_to_all(self) -> bool:
        """Whether a user of the server's own may read all that it needs."""
        needed = [self.server, self.libraries, self.python / "lib" / f"python{VERSION}" / "os.py"]
        needed += [*self.packages, *([self.library] if self.library else [])]
        return all(readable_by_others(path) for path in needed)

    def environment(self, threads: int, *, raised: bool = False) -> dict[str, str]:
        """Return all variables that the server sees.

        `raised`: whoever starts it sees to the priority of models that load.
        """
        libraries = [self.libraries, *([self.library] if self.library else [])]
        found = {
            "PATH": f"{self.python / 'bin'}:/usr/bin:/bin",  # the stub takes its prefix from it
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "PYTHONPATH": ":".join(map(str, self.packages)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",  # numpy only moves rows here
            "MODEL_THREADS": str(threads),
        }
        if raised:
            found["MODEL_RAISED"] = "1"
        for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
            if name in os.environ:
                found[name] = os.environ[name]
        return found


def find(*, others: bool) -> Installed:
    """Find the parts, without importing any; `others` prefers a Python that any user may read.

    Raises EngineUnavailable where the extra is not installed, or there is no shared libpython.
    """
    wheel, *packages = (_folder(name) for name in ("pytriton", "numpy", "onnxruntime"))
    if wheel is None or None in packages:
        raise EngineUnavailable("Triton is not installed; install 'wardgate[triton]'.")
    pythons = _pythons()
    if not pythons:
        raise EngineUnavailable(
            f"Triton needs the shared library of Python {VERSION}: install libpython{VERSION}, or "
            "use a Python that was built with it."
        )
    triton = wheel / "tritonserver"
    choices = [
        Installed(
            server=triton / "bin" / "tritonserver",
            libraries=wheel.parent / "nvidia_pytriton.libs",
            backend=triton / "backends" / "python",
            stub=triton / "python_backend_stubs" / VERSION / "triton_python_backend_stub",
            python=prefix,
            library=library,
            packages=tuple(dict.fromkeys(each.parent for each in packages if each is not None)),
        )
        for prefix, library in pythons
    ]
    if not choices[0].server.is_file() or not choices[0].stub.is_file():
        raise EngineUnavailable(f"The Triton wheel has no server for Python {VERSION}.")
    return next((each for each in choices if others and each.open_to_all), choices[0])


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _pythons() -> list[tuple[Path, Path | None]]:
    """Return prefixes of a standard library with the folder of its libpython: own, then system's.

    The folder is None where the loader finds the library by itself.
    """
    found: list[tuple[Path, Path | None]] = []
    own = Path(sysconfig.get_config_var("LIBDIR") or sys.base_prefix)
    if (own / f"libpython{VERSION}.so.1.0").is_file():
        found.append((Path(sys.base_prefix), own))
    if ctypes.util.find_library(f"python{VERSION}") is not None:
        system = Path("/usr")
        there = (system / "lib" / f"python{VERSION}" / "os.py").is_file()
        found.append((system if there else Path(sys.base_prefix), None))
    return found


def backends(installed: Installed, folder: Path) -> None:
    """Put the Python backend and the stub of this Python version together in `folder`."""
    python = folder / "python"
    python.mkdir(parents=True)
    folder.chmod(0o755)
    python.chmod(0o755)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copyfile(installed.backend / name, python / name)
        (python / name).chmod(0o644)
    shutil.copyfile(installed.stub, python / installed.stub.name)
    (python / installed.stub.name).chmod(0o755)


def own_user() -> int | None:
    """Return a user id that nobody has, where this process may change users; else None."""
    if os.geteuid() != 0 or not _capable(_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID):
        return None
    for _ in range(64):
        uid = secrets.choice(_DYNAMIC_USERS)
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return uid
    return None


def _capable(*capabilities: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return all(int(value, 16) >> number & 1 for number in capabilities)
    return False


def readable_by_others(path: Path) -> bool:
    """Tell whether a user who owns nothing may read `path`, by the modes of it and its parents."""
    whole = path.resolve()
    try:
        mode = whole.stat().st_mode
        way = all(parent.stat().st_mode & stat.S_IXOTH for parent in whole.parents)
    except OSError:
        return False
    wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return way and mode & wanted == wanted
