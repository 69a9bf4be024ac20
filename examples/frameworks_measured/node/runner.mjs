// Runs the driver of one framework of node, from a copy beside node_modules: node runner.mjs NAME URL RECORDING...
// A line of JSON says what the app was given of each recording, as in runner.py.
import { readFileSync } from "node:fs";
import "./block.mjs";

const parameters = {
  get_weather: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
  get_time: { type: "object", properties: {}, required: [], additionalProperties: false },
};
const specs = Object.entries(parameters).map(([name, schema]) => ({
  type: "function",
  function: { name, description: name, parameters: schema },
}));

class Seen {
  found = { text: "", reasoning: "", runs: [], finish: null, usage: null, error: null };
  parameters = parameters;
  specs = specs;
  text = (piece) => void (this.found.text += piece ?? "");
  reasoning = (piece) => void (this.found.reasoning += piece ?? "");
  finish = (reason) => void (this.found.finish = reason ?? this.found.finish);
  usage = (came, went) => {
    if (came != null || went != null) this.found.usage = [came ?? null, went ?? null];
  };
  run = (name, args) => {
    const read = typeof args === "string" ? JSON.parse(args) : args;
    if (!(name in parameters)) return `there is no tool ${name}`;
    this.found.runs.push([name, read]);
    return "rain";
  };
}

const words = (error) => {
  const kind = error?.name && error.name !== "Error" ? error.name : (error?.constructor?.name ?? typeof error);
  const said = `${kind}: ${error?.message ?? JSON.stringify(error)}`.replace(/\s+/g, " ").slice(0, 400);
  return error?.cause ? `${said} <- ${words(error.cause)}` : said;
};
const versionOf = (name) => JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url))).version;
const say = (what) => new Promise((done) => process.stdout.write(`${JSON.stringify(what)}\n`, done));

const [name, url, ...recordings] = process.argv.slice(2);
process.env.OPENAI_API_KEY = "none";
process.env.OPENAI_AGENTS_DISABLE_TRACING = "1";
process.env.LANGSMITH_TRACING = "false";
console.log = console.error; // some frameworks print
const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(words(error)));
const driver = await import(`./${name}.mjs`);
await say({ versions: Object.fromEntries(driver.packages.map((one) => [one, versionOf(one)])) });
for (const asked of recordings) {
  const [recording, tools] = asked.split("+");
  const seen = new Seen();
  try {
    await driver.ask(seen, url, recording, Boolean(tools));
  } catch (error) {
    seen.found.error = words(error);
  }
  await say({ recording, ...seen.found });
}
process.exit(0);
