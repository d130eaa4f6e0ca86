"""How large is a report page, and how soon is it there?

    python -m tests.benchmarks.page_load report.html [another.html ...]

Each page is opened several times in a fresh Chromium of a desktop's size, the processor slowed
down as asked (`--slower 4` is about a phone's). Medians, in milliseconds from the beginning of the
navigation: first paint, the first figure drawn, and the last moment of the first five seconds in
which the page kept its thread busy for more than 50 ms; and for how long it did so in all.
"""

import argparse
import gzip
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import which
from statistics import median
from typing import Any

from playwright.sync_api import sync_playwright

_WATCH = """
window.first = null; window.busy = []
new PerformanceObserver(seen => busy.push(...seen.getEntries())).observe({type: 'longtask'})
new MutationObserver((_, me) => {
  if (!document.querySelector('.figure .main-svg')) return
  first = performance.now()
  me.disconnect()
}).observe(document, {subtree: true, childList: true})
"""

_SEEN = """() => ({
  paint: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0,
  figure: first ?? 0,
  settled: Math.max(0, ...busy.map(task => task.startTime + task.duration)),
  busy: busy.reduce((sum, task) => sum + task.duration, 0),
  figures: document.querySelectorAll('.figure .main-svg').length,
})"""

TIMES = ("paint", "figure", "settled", "busy")


def loads(page: Path, repeats: int, slower: float, browser: Any) -> Iterator[dict[str, float]]:
    """What was seen of each load."""
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        tab = context.new_page()
        tab.add_init_script(_WATCH)
        if slower > 1:
            session = context.new_cdp_session(tab)
            session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        tab.goto(page.resolve().as_uri(), wait_until="load")
        tab.wait_for_timeout(5000)
        yield tab.evaluate(_SEEN)
        context.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slower", type=float, default=1.0)
    parser.add_argument("--chromium", default=which("chromium"))
    asked = parser.parse_args(arguments)
    print(
        f"{'page':24} {'MB':>6} {'gzip':>6} {'paint':>6} {'figure':>7} {'settled':>8} {'busy':>6}"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])
        for page in asked.pages:
            found = list(loads(page, asked.repeats, asked.slower, browser))
            times = [median(one[name] for one in found) for name in TIMES]
            body = page.read_bytes()
            sizes = (len(body) / 1e6, len(gzip.compress(body)) / 1e6)
            print(
                f"{page.name[-24:]:24} {sizes[0]:6.2f} {sizes[1]:6.2f} {times[0]:6.0f} "
                f"{times[1]:7.0f} {times[2]:8.0f} {times[3]:6.0f}"
            )
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
