"""A real Slurm for a test: the one that runs, or a private one of one node from the distribution's packages.

The private one keeps its key, sockets, state and logs in a folder of its own, listens on free ports,
and ends with the test.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("srun", "sinfo", "slurmctld", "slurmd", "munged")
SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
PATIENCE = 20  # seconds

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class MissingError(Exception):
    """Why no Slurm can be had."""


def running():
    """Whether a Slurm with an idle or partly used node answers already."""
    if not shutil.which("sinfo"):
        return False
    shown = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return shown.returncode == 0 and any(state in shown.stdout for state in ("idle", "mixed"))


@contextlib.contextmanager
def slurm(folder):
    """The environment variables under which `srun` reaches a Slurm; raises `MissingError` with the reason."""
    if running():
        yield {}
        return
    lacking = [name for name in PROGRAMS if not shutil.which(name, path=SBIN)]
    if lacking:
        raise MissingError(f"{', '.join(lacking)} not installed; on Debian: apt install slurm-wlm")
    if os.geteuid() != 0:
        raise MissingError("no Slurm runs here, and only root can start one for the test")
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        environment = {"SLURM_CONF": str(_configure(folder))}
        for words in _daemons(folder):
            stack.callback(_stop, _start(words, environment, folder))
        _wait_until_idle(environment, folder)
        yield environment


def _free_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _configure(folder):
    for name in ("state", "spool"):
        (folder / name).mkdir()
    controller, daemon = _free_ports(2)
    file = folder / "slurm.conf"
    file.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            user="root",
            folder=folder,
            controller=controller,
            daemon=daemon,
            cpus=os.cpu_count(),
        )
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    return file


def _daemons(folder):
    """The commands of the three daemons, each in the foreground."""

    def program(name):
        return shutil.which(name, path=SBIN)

    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{option}={folder}/munge.{ending}" for option, ending in files.items()]
    return [
        [program("munged"), "--foreground", "--force", *munge],
        [program("slurmctld"), "-D", "-i"],
        [program("slurmd"), "-D", "-N", socket.gethostname().split(".")[0]],
    ]


def _start(words, environment, folder):
    with (folder / "daemons.log").open("ab") as log:
        return subprocess.Popen(
            words, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _stop(process):
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_idle(environment, folder):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.TimeoutExpired):
            shown = subprocess.run(
                ["sinfo", "--noheader", "--format=%T"],
                env=os.environ | environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            if shown.stdout.strip() == "idle":
                return
        time.sleep(0.1)
    logs = [
        file for name in ("daemons", "slurmctld", "slurmd") if (file := Path(folder) / f"{name}.log").exists()
    ]
    tails = "; ".join(f"{file.name}: {file.read_text(errors='replace').strip()[-300:]}" for file in logs)
    raise MissingError(f"the node of the private Slurm did not come up within {PATIENCE} s: {tails}")
