"""Looks around in a container of an image that is validated (given to its Python as text; nothing of it stays there).

Reads a job as JSON from stdin, writes one line of JSON to the stdout it was started with."""
import json
import os
import select
import signal
import sys
import time

answer = os.dup(1)
os.dup2(2, 1)
job = json.loads(sys.stdin.buffer.read())


def imported(module):
    """What went wrong, or nothing. Each module in a process of its own: one that crashes harms no other."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.set_inheritable(writer, False)
        os.setpgid(0, 0)
        text = "ok"
        try:
            __import__(module)
        except BaseException as error:
            text = type(error).__name__ + ": " + str(error)
        os.write(writer, text.encode("utf-8", "replace")[:600])
        os._exit(0)
    os.close(writer)
    text = b""
    deadline = time.monotonic() + job["seconds"]
    late = False
    while True:
        ready, _, _ = select.select([reader], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            late = True
            os.kill(child, signal.SIGKILL)
            break
        piece = os.read(reader, 1000)
        if not piece:
            break
        text += piece
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if late:
        return "it did not end within %d s" % job["seconds"]
    if os.WIFSIGNALED(status):
        return "it was ended by signal %d" % os.WTERMSIG(status)
    text = text.decode("utf-8", "replace")
    if os.WEXITSTATUS(status) or not text:
        return "it ended the process with code %d" % os.WEXITSTATUS(status)
    return "" if text == "ok" else text


def written(folder):
    """Whether a file can be made in the folder; it is removed at once."""
    path = os.path.join(folder, ".ingot-validate")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        os.unlink(path)
        return True
    except OSError:
        return False


def devices():
    """How many GPUs the driver shows, or what it says."""
    import ctypes

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return str(error)
    code = driver.cuInit(0)
    if code:
        return "cuInit returned %d" % code
    count = ctypes.c_int(0)
    driver.cuDeviceGetCount(ctypes.byref(count))
    return count.value


# Before anything is imported: a module may do whatever it likes.
result = {
    "user": [os.getuid(), os.getgid()],
    "version": "%d.%d.%d" % sys.version_info[:3],
    "writable": [folder for folder in job["folders"] if written(folder)],
    "gpus": devices() if job["gpu"] else None,
}
result["failed"] = {module: text for module in job["modules"] for text in [imported(module)] if text}
os.write(answer, (job["mark"] + json.dumps(result) + "\n").encode("ascii"))
os._exit(0)
