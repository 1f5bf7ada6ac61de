"""What one tick costs a page, counted rather than timed; in a real Chromium."""

from collections.abc import Iterator

import pytest
from browser import opened
from playwright.sync_api import Browser, Page
from yesterday import app_with_past

MOVED = """async () => {
    const {arrange} = await import(document.querySelector('script[type=module]').src.replace('page.js', 'row_motion.js'));
    const list = document.body.appendChild(document.createElement('ol'));
    const rows = [...Array(20)].map((_, i) => Object.assign(document.createElement('li'), {textContent: i}));
    const seen = new MutationObserver(() => {});
    seen.observe(list, {childList: true});
    const moved = (next, isSeen = true) => {
        arrange(list, next, isSeen);
        const records = seen.takeRecords();
        const count = side => records.reduce((sum, one) => sum + one[side].length, 0);
        return [count('addedNodes'), count('removedNodes'), next.every((row, i) => row === list.children[i]) && list.children.length];
    };
    const fresh = document.createElement('li');
    const told = {
        first: moved(rows, false),
        same: moved(rows),
        fresh: moved([fresh, ...rows.slice(0, 19)]),
        overtaken: moved([fresh, rows[1], rows[0], ...rows.slice(2, 19)]),
        reversed: moved([...rows].reverse()).at(-1),
        none: moved([]),
    };
    list.remove();
    return told;
}"""

PLACES = """async () => {
    const {arrange} = await import(document.querySelector('script[type=module]').src.replace('page.js', 'row_motion.js'));
    const list = document.body.appendChild(document.createElement('ol'));
    const rows = [...Array(20)].map((_, i) => Object.assign(document.createElement('li'), {textContent: i}));
    arrange(list, rows, false);
    const done = [];
    for (const row of rows) {
        Object.defineProperty(row, 'offsetTop', {get: () => (done.push('asked'), 10 * [...list.children].indexOf(row))});
        row.animate = () => done.push('moved');
    }
    arrange(list, [...rows].reverse(), true);
    list.remove();
    return [done.indexOf('moved') > done.lastIndexOf('asked'), done.filter(one => one === 'moved').length];
}"""

MUTATED = """() => {
    const seen = new MutationObserver(() => {});
    hashtagPulse.list();
    seen.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    hashtagPulse.list();
    return seen.takeRecords().map(one => `${one.type} of ${one.target.nodeName} ${one.attributeName}`);
}"""

LOOKED = """() => {
    const {chart} = hashtagPulse;
    const dashed = hashtagPulse.tags.filter(tag => hashtagPulse.pen(tag).dash.length);
    const [line] = chart.lines.get(dashed[0]), {data} = line;
    let looked = 0;
    data.slice = (...part) => { looked++; return Array.prototype.slice.apply(data, part) };
    const costs = oldest => { looked = 0; line.dropOldData(oldest, 2); return looked };
    const told = {dashed: dashed.length, standing: costs(data[1][0]), losing: costs(data[2][0])};
    delete data.slice;
    return told;
}"""

WRITTEN = """tick => {
    const {config, state, table} = hashtagPulse;
    const before = config.tick, {update} = table;
    let written = 0;
    table.update = readings => { written++; update.call(table, readings) };
    config.tick = tick;
    for (let n = 1; n <= 10; n++) hashtagPulse.counts({...state.tick, at: state.tick.at + 1});
    config.tick = before;
    table.update = update;
    return written;
}"""

RESTED = """panel => {
    const {chart, visitor: {side}} = hashtagPulse, {smoothie} = chart, paint = chart.onpaint;
    const frame = () => { smoothie.lastChartTimestamp = smoothie.lastRenderTimeMillis = 0; smoothie.render() };
    let drawn = 0;
    chart.stop();
    chart.onpaint = () => drawn++;
    const told = [frame(), drawn];
    if (panel === "board") side.panel.show();
    else side.posts.arrange([], false);
    told.push((frame(), drawn), (frame(), drawn));
    chart.onpaint = paint;
    chart.start();
    return told.slice(1);
}"""


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with (
        app_with_past(tmp_path_factory.mktemp("work"), ["football", "science"]) as app,
        opened(browser, app.url) as page,
    ):
        yield page


def test_a_row_that_keeps_its_place_is_left_there(page: Page) -> None:
    """Each that is taken out and put back is laid out anew, with all its words."""
    assert page.evaluate(MOVED) == {
        "first": [20, 0, 20],
        "same": [0, 0, 20],
        "fresh": [1, 1, 20],
        "overtaken": [1, 1, 20],
        "reversed": 20,
        "none": [0, 20, 0],
    }


def test_places_are_asked_for_before_anything_moves(page: Page) -> None:
    """To ask where a row is, after another began to move, is to lay out the page once more."""
    assert page.evaluate(PLACES) == [True, 20]


def test_what_stays_the_same_is_not_written(page: Page) -> None:
    """Neither words nor attributes: a browser looks at the style of what is."""
    assert page.evaluate(MUTATED) == []


def test_a_dashed_line_is_looked_through_only_when_it_loses_points(page: Page) -> None:
    """Its dashes begin at its first point; while that stays, a frame costs nothing for them."""
    assert page.evaluate(LOOKED) == {"dashed": 1, "standing": 0, "losing": 1}


def test_ticks_that_come_fast_do_not_write_the_table_each_time(page: Page) -> None:
    """Four times a second is as fast as anybody reads; the lines grow by each."""
    assert page.evaluate(WRITTEN, 500) == 10
    assert page.evaluate(WRITTEN, 100) == 0


@pytest.mark.parametrize("panel", ["board", "posts"])
def test_a_frame_that_lays_out_rows_does_not_draw_lines_too(page: Page, panel: str) -> None:
    """Each takes half a frame's time where a browser draws by software; the lines move in the next."""
    page.wait_for_function("() => hashtagPulse.visitor?.side?.posts")
    assert page.evaluate(RESTED, panel) == [1, 1, 2]
