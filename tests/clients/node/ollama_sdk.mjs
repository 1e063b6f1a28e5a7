// Ollama's SDK: chat and generate.

import { Ollama } from "ollama";
import { BASE, SCHEMA, TOOL, run } from "./outcome.mjs";

const client = new Ollama({ host: BASE });

function ask(seen) {
  const asked = { model: seen.scenario, messages: [{ role: "user", content: seen.prompt }] };
  if (seen.wants("tool")) asked.tools = [{ type: "function", function: { name: TOOL, parameters: SCHEMA } }];
  if (seen.wants("think")) asked.think = true;
  if (seen.wants("json")) asked.format = SCHEMA;
  return asked;
}

// Take one response, whole or a line of a stream; give its text.
function take(seen, one) {
  seen.saw(one);
  seen.finish = one.done_reason ?? seen.finish;
  seen.usage = one.eval_count ?? seen.usage;
  const said = one.message ?? { content: one.response, thinking: one.thinking };
  seen.reasoning += said.thinking ?? "";
  for (const call of said.tool_calls ?? []) seen.tools.push([call.function.name, call.function.arguments]);
  return said.content;
}

await run({
  chat: async (seen) => {
    seen.final = take(seen, seen.got(await client.chat(ask(seen))));
  },
  chat_stream: async (seen) => {
    for await (const one of await client.chat({ ...ask(seen), stream: true })) seen.text += take(seen, one);
  },
  generate: async (seen) => {
    seen.final = take(seen, seen.got(await client.generate({ model: seen.scenario, prompt: seen.prompt })));
  },
  generate_stream: async (seen) => {
    const asked = { model: seen.scenario, prompt: seen.prompt, stream: true };
    for await (const one of await client.generate(asked)) seen.text += take(seen, one);
  },
});
