// Fields that other servers and APIs have: refused by name, harmless, or understood under every name.
#include "server/fields_test.h"

namespace cachalot::server::fields_test {
namespace {

// clang-format off
struct Asked {
    const char* members;
    const char* param;
};
const Asked kEverywhere[] = {
    {R"({"structural_tag": "{}"})", "structural_tag"},
    {R"({"grammar": {"type": "json", "value": {}}})", "grammar"},
    {R"({"response_mime_type": "application/json"})", "response_mime_type"},
    {R"({"extra_body": {"guided_json": {}}})", "extra_body"},
    {R"({"options": {"temperature": 0}})", "options"},
    {R"({"mirostat": 2})", "mirostat"},
    {R"({"typical_p": 0.5})", "typical_p"},
    {R"({"tfs_z": 0.9})", "tfs_z"},
    {R"({"top_n_sigma": 1.5})", "top_n_sigma"},
    {R"({"dry_multiplier": 0.8})", "dry_multiplier"},
    {R"({"xtc_probability": 0.5})", "xtc_probability"},
    {R"({"dynatemp_range": 0.5})", "dynatemp_range"},
    {R"({"samplers": ["temperature"]})", "samplers"},
    {R"({"use_beam_search": true})", "use_beam_search"},
    {R"({"min_tokens": 5})", "min_tokens"},
    {R"({"stop_token_ids": [1]})", "stop_token_ids"},
    {R"({"bad_words": ["x"]})", "bad_words"},
    {R"({"allowed_token_ids": [1]})", "allowed_token_ids"},
    {R"({"include_stop_str_in_output": true})", "include_stop_str_in_output"},
    {R"({"skip_special_tokens": false})", "skip_special_tokens"},
    {R"({"prompt_logprobs": 1})", "prompt_logprobs"},
    {R"({"n_probs": 5})", "n_probs"},
    {R"({"modalities": ["text", "audio"]})", "modalities"},
    {R"({"audio": {"voice": "x", "format": "wav"}})", "audio"},
    {R"({"web_search_options": {}})", "web_search_options"},
    {R"({"functions": [{"name": "f"}]})", "functions"},
    {R"({"function_call": {"name": "f"}})", "function_call"},
    {R"({"mcp_servers": [{"url": "x"}]})", "mcp_servers"},
    {R"({"truncate_prompt_tokens": 5})", "truncate_prompt_tokens"},
    {R"({"chat_template": "{{x}}"})", "chat_template"},
    {R"({"n_predict": 5})", "n_predict"},
    {R"({"repeat_penalty": 1.1, "repeat_last_n": 64})", "repeat_last_n"},
    {R"({"nvext": {"guided_json": {}}})", "nvext"},
    {R"({"guided_decoding": {"regex": "a"}})", "guided_decoding"},
    {R"({"grammar_string": "root ::= x"})", "grammar_string"},
    {R"({"output_schema": {}})", "output_schema"},
    {R"({"outputSchema": {}})", "outputSchema"},
    {R"({"responseSchema": {}})", "responseSchema"},
    {R"({"responseMimeType": "application/json"})", "responseMimeType"},
    {R"({"guidedJson": {}})", "guidedJson"},
    {R"({"jsonSchema": {}})", "jsonSchema"},
    {R"({"json_mode": true})", "json_mode"},
    {R"({"jsonMode": true})", "jsonMode"},
    {R"({"constraint": {"type": "regex"}})", "constraint"},
    {R"({"regex_pattern": "a"})", "regex_pattern"},
    {R"({"stop_sequence": "x"})", "stop_sequence"},
    {R"({"stopping_strings": ["x"]})", "stopping_strings"},
    {R"({"custom_stopping_strings": ["x"]})", "custom_stopping_strings"},
    {R"({"stop_regex": "x"})", "stop_regex"},
    {R"({"stop_words": ["x"]})", "stop_words"},
    {R"({"stop_strings": ["x"]})", "stop_strings"},
    {R"({"stopStrings": ["x"]})", "stopStrings"},
    {R"({"stopSequences": ["x"]})", "stopSequences"},
    {R"({"eos_token_id": 1})", "eos_token_id"},
    {R"({"ban_eos_token": true})", "ban_eos_token"},
    {R"({"banned_strings": ["x"]})", "banned_strings"},
    {R"({"custom_token_bans": "1,2"})", "custom_token_bans"},
    {R"({"max_length": 5})", "max_length"},
    {R"({"maxTokens": 5})", "maxTokens"},
    {R"({"max-tokens": 5})", "max-tokens"},
    {R"({"maxOutputTokens": 5})", "maxOutputTokens"},
    {R"({"maxNewTokens": 5})", "maxNewTokens"},
    {R"({"max_gen_toks": 5})", "max_gen_toks"},
    {R"({"max_time": 5})", "max_time"},
    {R"({"rep_pen": 1.1})", "rep_pen"},
    {R"({"topP": 0.5})", "topP"},
    {R"({"topK": 5})", "topK"},
    {R"({"frequencyPenalty": 0.5})", "frequencyPenalty"},
    {R"({"random_seed": 5})", "random_seed"},
    {R"({"sampling_seed": 5})", "sampling_seed"},
    {R"({"dynatemp_low": 0.5, "dynatemp_high": 1.5})", "dynatemp_low"},
    {R"({"dynatemp_high": 1.5})", "dynatemp_high"},
    {R"({"num_return_sequences": 2})", "num_return_sequences"},
    {R"({"candidate_count": 2})", "candidate_count"},
    {R"({"candidateCount": 2})", "candidateCount"},
    {R"({"system_prompt": "x"})", "system_prompt"},
    {R"({"system_instruction": {"parts": []}})", "system_instruction"},
    {R"({"systemInstruction": "x"})", "systemInstruction"},
    {R"({"contents": [{"parts": []}]})", "contents"},
    {R"({"lora_adapters": ["x"]})", "lora_adapters"},
    {R"({"previous_response_id": "resp_1"})", "previous_response_id"},
    {R"({"previousResponseId": "resp_1"})", "previousResponseId"},
    {R"({"conversation": "conv_1"})", "conversation"},
    {R"({"background": true})", "background"},
    {R"({"disable_parallel_tool_use": true})", "disable_parallel_tool_use"},
    {R"({"parallel_function_calls": false})", "parallel_function_calls"},
    {R"({"max_tool_calls": 1})", "max_tool_calls"},
    {R"({"mcpServers": [{"url": "x"}]})", "mcpServers"},
};

const Asked kSomewhere[] = {  // the dialect stands first
    {R"(chat {"response_format": {"type": "json_object", "json_schema": {}}})", "response_format.json_schema"},
    {R"(chat {"response_format": {"type": "text", "grammar": "x"}})", "response_format.grammar"},
    {R"(chat {"response_format": {"type": "regex", "value": "x"}})", "response_format.type"},
    {R"(responses {"response_format": {"type": "json_object"}})", "response_format"},
    {R"(messages {"response_format": {"type": "json_object"}})", "response_format"},
    {R"(chat {"text": {"format": {"type": "json_schema"}}})", "text.format"},
    {R"(responses {"text": {"format": {"type": "json_schema"}}})", "text.format.schema"},
    {R"(responses {"messages": [{"role": "user", "content": "x"}]})", "messages"},
    {R"(chat {"input": "x"})", "input"},
    {R"(chat {"system": "x"})", "system"},
    {R"(chat {"instructions": "x"})", "instructions"},
    {R"(chat {"best_of": 2})", "best_of"},
    {R"(chat {"echo": true})", "echo"},
    {R"(chat {"suffix": "x"})", "suffix"},
    {R"(chat {"stop_sequences": ["x"]})", "stop_sequences"},
    {R"(chat {"max_output_tokens": 5})", "max_output_tokens"},
    {R"(chat {"continue_final_message": true})", "continue_final_message"},
    {R"(chat {"add_generation_prompt": false})", "add_generation_prompt"},
    {R"(chat {"messages": [{"role": "assistant", "content": "x"}], "continue_final_message": false})", "continue_final_message"},
    {R"(chat {"messages": [{"role": "assistant", "function_call": {"name": "f"}}]})", "messages[0].function_call"},
    {R"(chat {"messages": {"messages": [{"role": "user", "content": "x"}]}})", "messages"},
    {R"(chat {"tools": [{"type": "function", "function": {"name": "f", "description": 5}}]})", "tools[0].function.description"},
    {R"(chat {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]})", "tools[0].function.parameters"},
    {R"(chat {"tools": [{"type": "function", "function": {"name": "f", "strict": "yes"}}]})", "tools[0].function.strict"},
    {R"(chat {"tools": [{"type": "function", "function": {"name": ""}}]})", "tools[0].function.name"},
    {R"(completions {"max_completion_tokens": 5})", "max_completion_tokens"},
    {R"(completions {"tools": [{"type": "function"}]})", "tools"},
    {R"(responses {"max_tokens": 5})", "max_tokens"},
    {R"(responses {"n": 2})", "n"},
    {R"(responses {"stop": "x"})", "stop"},
    {R"(messages {"n": 2})", "n"},
    {R"(messages {"stop": "x"})", "stop"},
    {R"(messages {"logprobs": true})", "logprobs"},
    {R"(messages {"parallel_tool_calls": false})", "parallel_tool_calls"},
    {R"(messages {"tool_choice": {"type": "auto", "parallel_function_calls": false}})", "tool_choice.parallel_function_calls"},
    {R"(chat {"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}})", "tool_choice.disable_parallel_tool_use"},
    {R"(chat {"tool_choice": {"type": "auto", "parallel_tool_calls": false}})", "tool_choice.parallel_tool_calls"},
    {R"(responses {"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}})", "tool_choice.disable_parallel_tool_use"},
    {R"(chat {"responseFormat": {"type": "json_object"}})", "responseFormat"},
    {R"(chat {"toolChoice": "none"})", "toolChoice"},
    {R"(chat {"parallelToolCalls": false})", "parallelToolCalls"},
    {R"(responses {"text": {"grammar": "x"}})", "text.grammar"},
    {R"(responses {"text": {"json_schema": {}}})", "text.json_schema"},
    {R"(responses {"text": {"something": 1}})", "text.something"},
    {R"(responses {"text": {"format": {"type": "text", "strict": true}}})", "text.format.strict"},
    {R"(responses {"text": {"format": {"type": "json_object", "value": {}}}})", "text.format.value"},
    {R"(chat {"messages": [{"role": "user", "content": "x", "images": ["data"]}]})", "messages[0].images"},
    {R"(chat {"messages": [{"role": "user", "text": "x"}]})", "messages[0].text"},
    {R"(chat {"messages": [{"role": "user", "content": "", "parts": [{"text": "x"}]}]})", "messages[0].parts"},
    {R"(chat {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "prefix": false}]})", "messages[1].prefix"},
    {R"(responses {"input": [{"role": "user", "text": "x"}]})", "input[0].text"},
    {R"(responses {"input": [{"role": "user", "content": "", "parts": ["x"]}]})", "input[0].parts"},
    {R"(responses {"input": [{"type": "mesage", "role": "user", "content": "x"}]})", "input[0].type"},
    {R"(responses {"input": [{"type": "Message", "role": "user", "content": "x"}]})", "input[0].type"},
    {R"(responses {"input": [{"type": "input_text", "text": "x"}]})", "input[0].type"},
    {R"(responses {"input": [{"type": "output_text", "text": "x"}]})", "input[0].type"},
    {R"(responses {"input": [{"type": "tool_result", "output": "x"}]})", "input[0].type"},
    {R"(messages {"messages": [{"role": "assistant", "content": [{"type": "texts", "text": "x"}]}]})", "messages[0].content[0].type"},
};

const char* const kHarmless[] = {
    R"({"guided_json": null, "grammar": "", "guided_choice": [], "json_schema": null, "structured_outputs": {}})",
    R"({"mirostat": 0, "typical_p": 1.0, "tfs_z": 1, "top_n_sigma": -1, "dry_multiplier": 0.0, "xtc_probability": 0})",
    R"({"dry_base": 1.75, "dry_allowed_length": 2, "mirostat_tau": 5, "mirostat_eta": 0.1, "xtc_threshold": 0.1})",
    R"({"best_of": 1, "n": 1, "use_beam_search": false, "min_tokens": 0, "stop_token_ids": [], "bad_words": []})",
    R"({"skip_special_tokens": true, "spaces_between_special_tokens": true, "include_stop_str_in_output": false})",
    R"({"repeat_last_n": 64, "repeat_penalty": 1.0})",
    R"({"repeat_last_n": -1, "repeat_penalty": 1.1})",
    R"({"cache_prompt": true, "id_slot": -1, "keep_alive": "5m", "request_id": "r", "user": "u", "store": true})",
    R"({"modalities": ["text"], "audio": null, "prediction": {"type": "content", "content": "x"}, "functions": []})",
    R"({"provider": {"order": []}, "route": "fallback", "transforms": [], "plugins": []})",
    R"({"some_field_of_tomorrow": {"a": [1]}, "someOtherField": 5})",
    R"({"nvext": {}, "json_mode": false, "constraint": "", "stop_sequence": "", "stopping_strings": [], "max_length": -1})",
    R"({"ban_eos_token": false, "custom_token_bans": "", "max_time": 0, "rep_pen": 1.0, "topP": 1, "topK": -1, "maxTokens": null})",
    R"({"random_seed": -1, "dynatemp_low": 1, "dynatemp_high": 1, "num_return_sequences": 1, "candidateCount": 1})",
    R"({"system_prompt": "", "contents": [], "lora_adapters": [], "previous_response_id": null, "background": false})",
    R"({"disable_parallel_tool_use": false, "parallel_function_calls": true, "max_tool_calls": null})",
};
// clang-format on

TEST(ApiFields, WhatIsNotUnderstoodIsRefusedByNameEverywhere) {
    for (const char* dialect : kDialects)
        for (const auto& asked : kEverywhere) expect_refused(dialect, asked.members, asked.param);
    for (const auto& asked : kSomewhere) {
        const std::string text = asked.members;
        const auto space = text.find(' ');
        expect_refused(text.substr(0, space), text.substr(space + 1), asked.param);
    }
}

TEST(ApiFields, ValuesThatAskForNothingAreHarmless) {
    for (const char* dialect : kDialects)
        for (const char* members : kHarmless) expect_accepted(dialect, members);
    expect_accepted("completions", R"({"response_format": {"type": "text"}, "add_special_tokens": true})");
    expect_accepted("responses",
                    R"({"response_format": {"type": "text"}, "truncation": "auto", "messages": []})");
    expect_accepted("chat", R"({"logprobs": false, "top_logprobs": 0})");
    expect_accepted("chat", R"({"top_logprobs": 0})");
    expect_accepted("chat", R"({"add_generation_prompt": true, "continue_final_message": false})");
    expect_accepted("chat", R"({"messages": [{"role": "assistant", "content": "x"}],
                                "continue_final_message": true, "add_generation_prompt": false})");
    expect_accepted("chat",
                    R"({"tools": [{"type": "function", "function": {"name": "f", "strict": true}}]})");
    expect_accepted(
        "chat",
        R"({"messages": [{"role": "user", "content": "x", "images": [], "text": null, "prefix": false}],
                                "tool_choice": {"type": "auto", "disable_parallel_tool_use": false}})");
    expect_accepted("responses", R"({"text": {"format": {"type": "text", "schema": null}, "verbosity": "low"},
        "input": [{"type": "web_search_call", "action": {}, "output": "x"}, {"type": "of_tomorrow", "status": "done"},
                  {"type": "mcp_call", "arguments": "{}", "output": "x"}, {"role": "user", "content": "x"}]})");
    EXPECT_EQ(read("responses", R"({"top_logprobs": 0})").generation.top_logprobs, -1);
    EXPECT_FLOAT_EQ(read("chat", R"({"repeat_penalty": 1.25})").generation.sampling.repetition_penalty,
                    1.25f);
}

TEST(ApiFields, WholeNumbersMayBeWrittenWithAPoint) {
    EXPECT_EQ(read("chat", R"({"max_tokens": 512.0})").generation.max_tokens, 512);
    EXPECT_EQ(read("messages", R"({"max_tokens": 64.0})").generation.max_tokens, 64);
    EXPECT_EQ(read("responses", R"({"max_output_tokens": 3e2})").generation.max_tokens, 300);
    EXPECT_EQ(read("chat", R"({"top_k": 40.0})").generation.sampling.top_k, 40);
    EXPECT_EQ(read("chat", R"({"seed": 7.0})").generation.sampling.seed, 7u);
    EXPECT_EQ(read("completions", R"({"prompt": [1.0, 2]})").tokens, (std::vector<std::int32_t>{1, 2}));
    for (const char* value : {"512.5", "1e308", "-1.5", "9223372036854775808.0", "1e19", "0.0"})
        expect_refused("chat", fmt::format(R"({{"max_tokens": {}}})", value), "max_tokens");
    try {
        read("chat", R"({"max_tokens": 512.5})");
    } catch (const ApiError& error) {
        EXPECT_NE(std::string(error.what()).find("512.5"), std::string::npos);
    }
}

TEST(ApiFields, MinusOneIsNoLimit) {
    struct Limit {
        const char *dialect, *field;
    };
    for (const auto& [dialect, field] :
         {Limit{"chat", "max_tokens"}, Limit{"chat", "max_completion_tokens"},
          Limit{"completions", "max_tokens"}, Limit{"responses", "max_output_tokens"}}) {
        for (const char* none : {"-1", "-1.0"}) {
            const auto request =
                read(dialect, fmt::format(R"({{"max_tokens": null, "{}": {}}})", field, none));
            EXPECT_EQ(request.generation.max_tokens, -1) << field;
            EXPECT_FALSE(request.max_tokens_given);
        }
        expect_refused(dialect, fmt::format(R"({{"{}": -2}})", field), field);
    }
    EXPECT_EQ(read("completions", "{}").generation.max_tokens, 16);
    EXPECT_EQ(read("completions", R"({"max_tokens": 0})").generation.max_tokens, 0);
    EXPECT_EQ(read("chat", R"({"max_tokens": 9, "max_completion_tokens": -1})").generation.max_tokens, -1);
    expect_refused("messages", R"({"max_tokens": -1})", "max_tokens");
}

}  // namespace
}  // namespace cachalot::server::fields_test
