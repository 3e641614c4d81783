"""The client of `ingot sandbox serve`: HTTP on a unix socket."""

import http.client
import json
import socket


class Unavailable(Exception):
    """The sandbox service cannot run anything now; the text says why."""


class Full(Exception):
    """As many games run as may."""


class Refused(Exception):
    """The request was a mistake; the text says which."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("ingot", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Sandbox:
    """The service behind one socket."""

    #: How long anything but a run may take, and what a run takes besides the game's own time.
    PATIENCE = 15

    def __init__(self, path):
        self.path = path

    def health(self):
        """What the service says of itself. It answers 503 when it is not well: that is an answer, too."""
        return self._ask("GET", "/health", None, self.PATIENCE)[1]

    def run(self, identity, code, seconds):
        """Runs a program to its end: the object of `ingot sandbox run --format json`, with `output`."""
        request = {
            "id": identity,
            "code": code,
            # Where the executor image has the module `game`.
            "env": {"PYTHONPATH": "/app"},
            "output": True,
            "limits": {"timeout_ms": seconds * 1000},
        }
        status, told = self._ask("POST", "/run", request, seconds + self.PATIENCE)
        if status == 200:
            return told
        why = told.get("error", f"status {status}")
        if status == 429:
            raise Full(why)
        if status == 400:
            raise Refused(why)
        hint = told.get("hint")
        raise Unavailable(f"{why}: {hint}" if hint else why)

    def _ask(self, method, path, body, timeout):
        connection = _Connection(self.path, timeout)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except TimeoutError as error:
            raise Unavailable(f"the sandbox service did not answer within {timeout} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(f"the sandbox service at {self.path} does not answer: {error}") from error
        finally:
            connection.close()
