"""A real JupyterLab server on loopback, and a client that opens a notebook there and runs all its cells."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import uuid

import aiohttp

from deepvalues.core import paths

PATIENCE = 60  # seconds until the server answers
#: At the end of a notebook: the most memory that its kernel took (KiB on Linux) and its processor time.
USAGE = (
    "import json as _j, resource as _r\n"
    "_u = [_r.getrusage(w) for w in (_r.RUSAGE_SELF, _r.RUSAGE_CHILDREN)]\n"
    "print(_j.dumps([max(u.ru_maxrss for u in _u) / 1024, sum(u.ru_utime + u.ru_stime for u in _u)]))"
)


class CellError(Exception):
    """A cell of a notebook raised."""


class Lab:
    """What the front end does: fetches pages and notebooks, starts a session, sends cells to its kernel."""

    def __init__(self, client, address, log):
        self.client, self.address, self.log = client, address, log

    async def page(self, path):
        """Status and text of a page."""
        async with self.client.get(f"{self.address}/{path}") as answer:
            return answer.status, await answer.text()

    async def notebook(self, path):
        """A notebook through the contents API."""
        async with self.client.get(f"{self.address}/api/contents/{path}") as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.json())["content"]

    @contextlib.asynccontextmanager
    async def kernel(self, path):
        """A kernel for a notebook, as opening it starts one; gives the call that runs code there."""
        wanted = {
            "path": path,
            "name": path.rpartition("/")[2],
            "type": "notebook",
            "kernel": {"name": "python3"},
        }
        async with self.client.post(f"{self.address}/api/sessions", json=wanted) as answer:
            assert answer.status == 201, await answer.text()
            session = await answer.json()
        channels = f"{self.address}/api/kernels/{session['kernel']['id']}/channels"
        try:
            async with self.client.ws_connect(channels, max_msg_size=0) as wire:
                yield lambda code: _execute(wire, code)
        finally:
            async with self.client.delete(f"{self.address}/api/sessions/{session['id']}") as answer:
                assert answer.status == 204

    async def run_all(self, path, overrides=""):
        """Run all code cells; what each printed or showed, memory in MB, processor time and time in seconds.

        Parameters
        ----------
        overrides
            Code that runs after the cell tagged `parameters`.
        """
        begin = time.monotonic()
        outputs = []
        async with self.kernel(path) as execute:
            for cell in (await self.notebook(path))["cells"]:
                if cell["cell_type"] == "code":
                    outputs += await execute(cell["source"])
                    if "parameters" in cell["metadata"].get("tags", []):
                        await execute(overrides)
            ((_, usage),) = await execute(USAGE)
        return outputs, *json.loads(usage["text"]), time.monotonic() - begin


async def _execute(wire, code):
    """Send one cell and gather its outputs until the kernel is idle again."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": "test",
        "username": "",
        "version": "5.4",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": True,
        "allow_stdin": False,
        "stop_on_error": True,
    }
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await wire.send_json(message)
    outputs, open_ends = [], {"reply", "idle"}
    while open_ends:
        received = await wire.receive_json()
        kind, said = received["header"]["msg_type"], received["content"]
        if received["parent_header"].get("msg_id") != header["msg_id"]:
            assert said.get("execution_state") not in ("dead", "restarting"), "the kernel died"
        elif kind == "error":
            raise CellError(f"{said['ename']}: {said['evalue']}\nin the cell\n{code}")
        elif kind in ("stream", "display_data", "execute_result"):
            outputs.append((kind, said))
        elif kind == "execute_reply":
            open_ends.discard("reply")
        elif kind == "status" and said["execution_state"] == "idle":
            open_ends.discard("idle")
    return outputs


@contextlib.asynccontextmanager
async def lab(root, own):
    """Start JupyterLab for a folder, with its settings in another; gives a `Lab`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    settings = {f"JUPYTER_{name}_DIR": str(own / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = (
        os.environ | settings | {paths.KEEP: "1", "JUPYTER_TOKEN": token, "IPYTHONDIR": str(own / "ipython")}
    )
    options = [
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--allow-root",
        "--ServerApp.port_retries=0",
    ]
    log = own / "log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={root}"],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    try:
        headers = {"Authorization": f"token {token}"}
        async with aiohttp.ClientSession(
            headers=headers, timeout=aiohttp.ClientTimeout(total=None)
        ) as client:
            started = Lab(client, f"http://127.0.0.1:{port}", log)
            await _wait(started, server)
            yield started
    finally:
        server.terminate()
        server.wait()


async def _wait(started, server):
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            if (await started.page("api/status"))[0] == 200:
                return
        said = started.log.read_text(errors="replace")[-2000:]
        assert server.poll() is None, f"JupyterLab ended: {said}"
        assert time.monotonic() < end, f"JupyterLab did not answer: {said}"
        await asyncio.sleep(0.1)
