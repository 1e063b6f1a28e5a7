// The OpenAI SDK: chat completions and responses.

import OpenAI, { AzureOpenAI } from "openai";
import { BASE, SCHEMA, TOOL, run } from "./outcome.mjs";

const client = new OpenAI();
const azureClient = new AzureOpenAI({
  baseURL: null, // else it takes OPENAI_BASE_URL
  endpoint: BASE,
  apiVersion: "2024-10-21",
  apiKey: "k",
});

function chatAsk(seen) {
  const asked = { model: seen.scenario, messages: [{ role: "user", content: seen.prompt }] };
  if (seen.wants("tool")) {
    asked.tools = [{ type: "function", function: { name: TOOL, strict: true, parameters: SCHEMA } }];
  }
  if (seen.wants("json")) {
    asked.response_format = { type: "json_schema", json_schema: { name: "letter", strict: true, schema: SCHEMA } };
  }
  return asked;
}

function responseAsk(seen) {
  const asked = { model: seen.scenario, input: seen.prompt };
  if (seen.wants("tool")) {
    asked.tools = [{ type: "function", name: TOOL, strict: true, parameters: SCHEMA }];
  }
  if (seen.wants("json")) {
    asked.text = { format: { type: "json_schema", name: "letter", strict: true, schema: SCHEMA } };
  }
  return asked;
}

function completion(seen, one) {
  const choice = seen.got(one).choices[0];
  seen.final = choice.message.content;
  seen.reasoning ||= choice.message.reasoning_content ?? "";
  seen.tools = (choice.message.tool_calls ?? []).map((call) => [call.function.name, call.function.arguments]);
  seen.finish = choice.finish_reason;
  seen.usage = one.usage?.total_tokens ?? null;
}

function chunk(seen, one) {
  seen.saw(one);
  seen.usage = one.usage?.total_tokens ?? seen.usage;
  for (const { delta, finish_reason } of one.choices) {
    seen.text += delta.content ?? "";
    seen.reasoning += delta.reasoning_content ?? "";
    for (const call of delta.tool_calls ?? []) {
      if (call.id) seen.tools.push([call.function.name, ""]);
      seen.tools[call.index][1] += call.function.arguments;
    }
    seen.finish = finish_reason ?? seen.finish;
  }
}

function response(seen, one) {
  seen.got(one);
  const parts = one.output.filter((item) => item.type === "message").flatMap((item) => item.content);
  seen.final = parts.map((part) => part.text ?? "").join("");
  const thoughts = one.output.filter((item) => item.type === "reasoning").flatMap((item) => item.summary);
  seen.reasoning ||= thoughts.map((part) => part.text).join("");
  const calls = one.output.filter((item) => item.type === "function_call");
  seen.tools = calls.map((item) => [item.name, item.arguments]);
  seen.finish = one.incomplete_details?.reason ?? one.status;
  seen.usage = one.usage?.total_tokens ?? null;
}

function responseEvent(seen, event) {
  seen.saw(event);
  if (event.type === "response.output_text.delta") seen.text += event.delta;
  if (event.type === "response.reasoning_summary_text.delta") seen.reasoning += event.delta;
}

async function chatStream(seen, sdk) {
  const stream_options = { include_usage: true };
  for await (const one of await sdk.chat.completions.create({ ...chatAsk(seen), stream: true, stream_options })) {
    chunk(seen, one);
  }
}

await run({
  chat: async (seen) => completion(seen, await client.chat.completions.create(chatAsk(seen))),
  chat_stream: (seen) => chatStream(seen, client),
  azure: async (seen) => completion(seen, await azureClient.chat.completions.create(chatAsk(seen))),
  azure_stream: (seen) => chatStream(seen, azureClient),
  chat_helper: async (seen) => {
    const stream = client.chat.completions.stream(chatAsk(seen));
    for await (const one of stream) {
      seen.saw(one);
      seen.text += one.choices[0]?.delta.content ?? "";
      seen.reasoning += one.choices[0]?.delta.reasoning_content ?? "";
    }
    completion(seen, await stream.finalChatCompletion());
    delete seen.whole.choices[0].message.reasoning_content; // the last delta alone: the helper does not join them
  },
  responses: async (seen) => response(seen, await client.responses.create(responseAsk(seen))),
  responses_stream: async (seen) => {
    for await (const event of await client.responses.create({ ...responseAsk(seen), stream: true })) {
      responseEvent(seen, event);
      if (["response.completed", "response.incomplete", "response.failed"].includes(event.type)) {
        response(seen, event.response);
      }
    }
  },
  responses_helper: async (seen) => {
    const stream = client.responses.stream(responseAsk(seen));
    for await (const event of stream) responseEvent(seen, event);
    response(seen, await stream.finalResponse());
  },
});
