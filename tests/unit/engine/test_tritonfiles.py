"""Where Triton's parts lie, and who may read them."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from wardgate.engine import tritonfiles
from wardgate.engine.tritonfiles import Installed, backends, find, own_user, readable_by_others
from wardgate.errors import EngineUnavailable


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder that others find a way to, whatever lies above the test's own."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o001)
    tmp_path.chmod(0o755)
    return tmp_path


def test_what_others_may_read(folder) -> None:
    file = folder / "inner" / "file"
    file.parent.mkdir(mode=0o755)
    file.write_bytes(b"")
    file.chmod(0o644)
    assert readable_by_others(file)
    assert readable_by_others(file.parent)


@pytest.mark.parametrize(
    ("closed", "mode"),
    [("inner/file", 0o640), ("inner", 0o700), ("inner", 0o754), (".", 0o700)],
)
def test_what_others_may_not_read(folder, closed, mode) -> None:
    file = folder / "inner" / "file"
    file.parent.mkdir(mode=0o755)
    file.write_bytes(b"")
    file.chmod(0o644)
    (folder / closed).chmod(mode)
    assert not readable_by_others(file)


def test_what_is_not_there_nobody_may_read(folder) -> None:
    assert not readable_by_others(folder / "missing")


def test_a_link_counts_as_what_it_leads_to(folder) -> None:
    secret = folder / "secret"
    secret.write_bytes(b"")
    secret.chmod(0o600)
    (folder / "link").symlink_to(secret)
    assert not readable_by_others(folder / "link")


def test_a_user_of_its_own_is_nobodys() -> None:
    uid = own_user()
    if os.geteuid() != 0:
        assert uid is None
    elif uid is not None:
        with pytest.raises(KeyError):
            pwd.getpwuid(uid)


@pytest.mark.parametrize("missing", ["pytriton", "numpy", "onnxruntime"])
def test_without_the_extra_it_says_what_to_install(monkeypatch, missing) -> None:
    real = tritonfiles._folder
    monkeypatch.setattr(
        tritonfiles, "_folder", lambda name: None if name == missing else real(name) or Path("/x")
    )
    with pytest.raises(EngineUnavailable, match=r"wardgate\[triton\]"):
        find(others=False)


def test_without_a_shared_libpython_it_says_so(monkeypatch) -> None:
    monkeypatch.setattr(tritonfiles, "_folder", lambda _: Path("/x/y"))
    monkeypatch.setattr(tritonfiles, "_pythons", list)
    with pytest.raises(EngineUnavailable, match="libpython"):
        find(others=False)


def test_the_environment_is_all_that_the_server_sees(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("WARDGATE_TOKEN", "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = Installed(
        *(tmp_path / name for name in ("server", "libraries", "backend", "stub", "python")),
        library=None,
        packages=(tmp_path / "packages",),
    ).environment(3)
    assert set(found) == {
        "PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE",
        "OPENBLAS_NUM_THREADS", "MODEL_THREADS", "CUDA_VISIBLE_DEVICES",
    } | ({"NVIDIA_VISIBLE_DEVICES"} & set(os.environ))  # fmt: skip
    assert found["MODEL_THREADS"] == "3"


def test_the_backend_is_laid_out_for_another_user(tmp_path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("libtriton_python.so", "triton_python_backend_utils.py", "stub"):
        (source / name).write_bytes(name.encode())
        (source / name).chmod(0o600)
    installed = Installed(
        server=source, libraries=source, backend=source, stub=source / "stub", python=source,
        library=None, packages=(),
    )  # fmt: skip
    backends(installed, tmp_path / "backends")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "backends").rglob("*")}
    assert modes == {
        "python": 0o755, "stub": 0o755, "libtriton_python.so": 0o644,
        "triton_python_backend_utils.py": 0o644,
    }  # fmt: skip
