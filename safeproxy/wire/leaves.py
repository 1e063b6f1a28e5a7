"""Text in places nobody documented: every string leaf is text unless its key is known not to carry any.

A leaf with an exempt key must look like what such a key carries (one token, not too long); else it is text as well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, TypeGuard

from safeproxy.events import ChannelKind
from safeproxy.wire.dialect import JsonObject, Key, Mode, Path, Reading, Slot

_EXEMPT_NAMES = """
    id type object model role status finish_reason native_finish_reason system_fingerprint service_tier signature
    created created_at createTime format language mime_type media_type modality phase fingerprint code_type tool_type
    done_reason finishReason blockReason mimeType modelVersion responseId createTime
"""
_APPENDED_NAMES = """
    text content delta thinking transcript output generated_text arguments code summary refusal input stdout stderr
"""
_KNOWN_NAMES = """
    __verbose accepted_prediction_tokens additionalProperties allOf annotations anyOf approximate arguments audio
    audio_tokens bytes cached_tokens choices citations city code code_interpreter completion_time completion_tokens
    completion_tokens_details content content_filter_offsets content_filter_results context_window cost country created
    custom custom_tool data date definition delta description detail encrypted_content end_index enum error
    executed_tools expires_at extra_content file file_citation file_data file_id filename filtered finish_reason
    flagged_input format frequency_penalty function function_call functions generated_text google grammar hate id
    image_url images include_usage index input input_audio items jailbreak json_schema last_updated logit_bias logprob
    logprobs max_completion_tokens max_tokens message messages metadata modalities model moderation n name
    native_finish_reason object obfuscation oneOf output parallel_tool_calls param parameters prediction
    presence_penalty profanity prompt prompt_cache_hit_tokens prompt_cache_miss_tokens prompt_filter_results
    prompt_index prompt_time prompt_tokens prompt_tokens_details properties protected_material_code
    protected_material_text provider queue_time reasoning reasoning_content reasoning_details reasoning_effort
    reasoning_text reasoning_tokens refusal region rejected_prediction_tokens required response_format role schema
    search_context_size search_results seed self_harm service_tier severity sexual signature snippet start_index status
    stop stop_reason store stream stream_options strict summary syntax system_fingerprint temperature text thinking
    thinking_blocks thought_signature timezone timings title token token_ids tokens tool_call_id tool_calls tool_choice
    tools top_k top_logprobs top_p total_time total_tokens transcript type url url_citation usage user user_location
    verbosity violence voice web_search_options x_groq
"""
#: The same of Gemini, Ollama, Cohere and legacy completions.
_OTHER_KNOWN_NAMES = """
    allowedFunctionNames args avgLogprobs billed_units blockReason blockReasonMessage blocked cacheTokensDetails
    cachedContent cachedContentTokenCount candidate candidates candidatesTokenCount candidatesTokensDetails category
    chosenCandidates chunk citationMetadata citationSources codeExecution codeExecutionResult confidenceScores
    contents context createTime created_at day displayName document documents done done_reason duration embedding end
    endIndex endOffset eval_count eval_duration executableCode fileData fileUri finishMessage finishReason
    functionCall functionCallingConfig functionDeclarations functionResponse generationConfig generation_settings
    googleSearch groundingChunkIndices groundingChunks groundingMetadata groundingSupports inlineData input_tokens
    isError jsonPath keep_alive license load_duration logProbability logprobsResult maxOutputTokens mimeType
    modelVersion month numberValue options outcome output_tokens parametersJsonSchema part partialArgs parts placeId
    probability probabilityScore promptFeedback promptTokenCount promptTokensDetails prompt_eval_count
    prompt_eval_duration publicationDate question raw renderedContent response responseId responseJsonSchema
    responseMimeType responseModalities responseSchema retrievalMetadata retrievedContext retrievedUrl safetyRatings
    safetySettings score searchEntryPoint search_units segment segments severityScore sources speaker start startIndex
    startOffset stopSequences stop_type stopping_word stringValue suffix system systemInstruction system_instruction
    template text_offset think thinkingBudget thinkingConfig thought thoughtSignature thoughtsTokenCount threshold
    tokenCount tokenId token_logprobs tool toolCall toolConfig toolResponse toolUsePromptTokenCount tool_content
    tool_name tool_plan tool_results topCandidates topK topP totalTokenCount total_duration trafficType uri
    urlContextMetadata urlMetadata urlRetrievalStatus usageMetadata videoMetadata web webSearchQueries willContinue
    word words year
"""
#: What usage reports have beside these.
_USAGE_NAMES = """
    cache_creation cache_creation_input_tokens cache_read_input_tokens cache_write_tokens ephemeral_1h_input_tokens
    ephemeral_5m_input_tokens image_tokens input_token_details input_tokens_details output_token_details
    output_tokens_details responseTokenCount seconds server_tool_use text_tokens tokens_evaluated tokens_predicted
    web_search_requests
"""

_FAMILIES = """
    apply_patch_call_operation_diff code_interpreter_call_code command conversation custom_tool_call_input
    function_call_arguments mcp_call_arguments output_audio_transcript output_text reasoning_summary_text
    reasoning_text shell_call_command shell_call_output_content summary summary_text
"""

_OWN_NAMES = "beside block body candidate choice event keys line other request response tool top"

#: Keys of strings that are no text, beside those that `_is_exempt_key` tells by their form.
_EXEMPT = frozenset(_EXEMPT_NAMES.split())
#: Exempt keys whose values may be long.
_OPAQUE = frozenset({"signature", "thought_signature", "thoughtSignature"})
#: Keys of objects that the model makes up as it likes.
_MADE_UP = frozenset({"arguments", "input", "args", "parsed", "output"})
_TOKEN = re.compile(r"[!-?A-~]{0,256}")  # without @: an address is no id
_OPAQUE_VALUE = re.compile(r"[!-~]*")
#: Media as base64, which is no text; a short or an odd one may be.
_MEDIA = frozenset({"b64_json", "data", "partial_image_b64", "result", "audio"})
_BASE64 = re.compile(r"[A-Za-z0-9+/]{256,}={0,2}")
_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w.+=-]+)*;base64,[A-Za-z0-9+/=_-]*", re.ASCII)

#: Keys that mean "a piece of text": outside a delta, too, their strings go on from event to event.
_APPENDED = frozenset(_APPENDED_NAMES.split())
#: Keys found in answers and requests of OpenAI-compatible APIs. They are no text, and may be named in records.
KNOWN_KEYS = frozenset(_KNOWN_NAMES.split() + _OTHER_KNOWN_NAMES.split() + _USAGE_NAMES.split())
#: What the dialects call things themselves.
_OWN_PARTS = frozenset(_FAMILIES.split()) | frozenset(_OWN_NAMES.split())


def is_exempt(key: str | int, value: str) -> bool:
    """Whether a string under this key is no text."""
    if not isinstance(key, str):
        return False
    if key in _OPAQUE or key.startswith("encrypted_"):
        return _OPAQUE_VALUE.fullmatch(value) is not None
    if key in ("url", "image_url", "file_data") and value.startswith("data:"):
        return _DATA_URL.fullmatch(value) is not None
    if key in _MEDIA:
        return is_media(key, value)
    return _is_exempt_key(key) and _TOKEN.fullmatch(value) is not None


def is_media(key: str | int, value: object) -> bool:
    """Whether a value is base64 of an image or of sound."""
    return key in _MEDIA and isinstance(value, str) and _BASE64.fullmatch(value) is not None


def _is_exempt_key(key: str) -> bool:
    return key in _EXEMPT or key.endswith(("_id", "_signature"))


def kind_of(key: str | int, otherwise: ChannelKind) -> ChannelKind:
    """The kind of channel that a key's name promises."""
    if not isinstance(key, str):
        return otherwise
    if key.startswith(("reasoning", "thinking")):
        return ChannelKind.REASONING
    if key == "arguments":
        return ChannelKind.TOOL_ARGUMENTS
    if key == "refusal":
        return ChannelKind.REFUSAL
    if key == "transcript":
        return ChannelKind.AUDIO
    return otherwise


def spoken_name(channel: str) -> str:
    """A channel's name as it may stand in a record: the upstream's own words must not."""
    return ".".join(spoken(part) for part in channel.split("."))


def spoken(part: str | int) -> str:
    """One part of a channel's name, if it is a number or known, else a star."""
    text = str(part)
    return text if text in KNOWN_KEYS or text in _OWN_PARTS or (text.isdecimal() and len(text) <= 5) else "*"


class Leaves:
    """Collects the text leaves below one value into a reading.

    ``delta`` says that strings are pieces of channels (they stand in a delta), ``whole`` that every string stands
    alone (the body is not streamed).
    """

    def __init__(
        self, reading: Reading, *, choice: int | None = None, delta: bool = False, whole: bool = False
    ) -> None:
        self._reading = reading
        self._choice = choice
        self._delta = delta
        self._whole = whole
        self._free = False  # below a value that the model made up, no key vouches for what is under it

    def collect(
        self, holder: Any, key: str | int, path: Path, channel: str, kind: ChannelKind = ChannelKind.OTHER
    ) -> None:
        """Take the text at and below ``holder[key]``, which stands at ``path``, into the channel of that name."""
        value = holder[key]
        if isinstance(value, (dict, list)) or (isinstance(value, str) and value and not is_exempt(key, value)):
            self._take(holder, key, path, channel, spoken_name(channel), kind)

    def _take(self, holder: Any, key: str | int, path: Path, channel: str, name: str, kind: ChannelKind) -> None:
        value = holder[key]
        if isinstance(value, str):
            if value and (self._free or not is_exempt(key, value)):
                mode = self._mode(key)
                self._reading.slots.append(Slot(channel, name, kind, mode, holder, key, path, self._choice))
        elif isinstance(value, dict):
            outer, self._free = self._free, self._free or key in _MADE_UP
            for child in value:
                self._take(
                    value, child, (*path, child), f"{channel}.{child}", f"{name}.{spoken(child)}", kind_of(child, kind)
                )
            self._free = outer
        elif isinstance(value, list):
            for position, child in enumerate(value):
                part = entry_index(child, position)
                self._take(value, position, (*path, position), f"{channel}.{part}", f"{name}.{part}", kind)

    def _mode(self, key: str | int) -> Mode:
        if self._whole:
            return Mode.JSON if key == "arguments" else Mode.WHOLE
        if self._delta or (isinstance(key, str) and (key in _APPENDED or key.startswith("reasoning"))):
            return Mode.DELTA
        return Mode.WHOLE


def unknown_keys(value: Any, but: Collection[str] = ()) -> list[Key]:
    """The keys of objects at and below a value that nobody documents, outermost first.

    What stands under the value's own keys ``but`` is left out.
    """
    found: list[Key] = []
    layer = [value]
    if but and isinstance(value, dict):
        found = [Key(value, key) for key in value if key not in KNOWN_KEYS]
        layer = [inner for key, inner in value.items() if key not in but]
    while layer:
        below: list[Any] = []
        for holder in layer:
            if isinstance(holder, dict):
                found += [Key(holder, key) for key in holder if key not in KNOWN_KEYS]
                below += holder.values()
            elif isinstance(holder, list):
                below += holder
        layer = below
    return found


def entry_index(entry: Any, position: int) -> int:
    """The number by which later events refer to a list's entry: its ``index`` if it has one, else its position."""
    index = entry.get("index") if isinstance(entry, dict) else None
    return index if is_index(index) else position


def numbered(reading: Reading, key: str, entries: list[Any], *, whole: bool) -> Iterator[tuple[JsonObject, int, Path]]:
    """Each well-formed choice in ``entries`` (the event's ``key``) with its number and path; any other is read as text.

    A missing number is 0. An entry with a wrong one, or that is no object, goes into ``reading`` leaf by leaf.
    """
    for position, entry in enumerate(entries):
        path: Path = (key, position)
        index = entry.get("index") if isinstance(entry, dict) else position
        if isinstance(entry, dict) and (index is None or is_index(index)):
            yield entry, index or 0, path
            continue
        # The number tells the channels apart, so a wrong one must do so, too.
        odd = repr(index) if isinstance(entry, dict) else position
        Leaves(reading, whole=whole).collect(entries, position, path, f"{key}.{odd}")
        reading.news = True


def is_index(value: object) -> TypeGuard[int]:
    """Whether a value can number a choice or a call."""
    return type(value) is int and 0 <= value < 100_000
