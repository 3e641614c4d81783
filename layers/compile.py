"""Ingot's bytecode worker: `python -s -S -B -W ignore -c THIS` in an empty environment.

Reads (path, source) from stdin, writes the marshalled code object or the syntax error to stdout, until stdin ends.
All numbers are little-endian, four bytes, unless said otherwise.

  first       magic (4 bytes), major, minor, micro (1 byte each)
  request     length, path (UTF-8), length, source
  answer      0 (1 byte), hash of the source (8 bytes), length, marshal data
              1 (1 byte), line, column, length, message (UTF-8), length, text of the line (UTF-8)
              2 (1 byte), if there is not enough memory: that says nothing of the source

It imports next to nothing, runs nothing of what it compiles, and need not be deterministic: Ingot normalises.
"""
import sys
import marshal
import _imp
import _frozen_importlib_external as external

MAGIC = external.MAGIC_NUMBER
KEY = int.from_bytes(MAGIC, "little")
MEMORY = 4 << 30
ROOM = 64 << 20
ROOM_EACH = 1 << 10

stdin = sys.stdin.buffer
stdout = sys.stdout.buffer


def number(value):
    return value.to_bytes(4, "little")


def receive():
    head = stdin.read(4)
    if len(head) < 4:
        return None
    size = int.from_bytes(head, "little")
    data = stdin.read(size)
    return data if len(data) == size else None


def text(value):
    data = str(value).encode("utf-8", "replace")[:4096]
    return number(len(data)) + data


def describe(error):
    return "%s: %s" % (type(error).__name__, error) if str(error) else type(error).__name__


def position(value):
    return number(value if isinstance(value, int) and 0 < value < 1 << 31 else 0)


def is_room(source):
    """Whether there is more memory than any source of this size needs: then the parser's own stack was full."""
    try:
        return len(bytes(ROOM + ROOM_EACH * len(source))) > 0
    except MemoryError:
        return False


def answer(path, source):
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        data = marshal.dumps(code)
    except SyntaxError as error:
        return b"\1" + position(error.lineno) + position(error.offset) + text(error.msg) + text(error.text or "")
    except MemoryError as error:
        if not is_room(source):
            return b"\2"
        return b"\1" + position(None) + position(None) + text(describe(error)) + text("")
    except Exception as error:  # null bytes, too deep, too large
        return b"\1" + position(None) + position(None) + text(describe(error)) + text("")
    return b"\0" + _imp.source_hash(KEY, source) + number(len(data)) + data


def main():
    sys.path[:] = [folder for folder in sys.path if folder]
    try:
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except Exception:  # a base without the module, or a smaller limit from outside
        pass
    stdout.write(MAGIC + bytes(sys.version_info[:3]))
    stdout.flush()
    while True:
        path = receive()
        source = receive()
        if path is None or source is None:
            return
        stdout.write(answer(path.decode("utf-8"), source))
        stdout.flush()


main()
