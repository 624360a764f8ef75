// The status page on a phone's and a desk's screen, in light and dark, with and without JavaScript.
//
// node page.mjs ADDRESS FOLDER WHAT EXTENT: pictures go into FOLDER, named after WHAT. `briefly`: a phone in the dark and
// a desk in the light, with JavaScript. `wholly`: all of them. `pressing`: all, and a button of the page is pressed, with
// JavaScript and without.

import { COLOURS, SCREENS, Visit, conclude, open } from './chromium.mjs';

const [address, folder, what, extent] = process.argv.slice(2);
const isBrief = extent === 'briefly';
const browser = await open();
const findings = [];
let looks = 0;
for (const screen of Object.keys(SCREENS)) {
  for (const colour of COLOURS) {
    if (isBrief && (screen === 'phone') !== (colour === 'dark')) continue;
    for (const scripts of isBrief ? [true] : [true, false]) {
      const visit = await Visit.begin(browser, { screen, colour, scripts });
      await visit.go(address);
      await visit.judge(what, folder);
      await visit.end();
      findings.push(...visit.findings);
      looks += 1;
    }
  }
}
for (const scripts of extent === 'pressing' ? [true, false] : []) {
  const visit = await Visit.begin(browser, { screen: 'phone', colour: 'light', scripts });
  await visit.go(address);
  const { page } = visit;
  const told = page.locator('#commands li', { hasText: 'from home, by this page' });
  const before = await told.count();
  await page.getByRole('button', { name: 'toaster, lever OFF' }).click();
  await page.waitForURL('**/#commands');
  const after = await told.count();
  if (after !== before + 1) visit.find(`a press is told ${after - before} times`);
  else if (!(await told.first().innerText()).startsWith('Done')) visit.find(await told.first().innerText());
  await visit.judge(`${what}-pressed`, folder);
  await visit.end();
  findings.push(...visit.findings);
  looks += 1;
}
await browser.close();
conclude(looks, findings);
