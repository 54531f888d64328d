"""What the tests of checkpoints need besides the program.

  checkpoints.py names FILE                                 what a safetensors file holds, a line each
  checkpoints.py compare FILE FILE LIMIT                    the differences are at most LIMIT of a tensor's largest entry
  checkpoints.py logs LOG LOG LIMIT                         so are the losses of two logs that have the same steps
  checkpoints.py cut FILE BYTES                             takes the last BYTES away
  checkpoints.py edit FILE FILE [drop NAME | rename NAME NEW | flat NAME | step N]...   a copy with changes; flat = of one dimension
  checkpoints.py stop SIGNAL[,SIGNAL...] ROWS LOG COMMAND...    runs the command, sends the signals once the log has so many rows (and half a second later
                                                            each other one), prints how it ended
  checkpoints.py pause SECONDS LOG COMMAND...               stops the command, lets it go on, prints whether it does
  checkpoints.py go-on FOLDER COMMAND...                    three steps more from the checkpoint there are what the command computes that begins anew
  checkpoints.py zeros FOLDER STEPS                         data of zeros for linear.mlir, which takes no room on the disk
"""
import array
import json
import math
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "scripts"))
import checking


def header_and_data(path):
    content = pathlib.Path(path).read_bytes()
    length, = struct.unpack_from("<Q", content)
    return json.loads(content[8:8 + length]), content[8 + length:]


def names(path):
    header, data = header_and_data(path)
    for name, entry in header.items():
        if name != "__metadata__":
            values = checking.read_safetensors(path)[name].values
            print(name, entry["dtype"], entry["shape"], "zeros" if not any(values) else list(values) if entry["shape"] == [] else "values")


def compare(one, other, limit):
    first, second = checking.read_safetensors(one), checking.read_safetensors(other)
    assert first.keys() == second.keys(), first.keys() ^ second.keys()
    for name, tensor in first.items():
        difference, where = tensor.worst_difference(second[name])
        assert difference <= float(limit) * tensor.largest(), f"{name} differs by {difference} at {where}, its largest is {tensor.largest()}"
    print("close")


def logs(one, other, limit):
    first, second = checking.read_log(one), checking.read_log(other)
    assert [row["step"] for row in first] == [row["step"] for row in second], [row["step"] for row in second]
    for a, b in zip(first, second):
        assert abs(a["loss"] - b["loss"]) <= float(limit) * max(1, abs(a["loss"])) and a["lr"] == b["lr"], (a, b)
    print("close")


def edit(source, target, *changes):
    header, data = header_and_data(source)
    entries = {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items() if name != "__metadata__"}
    changes = list(changes)
    while changes:
        what, name = changes.pop(0), changes.pop(0)
        if what == "drop":
            del entries[name]
        elif what == "rename":
            entries[changes.pop(0)] = entries.pop(name)
        elif what == "flat":
            dtype, shape, values = entries[name]
            entries[name] = dtype, [len(values) // array.array(checking.DTYPES[dtype]).itemsize], values
        else:
            entries["step"] = "I64", [], struct.pack("<q", int(name))
    written, all_data = {}, b""
    for name, (dtype, shape, values) in entries.items():
        written[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(all_data), len(all_data) + len(values)]}
        all_data += values
    text = json.dumps(written).encode()
    pathlib.Path(target).write_bytes(struct.pack("<Q", len(text)) + text + all_data)


def stop(signals, rows, log, *command):
    log = pathlib.Path(log)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_bytes().count(b"\n") < int(rows):
        assert process.poll() is None and time.monotonic() < deadline, "it ended, or logs nothing"
        time.sleep(0.01)
    time.sleep(0.3)
    for i, name in enumerate(signals.split(",")):
        if i:
            time.sleep(0.5)
            print("still running" if process.poll() is None else "ended", flush=True)
        process.send_signal(signal.Signals["SIG" + name])
    begin = time.monotonic()
    code = process.wait(timeout=60)
    print(f"exit {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}", "at once" if time.monotonic() - begin < 2 else "later")


def pause(seconds, log, *command):
    log = pathlib.Path(log)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def await_rows(count):
        deadline = time.monotonic() + 60
        while not log.exists() or log.read_bytes().count(b"\n") < count:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("it ended, or logs nothing")
            time.sleep(0.01)

    await_rows(20)
    process.send_signal(signal.SIGSTOP)
    time.sleep(float(seconds))
    rows = log.read_bytes().count(b"\n")
    process.send_signal(signal.SIGCONT)
    await_rows(rows + 20)
    process.kill()
    process.wait()
    print("goes on")


def go_on(folder, *command):
    step = max(int(path.name[5:-12]) for path in pathlib.Path(folder).glob("step-*.safetensors"))
    run = lambda name, *flags: subprocess.run([*command, f"--steps={step + 3}", f"--save={folder}.{name}", *flags], stdout=subprocess.DEVNULL, check=True)
    run("whole")
    run("resumed", "--checkpoint=" + folder, "--resume")
    assert pathlib.Path(folder + ".whole").read_bytes() == pathlib.Path(folder + ".resumed").read_bytes(), f"other parameters after step {step + 3}"
    print("the same")


def zeros(folder, steps):
    os.mkdir(folder)
    for name, dtype, size, shape in (("x", "<f4", 4, (8, 4)), ("labels", "<i8", 8, (8,))):
        header = str(dict(descr=dtype, fortran_order=False, shape=(int(steps), *shape))).ljust(117) + "\n"
        with open(os.path.join(folder, name + ".npy"), "wb") as f:
            f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
            f.truncate(f.tell() + int(steps) * size * math.prod(shape))


def main(command, *arguments):
    if command == "cut":
        os.truncate(arguments[0], os.path.getsize(arguments[0]) - int(arguments[1]))
    else:
        {"names": names, "compare": compare, "logs": logs, "edit": edit, "stop": stop, "pause": pause, "go-on": go_on, "zeros": zeros}[command](*arguments)


main(*sys.argv[1:])
