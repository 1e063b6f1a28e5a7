// The AI SDK with its providers for OpenAI (chat completions and responses), Anthropic and compatible servers.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, jsonSchema, streamText, tool } from "ai";
import { BASE, SCHEMA, TOOL, run } from "./outcome.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const openai = createOpenAI({ baseURL: `${BASE}/v1`, apiKey: "k" });
const anthropic = createAnthropic({ baseURL: `${BASE}/v1`, apiKey: "k" });
// As with ANTHROPIC_BASE_URL: no version in the path.
const bare = createAnthropic({ baseURL: BASE, apiKey: "k" });
const compatible = createOpenAICompatible({ name: "compatible", baseURL: `${BASE}/v1`, apiKey: "k" });

const PROVIDERS = {
  chat: (model) => openai.chat(model),
  responses: (model) => openai.responses(model),
  anthropic: (model) => anthropic(model),
  anthropic_bare: (model) => bare(model),
  compatible: (model) => compatible(model),
};

function ask(seen, provider) {
  const asked = { model: provider(seen.scenario), prompt: seen.prompt, onError: () => {} };
  if (seen.wants("tool")) asked.tools = { [TOOL]: tool({ description: "Send.", inputSchema: jsonSchema(SCHEMA) }) };
  if (seen.wants("json")) asked.output = Output.object({ schema: jsonSchema(SCHEMA) });
  return asked;
}

async function end(seen, result) {
  seen.final = await result.text;
  seen.reasoning ||= (await result.reasoningText) ?? "";
  seen.tools = (await result.toolCalls).map((call) => [call.toolName, call.input]);
  seen.finish = await result.finishReason;
  seen.usage = (await result.usage).totalTokens ?? null;
  seen.saw(await result.content);
  if (seen.wants("json")) seen.parsed = await result.output;
}

async function whole(seen, provider) {
  const result = await generateText(ask(seen, provider));
  await end(seen, result);
}

async function stream(seen, provider) {
  const result = streamText(ask(seen, provider));
  for await (const part of result.fullStream) {
    seen.saw(part);
    if (part.type === "text-delta") seen.text += part.text;
    if (part.type === "reasoning-delta") seen.reasoning += part.text;
    if (part.type === "error") seen.failed(part.error);
  }
  await end(seen, result);
}

const modes = {};
for (const [name, provider] of Object.entries(PROVIDERS)) {
  modes[name] = (seen) => whole(seen, provider);
  modes[`${name}_stream`] = (seen) => stream(seen, provider);
  modes[`${name}_typed`] = modes[name];
  modes[`${name}_typed_stream`] = modes[`${name}_stream`];
}
await run(modes);
