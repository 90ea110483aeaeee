"""Standard output as OUT: rows at once, broken lines to a file or to standard error."""

from __future__ import annotations

import click
import pytest

from wardgate.cli.files.stream import Stream
from wardgate.cli.journal import Refused
from wardgate.cli.jsonl import Place


def test_rows_go_out_and_faults_to_standard_error(capsysbinary) -> None:
    stream = Stream(None)
    stream.commit(b"row\n", b"fault\n", Place(4, 1))
    assert (stream.place, stream.done) == (Place(4, 1), False)
    stream.commit(b"", b"", Place(4, 1), done=True)
    stream.close()
    assert stream.done
    assert capsysbinary.readouterr() == (b"row\n", b"fault\n")


def test_faults_go_to_a_private_new_file(tmp_path, capsysbinary) -> None:
    errors = tmp_path / "errors"
    stream = Stream(errors)
    stream.commit(b"row\n", b"one\n", Place(4, 1))
    stream.commit(b"", b"two\n", Place(8, 2))
    stream.close()
    assert errors.read_bytes() == b"one\ntwo\n"
    assert errors.stat().st_mode & 0o777 == 0o600
    assert capsysbinary.readouterr() == (b"row\n", b"")
    with pytest.raises(Refused, match="there already"):
        Stream(errors)
    with pytest.raises(click.ClickException, match="No such file"):
        Stream(tmp_path / "absent" / "errors")
