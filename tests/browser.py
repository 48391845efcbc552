"""What a person does in the two UIs, in a real browser without a window."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: apt-get install chromium-headless-shell"
)


@contextmanager
def browser() -> Iterator[Any]:
    """A page in headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its sandbox needs rights that a container's root lacks; it sees loopback only.
        arguments = ["--no-sandbox", "--disable-gpu"]  # a GPU in software costs half a processor
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = chromium.new_page(viewport={"width": 1400, "height": 1100}, reduced_motion="reduce")
        page.set_default_timeout(60_000)
        try:
            yield page
        finally:
            chromium.close()


def choose(page: Any, place: int, value: str) -> None:
    """Take a value of the form's `place`-th list of choices."""
    page.locator(".p-select-button__control").nth(place).press("ArrowDown")
    page.locator(".p-select-option").get_by_text(value, exact=True).click()


def approve(page: Any, who: str) -> None:
    """Resume the suspended run of the page, with a yes."""
    page.get_by_role("button", name="Resume").first.click()
    dialog = page.locator(".p-modal")
    dialog.get_by_role("switch").click()
    dialog.locator("textarea").fill(who)
    send(page, dialog.get_by_role("button", name="Submit"), "/resume")
    dialog.wait_for(state="hidden")


def send(page: Any, button: Any, ending: str) -> Any:
    """Click until Prefect's server takes what is sent to an address with this ending; its answer.

    On SQLite it answers 503 where another write came between, and its page says "Oops": a person
    clicks again.
    """
    for _ in range(10):
        with page.expect_response(lambda r: r.url.endswith(ending)) as answer:
            button.click()
        if answer.value.status != 503:
            break
    assert answer.value.ok, answer.value.text()
    return answer.value


def set_alias(page: Any, mlflow: str, model: str, version: int, alias: str) -> None:
    """Give a version an alias in the MLflow UI."""
    page.goto(f"{mlflow}/#/models/{model}/versions/{version}")
    page.get_by_title("Edit aliases").click()
    dialog = page.get_by_role("dialog")
    box = dialog.get_by_role("combobox")
    box.click()
    box.fill(alias)
    box.press("Enter")
    dialog.get_by_role("button", name="Save aliases").click()
    dialog.wait_for(state="hidden")
