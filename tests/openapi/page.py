"""Opens the page at /docs in Chromium and judges it: `page.py URL KEY PICTURE`.

It shows every operation, asks nobody but the service, breaks no rule of its own policy, and a request can be sent from it. Each
judgement has a control that must fail: a page whose script does not come, an empty picture, a script that the policy forbids.
"""

import json
import shutil
import struct
import sys
import tempfile
import urllib.request
import zlib

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

URL, KEY, PICTURE = sys.argv[1:]
PATIENCE = 60
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage --no-proxy-server --window-size=1280,1600"""


class Failed(Exception):
    """What a judgement says."""


def browser(profile):
    options = webdriver.ChromeOptions()
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def operations():
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{URL}/openapi.json") as answer:
        document = json.load(answer)
    methods = ("get", "post", "patch", "delete")
    return sum(method in item for item in document["paths"].values() for method in methods)


def wait(driver, patience, what, condition):
    try:
        return WebDriverWait(driver, patience).until(condition)
    except TimeoutException:
        raise Failed(f"never: {what}") from None


def shows_everything(driver, patience=PATIENCE):
    """Waits until every operation is on the page."""
    wanted = operations()
    wait(
        driver,
        patience,
        f"{wanted} operations on the page",
        lambda driver: len(driver.find_elements(By.CSS_SELECTOR, ".opblock")) == wanted,
    )
    text = driver.find_element(By.TAG_NAME, "body").text
    for words in ("Engagement", "Open a conversation", "Watch a conversation", "Make a key", "Authorize"):
        if words not in text:
            raise Failed(f"the page does not say {words!r}")


def is_quiet(driver):
    """Nothing on the console that is worse than a remark."""
    complaints = [entry for entry in driver.get_log("browser") if entry["level"] not in ("INFO", "DEBUG")]
    if complaints:
        raise Failed(f"the console says {complaints}")


def asks_only_the_service(driver):
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked = message["params"]["request"]["url"]
            if not asked.startswith((URL, "data:", "blob:")):
                raise Failed(f"it asks {asked}")


def colours(png):
    """How many colours a picture has: 8 bits to a channel, not interlaced, as Chromium writes them."""
    at, packed = 8, b""
    while at < len(png):
        (length,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        data = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, form = struct.unpack(">IIBB", data[:10])
            assert depth == 8 and form in (2, 6), (depth, form)
            size = 3 if form == 2 else 4
        elif kind == b"IDAT":
            packed += data
        at += 12 + length
    raw, row = zlib.decompress(packed), width * size
    before, seen = bytearray(row), set()
    for y in range(height):
        begin = y * (row + 1)
        how, line = raw[begin], bytearray(raw[begin + 1 : begin + 1 + row])
        if how:
            unfilter(how, line, before, size)
        for x in range(0, row, size):
            seen.add(bytes(line[x : x + 3]))
        before = line
    return len(seen)


def unfilter(how, line, before, size):
    for i in range(len(line)):
        left = line[i - size] if i >= size else 0
        up, corner = before[i], before[i - size] if i >= size else 0
        if how == 1:
            add = left
        elif how == 2:
            add = up
        elif how == 3:
            add = (left + up) // 2
        else:
            guess = left + up - corner
            distances = (abs(guess - left), abs(guess - up), abs(guess - corner))
            add = (left, up, corner)[distances.index(min(distances))]
        line[i] = (line[i] + add) & 0xFF


def is_a_picture(png):
    found = colours(png)
    if found < 100:
        raise Failed(f"the picture has {found} colours")
    return found


def opens_a_conversation(driver):
    """Types the key in, as a person does, and sends a request."""
    driver.find_element(By.CSS_SELECTOR, ".btn.authorize").click()
    dialog = wait(driver, PATIENCE, "the dialog for keys", lambda d: d.find_element(By.CSS_SELECTOR, ".modal-ux"))
    dialog.find_element(By.CSS_SELECTOR, "input").send_keys(KEY)
    dialog.find_element(By.CSS_SELECTOR, "button.authorize").click()
    dialog.find_element(By.CSS_SELECTOR, "button.btn-done").click()
    block = driver.find_element(By.CSS_SELECTOR, "#operations-Conversations-createConversation")
    block.find_element(By.CSS_SELECTOR, ".opblock-summary-control").click()

    def click(selector):
        found = wait(driver, PATIENCE, selector, lambda _: block.find_elements(By.CSS_SELECTOR, selector))
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found[0])
        found[0].click()

    click(".try-out__btn")
    click(".execute")
    status = wait(
        driver,
        PATIENCE,
        "an answer",
        lambda _: [cell.text for cell in block.find_elements(By.CSS_SELECTOR, ".live-responses-table .response-col_status") if cell.text[:1].isdigit()],
    )
    if not status[0].startswith("201"):
        raise Failed(f"the page's request was answered {status}")


def must_fail(what, judgement):
    try:
        judgement()
    except Failed as failed:
        print(f"control: {what}: {failed}"[:200])
    else:
        sys.exit(f"a control does not fail: {what}")


def main():
    with tempfile.TemporaryDirectory() as profile:
        driver = browser(profile)
        try:
            judge(driver)
        finally:
            driver.quit()


def judge(driver):
    # What the browser asks for itself when it starts is not the page's.
    driver.get("about:blank")
    driver.get_log("performance")
    driver.get(f"{URL}/docs")
    shows_everything(driver)
    png = driver.get_screenshot_as_png()
    with open(PICTURE, "wb") as file:
        file.write(png)
    found = is_a_picture(png)
    opens_a_conversation(driver)
    is_quiet(driver)
    asks_only_the_service(driver)
    print(f"the page shows {operations()} operations in {found} colours, and a request from it was answered 201: {PICTURE}")

    driver.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.forbidden = true';"
        "document.head.append(script)"
    )
    if driver.execute_script("return window.forbidden"):
        sys.exit("an inline script ran on the page")
    must_fail("a script that the policy forbids is heard", lambda: is_quiet(driver))
    driver.execute_script("fetch('https://example.com/').catch(() => {})")
    must_fail("a request that the policy forbids is heard", lambda: is_quiet(driver))

    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*docs.js"]})
    driver.get(f"{URL}/docs")
    must_fail("a page whose script does not come", lambda: shows_everything(driver, 3))
    driver.get("about:blank")
    must_fail("an empty page", lambda: is_a_picture(driver.get_screenshot_as_png()))


try:
    main()
except Failed as failed:
    sys.exit(f"error: {failed}")
