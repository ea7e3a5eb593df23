#include "server/api/fields.h"

#include <algorithm>
#include <unordered_map>

namespace cachalot::server {
namespace {

constexpr unsigned bit(Dialect dialect) { return 1u << static_cast<unsigned>(dialect); }
constexpr unsigned kChat = bit(Dialect::chat), kCompletions = bit(Dialect::completions),
                   kResponses = bit(Dialect::responses), kMessages = bit(Dialect::messages),
                   kOpenAi = kChat | kCompletions, kTalks = kChat | kResponses | kMessages,
                   kAll = kOpenAi | kResponses | kMessages;

struct Rule {
    std::string_view paths;  // one behind the other; "output_config.format" is a member of a member
    unsigned dialects;       // in which they are refused
    const char* harmless;    // values that ask for nothing, as JSON; null always is one
    const char* remedy;
};

constexpr const char* kNoForm = "nothing constrains what the model writes; describe the form in the prompt";
constexpr const char* kNoSampler = "there is no such sampler; there are temperature, top_p, top_k and min_p";
constexpr const char* kNoTokens = "what may be written is governed by logit_bias, stop and max_tokens alone";
constexpr const char* kRunsElsewhere = "it runs at a provider, of which there is none here";
constexpr const char* kReport = "this is not reported; logprobs and usage are";
constexpr const char* kTemplate = "the prompt has the form that the model was trained on";
constexpr const char* kStop = "the text belongs into stop (stop_sequences for messages; responses have none)";
constexpr const char* kLimit = "set max_tokens (max_output_tokens for responses)";
constexpr const char* kSystem =
    "it belongs into a system message (system for messages, instructions for responses)";
constexpr const char* kNotStored = "answers are not stored, send the whole conversation";
constexpr const char* kParallel =
    "set parallel_tool_calls to false (tool_choice.disable_parallel_tool_use for messages)";
constexpr const char* kSpelling = nullptr;  // refused in another spelling only
constexpr const char* kMembers = "its members belong into the request itself";

// clang-format off
constexpr Rule kRules[] = {
    // What an answer must look like.
    {"guided_json guided_regex guided_grammar output_schema json_schema schema response_schema "
     "response_json_schema",
     kAll, R"([false, ""])", kNoForm},
    {"guided_choice", kAll, R"([false, "", []])", kNoForm},
    {"guided_json_object json_mode", kAll, "[false]", "use response_format json_object"},
    {"structured_outputs structured_output guided_decoding", kAll, "[false, {}]", kNoForm},
    {"structural_tag guided_whitespace_pattern grammar_string grammar_file regex_pattern "
     "grammar gbnf ebnf regex format",
     kAll, R"([""])", kNoForm},
    {"nvext", kAll, "[{}]", "it constrains or samples in ways that are not known here"},
    {"constraint", kAll, R"(["", {}])", kNoForm},
    {"constraints", kAll, R"(["", {}, []])", kNoForm},
    {"choice", kAll, R"(["", []])", kNoForm},
    {"output_format output_config.format", kAll, R"([{"type": "text"}])", kNoForm},
    {"text.format", kOpenAi | kMessages, R"([{"type": "text"}])", "use response_format, where there is one"},
    {"response_format", kCompletions | kMessages, R"(["text", {"type": "text"}])", kNoForm},
    {"response_format", kResponses, R"(["text", {"type": "text"}])", "here it is text.format"},
    {"text.grammar text.regex", kOpenAi | kMessages, R"([""])", kNoForm},
    {"text.json_schema text.schema", kOpenAi | kMessages, R"([false, ""])", kNoForm},
    {"response_mime_type", kAll, R"(["text/plain"])", kNoForm},

    // Samplers.
    {"mirostat mirostat_mode", kAll, "[0, false]", kNoSampler},
    {"typical_p typical tfs_z tfs num_beams", kAll, "[1, 0]", kNoSampler},
    {"top_a dry_multiplier xtc_probability dynatemp_range smoothing_factor epsilon_cutoff "
     "eta_cutoff penalty_alpha no_repeat_ngram_size",
     kAll, "[0]", kNoSampler},
    {"top_n_sigma nsigma adaptive_target", kAll, "[0, -1]", kNoSampler},
    {"dynatemp_low dynatemp_high length_penalty", kAll, "[0, 1]", kNoSampler},
    {"rep_pen", kAll, "[1]", "it is repetition_penalty"},
    {"random_seed sampling_seed", kAll, "[-1]", "it is seed"},
    {"dynamic_temperature use_beam_search early_stopping", kAll, "[false]", kNoSampler},
    {"encoder_repetition_penalty guidance_scale cfg_scale", kAll, "[1]", kNoSampler},
    {"negative_prompt custom_logit_processor", kAll, R"([""])", kNoSampler},
    {"do_sample", kAll, "[true]", "set temperature to 0 for the most likely token"},
    {"temperature_last", kAll, "[false]", "the temperature comes first"},
    {"samplers sampler_order sampler_priority", kAll, "[[]]", "the order of the samplers is fixed"},
    {"logits_processors", kAll, "[[]]", kNoSampler},

    // Which tokens may be written, and when an answer ends.
    {"min_tokens min_new_tokens min_length", kAll, "[0]", kNoTokens},
    {"stop_token_ids", kAll, "[[]]", "name the text in stop"},
    {"eos_token_id", kAll, "[]", "the token that ends an answer is the model's"},
    {"ban_eos_token", kAll, "[false]", "it is ignore_eos, for chat and completions"},
    {"bad_words banned_strings banned_tokens", kAll, R"([[], ""])", kNoTokens},
    {"custom_token_bans", kAll, R"(["", []])", kNoTokens},
    {"bad_words_ids allowed_token_ids", kAll, "[[]]", kNoTokens},
    {"include_stop_str_in_output no_stop_trim", kAll, "[false]", "stop strings are never part of the text"},
    {"stop_sequence stopping_strings custom_stopping_strings stop_regex stop_words "
     "stop_strings",
     kAll, R"(["", []])", kStop},
    {"stop", kResponses, R"(["", []])", "this API has no stop strings"},
    {"stop", kMessages, R"(["", []])", "here it is stop_sequences"},
    {"stop_sequences", kOpenAi, "[[]]", "here it is stop"},
    {"stop_sequences", kResponses, "[[]]", "this API has no stop strings"},
    {"max_tokens max_completion_tokens", kResponses, "[-1]", "here it is max_output_tokens"},
    {"max_completion_tokens", kCompletions | kMessages, "[-1]", "here it is max_tokens"},
    {"max_output_tokens", kOpenAi | kMessages, "[-1]", "here it is max_tokens"},
    {"max_new_tokens max_gen_toks max_length n_predict num_predict", kAll, "[-1]", kLimit},
    {"t_max_predict_ms max_time", kAll, "[0, -1]", kLimit},
    {"ignore_eos", kResponses | kMessages, "[false]", "only chat and completions have it"},
    {"skip_special_tokens", kAll, "[true]", "special tokens are never shown"},
    {"n_indent", kAll, "[0]", "indentation is not checked"},
    {"stream_reasoning", kAll, "[true]", "a stream has everything"},
    {"separate_reasoning", kAll, "[true]", "reasoning is always apart from the content"},
    {"parse_tool_calls", kAll, "[true]", "calls are always apart from the content"},
    {"thinking_forced_open", kAll, "[false]", "whether the model thinks is said by thinking"},

    // How many answers, and of what.
    {"n", kResponses | kMessages, "[1]", "this API has one answer to a request"},
    {"num_return_sequences candidate_count", kAll, "[1]", "it is n, for chat and completions"},
    {"best_of", kChat | kResponses | kMessages, "[1]", "answers are not compared"},
    {"modalities", kAll, R"([[], ["text"]])", "the model writes text only"},
    {"audio", kAll, "[false]", "the model writes text only"},
    {"images image_data", kAll, "[[]]", "the model reads text only"},
    {"multimodal_data", kAll, "[[], {}]", "the model reads text only"},
    {"echo", kTalks, "[false]", "only completions have it"},
    {"suffix", kTalks, R"([""])", "filling in the middle is not supported"},
    {"input_prefix input_suffix", kAll, R"([""])", "filling in the middle is not supported"},
    {"logprobs", kResponses, "[false]", "set include to [\"message.output_text.logprobs\"] and top_logprobs"},
    {"logprobs", kMessages, "[false, 0]", "this API has none"},
    {"top_logprobs", kMessages, "[0]", "this API has none"},
    {"top_logprobs", kCompletions, "[0]", "here it is logprobs with a number"},
    {"prompt_logprobs", kAll, "[false]", "completions with echo and logprobs have them"},
    {"n_probs", kAll, "[0]", "set logprobs"},
    {"post_sampling_probs return_tokens return_token_ids return_tokens_as_token_ids "
     "return_hidden_states",
     kAll, "[false]", kReport},
    {"response_fields", kAll, "[[]]", "answers are always whole"},

    // What the model is to read.
    {"messages", kResponses, "[[]]", "the conversation belongs into input"},
    {"messages", kCompletions, "[[]]", "the text belongs into prompt"},
    {"input prompt", kChat | kMessages, R"(["", []])", "the conversation belongs into messages"},
    {"input", kCompletions, R"(["", []])", "the text belongs into prompt"},
    {"instructions", kOpenAi, R"([""])", "they belong into a system message"},
    {"instructions", kMessages, R"([""])", "here it is system"},
    {"system", kChat, R"(["", []])", "it belongs into a system message"},
    {"system", kResponses, R"(["", []])", "here it is instructions"},
    {"system", kCompletions, R"([""])", "it belongs into the prompt"},
    {"system_prompt system_instruction", kAll, R"(["", []])", kSystem},
    {"contents", kAll, R"(["", []])", "the conversation belongs into messages, input or prompt"},
    {"previous_response_id conversation", kOpenAi | kMessages, R"([""])", kNotStored},
    {"background", kOpenAi | kMessages, "[false]", "an answer needs a client that waits for it"},
    {"parallel_tool_calls", kMessages, "[true]", "here it is tool_choice.disable_parallel_tool_use"},
    {"disable_parallel_tool_use", kAll, "[false]", kParallel},
    {"parallel_function_calls", kAll, "[true]", kParallel},
    {"tool_choice.disable_parallel_tool_use", kChat | kResponses, "[false]", kParallel},
    {"tool_choice.parallel_function_calls tool_choice.parallel_tool_calls", kTalks, "[true]", kParallel},
    {"max_tool_calls", kAll, "[]", "calls are not counted; parallel_tool_calls may be false"},
    {"functions", kAll, "[[]]", "use tools"},
    {"function_call", kAll, R"(["none", "auto"])", "use tool_choice"},
    {"tools", kCompletions, "[[]]", "use chat completions"},
    {"tool_choice", kCompletions, R"(["none", "auto"])", "use chat completions"},
    {"documents", kAll, "[[]]", "they belong into a message"},
    {"citation_options", kAll, "[{}]", "answers have no citations"},
    {"web_search_options search enable_search", kAll, "[false]", kRunsElsewhere},
    {"search_parameters", kAll, R"([{}, {"mode": "off"}])", kRunsElsewhere},
    {"plugins mcp_servers container.skills", kAll, "[[]]", kRunsElsewhere},
    {"transforms", kAll, "[[]]", "a conversation is never shortened"},
    {"truncate_prompt_tokens", kAll, "[]", "a prompt is never shortened"},
    {"truncate", kAll, "[false, 0]", "a prompt is never shortened"},
    {"chat_template template", kAll, R"([""])", kTemplate},
    {"raw", kAll, "[false]", "completions continue a text as it is"},
    {"add_special_tokens", kTalks, "[false]", kTemplate},
    {"add_special_tokens", kCompletions, "[true]", "a text begins with the token that begins every text"},
    {"prompt_embeds", kAll, "[[]]", "prompts are text or tokens"},
    {"lora", kAll, "[[]]", "there is one model"},
    {"lora_adapters", kAll, "[[], {}]", "there is one model"},
    {"lora_path", kAll, R"(["", []])", "there is one model"},
    {"lora_request steering", kAll, "[]", "there is one model"},

    // Members that are in the wrong place.
    {"extra_body options parameters sampling_params generation_config", kAll, "[{}]", kMembers},

    // Read under these names only: a client that spells them otherwise is told so.
    {"top_p repetition_penalty repeat_penalty", kAll, "[1]", kSpelling},
    {"top_k", kAll, "[0, -1]", kSpelling},
    {"min_p presence_penalty frequency_penalty", kAll, "[0]", kSpelling},
    {"logit_bias", kAll, "[{}]", kSpelling},
    {"ignore_eos", kOpenAi, "[false]", kSpelling},
    {"max_tokens", kOpenAi | kMessages, "[-1]", kSpelling},
    {"max_completion_tokens", kChat, "[-1]", kSpelling},
    {"max_output_tokens", kResponses, "[-1]", kSpelling},
    {"stop_sequences", kMessages, "[[]]", kSpelling},
    {"response_format", kChat, R"(["text", {"type": "text"}])", kSpelling},
    {"tool_choice", kTalks, R"(["auto"])", kSpelling},
    {"parallel_tool_calls", kChat | kResponses, "[true]", kSpelling},
    {"top_logprobs", kChat | kResponses, "[0]", kSpelling},
    {"best_of", kCompletions, "[1]", kSpelling},
    {"stream_options", kOpenAi, "[{}]", kSpelling},
    {"previous_response_id", kResponses, R"([""])", kSpelling},
    {"continue_final_message", kChat, "[false]", kSpelling},
    {"add_generation_prompt", kChat, "[true]", kSpelling},
    {"cache_salt", kAll, R"([""])", kSpelling},
    {"draft_max", kAll, "[]", kSpelling},
};
// clang-format on

struct Known {
    std::string_view path;
    const Rule* rule;
    ordered_json harmless;
};

// By the first name of the path.
using Index = std::unordered_multimap<std::string_view, Known>;

Index index_of_rules() {
    Index made;
    for (const Rule& rule : kRules) {
        const auto harmless = ordered_json::parse(rule.harmless);
        for (std::string_view rest = rule.paths; !rest.empty();) {
            const auto path = rest.substr(0, rest.find(' '));
            made.emplace(path.substr(0, path.find('.')), Known{path, &rule, harmless});
            rest.remove_prefix(std::min(path.size() + 1, rest.size()));
        }
    }
    return made;
}

void check(const Known& known, Field field) {
    if (const auto dot = known.path.find('.'); dot != known.path.npos) {
        if (!field.is_object()) return;  // of a wrong type, for others to say
        field = field[std::string(known.path.substr(dot + 1)).c_str()];
        if (!field) return;
    }
    for (const auto& value : known.harmless)
        if (field.json() == value) return;
    if (known.rule->remedy == kSpelling) field.refuse(fmt::format("not supported: write {}", known.path));
    field.refuse(fmt::format("not supported: {}", known.rule->remedy));
}

}  // namespace

std::string snake_case(std::string_view name) {
    std::string snake;
    for (const char c : name) {
        const bool upper = c >= 'A' && c <= 'Z';
        if (upper && !snake.empty() && snake.back() != '_') snake += '_';
        snake += upper ? static_cast<char>(c - 'A' + 'a') : c == '-' ? '_' : c;
    }
    return snake;
}

void check_fields(const Field& body, Dialect dialect) {
    static const Index index = index_of_rules();
    for (const auto& [name, value] : body.object().items()) {
        if (value.is_null()) continue;
        const std::string common = snake_case(name);
        const auto [begin, end] = index.equal_range(common);
        for (auto it = begin; it != end; ++it) {
            const Rule& rule = *it->second.rule;
            if ((rule.dialects & bit(dialect)) && (rule.remedy != kSpelling || name != common))
                check(it->second, Field(value, name));
        }
    }
}

}  // namespace cachalot::server
