// The Anthropic SDK.

import Anthropic from "@anthropic-ai/sdk";
import { SCHEMA, TOOL, run } from "./outcome.mjs";

const client = new Anthropic();

function ask(seen) {
  const asked = { model: seen.scenario, max_tokens: 2000, messages: [{ role: "user", content: seen.prompt }] };
  if (seen.wants("tool")) asked.tools = [{ name: TOOL, input_schema: SCHEMA }];
  if (seen.wants("think")) asked.thinking = { type: "enabled", budget_tokens: 1024 };
  return asked;
}

function message(seen, one) {
  seen.got(one);
  const of = (type) => one.content.filter((block) => block.type === type);
  seen.final = of("text").map((block) => block.text).join("");
  seen.reasoning = of("thinking").map((block) => block.thinking).join("");
  seen.tools = of("tool_use").map((block) => [block.name, block.input]);
  seen.finish = one.stop_reason;
  seen.usage = one.usage.output_tokens;
}

await run({
  // What was said, thinking and all, goes back with the next question, as tool use demands.
  next_turn: async (seen) => {
    const asked = ask(seen);
    const first = await client.messages.stream(asked).finalMessage();
    if (first.stop_reason === "refusal") return message(seen, first);
    asked.messages.push({ role: "assistant", content: first.content }, { role: "user", content: "And then?" });
    message(seen, await client.messages.create(asked));
  },
  create: async (seen) => message(seen, await client.messages.create(ask(seen))),
  stream: async (seen) => {
    for await (const one of await client.messages.create({ ...ask(seen), stream: true })) {
      seen.saw(one);
      if (one.type === "content_block_start" && one.content_block.type === "tool_use") {
        seen.tools.push([one.content_block.name, ""]);
      } else if (one.type === "content_block_delta") {
        seen.text += one.delta.text ?? "";
        seen.reasoning += one.delta.thinking ?? "";
        if (one.delta.type === "input_json_delta") seen.tools.at(-1)[1] += one.delta.partial_json;
      } else if (one.type === "message_delta") {
        seen.finish = one.delta.stop_reason;
        seen.usage = one.usage.output_tokens;
      }
    }
  },
  helper: async (seen) => {
    const stream = client.messages.stream(ask(seen));
    stream.on("text", (delta) => (seen.text += delta));
    for await (const one of stream) seen.saw(one);
    message(seen, await stream.finalMessage());
  },
});
