"""The container's health check: exits 0 when the service says that it is healthy."""

import http.client
import sys


def main():
    connection = http.client.HTTPConnection("127.0.0.1", 5000, timeout=10)
    try:
        connection.request("GET", "/api/health")
        answer = connection.getresponse()
        text = answer.read().decode()
    except OSError as error:
        sys.exit(f"no answer: {error}")
    if answer.status != 200:
        sys.exit(text)


if __name__ == "__main__":
    main()
