// The first start's page with somebody before it: it follows the file without being loaded again, and ends as the gateway's
// page.
//
// node guide.mjs ADDRESS: says what it sees; the caller writes the file.

import { Visit, conclude, open } from './chromium.mjs';

const [address] = process.argv.slice(2);
const browser = await open();
const visit = await Visit.begin(browser, { screen: 'phone', colour: 'light' });
await visit.go(address);
const { page } = visit;
const sees = async (words) => {
  await page.getByText(words).waitFor();
  console.log(words);
};
await sees('There is no configuration yet.');
// Gone if the page is loaded anew.
await page.evaluate(() => document.body.setAttribute('data-kept', ''));
await sees('The configuration is not good yet.');
if (!await page.evaluate(() => document.body.hasAttribute('data-kept'))) visit.find('the page was loaded again');
const { findings } = visit;
const before = findings.length;
await sees('The configuration is good: the gateway starts.');
await page.locator('#verdict').waitFor();
// Between the two pages nobody answers, and the browser says so on its console.
findings.splice(before);
await visit.end();
await browser.close();
conclude(1, findings);
