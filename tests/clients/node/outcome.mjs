// What the user of one client saw; the same for all the Node clients of this folder.
//
// A client is a script: `script.mjs BASE_URL ASKED` with ASKED a JSON object, from each mode to the scenarios it is to
// be run with. It prints one line, a JSON object: from "mode scenario" to the outcome.

import { inspect } from "node:util";

export const BASE = process.argv[2];
export const TOOL = "send";
export const SCHEMA = {
  type: "object",
  properties: { to: { type: "string" }, subject: { type: "string" }, copies: { type: "integer" } },
  required: ["to", "subject", "copies"],
  additionalProperties: false,
};

export class Outcome {
  text = ""; // the deltas joined
  final = null; // the text of the final object, where the client makes one
  reasoning = "";
  tools = []; // name and arguments of each call
  finish = null;
  parsed = null;
  usage = null;
  error = null; // type of the exception, and its code if it has one
  whole = null; // the final object as data
  raw = []; // everything seen, as the client shows it

  constructor(scenario) {
    this.scenario = scenario;
  }

  // What to ask; "verboten" is what a rule of the proxy says no prompt may hold.
  get prompt() {
    return this.scenario === "prompt" ? "Tell me something verboten." : "Hello.";
  }

  wants(kind) {
    return this.scenario.startsWith(kind);
  }

  // Note an event or object as it is; give it back.
  saw(value) {
    this.raw.push(inspect(value, { depth: 12 }));
    return value;
  }

  // Note the final object; give it back.
  got(value) {
    this.whole = JSON.parse(JSON.stringify(value));
    return this.saw(value);
  }

  failed(error) {
    const code = error?.code;
    this.error ??= (error?.constructor?.name ?? typeof error) + (code ? ` ${code}` : "");
    this.raw.push(String(error?.message ?? error));
  }
}

// Run what is asked for and print the outcomes.
export async function run(modes) {
  const outcomes = {};
  for (const [mode, scenarios] of Object.entries(JSON.parse(process.argv[3]))) {
    for (const scenario of scenarios) {
      const seen = new Outcome(scenario);
      outcomes[`${mode} ${scenario}`] = seen;
      try {
        await modes[mode](seen);
      } catch (error) {
        seen.failed(error);
      }
    }
  }
  process.stdout.write(JSON.stringify(outcomes) + "\n");
}
