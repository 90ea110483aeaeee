"""A tensor model changes in three workers under load: no call is lost, none answered wrongly."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Self

import httpx
from tests.e2e.processes import Gateway, command, gateway, until

import tiny_models
import tiny_registry
import tiny_tensors
from tiny_tensors import NAME

SCOPES = (f"tensor:{NAME}", "models:read", "models:write")
RISK = {"1": 6.0, "2": 12.0}
"""What each version says of the vitals 1, 2, 3."""
BODY = {"inputs": [{"name": "vitals", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}


class Load:
    """Callers on kept-alive connections; every answer is held against the version it names."""

    def __init__(self, found: Gateway) -> None:
        self.versions: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._url, self._headers = found.url, found.bearer(*SCOPES)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(2)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)

    def more(self, version: str, count: int = 15) -> None:
        """Wait for so many answers more of a version."""
        before = self.versions[version]
        until(lambda: self.versions[version] >= before + count, 60, f"answers of {version}")

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, headers=self._headers, trust_env=False) as client:
            while not self._stop.is_set():
                reply = client.post(f"/v2/models/{NAME}/infer", json=BODY, timeout=20)
                found: dict[str, Any] = reply.json()
                if reply.status_code != 200:
                    self.wrong.append(f"{reply.status_code} {found}")
                    continue
                version = found["model_version"]
                self.versions[version] += 1
                if found["outputs"][0]["data"] != [RISK[version]]:
                    self.wrong.append(str(found))


def test_a_tensor_model_changes_in_three_workers_without_a_lost_call(tmp_path: Path) -> None:
    registry = tmp_path / "state" / "registry"
    tiny_registry.add(registry, "1", tiny_models.fingerprint().graph, "yes")
    tiny_tensors.add(registry, "1")
    (tmp_path / "state").chmod(0o700)
    env = {
        "WARDGATE_REGISTRY__MODELS": json.dumps([tiny_registry.NAME]),
        "WARDGATE_REGISTRY__TENSOR_MODELS": json.dumps([NAME]),
        "WARDGATE_REGISTRY__TRUSTED_KEYS": tiny_registry.TRUSTED,
        "WARDGATE_ADMISSION__RATE": "100000",
        "WARDGATE_ADMISSION__BURST": "100000",
        "WARDGATE_DEID__PROCESSES": "1",
    }

    def models(*arguments: str) -> Any:
        return command("models", *arguments, "--state", str(tmp_path / "state"))

    with gateway(tmp_path, "--workers", "3", **env) as found:
        tiny_tensors.add(registry, "2", 2.0)
        tiny_tensors.add(registry, "3", 3.0, key=None)
        with Load(found) as load:
            load.more("1")
            done = models("promote", NAME, "2")
            assert done.returncode == 0, done.stderr
            load.more("2")
            before = load.versions["1"]
            load.more("2")
            assert load.versions["1"] == before, "done only when every worker has it"
            refused = models("promote", NAME, "3")
            assert refused.returncode != 0
            assert "not signed" in refused.stdout + refused.stderr
            refused = models("canary", NAME, "1", "--percent", "5")
            assert "A tensor model has no canary" in refused.stderr
            assert models("rollback", NAME).returncode == 0
            load.more("1")
        assert load.wrong == []
        with found.client(headers=found.bearer(*SCOPES)) as client:
            seen = client.get(f"/v1/models/{NAME}").json()
        assert (seen["version"], len(seen["workers"])) == ("1", 3)
