from __future__ import annotations

import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from wardgate.audit.keys import (
    SIGNING_FILE,
    key_id,
    load_public_keys,
    open_signing_key,
    secret_file,
)
from wardgate.errors import StateInvalid


def test_the_key_is_made_once_and_kept(tmp_path):
    first = open_signing_key(tmp_path)
    assert open_signing_key(tmp_path).key_id == first.key_id
    assert set(load_public_keys(tmp_path)) == {first.key_id}
    assert key_id(first.private.public_key()) == first.key_id
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_processes_that_start_together_share_one_key(tmp_path):
    program = (
        "import pathlib, sys; from wardgate.audit.keys import open_signing_key;"
        "sys.stdin.read(1); print(open_signing_key(pathlib.Path(sys.argv[1])).key_id)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b".")
        process.stdin.flush()
    assert len({process.communicate(timeout=60)[0] for process in processes}) == 1
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_keys_of_the_past_stay_known(tmp_path):
    old = open_signing_key(tmp_path)
    (tmp_path / SIGNING_FILE).unlink()
    new = open_signing_key(tmp_path)
    assert set(load_public_keys(tmp_path)) == {old.key_id, new.key_id}


def test_a_key_is_not_printed(tmp_path):
    key = open_signing_key(tmp_path)
    assert repr(key) == f"SigningKey({key.key_id})"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_open_to_others_is_refused(tmp_path, mode):
    open_signing_key(tmp_path)
    (tmp_path / SIGNING_FILE).chmod(mode)
    with pytest.raises(StateInvalid, match="0600"):
        open_signing_key(tmp_path)


def test_a_damaged_key_is_refused(tmp_path):
    secret_file(tmp_path / SIGNING_FILE, lambda: b"no key")
    with pytest.raises(StateInvalid, match="no private key"):
        open_signing_key(tmp_path)


def test_a_key_of_another_kind_is_refused(tmp_path):
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    secret_file(tmp_path / SIGNING_FILE, lambda: pem)
    with pytest.raises(StateInvalid, match="Ed25519"):
        open_signing_key(tmp_path)
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "audit-1.pub").write_bytes(public)
    with pytest.raises(StateInvalid, match="Ed25519"):
        load_public_keys(tmp_path)
    (tmp_path / "audit-1.pub").write_bytes(b"none")
    with pytest.raises(StateInvalid, match="no public key"):
        load_public_keys(tmp_path)


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateInvalid, match="neither read nor made"):
        open_signing_key(tmp_path / "file" / "state")
