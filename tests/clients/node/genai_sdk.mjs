// Google's Gen AI SDK.

import { GoogleGenAI } from "@google/genai";
import { SCHEMA, TOOL, run } from "./outcome.mjs";

const client = new GoogleGenAI({ apiKey: "k" });

function ask(seen) {
  const config = {};
  if (seen.wants("tool")) config.tools = [{ functionDeclarations: [{ name: TOOL, parametersJsonSchema: SCHEMA }] }];
  if (seen.wants("json")) Object.assign(config, { responseMimeType: "application/json", responseJsonSchema: SCHEMA });
  return { model: seen.scenario, contents: seen.prompt, config };
}

// Take one response, whole or an event of a stream; give its text.
function take(seen, one) {
  seen.saw(one);
  if (one.promptFeedback) seen.finish = `blocked ${one.promptFeedback.blockReason}`;
  seen.usage = one.usageMetadata?.totalTokenCount ?? seen.usage;
  let text = "";
  for (const candidate of one.candidates ?? []) {
    seen.finish = candidate.finishReason ?? seen.finish;
    for (const part of candidate.content?.parts ?? []) {
      if (part.thought) seen.reasoning += part.text;
      else text += part.text ?? "";
      if (part.functionCall) seen.tools.push([part.functionCall.name, part.functionCall.args]);
    }
  }
  return text;
}

await run({
  generate: async (seen) => {
    const one = await client.models.generateContent(ask(seen));
    seen.final = take(seen, one);
    seen.whole = JSON.parse(JSON.stringify({ ...one, sdkHttpResponse: null }));
  },
  stream: async (seen) => {
    for await (const one of await client.models.generateContentStream(ask(seen))) seen.text += take(seen, one);
  },
});
