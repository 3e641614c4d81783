#!/usr/bin/env python3
"""Plays one game as a person would: in a real browser, without a screen, through chromedriver. Nothing but Python is needed.

    play.py URL [--code FILE] [--expect TEXT] [--player NAME]

Prints what the page showed, then the gateway's health document; exits 1 if the game was not played, or if the
browser had something to complain about.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

CODE = """\
from game import score
board = [" "] * 9
for turn, field in enumerate([4, 0, 2, 6, 3, 5, 1, 7, 8]):
    board[field] = "XO"[turn % 2]
for row in range(3):
    print("|".join(board[3 * row:3 * row + 3]))
print("a draw")
score(42)
"""
#: How an element is named in WebDriver.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
BROWSER = [
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
    "--window-size=1000,1300",
]
#: chromedriver chooses a port for IPv6 and ends if that one is taken for IPv4.
TRIES = 5


class Failure(Exception):
    """The game was not played; the text says why."""


class Browser:
    """A browser with a profile of its own, driven over WebDriver."""

    def __init__(self, folder):
        driver = program("chromedriver", "chromium-driver")
        chromium = program("chromium", "chromium")
        arguments = [*BROWSER, f"--user-data-dir={folder}/profile"]
        if os.getuid() == 0:
            arguments.append("--no-sandbox")
        environment = {**os.environ, "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder}
        self.log = Path(folder, "chromedriver.log")
        command = [driver, "--port=0", f"--log-path={self.log}"]
        port = None
        for _ in range(TRIES):
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            port = self._port()
            if port:
                break
            self.process.wait()
        try:
            if not port:
                raise Failure(f"chromedriver did not start: {self.process.returncode}, {self._said()}")
            self.base = f"http://127.0.0.1:{port}"
            options = {
                "goog:chromeOptions": {"binary": chromium, "args": arguments},
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": options}})
            self.base += f"/session/{made['sessionId']}"
        except BaseException:
            self.close()
            raise

    def _port(self):
        for line in self.process.stdout:
            if "successfully on port" in line:
                return int(line.rstrip(".\n").rsplit(" ", 1)[1])
        return None

    def _said(self):
        return self.log.read_text(errors="replace")[-500:] if self.log.exists() else "no log"

    def ask(self, method, path, body=None):
        """One WebDriver command."""
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=90) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Failure(f"the browser: {json.load(error)['value']['message'].splitlines()[0]}") from error

    def find(self, css):
        found = self.ask("POST", "/element", {"using": "css selector", "value": css})
        return f"/element/{found[ELEMENT]}"

    def text(self, css):
        return self.ask("GET", self.find(css) + "/text")

    def type(self, css, text):
        element = self.find(css)
        self.ask("POST", element + "/clear")
        self.ask("POST", element + "/value", {"text": text})

    def click(self, css):
        self.ask("POST", self.find(css) + "/click")

    def until(self, what, seconds, holds):
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise Failure(f"{what}: not within {seconds} s; the page shows {self.text('body')!r}")
            time.sleep(0.1)

    def complaints(self):
        """What the console has of errors: also what the page's own policy has refused."""
        entries = self.ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def close(self):
        try:
            if "/session/" in getattr(self, "base", ""):
                self.ask("DELETE", "")
        except (Failure, OSError):
            pass
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def program(name, package):
    found = shutil.which(name)
    if not found:
        raise Failure(f"`{name}` is missing: apt-get install {package}")
    return found


def play(browser, asked):
    """The page, the program typed in, the button pressed, the output read."""
    browser.ask("POST", "/url", {"url": asked.url})
    code = asked.code.read_text() if asked.code else CODE
    expect = asked.expect or "a draw"
    browser.type("#player", asked.player)
    browser.type("#code", code)
    browser.click("#run")
    browser.until("the game's end", 60, lambda: browser.ask("GET", browser.find("#run") + "/enabled"))
    shown = {name: browser.text(f"#{name}") for name in ("ended", "output", "errors", "played", "scores")}
    if expect not in shown["output"]:
        raise Failure(f"{expect!r} is not in the output: {shown}")
    if asked.screenshot:
        asked.screenshot.write_bytes(base64.b64decode(browser.ask("GET", "/screenshot")))
    # The session is in the database: the same browser comes back and is known.
    browser.ask("POST", "/refresh")
    browser.until("the session", 20, lambda: browser.text("#played") == shown["played"])
    complaints = browser.complaints()
    if complaints:
        raise Failure(f"the browser complains: {complaints}")
    return shown


def health(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url.rstrip("/") + "/api/health", timeout=30) as answer:
        return json.load(answer)


def main():
    parser = argparse.ArgumentParser(description="Plays one game in a real browser.")
    parser.add_argument("url")
    parser.add_argument("--code", type=Path, help="the game's program; without: a short one of its own")
    parser.add_argument("--expect", help="what the page must show of its output")
    parser.add_argument("--player", default="Ada")
    parser.add_argument("--screenshot", type=Path, help="where to put a picture of the page")
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="ingot-play-") as folder:
            browser = Browser(folder)
            try:
                shown = play(browser, asked)
            finally:
                browser.close()
        print(f"{shown['ended']}\n{shown['output']}\n{shown['played']}\nbest scores: {shown['scores']}")
        print(json.dumps(health(asked.url), indent=2))
    except (Failure, OSError) as error:
        sys.exit(f"play.py: {error}")


if __name__ == "__main__":
    main()
