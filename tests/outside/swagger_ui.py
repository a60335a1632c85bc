#!/usr/bin/env python3
"""Tries the pages at /api-docs/ in a real browser, as a developer would.

Starts a server of its own (embedded engine, a new directory, a free port), loads the page, pastes a token through
"Authorize", executes the sync call with the example that the page shows, and expects the 200 in the page. Fails if the
page logs an error (a script that the security policy blocks is one) or asks anybody but this server for anything.

Needs the program (`cargo build`), Debian's `chromium` and `chromium-driver`, and Selenium:

    apt-get install -y --no-install-recommends chromium chromium-driver
    python3 -m venv /tmp/browser && /tmp/browser/bin/pip install selenium
    /tmp/browser/bin/python tests/outside/swagger_ui.py --screenshots /tmp/browser/shots
"""

import argparse
import json
import pathlib
import sys
import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as expect
from selenium.webdriver.support.ui import WebDriverWait

from server import PROGRAM, running

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1600",
]
PATIENCE_SECONDS = 30


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", default=PROGRAM, type=pathlib.Path)
    arguments.add_argument("--screenshots", default=pathlib.Path(tempfile.gettempdir()), type=pathlib.Path)
    arguments = arguments.parse_args()
    arguments.screenshots.mkdir(parents=True, exist_ok=True)
    with running(arguments.program) as server, tempfile.TemporaryDirectory() as profile, browser(profile) as page:
        try_out(page, server, arguments.screenshots)
        check_console(page)
        check_requests(page, server.url)
    print("the sync call was executed in the browser and answered with 200")


def browser(profile):
    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.binary_location = "/usr/bin/chromium"
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


def try_out(page, server, screenshots):
    wait = WebDriverWait(page, PATIENCE_SECONDS)

    def click(selector):
        element = wait.until(expect.element_to_be_clickable((By.CSS_SELECTOR, selector)))
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def text_of(selector):
        return wait.until(expect.visibility_of_element_located((By.CSS_SELECTOR, selector))).text

    def keep(name):
        page.save_screenshot(str(screenshots / f"{name}.png"))

    page.get(f"{server.url}/api-docs/")
    text_of("#operations-Sync-sync")
    keep("1-page")

    click(".auth-wrapper .authorize")
    wait.until(expect.visibility_of_element_located((By.CSS_SELECTOR, ".auth-container input"))).send_keys(server.token)
    click(".auth-btn-wrapper .authorize")
    text_of(".auth-btn-wrapper .modal-btn:not(.btn-done)")
    keep("2-authorised")
    click(".auth-btn-wrapper .btn-done")

    operation = "#operations-Sync-sync"
    click(f"{operation} .opblock-summary-control")
    text_of(f"{operation} .opblock-body")
    keep("3-sync")
    click(f"{operation} .try-out__btn")
    click(f"{operation} .execute")
    status = text_of(f"{operation} .live-responses-table .response .response-col_status")
    body = text_of(f"{operation} .live-responses-table .response .response-col_description")
    answer = page.find_element(By.CSS_SELECTOR, f"{operation} .live-responses-table")
    page.execute_script("arguments[0].scrollIntoView({block: 'start'})", answer)
    keep("4-answer")
    if status.split()[0] != "200" or '"invoicesCreated": 1' not in body:
        sys.exit(f"the sync call was answered with {status}:\n{body}")


def check_console(page):
    errors = [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    if errors:
        sys.exit("the page logs errors:\n" + "\n".join(errors))


def check_requests(page, url):
    """No request leaves for another server, not even one that is blocked."""
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    asked = [request["request"]["url"] for request in sent if request["documentURL"].startswith(url)]
    foreign = [other for other in asked if not other.startswith((url, "data:"))]
    if foreign or not asked:
        sys.exit(f"the page asks others: {foreign} of {len(asked)} requests")


if __name__ == "__main__":
    main()
