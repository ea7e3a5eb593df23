#include "cli/chat_options.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "cli/option_value.h"
#include "cli/suggestion.h"

namespace cachalot::cli {
namespace {

// "17=-5" or "17=-inf"
std::pair<std::int32_t, float> parse_bias(const std::string& text) {
    std::pair<std::int32_t, float> bias;
    const char *p = text.data(), *end = p + text.size();
    auto id = std::from_chars(p, end, bias.first);
    if (id.ec == std::errc() && id.ptr != end && *id.ptr == '=') {
        auto value = std::from_chars(id.ptr + 1, end, bias.second);
        const bool finite_or_forbidden = std::isfinite(bias.second) || bias.second < 0;
        if (value.ec == std::errc() && value.ptr == end && finite_or_forbidden) return bias;
    }
    fail("'{}' is not ID=VALUE, with a finite value or -inf", text);
}

// Of --think; nothing for "on" and "off".
std::optional<Effort> effort_of(const std::string& mode) {
    if (const auto named = named_effort(mode)) return named;
    int number = 0;
    const char* end = mode.data() + mode.size();
    const auto [last, error] = std::from_chars(mode.data(), end, number);
    if (error != std::errc() || last != end || number < kLeastEffort || number > kMostEffort)
        return std::nullopt;
    return static_cast<Effort>(number);
}

}  // namespace

std::string draft_text(const DraftFigures& drafts) {
    const double length = static_cast<double>(drafts.drafted) / static_cast<double>(drafts.drafts);
    std::string text = fmt::format("drafts    {} of {:.1f} tokens, {:.1f} of them written", drafts.drafts,
                                   length, drafts.mean_accepted());
    if (drafts.gain > 0) text += fmt::format(", about {:.2f} times as fast", drafts.gain);
    return text;
}

void AnswerOptions::add_to(CLI::App& app) {
    app.add_option("-s,--system", system, "system text")->type_name("TEXT");
    app.add_option("--think", think, fmt::format("reason before answering: {}", kThinkModes))
        ->check(checked_by(check_think))
        ->capture_default_str();
    app.add_flag("--april", april,
                 "V4: reasoning effort in the form of the April preview (default: that of 0731 and later)");
    app.add_option("-n,--max-tokens", max_tokens, "most tokens of an answer; -1: until the context is full")
        ->check(CLI::Range(-1, 1 << 30))
        ->capture_default_str()
        ->type_name("TOKENS");
    app.add_option("--temp", temperature,
                   "temperature; 0: always the most probable token (default: the model's, else 1)")
        ->check(at_least(0))
        ->check(CLI::Range(0.0, 100.0))
        ->type_name("X");
    app.add_option(
           "--top-p", top_p,
           "sample from the most probable tokens that make up this share (default: the model's, else 1)")
        ->check(more_than(0, 1))
        ->type_name("X");
    app.add_option("--top-k", top_k, "sample from the K most probable tokens; 0: off")
        ->check(CLI::Range(0, std::numeric_limits<int>::max()))
        ->capture_default_str()
        ->type_name("K");
    app.add_option("--min-p", min_p, "drop tokens less probable than this share of the best")
        ->check(CLI::Range(0.0, 1.0))
        ->capture_default_str()
        ->type_name("X");
    app.add_option("--repetition-penalty", repetition, "divide the logits of tokens seen before by this")
        ->check(more_than(0, 100))
        ->capture_default_str()
        ->type_name("X");
    app.add_option("--presence-penalty", presence, "subtract this from tokens already in the answer")
        ->capture_default_str()
        ->type_name("X");
    app.add_option("--frequency-penalty", frequency,
                   "subtract this for each time that a token is already in the answer")
        ->capture_default_str()
        ->type_name("X");
    app.add_option("--bias", biases, "add to a token's logit: --bias 17=-5, or =-inf to forbid it")
        ->check(checked_by([](const std::string& text) { parse_bias(text); }))
        ->type_name("ID=X");
    app.add_option("--seed", seed, "same seed, same text; -1: a new one each time")
        ->check(CLI::Range(std::int64_t(-1), std::numeric_limits<std::int64_t>::max()))
        ->capture_default_str()
        ->type_name("N");
    app.add_option("--stop", stops, "end the answer before this text; may be given several times")
        ->type_name("TEXT");
    app.add_flag("--ignore-eos", ignore_eos, "go on when the model ends its answer");
    add_form_to(app);
}

void AnswerOptions::add_form_to(CLI::App& app) {
    std::vector<CLI::Option*> forms = {
        app.add_option("--schema", schema, "every answer is JSON that this JSON schema describes")
            ->type_name("FILE"),
        app.add_option("--grammar", grammar,
                       "every answer is a text of this grammar, as llama.cpp (GBNF) or Lark write them")
            ->type_name("FILE"),
        app.add_option("--regex", regex, "every answer matches this regular expression as a whole")
            ->type_name("PATTERN"),
        app.add_flag("--json-object", json_object, "every answer is a JSON object"),
    };
    for (auto one = forms.begin(); one != forms.end(); ++one) {
        (*one)->excludes(app.get_option("--ignore-eos"));
        for (auto other = forms.begin(); other != one; ++other) (*one)->excludes(*other);
    }
}

AnswerForm AnswerOptions::form() const {
    AnswerForm form;
    if (!schema.empty()) {
        form.kind = AnswerForm::Kind::json_schema;
        form.source = schema;
        form.schema = read_json(schema);
    } else if (!grammar.empty()) {
        form.kind = AnswerForm::Kind::ebnf;
        form.source = grammar;
        form.text = input_text({}, grammar);
    } else if (!regex.empty()) {
        form.kind = AnswerForm::Kind::regex;
        form.source = "--regex";
        form.text = regex;
    } else if (json_object) {
        form.kind = AnswerForm::Kind::json_object;
        form.source = "--json-object";
    }
    return form;
}

GenerationOptions AnswerOptions::generation(const Model& model) const {
    GenerationOptions o;
    o.sampling = recommended_sampling(model);
    o.sampling.temperature = temperature.value_or(o.sampling.temperature);
    o.sampling.top_p = top_p.value_or(o.sampling.top_p);
    o.sampling.top_k = top_k;
    o.sampling.min_p = min_p;
    o.sampling.repetition_penalty = repetition;
    o.sampling.presence_penalty = presence;
    o.sampling.frequency_penalty = frequency;
    o.sampling.seed = static_cast<std::uint64_t>(seed);
    if (seed == -1) o.sampling.seed = (std::uint64_t{std::random_device()()} << 32) | std::random_device()();
    for (const auto& bias : biases) o.sampling.logit_bias.push_back(parse_bias(bias));
    o.max_tokens = max_tokens;
    o.stops = stops;
    o.ignore_eos = ignore_eos;
    return o;
}

void check_think(const std::string& mode) {
    if (mode == "off" || mode == "on" || effort_of(mode)) return;
    const auto meant = suggestion(mode, {"off", "on", "low", "high", "max"});
    fail("'{}' is no way to think, expected {}{}", mode, kThinkModes,
         meant.empty() ? "" : fmt::format("; did you mean '{}'?", meant));
}

ChatOptions AnswerOptions::chat(const std::string& mode) const {
    ChatOptions o;
    o.thinking = mode != "off";
    o.effort = effort_of(mode);
    o.format = april ? ChatFormat::v4_april : ChatFormat::v4;
    return o;
}

}  // namespace cachalot::cli
