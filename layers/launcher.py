#!@INTERPRETER@ -IS
"""Checks the environment, then becomes the command (written by ingot; runs as PID 1)."""
import _signal
import os
import sys

# Name, expected value, what to say if it is not set, what to say if it differs.
REQUIRED = @REQUIRED@


def environment():
    # Python may have added LC_CTYPE (PEP 538); the command gets what the container got.
    try:
        with open("/proc/self/environ", "rb") as file:
            pairs = [pair.partition(b"=") for pair in file.read().split(b"\0") if b"=" in pair]
    except OSError:
        return dict(os.environb)
    return {name: value for name, _, value in reversed(pairs)}


def stop(code, text):
    sys.stderr.write("ingot: " + text + "\n")
    sys.stderr.flush()
    os._exit(code)


def main(command):
    env = environment()
    problems = []
    for name, expected, unset, differs in REQUIRED:
        found = env.get(name)
        if found is None:
            problems.append(unset)
        elif found != expected:
            problems.append(differs)
    if problems:
        stop(78, "; ".join(problems))
    if not command:
        stop(127, "there is no command to start")
    # Python ignores these two; the command must find them as they were.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, env)
    except FileNotFoundError:
        where = "" if "/" in command[0] else " on PATH"
        stop(127, "command %s (or the interpreter of its first line) was not found%s" % (ascii(command[0]), where))
    except NotADirectoryError:
        stop(127, "command %s was not found" % ascii(command[0]))
    except (OSError, ValueError) as error:
        stop(126, "command %s could not be started: %s" % (ascii(command[0]), ascii(str(error))))


main(sys.argv[1:])
