"""The image's health check: `python -m gameforge.health` exits 0 if the service on this machine says that it is well."""

import http.client
import json
import sys

from .settings import Settings

TIMEOUT = 10


def main() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", Settings.from_environment().port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/api/health")
        answer = connection.getresponse()
        body = json.loads(answer.read(64 * 1024))
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"unhealthy: {error}")
        return 1
    finally:
        connection.close()
    print(body.get("status", "no status") if isinstance(body, dict) else "no status")
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
