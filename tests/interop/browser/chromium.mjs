// Debian's Chromium, and what every page must be in it, whatever it shows.
//
// Judges pages by what a person meets: axe-core's rules (all of them, of every impact), the console, whom the page
// talks to, whether it has to be pushed sideways. A finding is a sentence; the caller says them and ends with 1.

import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** A phone that is held upright, and a window on a desk. */
export const SCREENS = {
  phone: { viewport: { width: 360, height: 800 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
  desk: { viewport: { width: 1280, height: 900 } },
};
export const COLOURS = ['light', 'dark'];

/** Starts it; the caller closes it. */
export function open() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // As root there is no sandbox, and every page here is our own. The rest keeps it from calling its makers.
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--no-first-run'],
  });
}

/** One person's browser, with everything that must not happen in it written down from its first request on. */
export class Visit {
  static async begin(browser, { screen, colour, scripts = true, also = [] }, options = {}) {
    const visit = new Visit();
    visit.browser = browser;
    visit.wishes = { screen, colour, scripts };
    visit.name = `${screen}-${colour}${scripts ? '' : '-without-javascript'}`;
    visit.findings = [];
    visit.context = await browser.newContext({
      ...SCREENS[screen], colorScheme: colour, javaScriptEnabled: scripts, ...options,
    });
    visit.page = await visit.context.newPage();
    // CI has two cores, and they are busy.
    visit.page.setDefaultTimeout(120_000);
    visit.allowed = also;
    visit.page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) visit.find(`console: ${message.text()}`);
    });
    visit.page.on('pageerror', (error) => visit.find(`uncaught: ${error.message}`));
    visit.page.on('websocket', (socket) => visit.meet(socket.url()));
    visit.context.on('request', (request) => visit.meet(request.url()));
    visit.page.on('requestfailed', (request) => {
      // A page that is left ends its event stream.
      const why = request.failure()?.errorText;
      if (why !== 'net::ERR_ABORTED') visit.find(`request: ${request.url()}: ${why}`);
    });
    return visit;
  }

  find(finding) {
    this.findings.push(`${this.name}: ${finding}`);
  }

  meet(address) {
    const { origin, protocol } = new URL(address);
    if (['data:', 'blob:'].includes(protocol) || origin === this.origin || this.allowed.includes(origin)) return;
    this.find(`a third party is asked: ${address}`);
  }

  async go(address) {
    this.origin = new URL(address).origin;
    const answer = await this.page.goto(address, { waitUntil: 'load' });
    if (!answer.ok()) this.find(`${address} answers ${answer.status()}`);
    // Scripts draw after the load.
    await this.page.waitForTimeout(500);
  }

  /** Looks at the page as it stands, and keeps a picture of it. */
  async judge(what, folder) {
    const [page, leave] = await this.still();
    const axe = await page.evaluate(async (source) => {
      // What the protocol evaluates may do this, whatever the page's policy says.
      if (!window.axe) new Function(source).call(window);
      const { violations, passes } = await window.axe.run(document, { resultTypes: ['violations'] });
      return { violations: violations.map(({ id, impact, help, nodes }) =>
        ({ id, impact, help, nodes: nodes.map(({ html, failureSummary }) => `${html}\n${failureSummary}`) })),
      passes: passes.length };
    }, AXE);
    // A judge that saw nothing has not judged.
    if (axe.passes < 5) this.find(`${what}: axe-core found only ${axe.passes} rules to apply`);
    for (const { id, impact, help, nodes } of axe.violations) {
      this.find(`${what}: axe ${id} (${impact}): ${help}, ${nodes.length} times:\n${nodes.slice(0, 3).join('\n')}`);
    }
    const [wide, screen] = await page.evaluate(() =>
      [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    if (wide > screen) this.find(`${what}: ${wide} px wide on a screen of ${screen}`);
    if (folder) {
      await mkdir(folder, { recursive: true });
      await page.screenshot({ path: join(folder, `${what}-${this.name}.png`), fullPage: true, timeout: 120_000 });
    }
    await leave();
  }

  /** What is judged: the page or, where its scripts are off, the same in a page that has none. axe-core waits for promises,
   * which do not come where scripts are off; and such a page may load itself anew at any moment. */
  async still() {
    if (this.wishes.scripts) return [this.page, () => {}];
    const address = this.page.url();
    const body = (await this.page.content())
      .replace(/<script[^>]*>[^]*?<\/script>/g, '')
      .replace(/<meta[^>]*http-equiv="refresh"[^>]*>/g, '')
      .replace(/<\/?noscript>/g, '');
    const { screen, colour } = this.wishes;
    const context = await this.browser.newContext({ ...SCREENS[screen], colorScheme: colour });
    const page = await context.newPage();
    await page.route(address, (route) => route.fulfill({ contentType: 'text/html; charset=utf-8', body }));
    await page.goto(address);
    return [page, () => context.close()];
  }

  end() {
    return this.context.close();
  }
}

/** Says what was found and ends the program accordingly. */
export function conclude(looks, findings) {
  findings.forEach((finding) => console.log(finding));
  console.log(`${looks} looks, ${findings.length} findings`);
  process.exitCode = findings.length === 0 && looks > 0 ? 0 : 1;
}
