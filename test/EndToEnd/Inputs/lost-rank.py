"""Loses a rank of a job, and waits for the end: lost-rank.py KILL|STOP RANK PROGRAM LOG SECONDS COMMAND...

The signal comes when the log has 20 rows; the other ranks must have ended SECONDS later. How long mpirun then takes to end is its own affair. Prints how they
ended, after what they said themselves."""
import os
import pathlib
import signal
import subprocess
import sys
import time


def find(program):
    """The processes of the program, by rank."""
    processes = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "environ").read_bytes().split(b"\0")
            if os.readlink(folder / "exe") == program:
                processes.update({int(word.partition(b"=")[2]): int(folder.name) for word in words if word.startswith(b"OMPI_COMM_WORLD_RANK=")})
        except OSError:
            pass  # it has ended, or is somebody else's
    return processes


def is_there(process):
    """Whether a process has not ended; one that nobody has waited for has."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def main(name, rank, program, log, seconds, *command):
    log = pathlib.Path(log)
    log.unlink(missing_ok=True)
    job = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_bytes().count(b"\n") < 20:
        assert job.poll() is None and time.monotonic() < deadline, "it ended, or logs nothing"
        time.sleep(0.01)
    processes = find(os.path.realpath(program))
    process = processes.pop(int(rank))
    begin = time.monotonic()
    os.kill(process, signal.Signals["SIG" + name])
    while any(map(is_there, processes.values())) and time.monotonic() < begin + 60:
        time.sleep(0.01)
    took = time.monotonic() - begin
    try:
        code = job.wait(timeout=60)
        print("ended with", "an error" if code else "success", "in time" if took < float(seconds) else f"after {took:.1f} seconds")
    except subprocess.TimeoutExpired:
        job.kill()
        print("did not end")
    # mpirun may end before those that it has killed.
    deadline = time.monotonic() + 5
    while is_there(process):
        if time.monotonic() > deadline:
            print("the lost rank was left behind")
            os.kill(process, signal.SIGKILL)
            break
        time.sleep(0.05)


main(*sys.argv[1:])
